"""Packs: the objects that documents are kept in, and the row tables that analyses read; mdc-store(1) tells users the same.

``packs/NAME.parquet``: a row a document as it was received (message_id, mdc_visit, digest, client, received, document), compressed
with zstd in row groups of about 1 MB so that one document is read without the others.

``rows/TABLE/year=YYYY/month=M/NAME.parquet``: the rows of these documents, TABLE being visits, diagnoses, procedures or results, by
the visit's start (year=0/month=0 where that is not known). Their columns are those of `toolkit.datacentre.cda` behind a head, the same in
all: message_id and received of the document, mdc_visit, patient and start of the visit; then, but in visits, number: the
item's place in the document, from 0.

``packs/NAME.json``: the list of the pack's objects with sizes and digests, and a digest of itself. It is written last: what it does not
list is not there yet.

Nothing here is ever changed, so a visit whose document was corrected has rows of each version, perhaps in several packs and months. The
newest version, which alone counts, is the one with the greatest (received, message_id) of all rows of that mdc_visit in ``rows/visits``;
a job that maps over parts decides this first, for all parts, and keeps in the other tables the rows with the message_ids that it chose. The
index holds the newest versions only: `toolkit.datacentre.index_rows` goes by the same rule.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

from toolkit.core.errors import BadData, NoInput
from toolkit.datacentre.cda import VisitRows
from toolkit.datacentre.index import Document, StoredObject, moved

if TYPE_CHECKING:
    import pyarrow

    from toolkit.core.storage import Store

GROUP_BYTES = 1 << 20  # of documents in one row group
_OPEN_PACKS = 16  # whose ends a reader keeps in memory
_LEVEL = 3  # of zstd
_REMEDY = "run mdc-store verify, which restores it from the other copy"


def pack_object(pack: str) -> str:
    """The name of the object that holds a pack's documents."""
    return f"packs/{pack}.parquet"


def manifest_object(pack: str) -> str:
    """The name of the object that lists a pack's objects."""
    return f"packs/{pack}.json"


def manifests(store: Store) -> Iterator[str]:
    """The names of the packs that a store lists, in order of time."""
    for name in sorted(entry.name for entry in store.list("packs")):
        if name.endswith(".json"):
            yield name.removeprefix("packs/").removesuffix(".json")


