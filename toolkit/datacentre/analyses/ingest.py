"""Documents become row tables: what analyses read, made from documents that no gateway has packed.

One process reads the documents and knows which it has had; others, or itself when it is alone, parse them and write the tables.
"""

from __future__ import annotations

import codecs
import contextlib
import gc
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from toolkit.core.errors import BadData, InputOutput, NoInput, ToolError
from toolkit.core.progress import progress
from toolkit.core.xml import parse_safely
from toolkit.datacentre.analyses.sources import check, count, documents
from toolkit.datacentre.index import StoredObject
from toolkit.datacentre.packs import RowTables, manifest_object, write_manifest
from toolkit.datacentre.raw import raw_visits
from toolkit.datacentre.workers import Workers

if TYPE_CHECKING:
    import pyarrow

PART_VISITS = 10_000  # in one part of the tables
PART_BYTES = 64 << 20  # of rows that a process holds as tables
ROWS_BYTES = 32 << 20  # of documents whose rows it holds before
BATCH_DOCUMENTS = 1000  # that go to a process at once
BATCH_BYTES = 4 << 20
_DECLARATION = re.compile(r"\A<\?xml\s[^>]*\?>")


@dataclass(frozen=True)
class Ingested:
    """How many documents are in the row tables; how many could not be read; how many came again; the digest of the set of all that came,
    whatever their names and order; how many visits the documents tell, which is what the lists of parts count."""

    documents: int
    broken: int
    duplicates: int
    digest: str
    visits: int


class _Document(NamedTuple):
    """What messages call it, the digest of its bytes, and these."""

    place: str
    digest: str
    body: bytes


class _Failure(NamedTuple):
    """An error on its way between processes."""

    kind: type[ToolError]
    place: str
    problem: str
    remedy: str


class _Done(NamedTuple):
    """How many documents of a batch were read, how many visits they tell, and what is to be said of the others."""

    documents: int
    visits: int
    broken: list[_Failure]


def ingest(sources: Sequence[str], directory: str, jobs: int, bad: Callable[[ToolError], None]) -> Ingested:
    """Write the row tables of all documents in `sources` into `directory` (private), in the layout of `toolkit.datacentre.packs`.

    `sources` are directories (``*.xml`` in them and below), files, URLs of stores that hold ``*.xml``, and ``-`` for documents one
    after the other on standard input. A document's message id is ``sha256-`` and the digest of its bytes (and ``.2`` and so on for
    further visits that it tells); it was received at its own time, so that of two documents of a visit the newer one counts.
    What cannot be read, documents and directories, goes to `bad`, which may raise, and is counted as broken.

    With several `jobs` this process is forked: it must have no threads and no open database. Raises NoInput when a source does not
    exist or there is no document at all, InputOutput when the tables cannot be written, Unavailable when a store does not answer.
    """
    check(sources)
    found = visits = broken = 0
    reading = _Reading(bad)
    with (
        Workers(lambda: _opened(directory), jobs, "a process that reads documents") as workers,
        progress("reading documents", count(sources), "documents") as bar,
    ):
        for done in workers.each(reading.batches(sources), last=[]):
            found, visits, broken = found + done.documents, visits + done.visits, broken + len(done.broken)
            for kind, place, problem, remedy in done.broken:
                bad(kind(place, problem, remedy))
            bar.update(done.documents + len(done.broken))
    if not found + broken + reading.unread:
        raise NoInput(", ".join(sources), "there is no document", "name directories or stores that hold *.xml, or documents")
    return Ingested(found, broken + reading.unread, reading.duplicates, reading.digest(), visits)


