"""Packing: what waits in the gateway's spool moves into the store, with a copy in the archive, and then leaves the spool.

Each step can be killed and repeated. Which documents a pack holds is written down before its first byte; the spool keeps them until
store and archive have given back the digests of all objects and the index knows the new places.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.core.errors import BadData, InputOutput, NoInput, NotPermitted, ToolError, TryLater, Unavailable
from toolkit.core.progress import progress
from toolkit.core.streams import synchronise
from toolkit.datacentre.cda import VisitRows, rows
from toolkit.datacentre.index import Document, Index, StoredObject, open_index
from toolkit.datacentre.packs import RowTables, manifest_object, pack_object, read_pack, write_manifest, write_pack
from toolkit.datacentre.spool import Entry, Spool
from toolkit.datacentre.workers import Workers

if TYPE_CHECKING:
    from toolkit.core.storage import Store

PACK_BYTES = 256 << 20  # of documents, as they were received
PACK_DOCUMENTS = 10_000  # whose rows are held in memory
TRIES = 4  # of each object, with a growing pause between
_AT_ONCE = 8  # objects on their way to a store
_PATIENCE = 5.0  # seconds for the processes of a run that was killed to follow it
_HALF_MADE = ".packing-"  # how directories in the spool begin that hold packs on their way
_SEND_AGAIN = "the index forgets it: ask the sender to send it again"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Where everything is: the index's URL, the spool's directory, the stores' URLs."""

    index: str
    spool: str
    stores: tuple[str, ...]


@dataclass(frozen=True)
class Packed:
    """What a run did: packs and documents that it moved; documents that could not be read from the spool."""

    packs: int
    documents: int
    damaged: int


@dataclass(frozen=True)
class _Pack:
    """What became of one planned pack: how many documents it holds; the message ids of those that the spool has lost for good, in which
    segments, and of those that it could not give back now; what is to be said of them, and of others."""

    documents: int = 0
    lost: list[str] = field(default_factory=list)
    spoiled: set[str] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def pack(places: Places, jobs: int = 1, pack_bytes: int = PACK_BYTES) -> Packed:
    """Move all that waits in the spool to every store, about `pack_bytes` a pack, with at most `jobs` processes.

    A document that the spool cannot give back is counted, with an error in the log. When it is damaged it leaves the index, so that it is
    new when it is sent again, and its segment is put aside under the name SEGMENT.damaged. With several jobs this process is
    forked: it must have no threads and no open database. Raises TryLater when another process packs this spool, and what the
    stores raise when they fail several times; the spool then keeps what it has.
    """
    packs = documents = 0
    damaged: set[str] = set()
    spoiled: set[str] = set()
    with alone(places.spool), Spool(places.spool) as spool:
        for left in Path(places.spool).glob(f"{_HALF_MADE}*"):  # by a run that was killed
            shutil.rmtree(left)
        ended: dict[str, set[str]] = {}
        with open_index(places.index) as index:
            for segment in spool.ended():
                with contextlib.suppress(NoInput):  # a receiver that starts removes what is empty
                    ended[segment] = _enter_missing(index, spool, segment)
            number = _expected(index, pack_bytes)
        with (
            Workers(lambda: _opened(places), max(1, min(jobs, number))) as workers,
            open_index(places.index) as index,
            progress("packing", number, "packs") as bar,
        ):
            _tidy(places)
            for done in bar.each(workers.each(_names(index, pack_bytes, damaged))):
                packs, documents = packs + (done.documents > 0), documents + done.documents
                damaged.update(done.lost, done.unread)
                spoiled.update(done.spoiled)
                for words in done.errors:
                    _log.error("%s", words)
                for words in done.warnings:
                    _log.warning("%s", words)
            _empty(index, spool, places, ended, spoiled)
    return Packed(packs, documents, len(damaged))