def write_pack(stream: BinaryIO, pack: str, documents: Iterable[tuple[Document, bytes]]) -> list[Document]:
    """Write a pack; the documents at their new places."""
    import pyarrow
    from pyarrow import parquet

    schema = _schema()
    placed: list[Document] = []
    group: list[tuple[Document, bytes]] = []
    with parquet.ParquetWriter(stream, schema, compression="zstd", compression_level=_LEVEL, use_dictionary=["client"]) as writer:

        def write_group() -> None:
            values = [(one.message_id, one.mdc_visit, one.digest, one.client, one.received, body) for one, body in group]
            columns = [pyarrow.array(column, kind) for column, kind in zip(zip(*values, strict=True), schema.types, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
            group.clear()

        size = 0
        for document, body in documents:
            placed.append(moved(document, pack, len(placed)))
            group.append((document, body))
            size += len(body)
            if size >= GROUP_BYTES:
                write_group()
                size = 0
        if group:
            write_group()
    return placed


def read_pack(stream: BinaryIO, pack: str, place: str) -> Iterator[tuple[Document, bytes]]:
    """All documents of a pack in their order; each one's digest is checked. Raises BadData when the pack is damaged."""
    row = 0
    for group in _groups(stream, place):
        for values in group:
            yield _checked(values, pack, row, place)
            row += 1


class RowTables:
    """The row tables of a pack's documents, by table and by the month in which the visit began."""

    def __init__(self) -> None:
        self._columns: dict[str, list[list[Any]]] = {}

    def add(self, one: VisitRows) -> None:
        """Add a document's rows."""
        visit = one.visit
        partition = month_of(visit.start)
        head = one.message_id, one.received, visit.mdc_visit, visit.patient, visit.start
        self._append(f"visits/{partition}", (*head, visit.end, visit.sex, visit.age, visit.city, visit.kind, visit.accessions))
        for table, items in (("diagnoses", one.diagnoses), ("procedures", one.procedures), ("results", one.results)):
            if len(items) > 1:
                columns = (*([word] * len(items) for word in head), range(len(items)), *zip(*items, strict=True))
                for column, values in zip(self._of(f"{table}/{partition}", len(columns)), columns, strict=True):
                    column.extend(values)
            elif items:
                self._append(f"{table}/{partition}", (*head, 0, *items[0]))

    def _append(self, key: str, row: tuple[Any, ...]) -> None:
        for column, value in zip(self._of(key, len(row)), row, strict=True):
            column.append(value)

    def _of(self, key: str, width: int) -> list[list[Any]]:
        """The columns of a table and partition: not rows, which would be a million objects."""
        found = self._columns.get(key)
        if found is None:
            found = self._columns[key] = [[] for _ in range(width)]
        return found

    def tables(self) -> Iterator[tuple[str, pyarrow.Table]]:
        """Each table and partition, as ``visits/year=2026/month=1``, with its rows."""
        import pyarrow

        for key, columns in self._columns.items():
            schema = row_schema(key.partition("/")[0])
            arrays = [pyarrow.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
            yield key, pyarrow.Table.from_arrays(arrays, schema=schema)


def write_manifest(pack: str, created: str, documents: int, objects: Sequence[StoredObject]) -> bytes:
    """The list of a pack's objects as JSON, with a digest of itself."""
    listed = [{"name": one.name, "digest": one.digest, "size": one.size} for one in objects]
    content = {"pack": pack, "created": created, "documents": documents, "objects": listed}
    return json.dumps({**content, "digest": _digest(_canonical(content))}, indent=1).encode() + b"\n"


def read_manifest(data: bytes, place: str) -> tuple[str, str, int, list[StoredObject]]:
    """Pack, time of creation, number of documents, objects. Raises BadData when it was damaged."""
    try:
        content = json.loads(data)
        if content.pop("digest") != _digest(_canonical(content)):
            raise ValueError("another digest")
        objects = [StoredObject(one["name"], one["digest"], one["size"]) for one in content["objects"]]
        return content["pack"], content["created"], content["documents"], objects
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadData(place, "is no list of a pack's objects, or was damaged", _REMEDY) from error


class PackReader:
    """Reads single documents out of packs; the ends of the packs last used stay in memory. For several threads."""

    def __init__(self, store: Store, archive: Store | None = None) -> None:
        self._stores = [one for one in (store, archive) if one is not None]
        self._ends: OrderedDict[str, tuple[Any, list[int]]] = OrderedDict()
        self._lock = Lock()

    def read(self, place: str) -> bytes:
        """The document at ``pack:NAME:ROW``: from the store, or from the archive when the store's copy fails.

        Raises what the store raises, BadData when no copy has it whole.
        """
        pack, _, row = place.removeprefix("pack:").rpartition(":")
        for number, store in enumerate(self._stores):
            try:
                return self._read(store, number, pack, int(row))
            except Exception:
                if store is self._stores[-1]:
                    raise
        raise NoInput(place, "there is no store", "name one")

    def _read(self, store: Store, number: int, pack: str, row: int) -> bytes:
        from pyarrow import ArrowException, parquet

        name, key = pack_object(pack), f"{number}:{pack}"
        with self._lock:
            end = self._ends.get(key)
        try:
            with store.open(name) as stream:
                file = parquet.ParquetFile(stream, metadata=end[0] if end else None)
                if end is None:
                    metadata = file.metadata
                    end = metadata, list(accumulate(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)))
                    with self._lock:
                        self._ends[key] = end
                        while len(self._ends) > _OPEN_PACKS:
                            self._ends.popitem(last=False)
                group = next((at for at, total in enumerate(end[1]) if total > row), None)
                if group is None:
                    raise BadData(name, f"has no row {row}", _REMEDY)
                within = row - (end[1][group - 1] if group else 0)
                values = file.read_row_group(group).slice(within, 1).to_pylist()[0]
        except (ArrowException, OSError) as error:
            raise BadData(name, "is damaged", _REMEDY) from error
        return _checked(values, pack, row, name)[1]


def _groups(stream: BinaryIO, place: str) -> Iterator[list[dict[str, Any]]]:
    from pyarrow import ArrowException, parquet

    try:
        file = parquet.ParquetFile(stream)
        for group in range(file.metadata.num_row_groups):
            yield file.read_row_group(group).to_pylist()
    except (ArrowException, OSError) as error:
        raise BadData(place, "is damaged", _REMEDY) from error


def _checked(values: dict[str, Any], pack: str, row: int, place: str) -> tuple[Document, bytes]:
    body = values.pop("document")
    if _digest(body) != values["digest"]:
        raise BadData(place, f"row {row} is damaged", _REMEDY)
    return Document(**values, size=len(body), place=f"pack:{pack}:{row}"), body


def _schema() -> pyarrow.Schema:
    import pyarrow

    texts = [(name, pyarrow.string()) for name in ("message_id", "mdc_visit", "digest", "client", "received")]
    return pyarrow.schema([*texts, ("document", pyarrow.binary())])


@cache
def row_schema(table: str) -> pyarrow.Schema:
    """The columns of a row table."""
    import pyarrow

    text, number, flag = pyarrow.string(), pyarrow.float64(), pyarrow.bool_()
    head = [(name, text) for name in ("message_id", "received", "mdc_visit", "patient", "start")]
    code = [*head, ("number", pyarrow.int32()), ("code", text), ("system", text)]
    visit = [("end", text), ("sex", text), ("age", number), ("city", text), ("kind", text), ("accessions", pyarrow.list_(text))]
    measured = [("time", text), ("value", number), ("unit", text), ("text", text), ("low", number), ("high", number)]
    judged = [("low_inclusive", flag), ("high_inclusive", flag), ("interpretation", text), ("printed", text)]
    columns = {
        "visits": head + visit,
        "diagnoses": [*code, ("plain", text)],
        "procedures": [*code, ("time", text)],
        "results": code + measured + judged,
    }
    return pyarrow.schema(columns[table])


def month_of(start: str) -> str:
    """The directory of the month in which a visit began."""
    known = len(start) >= 6 and start[:6].isascii() and start[:6].isdigit() and 1 <= int(start[4:6]) <= 12
    return f"year={int(start[:4])}/month={int(start[4:6])}" if known else "year=0/month=0"


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