@dataclass
class _Reading:
    """What has been read: digests of the documents, 128 bits of each; how many came again and how many could not be read."""

    bad: Callable[[ToolError], None]
    seen: set[bytes] = field(default_factory=set)
    duplicates: int = 0
    unread: int = 0

    def batches(self, sources: Sequence[str]) -> Iterator[list[_Document]]:
        """All documents, each once, some at a time."""
        batch: list[_Document] = []
        size = 0
        for place, body in documents(sources, self._cannot_be_read):
            state = hashlib.sha256(body)
            if (key := state.digest()[:16]) in self.seen:
                self.duplicates += 1
                continue
            self.seen.add(key)
            batch.append(_Document(place, state.hexdigest(), body))
            size += len(body)
            if len(batch) == BATCH_DOCUMENTS or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(b"".join(sorted(self.seen))).hexdigest()

    def _cannot_be_read(self, error: ToolError) -> None:
        self.unread += 1
        self.bad(error)


@contextlib.contextmanager
def _opened(directory: str) -> Iterator[Callable[[list[_Document]], _Done]]:
    """What one process holds, and its work."""
    with _without_collector():
        yield _Part(directory).take


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Rows are millions of objects without cycles: looking through them again and again takes a tenth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Part:
    """The rows of some thousand documents, which are written when they are enough."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._rows, self._read = RowTables(), 0
        self._tables: dict[str, list[pyarrow.Table]] = defaultdict(list)
        self._name, self._visits, self._bytes = "", 0, 0

    def take(self, batch: list[_Document]) -> _Done:
        """Add the rows of these documents; without any, write what is left."""
        visits, broken = self._visits, []
        for document in batch:
            try:
                self._add(*document)
            except ToolError as error:
                broken.append(_Failure(type(error), error.place, error.problem, error.remedy))
        if not batch or self._read >= ROWS_BYTES or self._visits >= PART_VISITS:
            self._collect()
        done = _Done(len(batch) - len(broken), self._visits - visits, broken)
        if self._tables and (not batch or self._visits >= PART_VISITS or self._bytes >= PART_BYTES):
            self._write()
        return done

    def _add(self, place: str, digest: str, body: bytes) -> None:
        body = _in_utf_8(body, place)
        tree = parse_safely(body, place)
        for number, found in enumerate(raw_visits(tree, place, body), 1):
            self._rows.add(found._replace(message_id=f"sha256-{digest}" + (f".{number}" if number > 1 else "")))
            self._visits += 1
        self._read += len(body)
        self._name = self._name or digest[:32]
        del tree  # not before: giving back a tree drives the rows out of the processor's cache

    def _collect(self) -> None:
        """Rows become tables, which take a tenth of the memory."""
        for key, table in self._rows.tables():
            self._tables[key].append(table)
            self._bytes += table.nbytes
        self._rows, self._read = RowTables(), 0

    def _write(self) -> None:
        from pyarrow import BufferOutputStream, concat_tables, parquet

        objects = []
        try:
            for key, tables in self._tables.items():
                stream = BufferOutputStream()
                parquet.write_table(concat_tables(tables), stream, compression="lz4", write_statistics=False)  # read once or twice
                objects.append(self._keep(f"rows/{key}/{self._name}.parquet", stream.getvalue()))
            created = datetime.now(UTC).isoformat(timespec="seconds")
            self._keep(manifest_object(self._name), write_manifest(self._name, created, self._visits, objects))
        except OSError as error:
            raise InputOutput(self._directory, error.strerror or str(error), "make room, or set TMPDIR to a larger disk") from error
        self._tables.clear()
        self._name, self._visits, self._bytes = "", 0, 0

    def _keep(self, name: str, data: bytes | pyarrow.Buffer) -> StoredObject:
        path = os.path.join(self._directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(data)
        return StoredObject(name, "sha256:" + hashlib.sha256(data).hexdigest(), len(data))


def _in_utf_8(body: bytes, place: str) -> bytes:
    """A document in UTF-16 as one in UTF-8; others as they are."""
    if not body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body
    try:
        return _DECLARATION.sub("", body.decode("utf-16")).encode()
    except UnicodeDecodeError as error:
        raise BadData(place, "is not in UTF-16, as which it begins", "export it in UTF-8") from error
