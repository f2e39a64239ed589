"""An analysis from its sources to its answer: row tables, which of them count, sums, table; what was found is kept for the next time."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit import __version__
from toolkit.core.errors import CannotCreate, NoInput, ToolError, UsageError
from toolkit.core.mapreduce.running import Runner, run
from toolkit.core.progress import progress
from toolkit.core.streams import atomic_output
from toolkit.datacentre.analyses.answers import Answer, Equation
from toolkit.datacentre.analyses.plan import Input, Part, groups, line, plan
from toolkit.datacentre.analyses.questions import Sums, questions
from toolkit.datacentre.analyses.questions.counting import label
from toolkit.datacentre.analyses.versions import Versions, VersionsJob, versions_of

if TYPE_CHECKING:
    from toolkit.core.storage import Store
    from toolkit.datacentre.analyses.ingest import Ingested

NotFound = tuple[tuple[str, tuple[str, ...]], ...]
_FORMAT = 1  # of what is kept
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What is asked: the question's name, its parameters, the sources (stores, directories, files, ``-``), where the job runs, the
    directories that keep results and row tables of documents (empty: none), from how many bytes on a task is worth its start (0: as
    the runner has it), and how many processes read documents."""

    question: str
    parameters: Mapping[str, Any]
    sources: tuple[str, ...]
    runner: Runner = Runner()
    kept: str = ""
    tables: str = ""
    split_bytes: int = 0
    jobs: int = 1


@dataclass(frozen=True)
class Found:
    """The answer, small counts not yet hidden; codes that nothing begins with, and which come near; how many documents there were, could
    not be read, were there twice or were replaced by newer ones; the input's digest; whether all was known from before."""

    answer: Answer
    not_found: NotFound
    documents: int
    unreadable: int
    duplicates: int
    superseded: int
    digest: str
    known: bool


def analyse(request: Request, bad: Callable[[ToolError], None], meanwhile: Callable[[], object] | None = None) -> Found:
    """Answer the request. `bad` is told of each document that cannot be read; `meanwhile` may be done in a thread while others work.

    Raises NoInput when the sources hold nothing, what stores and runners raise.
    """
    from toolkit.core.storage import digest_of, open_store

    request.runner.check()
    stores, documents = _sorted_out(request.sources)
    if request.tables and not documents:
        raise UsageError("--tables", "says nothing: no STORE holds documents", "leave it out")
    with _row_tables(documents, request, bad) as (made, done):
        if meanwhile is not None and request.runner.name == "inline":  # others fork, which a thread may not survive
            threading.Thread(target=meanwhile, daemon=True).start()
        source = plan([*stores, *([open_store(made)] if made else [])])
        if not source.parts and not source.documents and not done.broken:
            raise NoInput(" ".join(request.sources), "holds no visit", "name a store that mdc-store filled, or documents")
        versions = _versions(source, request)
        digest = source.digest
        if documents:  # in which parts their rows are differs from time to time
            digest = digest_of(f"{plan(stores).digest} {done.digest}".encode())
        sums, known = _sums(source, versions, request, digest)
    rows = versions.visits + versions.superseded + versions.duplicates
    return Found(
        *_answer(request, versions, sums),
        documents=source.documents - done.visits + done.documents + done.broken + done.duplicates,
        unreadable=source.documents - rows + done.broken,
        duplicates=versions.duplicates + done.duplicates,
        superseded=versions.superseded,
        digest=digest,
        known=known,
    )


def _sorted_out(sources: Sequence[str]) -> tuple[list[Store], list[str]]:
    """The stores that hold row tables, and the sources of documents."""
    from toolkit.core.storage import open_store
    from toolkit.datacentre.packs import manifests

    stores, documents = [], []
    for source in sources:
        if source == "-" or os.path.isfile(source):
            documents.append(source)
            continue
        if "://" not in source and not os.path.isdir(source):
            raise NoInput(source, "No such file or directory", "name a store, a directory of documents, a document, or -")
        store = open_store(source)
        if next(manifests(store), None) is not None:
            stores.append(store)
        else:
            documents.append(source)
    return stores, documents


