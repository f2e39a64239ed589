"""Finding images in the index: what C-FIND asks for (PS3.4, annex C.6.2, study root), and the visit that a study belongs to.

Criteria go by DICOM's keywords and are written as in an identifier: empty or ``*`` matches anything, ``*`` and ``?`` are wildcards in
PatientID, AccessionNumber and Modality, ``20260101-20260131``, ``20260101-`` and ``-20260131`` are ranges of StudyDate, a backslash stands
between several UIDs or modalities. Others than those of the level and those above it are BadData. Pseudonyms that were replaced are
found by the newest as by the old ones, and answered as the newest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, func, literal, or_, select, tuple_

from toolkit.core.errors import BadData
from toolkit.datacentre.images.rows import SPOOLED
from toolkit.datacentre.index import Index, portions
from toolkit.datacentre.index_aliases import names_of, newest_of
from toolkit.datacentre.index_tables import ACCESSIONS, INSTANCES, SERIES, STUDIES

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select

_AT_ONCE = 500  # answers fetched at once: whoever reads slowly holds no transaction open
_LARGEST = 10_000  # characters of one criterion
_DATES = re.compile(r"([0-9]{8})?(-)?([0-9]{8})?")
_STUDY_KEYS: dict[str, Any] = {
    "StudyInstanceUID": STUDIES.c.study_uid,
    "StudyDate": STUDIES.c.date,
    "AccessionNumber": STUDIES.c.accession,
    "PatientID": STUDIES.c.patient,
}
_SERIES_KEYS: dict[str, Any] = {"SeriesInstanceUID": SERIES.c.series_uid, "Modality": SERIES.c.modality}
_INSTANCE_KEYS: dict[str, Any] = {"SOPInstanceUID": INSTANCES.c.instance_uid, "SOPClassUID": INSTANCES.c.sop_class}
_WILD = ("AccessionNumber", "PatientID", "Modality", "ModalitiesInStudy")
STUDY_KEYS = (*_STUDY_KEYS, "ModalitiesInStudy")
SERIES_KEYS = (*STUDY_KEYS, *_SERIES_KEYS)
INSTANCE_KEYS = (*SERIES_KEYS, *_INSTANCE_KEYS)


def find_studies(index: Index, criteria: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The studies that meet all criteria, by their UIDs: `STUDY_KEYS`, NumberOfStudyRelatedSeries and NumberOfStudyRelatedInstances of
    each. Those that come in meanwhile may be among them. Raises BadData for a criterion that is none."""
    _check(criteria, STUDY_KEYS)
    columns = (
        *_named(_STUDY_KEYS),
        _count(select(func.count()).select_from(SERIES).where(SERIES.c.study_uid == STUDIES.c.study_uid), "NumberOfStudyRelatedSeries"),
        _count(
            select(func.count()).select_from(INSTANCES).where(INSTANCES.c.study_uid == STUDIES.c.study_uid), "NumberOfStudyRelatedInstances"
        ),
    )
    return _pages(index, select(*columns), criteria, [STUDIES.c.study_uid], _add_modalities)


