"""A report over run records: from files to a directory of tables, figures and one page, which appears whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from toolkit import __version__
from toolkit.core.errors import BadData, ToolError, UsageError
from toolkit.core.mapreduce.running import Runner, run
from toolkit.core.progress import progress
from toolkit.experiment.reporting.collected import Collected, bad_order, collected
from toolkit.experiment.reporting.comparison import comparison_table
from toolkit.experiment.reporting.inputs import find, groups
from toolkit.experiment.reporting.laws import SEED_FARTHEST, Law, fit_laws, forecasts
from toolkit.experiment.reporting.quality import PARTS, placed, quality_table
from toolkit.experiment.reporting.tables import QUANTITIES, shares_table, statistics_table

PAIR = ("input", "output")  # the tags of a pair of resolutions: the sphere's and the correlation's
SCHEMA = 1
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What is asked for. `by`: tags that tell steps apart. `resolution`: the tag that laws are fitted against (empty: whichever of the pair
    fits better). `compare`: two machines or dates. `forecast`: resolutions (none: the seed's farthest)."""

    sources: tuple[str, ...]
    runner: Runner = Runner()
    by: tuple[str, ...] = ()
    resolution: str = ""
    compare: tuple[str, str] | None = None
    forecast: tuple[float, ...] = ()
    split_bytes: int | None = None  # the runner's choice

    @property
    def scales(self) -> tuple[str, ...]:
        """The tags that hold resolutions."""
        return PAIR if self.resolution in ("", *PAIR) else (*PAIR, self.resolution)


@dataclass(frozen=True)
class Report:
    """All that is found: `tables` by name, rows of plain values; `laws` and `collected` behind them, for the figures."""

    tables: Mapping[str, list[dict[str, Any]]]
    laws: Sequence[Law]
    collected: Collected
    scales: tuple[str, ...]
    by: tuple[str, ...]
    chosen: str = ""  # the tag that laws were fitted against, where it was given
    compared: tuple[str, str] | None = None


def make_report(request: Request) -> Report:
    """Read the records and work everything out.

    Raises NoInput when nothing could be read, BadData when nothing in it could be used, UsageError for a comparison of what is not
    there, and what a runner raises.
    """
    request.runner.check()
    missing: list[ToolError] = []
    files = find(request.sources, missing)
    if missing and not files:
        raise missing[0]
    found = _collect(request, files, missing)
    _check_tags(request, found)
    scales = request.scales
    laws = fit_laws(found, QUANTITIES, scales, request.resolution)
    memories = {host: _memory(seen) for host, seen in found.machines.items()}
    figures, unknown = placed(found.quality, found.outputs, scales.index("output"))
    found.bad += [(place, "its resolution is not known: no bandwidth in it, and no run record lists it as output") for place in unknown]
    found.bad.sort(key=bad_order)
    if not found.runs and not found.failed and not figures:
        first = f" ({found.bad[0][0]}: {found.bad[0][1]})" if found.bad else ""
        raise BadData(" ".join(request.sources)[:200], f"no run record can be used{first}", "give files that profile-wrap wrote")
    tables = {
        "statistics": statistics_table(found, scales, request.resolution),
        "shares": shares_table(found, scales),
        "laws": [_law_row(law) for law in laws],
        "forecast": forecasts(laws, request.forecast or (SEED_FARTHEST,), memories),
        "comparison": comparison_table(found, QUANTITIES, scales, *request.compare) if request.compare else [],
        "quality": quality_table(figures),
        "machines": [{"machine": host, "seen": found.machines[host]} for host in sorted(found.machines)],
        "failed": [{**asdict(one), "scales": list(one.scales)} for one in found.failed],
        "bad": [{"place": place, "problem": problem} for place, problem in found.bad],
    }
    return Report(tables, laws, found, scales, request.by, request.resolution, request.compare)


