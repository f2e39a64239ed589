"""The data centre's index: which documents were received, where each one is, and what can be searched for in them.

It is a database of SQLite or PostgreSQL. The store is the truth: `mdc-store reindex` fills an empty index from it. A
document's place is ``spool:SEGMENT:OFFSET`` until a pack holds it in store and archive, then ``pack:NAME:ROW``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from toolkit.core.database import READING, ensure_tables, failures_named, open_database, place_of

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

    from toolkit.datacentre.aliases import Alias
    from toolkit.datacentre.cda import VisitRows

Item = TypeVar("Item")
_AT_ONCE = 500  # values in one IN (...)
_VISITS_AT_ONCE = 500  # in one transaction, a fraction of a second


@dataclass(frozen=True)
class Document:
    """One received document: its idempotent message id, the pseudonym of its visit, ``sha256:<hex>`` and the size in bytes of its body,
    who sent it (the subject of the client's certificate), when (ISO 8601, UTC) and where it is."""

    message_id: str
    mdc_visit: str
    digest: str
    size: int
    client: str
    received: str
    place: str


@dataclass(frozen=True)
class StoredObject:
    """An object that both store and archive hold: its name, ``sha256:<hex>``, its size in bytes."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True)
class Counts:
    """What the index knows of: documents in the spool and in packs and bytes of their bodies; packs that are planned, and those that
    store and archive hold, with their objects and these' bytes; visits, patients; `oldest` is when the first document that still waits
    in the spool was received, empty without one."""

    spooled: int
    spooled_bytes: int
    packed: int
    packed_bytes: int
    planned_packs: int
    packs: int
    objects: int
    object_bytes: int
    visits: int
    patients: int
    oldest: str


def open_index(url: str, *, create: bool = True, patience: float = 60.0) -> Index:
    """The index in the database `url` (a path, ``sqlite:///PATH`` or ``postgresql://...``), made unless `create` is off.

    `patience` is how many seconds to wait while another process writes. Raises what `open_database` raises.
    """
    engine = open_database(url, create=create, patience=patience)
    try:
        return Index(engine, create)
    except BaseException:
        engine.dispose()
        raise


class Index:
    """An open index; a context manager. Safe for several threads, and for several processes that opened it after they were forked."""

    def __init__(self, engine: Engine, create: bool = True) -> None:
        from toolkit.datacentre import index_tables

        self._tables, self._engine, self.place = index_tables, engine, place_of(engine)
        ensure_tables(engine, "index", index_tables.VERSION, index_tables.METADATA, create=create, upgrade=index_tables.upgrade)

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that only reads; the database's errors are ours there."""
        with failures_named(self.place), self._engine.connect().execution_options(**READING) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction, durable when it ends; the database's errors are ours there."""
        with failures_named(self.place), self._engine.begin() as connection:
            yield connection

    # -- what the gateway needs

    def add(self, documents: Sequence[Document]) -> list[Document]:
        """Enter the documents in one transaction, durable when this returns; for each, the one that the index then holds.

        That is an earlier one where its message id is known, or its content for the same visit: the caller compares digests
        and tells a repeated message (the same) from a false one (another digest under a known message id).
        """
        from toolkit.datacentre.index_rows import lock_documents, plain_insert

        table = self._tables.DOCUMENTS
        standing, new = [], []
        with self.writing() as connection:
            lock_documents(connection)
            by_id = {one.message_id: one for one in self._chosen(connection, "message_id", {one.message_id for one in documents})}
            of_visits = sorted(self._chosen(connection, "mdc_visit", {one.mdc_visit for one in documents}), key=_order, reverse=True)
            by_content = {(one.mdc_visit, one.digest): one for one in of_visits}
            for document in documents:
                held = by_id.get(document.message_id) or by_content.get((document.mdc_visit, document.digest))
                if held is None:
                    held = by_id[document.message_id] = by_content[document.mdc_visit, document.digest] = document
                    new.append((*vars(document).values(), None))
                standing.append(held)
            if new:
                connection.exec_driver_sql(plain_insert(connection, table), new)
        return standing

    def message(self, message_id: str) -> Document | None:
        """The document that came with this message id."""
        return next(iter(self.messages([message_id])), None)

    def messages(self, message_ids: Iterable[str]) -> list[Document]:
        """The documents of those message ids that are known, in no order."""
        return self._documents("message_id", message_ids)

    def find(self, mdc_visit: str) -> list[Document]:
        """The documents of a visit under any of its pseudonyms, the oldest first; empty when it is not known."""
        return sorted(self._documents("mdc_visit", self._names("visit", mdc_visit)), key=_order)

    def search(
        self,
        *,
        patient: str = "",
        diagnosis: str = "",
        accession: str = "",
        since: str = "",
        until: str = "",
        limit: int = 100,
        after: str = "",
    ) -> list[str]:
        """At most `limit` pseudonyms of visits, in their own order and behind `after`, of which all that is given holds: the
        patient's pseudonym, the beginning of a diagnosis's code (``I50``), an accession token, the visit's start at or after `since` and
        before `until` (HL7 times: ``20260131``)."""
        from sqlalchemy import select

        tables = self._tables
        visits = tables.VISITS.c
        statement = select(visits.mdc_visit).where(visits.mdc_visit > after).order_by(visits.mdc_visit).limit(limit)
        if patient:
            statement = statement.where(visits.patient == self._names("patient", patient)[0])
        if since:
            statement = statement.where(visits.start >= since)
        if until:
            statement = statement.where(visits.start < until, visits.start != "")
        if diagnosis:
            from toolkit.datacentre.cda import plain_code

            rows, prefix = tables.DIAGNOSES.c, plain_code(diagnosis)
            found = select(rows.mdc_visit).where(rows.plain >= prefix, rows.plain < prefix + "\U0010ffff")
            statement = statement.where(visits.mdc_visit.in_(found))
        if accession:
            tokens, newest = tables.ACCESSIONS.c, self._names("accession", accession)[0]
            statement = statement.where(visits.mdc_visit.in_(select(tokens.mdc_visit).where(tokens.accession == newest)))
        with self.reading() as connection:
            return list(connection.scalars(statement))

    # -- what the packer needs

    def waiting(self, limit_bytes: int, limit: int, without: Collection[str] = ()) -> list[Document]:
        """The first documents, the oldest first, that are in the spool and in no planned pack: about `limit_bytes` and at most `limit` of
        them, and none whose message id is in `without`."""
        from sqlalchemy import select

        table, chosen, size = self._tables.DOCUMENTS, [], 0
        statement = select(table).where(table.c.pack.is_(None)).order_by(table.c.received, table.c.message_id).limit(limit + len(without))
        with self.reading() as connection:
            for row in connection.execute(statement):
                if row.message_id in without:
                    continue
                chosen.append(_document(row))
                size += row.size
                if size >= limit_bytes or len(chosen) >= limit:
                    break
        return chosen

    def waiting_size(self) -> tuple[int, int]:
        """How many documents are in no planned pack, and their bytes."""
        from sqlalchemy import func, select

        documents = self._tables.DOCUMENTS.c
        statement = select(func.count(), func.coalesce(func.sum(documents.size), 0)).where(documents.pack.is_(None))
        with self.reading() as connection:
            number, size = connection.execute(statement).one()
        return number, int(size)

    def plan(self, pack: str, created: str, message_ids: Sequence[str]) -> None:
        """Write down that `pack` will hold these documents."""
        table = self._tables.DOCUMENTS
        with self.writing() as connection:
            connection.execute(self._tables.PACKS.insert(), {"name": pack, "stored": False, "created": created})
            for some in portions(message_ids):
                connection.execute(table.update().where(table.c.message_id.in_(some)).values(pack=pack))

    def release(self, pack: str, message_ids: Sequence[str]) -> None:
        """Take documents out of a planned pack, and forget the pack when none is left."""
        from sqlalchemy import delete, select

        documents, packs = self._tables.DOCUMENTS, self._tables.PACKS
        with self.writing() as connection:
            for some in portions(message_ids):
                connection.execute(documents.update().where(documents.c.message_id.in_(some), documents.c.pack == pack).values(pack=None))
            if connection.execute(select(documents.c.message_id).where(documents.c.pack == pack).limit(1)).first() is None:
                connection.execute(delete(packs).where(packs.c.name == pack, packs.c.stored.is_(False)))

    def forget(self, message_ids: Sequence[str]) -> None:
        """Take documents out that the spool has lost for good: sent again, they are new."""
        documents = self._tables.DOCUMENTS
        with self.writing() as connection:
            for some in portions(message_ids):
                connection.execute(documents.delete().where(documents.c.message_id.in_(some), _in_spool(documents.c.place)))

    def created(self, pack: str) -> str:
        """When a pack was planned."""
        from sqlalchemy import select

        packs = self._tables.PACKS.c
        with self.reading() as connection:
            return str(connection.scalar(select(packs.created).where(packs.name == pack)))

    def packs(self, stored: bool) -> list[str]:
        """The names of the packs that are stored, or are planned only, the oldest first."""
        from sqlalchemy import select

        packs = self._tables.PACKS.c
        with self.reading() as connection:
            return list(connection.scalars(select(packs.name).where(packs.stored == stored).order_by(packs.created, packs.name)))

    def documents_of(self, pack: str) -> list[Document]:
        """The documents of a planned or stored pack, in the order in which they were received."""
        return sorted(self._documents("pack", [pack]), key=_order)

    def in_segment(self, segment: str) -> bool:
        """Whether a document still has its place in this segment of the spool."""
        from sqlalchemy import select

        documents = self._tables.DOCUMENTS.c
        first, last = f"spool:{segment}:", f"spool:{segment};"  # ; follows : in ASCII
        statement = select(documents.message_id).where(documents.place >= first, documents.place < last).limit(1)
        with self.reading() as connection:
            return connection.execute(statement).first() is not None

    def in_spool(self) -> list[Document]:
        """The documents whose place is in the spool."""
        from sqlalchemy import select

        table = self._tables.DOCUMENTS
        with self.reading() as connection:
            return [_document(row) for row in connection.execute(select(table).where(_in_spool(table.c.place)))]

    def enter_rows(self, rows: Sequence[VisitRows]) -> None:
        """Enter the rows of documents, those of each visit's newest one; in short transactions, between which the receiver gets its turn.
        Doing it again changes nothing."""
        from toolkit.datacentre.index_rows import enter_rows

        for begin in range(0, len(rows), _VISITS_AT_ONCE):
            with self.writing() as connection:
                enter_rows(connection, rows[begin : begin + _VISITS_AT_ONCE])

    def packed(self, pack: str, created: str, documents: Sequence[Document], objects: Sequence[StoredObject]) -> None:
        """Enter a pack that store and archive hold, in one transaction: the documents' new places, and the objects. Doing it again
        changes nothing."""
        from toolkit.datacentre.index_rows import upsert

        tables = self._tables
        rows: list[tuple[Table, tuple[str, ...], list[tuple[Any, ...]]]] = [
            (tables.PACKS, (), [(pack, True, created)]),
            (tables.DOCUMENTS, ("place", "pack"), [(*vars(one).values(), pack) for one in documents]),
            (tables.OBJECTS, (), [(one.name, pack, one.digest, one.size) for one in objects]),
        ]
        with self.writing() as connection:
            for table, changed, values in rows:
                if values:
                    connection.exec_driver_sql(upsert(connection, table, changed), values)

    def objects(self) -> list[StoredObject]:
        """All objects that store and archive must hold, by name."""
        from sqlalchemy import select

        table = self._tables.OBJECTS
        with self.reading() as connection:
            rows = connection.execute(select(table.c.name, table.c.digest, table.c.size).order_by(table.c.name))
            return [StoredObject(*row) for row in rows]

    def documents_by_pack(self) -> dict[str, int]:
        """How many documents each stored pack holds."""
        from sqlalchemy import func, select

        documents = self._tables.DOCUMENTS.c
        statement = select(documents.pack, func.count()).where(_in_pack(documents.place)).group_by(documents.pack)
        with self.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(statement)}

    def counts(self) -> Counts:
        """How much there is."""
        from sqlalchemy import func, select

        tables = self._tables
        documents = tables.DOCUMENTS.c
        totals = select(func.count(), func.coalesce(func.sum(documents.size), 0), func.min(documents.received))
        with self.reading() as connection:
            spooled, spooled_bytes, oldest = connection.execute(totals.where(_in_spool(documents.place))).one()
            packed, packed_bytes, _ = connection.execute(totals.where(_in_pack(documents.place))).one()
            by_state = select(tables.PACKS.c.stored, func.count()).group_by(tables.PACKS.c.stored)
            packs = {row[0]: row[1] for row in connection.execute(by_state)}
            objects, object_bytes = connection.execute(select(func.count(), func.coalesce(func.sum(tables.OBJECTS.c.size), 0))).one()
            visits, patients = (connection.scalar(select(func.count()).select_from(table)) for table in (tables.VISITS, tables.PATIENTS))
        held = packs.get(False, 0), packs.get(True, 0), objects, int(object_bytes)
        return Counts(spooled, int(spooled_bytes), packed, int(packed_bytes), *held, visits or 0, patients or 0, oldest or "")

    def check_aliases(self, aliases: Sequence[Alias]) -> None:
        """Raises BadData when `enter_aliases` would; changes nothing."""
        from toolkit.datacentre.index_aliases import check_aliases

        with self.reading() as connection:
            check_aliases(connection, aliases)

    def enter_aliases(self, aliases: Sequence[Alias], listed: StoredObject) -> None:
        """Go by these replacements of pseudonyms from now on; `listed` is where they are kept. In short transactions; doing it
        again changes nothing. Raises BadData when they contradict earlier ones."""
        from toolkit.datacentre.index_aliases import enter_aliases
        from toolkit.datacentre.index_rows import upsert

        for some in portions(aliases):
            with self.writing() as connection:
                enter_aliases(connection, some)
        with self.writing() as connection:
            connection.exec_driver_sql(upsert(connection, self._tables.OBJECTS), [(listed.name, "", listed.digest, listed.size)])

    def _names(self, kind: str, one: str) -> list[str]:
        from toolkit.datacentre.index_aliases import names_of

        with self.reading() as connection:
            return names_of(connection, kind, one)

    def _documents(self, column: str, values: Iterable[str]) -> list[Document]:
        with self.reading() as connection:
            return list(self._chosen(connection, column, values))

    def _chosen(self, connection: Connection, column: str, values: Iterable[str]) -> Iterator[Document]:
        from sqlalchemy import select

        table = self._tables.DOCUMENTS
        for some in portions(list(values)):
            yield from map(_document, connection.execute(select(table).where(table.c[column].in_(some))))


def moved(document: Document, pack: str, row: int) -> Document:
    """The same document at its place in a pack."""
    values = vars(document) | {"place": f"pack:{pack}:{row}"}  # twice as fast as replace()
    return Document(**values)


def _order(document: Document) -> tuple[str, str]:
    return document.received, document.message_id


def _in_spool(place: Any) -> Any:
    return (place >= "spool:") & (place < "spool;")  # ; follows : in ASCII


def _in_pack(place: Any) -> Any:
    return (place >= "pack:") & (place < "pack;")


_FIELDS = tuple(field.name for field in fields(Document))


def _document(row: Any) -> Document:
    return Document(*(getattr(row, name) for name in _FIELDS))


def portions(values: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """As many at once as one IN (...) holds."""
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
