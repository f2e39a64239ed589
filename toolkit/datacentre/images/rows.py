"""The index's rows of images: an instance, its series, its study.

An instance's place is ``spool:`` until store and archive hold it, then ``object:LIST`` with the name of the list that it stands in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, exists, func, select

from toolkit.datacentre.images.instances import Instance
from toolkit.datacentre.index import Index, StoredObject, portions
from toolkit.datacentre.index_aliases import newest_of
from toolkit.datacentre.index_rows import lock_rows, upsert
from toolkit.datacentre.index_tables import INSTANCES, OBJECTS, SERIES, STUDIES

if TYPE_CHECKING:
    from sqlalchemy import Connection

SPOOLED = "spool:"


@dataclass(frozen=True)
class Held:
    """An object that the data centre has: what is known of it, who sent it (the subject of the client's certificate, or its AE title; empty
    where an index was lost before it was packed), when (ISO 8601, UTC) and where it is.

    As the index gives it, patient, accession, modality and study date are those of its study and series, under the newest pseudonyms."""

    instance: Instance
    client: str
    received: str
    place: str


@dataclass(frozen=True)
class ImageCounts:
    """What the index knows of: instances in the spool and in the stores and their bytes, series and studies; `oldest_image` is when the
    first that still waits in the spool was received, empty without one."""

    images_spooled: int
    images_spooled_bytes: int
    images_stored: int
    images_stored_bytes: int
    series: int
    studies: int
    oldest_image: str


def held(index: Index, uids: Iterable[str]) -> dict[str, Held]:
    """The instances of these SOP instance UIDs that are known, by UID."""
    with index.reading() as connection:
        return _known(connection, uids)


def enter(index: Index, some: Sequence[Held]) -> dict[str, Held]:
    """Enter instances that are in the spool, unless their UIDs are known; what the index then holds of each, by UID. Where the sender of a
    known one was not known, it is noted."""
    with index.writing() as connection:
        lock_rows(connection)
        known = _known(connection, {one.instance.instance_uid for one in some})
        new = []
        for one in some:
            uid = one.instance.instance_uid
            standing = known.get(uid)
            if standing is None:
                known[uid] = one
                new.append(one)
            elif one.client and not standing.client and standing.instance.digest == one.instance.digest:
                connection.execute(INSTANCES.update().where(INSTANCES.c.instance_uid == uid).values(client=one.client))
                known[uid] = replace(standing, client=one.client)
        _write(connection, new)
        return known


def waiting(index: Index, limit_bytes: int, limit: int, without: Collection[str] = ()) -> list[Held]:
    """The first instances, the oldest first, that are in the spool: about `limit_bytes` and at most `limit` of them, and none whose
    UID is in `without`."""
    chosen, size = [], 0
    statement = _SELECT.where(INSTANCES.c.place == SPOOLED).order_by(INSTANCES.c.received, INSTANCES.c.instance_uid)
    with index.reading() as connection:
        for row in connection.execute(statement.limit(limit + len(without))):
            if row.instance_uid in without:
                continue
            chosen.append(_held(row))
            size += row.size
            if size >= limit_bytes or len(chosen) >= limit:
                break
    return chosen


def stored(index: Index, some: Sequence[Held], listed: StoredObject) -> None:
    """Enter instances that all stores hold, and their list, in one transaction. Doing it again changes nothing.

    What the stores hold counts: an instance that is known from the spool with other content is replaced.
    """
    with index.writing() as connection:
        lock_rows(connection)
        known = _known(connection, {one.instance.instance_uid for one in some})
        rows = []
        for one in some:
            earlier = known.get(one.instance.instance_uid)
            same = earlier is not None and earlier.instance.digest == one.instance.digest
            rows.append(replace(one, client=earlier.client) if earlier is not None and same and not one.client else one)
        _write(connection, rows)
        connection.exec_driver_sql(upsert(connection, OBJECTS), [(listed.name, "", listed.digest, listed.size)])


def forget(index: Index, uids: Sequence[str]) -> None:
    """Take instances out that the spool has lost for good: sent again, they are new. A series or study without instances goes, too."""
    with index.writing() as connection:
        lock_rows(connection)
        for some in portions(uids):
            gone = INSTANCES.c.instance_uid.in_(some), INSTANCES.c.place == SPOOLED
            studies = connection.scalars(select(INSTANCES.c.study_uid).where(*gone).distinct()).all()
            connection.execute(INSTANCES.delete().where(*gone))
            same_series = (INSTANCES.c.study_uid == SERIES.c.study_uid) & (INSTANCES.c.series_uid == SERIES.c.series_uid)
            connection.execute(SERIES.delete().where(SERIES.c.study_uid.in_(studies), ~exists().where(same_series)))
            same_study = INSTANCES.c.study_uid == STUDIES.c.study_uid
            connection.execute(STUDIES.delete().where(STUDIES.c.study_uid.in_(studies), ~exists().where(same_study)))


def in_list(index: Index, name: str) -> int:
    """How many instances the index places in a list."""
    with index.reading() as connection:
        return connection.scalar(select(func.count()).where(INSTANCES.c.place == f"object:{name}")) or 0


def lists_known(index: Index) -> set[str]:
    """The names of the lists that the index knows."""
    found = select(OBJECTS.c.name).where(OBJECTS.c.name >= "lists/", OBJECTS.c.name < "lists0")  # 0 follows / in ASCII
    with index.reading() as connection:
        return {name.removeprefix("lists/").removesuffix(".json") for name in connection.scalars(found)}


def spooled(index: Index) -> list[Held]:
    """The instances whose place is in the spool."""
    with index.reading() as connection:
        return [_held(row) for row in connection.execute(_SELECT.where(INSTANCES.c.place == SPOOLED))]


def image_counts(index: Index) -> ImageCounts:
    """How much there is."""
    totals = select(func.count(), func.coalesce(func.sum(INSTANCES.c.size), 0), func.min(INSTANCES.c.received))
    with index.reading() as connection:
        spooled, spooled_bytes, oldest = connection.execute(totals.where(INSTANCES.c.place == SPOOLED)).one()
        number, size, _ = connection.execute(totals.where(INSTANCES.c.place != SPOOLED)).one()
        series, studies = (connection.scalar(select(func.count()).select_from(table)) or 0 for table in (SERIES, STUDIES))
    return ImageCounts(spooled, int(spooled_bytes), number, int(size), series, studies, oldest or "")


def _write(connection: Connection, some: Sequence[Held]) -> None:
    if not some:
        return
    patients: dict[str, str] = {}
    tokens: dict[str, str] = {}
    if connection.exec_driver_sql("SELECT 1 FROM aliases LIMIT 1").first() is not None:
        patients = newest_of(connection, "patient", {one.instance.patient for one in some})
        tokens = newest_of(connection, "accession", {one.instance.accession for one in some})
    studies, series, instances = [], [], []
    for one in sorted(some, key=lambda one: (one.received, one.instance.instance_uid)):
        what = one.instance
        patient, accession = patients.get(what.patient, what.patient), tokens.get(what.accession, what.accession)
        source = one.received, what.instance_uid
        studies.append((what.study_uid, *source, patient, accession, what.study_date))
        series.append((what.study_uid, what.series_uid, *source, what.modality))
        head = what.instance_uid, what.study_uid, what.series_uid, what.sop_class, what.transfer_syntax, what.digest, what.size
        instances.append((*head, one.client, one.received, one.place))
    rows: Any
    for table, rows in ((STUDIES, studies), (SERIES, series), (INSTANCES, instances)):
        connection.exec_driver_sql(upsert(connection, table), rows)


def _known(connection: Connection, uids: Iterable[str]) -> dict[str, Held]:
    wanted = list(uids)
    if len(wanted) == 1:  # as a receiver asks, for each image: the text for the driver itself takes a third of the time
        dialect: Any = type(connection.dialect)
        rows = connection.exec_driver_sql(_one(dialect, connection.dialect.name), (wanted[0],))
        return {row.instance_uid: _held(row) for row in rows}
    found = {}
    for some in portions(wanted):
        for row in connection.execute(_SELECT.where(INSTANCES.c.instance_uid.in_(some))):
            found[row.instance_uid] = _held(row)
    return found


@cache
def _one(dialect: Any, name: str) -> str:
    statement = _SELECT.where(INSTANCES.c.instance_uid == bindparam("uid"))
    return str(statement.compile(dialect=dialect(paramstyle="format" if name == "postgresql" else "qmark")))


_SELECT = (
    select(INSTANCES, SERIES.c.modality, STUDIES.c.patient, STUDIES.c.accession, STUDIES.c.date.label("study_date"))
    .join(SERIES, (SERIES.c.study_uid == INSTANCES.c.study_uid) & (SERIES.c.series_uid == INSTANCES.c.series_uid))
    .join(STUDIES, STUDIES.c.study_uid == INSTANCES.c.study_uid)
)
_FIELDS = tuple(field.name for field in fields(Instance))


def _held(row: Any) -> Held:
    return Held(Instance(*(getattr(row, name) for name in _FIELDS)), row.client, row.received, row.place)
