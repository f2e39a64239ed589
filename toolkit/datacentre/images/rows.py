"""The index's rows of images: an instance, its series, its study.

An instance's place is ``spool:`` until store and archive hold it, then ``object:LIST`` with the name of the list that it stands in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

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
    where an index was lost before it was packed), when (ISO 8601, UTC) and where it is."""

    instance: Instance
    client: str
    received: str
    place: str


@dataclass(frozen=True)
class ImageCounts:
    """What the index knows of: instances in the spool and in the stores and their bytes, series and studies."""

    images_spooled: int
    images_spooled_bytes: int
    images_stored: int
    images_stored_bytes: int
    series: int
    studies: int


def held(index: Index, uids: Iterable[str]) -> dict[str, Held]:
    """The instances of these SOP instance UIDs that are known, by UID."""
    with index.reading() as connection:
        return _known(connection, uids)


def enter(index: Index, some: Sequence[Held]) -> dict[str, Held]:
    """Enter instances that are in the spool, unless their UIDs are known; what the index then holds of each, by UID. Where the sender of a
    known one was not known, it is noted."""
    with index.writing() as connection:
        lock_rows(connection)
        known = _known(connection, [one.instance.instance_uid for one in some])
        _write(connection, [one for one in some if one.instance.instance_uid not in known])
        for one in some:
            standing = known.setdefault(one.instance.instance_uid, one)
            if one.client and not standing.client and standing.instance.digest == one.instance.digest:
                this = INSTANCES.c.instance_uid == one.instance.instance_uid
                connection.execute(INSTANCES.update().where(this).values(client=one.client))
        return known


def waiting(index: Index, limit_bytes: int, limit: int, without: Collection[str] = ()) -> list[Held]:
    """The first instances, the oldest first, that are in the spool: about `limit_bytes` and at most `limit` of them, and none whose UID
    is in `without`."""
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
    """Enter instances that all stores hold, and their list, in one transaction. Doing it again changes nothing."""
    with index.writing() as connection:
        lock_rows(connection)
        _write(connection, some)
        connection.exec_driver_sql(upsert(connection, OBJECTS), [(listed.name, "", listed.digest, listed.size)])


def forget(index: Index, uids: Sequence[str]) -> None:
    """Take instances out that the spool has lost for good: sent again, they are new."""
    with index.writing() as connection:
        for some in portions(uids):
            connection.execute(INSTANCES.delete().where(INSTANCES.c.instance_uid.in_(some), INSTANCES.c.place == SPOOLED))


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
    totals = select(func.count(), func.coalesce(func.sum(INSTANCES.c.size), 0))
    with index.reading() as connection:
        spooled, spooled_bytes = connection.execute(totals.where(INSTANCES.c.place == SPOOLED)).one()
        number, size = connection.execute(totals.where(INSTANCES.c.place != SPOOLED)).one()
        series, studies = (connection.scalar(select(func.count()).select_from(table)) or 0 for table in (SERIES, STUDIES))
    return ImageCounts(spooled, int(spooled_bytes), number, int(size), series, studies)


def _write(connection: Connection, some: Sequence[Held]) -> None:
    if not some:
        return
    patients = newest_of(connection, "patient", {one.instance.patient for one in some})
    tokens = newest_of(connection, "accession", {one.instance.accession for one in some})
    studies, series, instances = {}, {}, {}
    for one in some:
        what = one.instance
        patient, accession = patients.get(what.patient, what.patient), tokens.get(what.accession, what.accession)
        studies[what.study_uid] = what.study_uid, patient, accession, what.study_date
        series[what.series_uid] = what.series_uid, what.study_uid, what.modality
        head = what.instance_uid, what.series_uid, what.sop_class, what.transfer_syntax, what.digest, what.size
        instances[what.instance_uid] = *head, one.client, one.received, one.place
    rows: Any
    for table, rows in ((STUDIES, studies), (SERIES, series), (INSTANCES, instances)):
        connection.exec_driver_sql(upsert(connection, table), [rows[key] for key in sorted(rows)])


def _known(connection: Connection, uids: Iterable[str]) -> dict[str, Held]:
    found = {}
    for some in portions(list(uids)):
        for row in connection.execute(_SELECT.where(INSTANCES.c.instance_uid.in_(some))):
            found[row.instance_uid] = _held(row)
    return found


_SELECT = (
    select(INSTANCES, SERIES.c.study_uid, SERIES.c.modality, STUDIES.c.patient, STUDIES.c.accession, STUDIES.c.date.label("study_date"))
    .join(SERIES, SERIES.c.series_uid == INSTANCES.c.series_uid)
    .join(STUDIES, STUDIES.c.study_uid == SERIES.c.study_uid)
)
_FIELDS = tuple(field.name for field in fields(Instance))


def _held(row: Any) -> Held:
    return Held(Instance(*(getattr(row, name) for name in _FIELDS)), row.client, row.received, row.place)