@contextmanager
def _row_tables(documents: Sequence[str], request: Request, bad: Callable[[ToolError], None]) -> Iterator[tuple[str, Ingested]]:
    """A private directory with row tables of documents, and how many these are."""
    from toolkit.datacentre.analyses.ingest import Ingested, ingest

    if not documents:
        yield "", Ingested(0, 0, 0, "", 0)
        return

    if not request.tables and not request.runner.here:
        raise UsageError("--tables", "is missing", "name a directory that all workers reach: the row tables of documents go there")
    with tempfile.TemporaryDirectory(prefix="toolkit-tables-") if not request.tables else _new(request.tables) as directory:
        distant = any("://" in source for source in request.sources)  # whose stores have threads already: processes must not fork
        yield directory, ingest(documents, directory, 1 if distant else request.jobs, bad)


@contextmanager
def _new(directory: str) -> Iterator[str]:
    """The directory, new or empty; empty again after a failure."""
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        if os.listdir(directory):
            raise UsageError(directory, "is not empty", "name a new directory; row tables that were made earlier are a STORE")
    except OSError as error:
        raise CannotCreate(directory, error.strerror or str(error), "name a directory that can be written") from error
    try:
        yield directory
    except BaseException:
        for entry in os.scandir(directory):
            shutil.rmtree(entry) if entry.is_dir() else os.unlink(entry)
        raise


def _versions(source: Input, request: Request) -> Versions:
    """Which rows count, known from before for the same input."""
    name = f"versions-{source.digest.removeprefix('sha256:')[:32]}.json"
    kept = _known(request.kept, name)
    if kept is not None:
        dropped, dated = ({int(part): value for part, value in kept.pop(name).items()} for name in ("dropped", "dated"))
        return Versions(dropped, dated, **kept)
    some = list(groups(enumerate(source.parts), ("visits",), request.split_bytes or request.runner.split_bytes))
    if not some:
        return Versions({}, {}, 0, 0, 0)
    sizes = [sum(part.sizes.get("visits", 0) for _, part in group) for group in some]
    lines = [line(group, aliases=source.aliases, done=size) for group, size in zip(some, sizes, strict=True)]
    parameters = {"buckets": len(some), "threads": request.runner.threads}
    found = versions_of(_with_bar("looking for newest versions", source, sizes, VersionsJob, lines, parameters, request.runner))
    _keep(request.kept, name, vars(found))
    return found


def _sums(source: Input, versions: Versions, request: Request, digest: str) -> tuple[dict[tuple[Any, ...], int], bool]:
    """What the job adds up, and whether it was known from before."""
    from toolkit.datacentre.analyses.job import QuestionJob

    question = questions()[request.question]
    asked = {"question": request.question, **request.parameters}
    identity = json.dumps([_FORMAT, __version__, digest, asked], sort_keys=True)
    name = f"sums-{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"
    kept = _known(request.kept, name)
    if kept is not None:
        return {tuple(words): number for *words, number in kept}, True
    first, last = request.parameters["from"] // 100, request.parameters["to"] // 100
    parts = [(number, part) for number, part in enumerate(source.parts) if first <= part.number <= last]
    tables = tuple(dict.fromkeys(("visits", *question.tables)))
    some = list(groups(parts, tables, request.split_bytes or request.runner.split_bytes))
    if not some:
        return {}, False
    sizes = [sum(part.sizes.get(table, 0) for _, part in group for table in tables) for group in some]
    lines = []
    for group, size in zip(some, sizes, strict=True):
        dropped = [(number, versions.dropped[number]) for number, _ in group if number in versions.dropped]
        dated = [(number, versions.dated.get(number, 0)) for number, part in group if _within(part, request.parameters)]
        lines.append(line(group, aliases=source.aliases, done=size, dropped=dropped, dated=dated))
    parameters = {**asked, "buckets": len(some), "threads": request.runner.threads}
    pairs = _with_bar(request.question, source, sizes, QuestionJob, lines, parameters, request.runner)
    sums = [one for _, some in pairs for one in some]
    _keep(request.kept, name, sums)
    return {tuple(words): number for *words, number in sums}, False