def as_json(report: Report) -> bytes:
    """All tables in one object; the same records give the same bytes."""
    found = report.collected
    about = {
        "report": "profile-report",
        "schema": SCHEMA,
        "version": __version__,
        "commands": found.runs,
        "failed_commands": len(found.failed),
        "days": [found.days[0], found.days[-1]] if found.days else [],
        "resolutions": list(report.scales),
        "by": list(report.by),
    }
    return json.dumps({**about, **report.tables}, indent=1, ensure_ascii=False, allow_nan=False).encode(errors="backslashreplace") + b"\n"


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A table with a heading; nothing stands for None, and what has parts is spread over columns."""
    flat = [_flat(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue().encode(errors="backslashreplace")


def _check_tags(request: Request, found: Collected) -> None:
    """Raises UsageError for a tag that is in no record: a report without it would not be what was asked for."""
    there = f"there are: {', '.join(found.tags[:20])}" if found.tags else "these runs have no tags: profile-wrap gives them by --tag"
    for number, tag in enumerate(request.by):
        if found.rows and not any(place.step.labels[number] for place in found.rows):
            raise UsageError(f"--by {tag}", "no run has this tag", there)
    if request.resolution and found.rows:
        number = request.scales.index(request.resolution)
        if all(place.scales[number] is None for place in found.rows):
            raise UsageError(f"--resolution {request.resolution}", "no run has a number under this tag", there)


def _collect(request: Request, files: Sequence[Any], missing: Sequence[ToolError]) -> Collected:
    from toolkit.experiment.reporting.job import ReportJob

    lines = groups(files, request.split_bytes or request.runner.split_bytes)
    parameters = {"by": list(request.by), "scales": list(request.scales)}
    with progress("profile-report", len(files), "files") as bar:
        pairs = list(run(ReportJob, lines, parameters, request.runner, bar.update)) if lines else []
    found = collected(pairs, [(error.place, error.problem) for error in missing])
    if found.others:
        _log.info("%d files of other kinds are passed over", found.others)
    return found


def _memory(seen: Sequence[Mapping[str, Any]]) -> int | None:
    """The least that a machine of this name had, in bytes: its own or what its control group allows."""
    known = []
    for one in seen:
        machine = one["machine"]
        group = machine.get("cgroup") if isinstance(machine.get("cgroup"), dict) else {}
        known += [value for value in (machine.get("memory_bytes"), (group or {}).get("memory_max_bytes")) if isinstance(value, int)]
    return min(known, default=None)


def _law_row(law: Law) -> dict[str, Any]:
    from toolkit.experiment.reporting.laws import SEED

    seed = None if law.step.stage else SEED.get((law.step.program, law.quantity))
    return {
        "quantity": law.quantity,
        "command": law.step.program,
        "stage": law.step.stage,
        "labels": list(law.step.labels),
        "scale": law.scale,
        "a": law.a,
        "a_error": law.error,
        "a_low": law.low,
        "a_high": law.high,
        "machines": [
            {"machine": one.machine, "b": one.b, "b_error": one.error, "b_low": one.low, "b_high": one.high, "points": one.points}
            for one in law.offsets
        ],
        "spread": law.spread,
        "r_squared": law.r_squared,
        "points": law.points,
        "freedom": law.freedom,
        "least": law.least,
        "most": law.most,
        "seed_a": seed[0] if seed else None,
        "seed_b": seed[1] if seed else None,
        "note": law.note,
    }


def _flat(row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Objects as columns ``object_key``, quantiles as ``q00`` to ``q100``, other lists as one JSON text."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{before}{name}_"))
        elif name == "quantiles":
            flat.update({f"q{100 * number // PARTS:02d}": one for number, one in enumerate(value)})
        elif name in ("labels", "scales"):
            flat[before + name] = " ".join("" if one is None else str(one) for one in value)
        elif isinstance(value, list):
            flat[before + name] = json.dumps(value, ensure_ascii=False)
        else:
            flat[before + name] = value
    return flat
