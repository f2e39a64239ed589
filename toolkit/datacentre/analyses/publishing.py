"""What leaves an analysis: table, JSON and charts, with small counts hidden in all of them."""

from __future__ import annotations

import io
import json
import logging
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from toolkit import __version__
from toolkit.core.errors import ToolError, UsageError
from toolkit.core.streams import atomic_output
from toolkit.datacentre.analyses.charts import draw, prepare, terminal
from toolkit.datacentre.analyses.questions import questions
from toolkit.datacentre.analyses.run import Found, Request, analyse
from toolkit.datacentre.analyses.suppression import hide
from toolkit.datacentre.analyses.writing import as_json, write_csv

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Publication:
    """Where the answer goes: `output` is the beginning of four files' names, or ``-`` for the table on standard output; `terminal`: draw
    there. Counts from 1 to `below` - 1 are hidden (0: none is). More than `most_bad` per cent of unreadable documents are a failure."""

    output: str = "-"
    terminal: bool = False
    below: int = 5
    most_bad: float = 1.0


def publish(request: Request, publication: Publication) -> int:
    """Answer the request and write what was found; 1 when too many documents were unreadable, else 0.

    Raises what `analyse` raises, and CannotCreate or InputOutput when an output cannot be written.
    """
    if publication.output != "-" and not publication.output.rpartition("/")[2]:
        raise UsageError(publication.output, "is no beginning of a file's name", "write -o DIRECTORY/NAME")
    begun = time.monotonic()
    broken: list[ToolError] = []
    found = analyse(request, broken.append, None if publication.output == "-" else prepare)
    for one in broken:
        _log.info("%s", one)
    for code, near in found.not_found:
        _log.warning("%s: no diagnosis of the period begins with it; did you mean %s?", code, " or ".join(near))
    answer = hide(found.answer, publication.below)
    chart = questions()[request.question].chart(request.parameters, answer)
    if found.answer.counts["in_period"] == 0:
        _log.warning("no visit began in the period %s", found.answer.period)
        chart = replace(chart, categories=(), series=())
    table = io.StringIO(newline="")
    write_csv(answer, table)
    if publication.output == "-":
        with atomic_output("-") as stream:
            stream.write(table.getvalue().encode())
    else:
        svg, png = io.BytesIO(), io.BytesIO()
        draw(chart, svg, png)
        about = _about(request, publication, found, time.monotonic() - begun, ("count", "visits") in answer.hidden)
        report = json.dumps(as_json(answer, about), indent=1, ensure_ascii=False).encode() + b"\n"
        files = {"csv": table.getvalue().encode(), "json": report, "svg": svg.getvalue(), "png": png.getvalue()}
        for ending, data in files.items():
            with atomic_output(f"{publication.output}.{ending}") as stream:
                stream.write(data)
    if publication.terminal:
        _draw_here(chart)
    if found.documents and 100 * found.unreadable > publication.most_bad * found.documents:
        share = 100 * found.unreadable / found.documents
        problem = f"{found.unreadable} of {found.documents} cannot be read ({share:.1f} %)"
        raise ToolError("documents", problem, "-v names them; --max-bad allows more")
    return 0


def _about(request: Request, publication: Publication, found: Found, seconds: float, hidden: bool) -> dict[str, Any]:
    """What JSON says besides the answer. Where the number of visits is hidden, no number of documents may give it away."""
    parameters: Mapping[str, Any] = {
        "from": _iso(request.parameters["from"]),
        "to": _iso(request.parameters["to"]),
        **{name: value for name, value in request.parameters.items() if name not in ("from", "to")},
    }
    numbers = {name: None if hidden else getattr(found, name) for name in ("documents", "unreadable", "duplicates", "superseded")}
    return {
        "analysis": request.question,
        "parameters": parameters,
        "suppress_below": publication.below or None,
        "version": __version__,
        "input": {"sources": list(request.sources), "digest": found.digest, **numbers},
        "runner": request.runner.name,
        "from_cache": found.known,
        "seconds": round(seconds, 3),
    }


def _draw_here(chart: Any) -> None:
    try:
        "▏█".encode(sys.stdout.encoding or "ascii")
        blocks = True
    except (UnicodeEncodeError, LookupError):
        blocks = False
    width = shutil.get_terminal_size().columns
    with atomic_output("-") as stream:
        stream.write(terminal(chart, width, blocks).encode(sys.stdout.encoding or "ascii", "replace"))


def _iso(day: int) -> str:
    return f"{day // 10000:04d}-{day // 100 % 100:02d}-{day % 100:02d}"