def _within(part: Part, parameters: Mapping[str, Any]) -> bool:
    """Whether the whole month of a part is in the period."""
    first = part.number * 100 + 1
    return parameters["from"] <= first and first + 30 <= parameters["to"]


def _with_bar(
    words: str, source: Input, sizes: Sequence[int], job: Any, lines: Sequence[str], parameters: dict[str, Any], runner: Runner
) -> Iterator[tuple[Any, Any]]:
    """The job's pairs, under a bar that counts documents: as many as the bytes that were read stand for."""
    total = sum(sizes) or 1
    with progress(words, source.documents, "documents") as bar:
        yield from run(job, lines, parameters, runner, lambda size: bar.update(source.documents * size / total))


def _answer(request: Request, versions: Versions, sums: Sums) -> tuple[Answer, NotFound]:
    """The question's answer, with the counts that belong to every one, and what was not found."""
    question, parameters = questions()[request.question], request.parameters
    answer = question.answer(parameters, {key[1:]: value for key, value in sums.items() if key[0] == "sum"})
    within = sums.get(("visits",), 0)
    counts: dict[str, int | None] = {
        "visits": versions.visits,
        "in_period": within,
        "outside_period": sum(versions.dated.values()) - within,
        "start_unknown": versions.visits - sum(versions.dated.values()),
    }
    parts: Equation = (("count", "visits"), (("count", "in_period"), ("count", "outside_period"), ("count", "start_unknown")))
    editions = [key for key in sums if key[0] == "edition"]
    notes = list(answer.notes)
    if not within:
        notes.append("No visit in the period.")
    if "icd10" in parameters:
        counts["in_icd9"] = sums.get(("in_icd9",), 0)
    if counts.get("in_icd9"):
        notes.append("Some diagnoses of the period are in ICD-9-CM: they are not counted.")
    if len(editions) > 1:
        notes.append("Codes of ICD-10 (WHO) and ICD-10-CM are counted together.")
    not_found = []
    for number, series in enumerate(parameters.get("icd10", ())):
        near = [key[2] for key in sums if key[:2] == ("near", number)]
        if near and ("coded", number) not in sums:
            not_found.append((label(series), tuple(label([code]) for code in _nearest(series, near))))
    return replace(answer, counts={**answer.counts, **counts}, equations=(*answer.equations, parts), notes=tuple(notes)), tuple(not_found)


def _nearest(series: Sequence[str], codes: Sequence[str]) -> list[str]:
    """Those written most like one of the series."""
    import duckdb

    from toolkit.datacentre.analyses.job import DISTANCE, NEAR

    pairs = "(SELECT unnest($codes) AS code), (SELECT unnest($series) AS prefix)"
    query = f"SELECT code FROM {pairs} GROUP BY code ORDER BY min({DISTANCE.format('prefix', 'code')}), code LIMIT {NEAR}"
    return [code for (code,) in duckdb.execute(query, {"codes": codes, "series": series}).fetchall()]


def _known(directory: str, name: str) -> Any:
    """What was kept under a name; None when nothing was, or it is damaged."""
    if not directory:
        return None
    try:
        path = Path(directory, name)
        kept = json.loads(path.read_bytes())
        os.utime(path)
        return kept
    except (OSError, ValueError):
        return None


def _keep(directory: str, name: str, content: Any) -> None:
    """Keep for the next time, readable by this user only: small counts are in it."""
    if not directory:
        return
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        with atomic_output(os.path.join(directory, name), 0o600) as output:
            output.write(json.dumps(content).encode())
        for path in Path(directory).glob("*.json"):
            if time.time() - path.stat().st_mtime > 30 * 86400:
                path.unlink(missing_ok=True)
    except (OSError, ToolError) as error:
        reason = error.problem if isinstance(error, ToolError) else error.strerror
        _say_once(f"{directory}: {reason}; nothing is kept for the next time")


@cache
def _say_once(words: str) -> None:
    _log.warning("%s", words)