def find_series(index: Index, criteria: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The series that meet all criteria, by the UIDs of study and series: what `SERIES_KEYS` names of each but ModalitiesInStudy, and
    NumberOfSeriesRelatedInstances. As `find_studies`."""
    _check(criteria, SERIES_KEYS)
    number = select(func.count()).select_from(INSTANCES).where(_OF_SERIES)
    columns = *_named(_STUDY_KEYS), *_named(_SERIES_KEYS), _count(number, "NumberOfSeriesRelatedInstances")
    statement = select(*columns).join(STUDIES, STUDIES.c.study_uid == SERIES.c.study_uid)
    return _pages(index, statement, criteria, [SERIES.c.study_uid, SERIES.c.series_uid])


def find_instances(index: Index, criteria: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The instances that meet all criteria, by their UIDs: what `INSTANCE_KEYS` names of each but ModalitiesInStudy. As `find_studies`."""
    _check(criteria, INSTANCE_KEYS)
    columns = *_named(_STUDY_KEYS), *_named(_SERIES_KEYS), *_named(_INSTANCE_KEYS)
    statement = select(*columns).select_from(INSTANCES).join(SERIES, _OF_SERIES).join(STUDIES, STUDIES.c.study_uid == INSTANCES.c.study_uid)
    return _pages(index, statement, criteria, [INSTANCES.c.instance_uid])


def studies_of_visit(index: Index, mdc_visit: str) -> list[str]:
    """The UIDs of the studies whose accession token the newest document of a visit names, in their order; the visit under any of its
    pseudonyms."""
    with index.reading() as connection:
        visit = names_of(connection, "visit", mdc_visit)[0]
        tokens = select(ACCESSIONS.c.accession).where(ACCESSIONS.c.mdc_visit == visit, ACCESSIONS.c.accession != "")
        statement = select(STUDIES.c.study_uid).where(STUDIES.c.accession.in_(tokens)).order_by(STUDIES.c.study_uid)
        return list(connection.scalars(statement))


def visits_of_study(index: Index, study_uid: str) -> list[str]:
    """The newest pseudonyms of the visits whose newest documents name the accession token of a study, in their order: one, unless the
    hospital gave two visits one accession number."""
    token = select(STUDIES.c.accession).where(STUDIES.c.study_uid == study_uid, STUDIES.c.accession != "")
    visits = select(ACCESSIONS.c.mdc_visit).where(ACCESSIONS.c.accession.in_(token)).distinct()
    with index.reading() as connection:
        return sorted(connection.scalars(visits))


def places_of_study(index: Index, study_uid: str) -> dict[str, str]:
    """Where each instance of a study is, by its UID: the name of its object in store and archive, or ``spool:``."""
    rows = select(INSTANCES.c.instance_uid, INSTANCES.c.series_uid, INSTANCES.c.place).where(INSTANCES.c.study_uid == study_uid)
    with index.reading() as connection:
        return {
            uid: SPOOLED if place == SPOOLED else f"images/{study_uid}/{series}/{uid}.dcm"
            for uid, series, place in connection.execute(rows.order_by(INSTANCES.c.instance_uid))
        }


_OF_SERIES = (INSTANCES.c.study_uid == SERIES.c.study_uid) & (INSTANCES.c.series_uid == SERIES.c.series_uid)


def _named(keys: Mapping[str, Any]) -> list[Any]:
    return [column.label(keyword) for keyword, column in keys.items()]


def _count(statement: Select[Any], keyword: str) -> Any:
    return statement.scalar_subquery().label(keyword)


def _pages(
    index: Index,
    statement: Select[Any],
    criteria: Mapping[str, str],
    keys: Sequence[Any],
    complete: Callable[[Connection, list[dict[str, str]]], None] = lambda connection, rows: None,
) -> Iterator[dict[str, str]]:
    """The answers in the order of `keys`, some fetched at once, to which `complete` adds what it knows."""
    names = [f"key{number}" for number in range(len(keys))]
    statement = statement.add_columns(*(key.label(name) for key, name in zip(keys, names, strict=True))).order_by(*keys).limit(_AT_ONCE)
    last: list[Any] = []
    while True:
        with index.reading() as connection:
            wanted = statement.where(*_conditions(connection, criteria))
            if last:
                wanted = wanted.where(tuple_(*keys) > tuple_(*map(literal, last)) if len(keys) > 1 else keys[0] > last[0])
            rows = [dict(row) for row in connection.execute(wanted).mappings()]
            for row in rows:
                last = [row.pop(name) for name in names]
            answers = [{keyword: str(value) for keyword, value in row.items()} for row in rows]
            if answers:
                complete(connection, answers)
        yield from answers
        if len(rows) < _AT_ONCE:
            return


def _add_modalities(connection: Connection, studies: list[dict[str, str]]) -> None:
    found: dict[str, list[str]] = {}
    wanted = SERIES.c.study_uid.in_([study["StudyInstanceUID"] for study in studies]), SERIES.c.modality != ""
    for study_uid, modality in connection.execute(select(SERIES.c.study_uid, SERIES.c.modality).where(*wanted).distinct()):
        found.setdefault(study_uid, []).append(modality)
    for study in studies:
        study["ModalitiesInStudy"] = "\\".join(sorted(found.get(study["StudyInstanceUID"], ())))


def _check(criteria: Mapping[str, str], keys: Sequence[str]) -> None:
    for keyword, value in criteria.items():
        if keyword not in keys:
            raise BadData(keyword, "cannot be searched for at this level", f"ask for {', '.join(keys)}")
        if len(value) > _LARGEST or "\0" in value:
            raise BadData(keyword, "is no criterion", "write fewer or other characters")
        dates = _DATES.fullmatch(value) if keyword == "StudyDate" else None
        if (
            keyword == "StudyDate"
            and value not in ("", "*")
            and (dates is None or value == "-" or (dates[1] and dates[3] and not dates[2]))
        ):
            raise BadData(keyword, "is no date or range of dates", "write 20260101, 20260101-20260131, 20260101- or -20260131")


def _conditions(connection: Connection, criteria: Mapping[str, str]) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    columns = _STUDY_KEYS | _SERIES_KEYS | _INSTANCE_KEYS
    for keyword, value in criteria.items():
        if not value.strip("*"):
            continue
        if keyword == "ModalitiesInStudy":
            inner = SERIES.alias()
            met = or_(*(_like(connection, inner.c.modality, one) for one in value.split("\\")))
            conditions.append(exists().where(inner.c.study_uid == STUDIES.c.study_uid, met))
        elif keyword == "StudyDate":
            conditions += _dated(value)
        elif keyword in _WILD:
            kind = {"PatientID": "patient", "AccessionNumber": "accession"}.get(keyword)
            newest = newest_of(connection, kind, [value]).get(value, value) if kind else value
            some = [newest] if kind else value.split("\\")
            conditions.append(or_(*(_like(connection, columns[keyword], one) for one in some)))
        else:
            some = [one.strip() for one in value.split("\\")]
            conditions.append(or_(*(columns[keyword].in_(part) for part in portions(some))))
    return conditions


def _dated(value: str) -> list[ColumnElement[bool]]:
    first, dash, last = value.partition("-")
    if not dash:
        return [STUDIES.c.date == value]
    found = [STUDIES.c.date != ""]
    if first:
        found.append(STUDIES.c.date >= first)
    if last:
        found.append(STUDIES.c.date <= last)
    return found


def _like(connection: Connection, column: Any, pattern: str) -> ColumnElement[bool]:
    """Case matters in DICOM (PS3.4, C.2.2.2.4), which SQLite's LIKE forgets."""
    if "*" not in pattern and "?" not in pattern:
        return column == pattern
    if connection.dialect.name == "sqlite":
        return column.op("GLOB")(pattern.replace("[", "[[]"))
    words = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return column.like(words.replace("*", "%").replace("?", "_"), escape="\\")