@contextlib.contextmanager
def alone(directory: str) -> Iterator[None]:
    """Hold the packer's lock of a spool, which processes forked meanwhile hold too. Raises TryLater when another run holds it."""
    path = os.path.join(directory, "pack.lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        raise NoInput(directory, "No such directory", "name the gateway's spool") from error
    except OSError as error:
        raise NotPermitted(path, error.strerror or str(error), "run as the gateway's user") from error
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise TryLater(path, "another mdc-store is packing", "run it again when that has ended") from error
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def copy_checked(store: Store, name: str, source: Path, digest: str, pause: Callable[[float], None] = time.sleep) -> None:
    """Put a file into a store and read back its digest, several times when it fails. Raises what the store raised last."""
    for attempt in range(TRIES):
        try:
            store.put(name, source, digest)
            if store.digest(name) == digest:
                return
            problem: ToolError = InputOutput(f"{store.url}/{name}", "the store gives back something else", "check the store's disks")
        except (Unavailable, InputOutput, NoInput) as error:
            problem = error
        if attempt < TRIES - 1:
            pause(2.0**attempt)
    raise problem


def read_rows(body: bytes, document: Document) -> VisitRows:
    """The rows of a stored document. Raises BadData when it has none that can be read: it is kept all the same."""
    from toolkit.core.xml import parse_safely

    try:
        found = rows(parse_safely(body, document.message_id), document.message_id, body)
    except BadData as error:
        raise BadData(error.place, error.problem, "it is kept, and no search finds it") from error
    return found._replace(message_id=document.message_id, received=document.received)


def recover(index: Index, spool: Spool) -> None:
    """Enter what is durable in the spool and missing in the index: a receiver was killed between the two, or the index was lost."""
    for segment in spool.segments():
        with contextlib.suppress(NoInput):  # a packer may drop it meanwhile: its documents are in packs
            _enter_missing(index, spool, segment)


def _tidy(places: Places) -> None:
    """Remove from the stores what earlier runs that were killed left half-written."""
    from toolkit.core.storage import open_store

    for url in places.stores:
        try:
            open_store(url).tidy()
        except Unavailable:
            raise
        except ToolError as error:  # a bucket's policy may forbid it, a server may not know how; nothing depends on it
            _log.info("%s; what killed runs left half-written stays there", error)


def _expected(index: Index, pack_bytes: int) -> int:
    """About how many packs this run will make."""
    number, size = index.waiting_size()
    return len(index.packs(stored=False)) + max(size // pack_bytes, number // PACK_DOCUMENTS) + (number > 0)


def _names(index: Index, pack_bytes: int, damaged: set[str]) -> Iterator[str]:
    """The packs that were planned before, then new ones."""
    yield from index.packs(stored=False)
    while documents := index.waiting(pack_bytes, PACK_DOCUMENTS, damaged):
        now = datetime.now(UTC)
        identity = hashlib.sha256("".join(f"{one.message_id} {one.digest}\n" for one in documents).encode()).hexdigest()[:16]
        name = f"{now:%Y%m%dT%H%M%SZ}-{identity}"
        index.plan(name, now.isoformat(timespec="seconds"), [one.message_id for one in documents])
        yield name


@contextlib.contextmanager
def _opened(places: Places) -> Iterator[Callable[[str], _Pack]]:
    """What one process needs, and its work."""
    from toolkit.core.storage import open_store

    with open_index(places.index) as index, Spool(places.spool) as spool:
        stores = [open_store(url) for url in places.stores]
        yield lambda name: _store(index, spool, stores, name)


def _store(index: Index, spool: Spool, stores: Sequence[Store], name: str) -> _Pack:
    """Make one planned pack, put it into all stores and enter it."""
    from pyarrow import parquet

    found: list[VisitRows] = []
    done = _Pack()

    def documents() -> Iterator[tuple[Document, bytes]]:
        for document in index.documents_of(name):
            body = _body(spool, stores, name, document, done)
            if body is None:
                continue
            try:
                found.append(read_rows(body, document))
            except BadData as error:
                done.warnings.append(str(error))
            yield document, body

    created = index.created(name)  # not now: a run that repeats a killed one writes the same bytes
    with tempfile.TemporaryDirectory(prefix=_HALF_MADE, dir=spool.directory) as place:
        files = {pack_object(name): Path(place, "pack")}
        with files[pack_object(name)].open("wb") as stream:
            placed = write_pack(stream, name, documents())
        index.forget(done.lost)
        index.release(name, done.unread)
        if not placed:
            return done
        tables = RowTables()
        for one in found:
            tables.add(one)
        for number, (key, table) in enumerate(tables.tables()):
            path = Path(place, f"rows{number}")
            parquet.write_table(table, path, compression="zstd")
            files[f"rows/{key}/{name}.parquet"] = path
        objects = [_described(key, file) for key, file in files.items()]
        _put_all(stores, files, objects)
        manifest = Path(place, "manifest")
        manifest.write_bytes(write_manifest(name, created, len(placed), objects))
        listed = _described(manifest_object(name), manifest)
        _put_all(stores, {listed.name: manifest}, [listed])
    index.enter_rows(found)
    index.packed(name, created, placed, [*objects, listed])
    return replace(done, documents=len(placed))


def _body(spool: Spool, stores: Sequence[Store], pack: str, document: Document, done: _Pack) -> bytes | None:
    """A document's bytes from the spool, or from what an earlier run that was killed made of this pack; None when there are none."""
    try:
        entry = spool.read(document.place)
        if entry.digest == document.digest:
            return entry.body
        problem, remedy, lost = "is not what was received", _SEND_AGAIN, True
    except BadData as error:
        problem, remedy, lost = error.problem, _SEND_AGAIN, True
    except (NoInput, InputOutput) as error:
        problem, remedy, lost = str(error), "it stays where it is", False
    for store in stores:
        with contextlib.suppress(BadData, NoInput, InputOutput), store.open(pack_object(pack)) as stream:
            for packed, body in read_pack(stream, pack, pack_object(pack)):
                if (packed.message_id, packed.digest) == (document.message_id, document.digest):
                    return body
    done.errors.append(f"{document.message_id} at {document.place}: {problem}; {remedy}")
    (done.lost if lost else done.unread).append(document.message_id)
    if lost:
        done.spoiled.add(document.place.split(":")[1])
    return None


def _described(name: str, path: Path) -> StoredObject:
    with path.open("rb") as stream:
        return StoredObject(name, "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest(), path.stat().st_size)


def _put_all(stores: Sequence[Store], files: dict[str, Path], objects: Sequence[StoredObject]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as workers:
        done = [workers.submit(copy_checked, store, one.name, files[one.name], one.digest) for store in stores for one in objects]
        try:
            for one in done:
                one.result()
        except BaseException:
            for one in done:
                one.cancel()  # where one object cannot go, the others would only try for long
            raise


def _enter_missing(index: Index, spool: Spool, segment: str) -> set[str]:
    """Enter what the index does not know; the names of the packs that hold what it knows as packed."""
    packs: set[str] = set()
    entries = spool.entries(segment)
    while some := list(itertools.islice(entries, 100)):
        known = {document.message_id: document for document in index.messages(entry.message_id for _, entry in some)}
        packs.update(one.place.split(":")[1] for one in known.values() if one.place.startswith("pack:"))
        missing = [_as_document(place, entry) for place, entry in some if entry.message_id not in known]
        if missing:
            index.add(missing)
    return packs


def _as_document(place: str, entry: Entry) -> Document:
    return Document(entry.message_id, entry.mdc_visit, entry.digest, len(entry.body), entry.client, entry.received, place)


def _empty(index: Index, spool: Spool, places: Places, ended: dict[str, set[str]], spoiled: set[str]) -> None:
    """Drop the segments that nothing stands in any more. Only those that had ended before they were compared with the index: the
    receiver writes a document first and enters it then. What this run did not pack itself must be listed in every store."""
    from toolkit.core.storage import open_store

    stores = [open_store(url) for url in places.stores]
    for segment, packs in ended.items():
        if index.in_segment(segment):
            continue
        lists = [manifest_object(one) for one in sorted(packs)]
        missing = [f"{name} in {store.url}" for name in lists for store in stores if not store.exists(name)]
        if missing:
            _log.warning("%s: missing; segment %s stays in the spool; run mdc-store verify, which copies it there", missing[0], segment)
        elif segment in spoiled:
            path = os.path.join(spool.directory, segment)
            os.rename(f"{path}.spool", f"{path}.damaged")  # for whoever wants to save what is left of it
            synchronise(spool.directory)
        else:
            with contextlib.suppress(NoInput):
                spool.drop(segment)
