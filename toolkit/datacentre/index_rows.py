"""How rows get into the index: many at once, and of each visit those of its newest document only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite

from toolkit.datacentre.cda import VisitRows
from toolkit.datacentre.index import portions
from toolkit.datacentre.index_tables import ACCESSIONS, DIAGNOSES, PATIENTS, PROCEDURES, RESULTS, SERIES, STUDIES, VISITS

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

CHILDREN = (DIAGNOSES, PROCEDURES, RESULTS, ACCESSIONS)
_SOURCES = {PATIENTS.name: "message_id", STUDIES.name: "instance_uid", SERIES.name: "instance_uid"}  # what their rows come from


def enter_rows(connection: Connection, rows: Iterable[VisitRows]) -> None:
    """Enter the rows of documents within the transaction of `connection`; of a visit of which a newer document is known, nothing. Doing it
    again changes nothing. The newest document is the one that was received last; of two at the same time, the one with the greater
    message id."""
    from toolkit.datacentre.index_aliases import renamed

    lock_rows(connection)
    newest: dict[str, VisitRows] = {}
    for one in renamed(connection, list(rows)):
        earlier = newest.get(one.visit.mdc_visit)
        if earlier is None or _age(earlier) <= _age(one):
            newest[one.visit.mdc_visit] = one
    left = set()
    for some in portions(list(newest)):
        columns = VISITS.c.mdc_visit, VISITS.c.received, VISITS.c.message_id, VISITS.c.patient
        replaced = []
        for known in connection.execute(select(*columns).where(VISITS.c.mdc_visit.in_(some))).all():
            if (known.received, known.message_id) > _age(newest[known.mdc_visit]):
                del newest[known.mdc_visit]
            else:
                replaced.append(known.mdc_visit)
                left.add(known.patient)
        if replaced:
            for table in (*CHILDREN, VISITS):
                connection.execute(delete(table).where(table.c.mdc_visit.in_(replaced)))
    for table, values in _values(newest.values()):
        if values:
            connection.exec_driver_sql(upsert(connection, table) if table is PATIENTS else plain_insert(connection, table), values)
    if left:
        refresh_patients(connection, sorted(left))


def lock_rows(connection: Connection) -> None:
    """Two packers may bring two documents of one visit: one after the other. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('index rows'))"))


def lock_documents(connection: Connection) -> None:
    """Two receivers may get one document: the second has to see the first."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('index documents'))"))


def refresh_patients(connection: Connection, patients: Sequence[str]) -> None:
    """A patient is what the newest document of its visits says; without one there is none."""
    for some in portions(patients):
        connection.execute(delete(PATIENTS).where(PATIENTS.c.patient.in_(some)))
        order = VISITS.c.received, VISITS.c.message_id
        rows = connection.execute(select(VISITS.c.patient, VISITS.c.sex, *order).where(VISITS.c.patient.in_(some)).order_by(*order))
        newest = {row.patient: tuple(row) for row in rows}
        if newest:
            connection.exec_driver_sql(plain_insert(connection, PATIENTS), list(newest.values()))


def upsert(connection: Connection, table: Table, changed: tuple[str, ...] = ()) -> str:
    """The SQL that enters rows, tuples in the order of the table's columns, or sets `changed` (all that are no key) where the
    key is known; a patient, study or series only from what is as new or newer. Text for the driver itself: three
    times as fast as expressions."""
    dialect: Any = type(connection.dialect)
    return _upsert(table, dialect, connection.dialect.name, changed)


@cache
def _insert(table: Table, dialect: Any, name: str) -> str:
    return _sql(insert(table), table, dialect, name)


@cache
def _upsert(table: Table, dialect: Any, name: str, changed: tuple[str, ...]) -> str:
    statement: Any = (postgresql if name == "postgresql" else sqlite).insert(table)
    news = changed or tuple(column.name for column in table.columns if not column.primary_key)
    newer = None
    source = _SOURCES.get(table.name)
    if source is not None:
        mine, theirs = statement.excluded, table.c
        newer = (mine.received > theirs.received) | ((mine.received == theirs.received) & (mine[source] >= theirs[source]))
    values = {one: statement.excluded[one] for one in news}
    statement = statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=values, where=newer)
    return _sql(statement, table, dialect, name)


def plain_insert(connection: Connection, table: Table) -> str:
    """The SQL that enters rows which are not yet there, tuples in the order of the table's columns."""
    dialect: Any = type(connection.dialect)
    return _insert(table, dialect, connection.dialect.name)


def _sql(statement: Any, table: Table, dialect: Any, name: str) -> str:
    columns = [column.name for column in table.columns]
    compiled = statement.compile(dialect=dialect(paramstyle="format" if name == "postgresql" else "qmark"), column_keys=columns)
    if compiled.positiontup != columns:
        raise AssertionError(f"the values of {table.name} stand in another order")
    return str(compiled)


def _age(one: VisitRows) -> tuple[str, str]:
    return one.received, one.message_id


def _values(rows: Iterable[VisitRows]) -> Iterator[tuple[Table, list[tuple[Any, ...]]]]:
    """What is to be entered into each table, as tuples in the order of its columns."""
    patients: dict[str, tuple[Any, ...]] = {}
    visits: list[tuple[Any, ...]] = []
    children: tuple[list[tuple[Any, ...]], ...] = [], [], [], []
    for one in rows:
        visit = one.visit
        key = visit.mdc_visit
        known = patients.get(visit.patient)
        if known is None or known[2:] <= _age(one):
            patients[visit.patient] = (visit.patient, visit.sex, one.received, one.message_id)
        head = key, one.message_id, one.received
        visits.append((*head, visit.patient, visit.sex, visit.age, visit.city, visit.start, visit.end, visit.kind))
        for values, items in zip(children, (one.diagnoses, one.procedures, one.results), strict=False):
            values.extend((key, number, *item) for number, item in enumerate(items))
        children[3].extend((key, number, token) for number, token in enumerate(visit.accessions))
    yield PATIENTS, list(patients.values())
    yield VISITS, visits
    yield from zip(CHILDREN, children, strict=True)
