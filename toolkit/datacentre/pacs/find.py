"""C-FIND of the study root (PS3.4 C.4.1, C.6.2) in the index: studies, series, instances.

Single values, lists of UIDs, wildcards and ranges of dates match; criteria of all levels may stand together. Attributes that the data
centre does not keep (names, times) match anything, come back empty, and the status says so (0xFF01).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from sqlalchemy import Column, ColumnElement, Select, and_, func, or_, select

from toolkit.core.errors import ToolError
from toolkit.datacentre.index import Index
from toolkit.datacentre.index_aliases import newest_of
from toolkit.datacentre.index_tables import INSTANCES, SERIES, STUDIES

PENDING, PENDING_NOT_ALL, CANCELLED, MISMATCH, UNABLE, BUSY = 0xFF00, 0xFF01, 0xFE00, 0xA900, 0xC000, 0xA700
_AT_ONCE = 500  # answers taken from the index at once
_WAITING = 20  # answers that wait for the network; a peer that reads slowly does not fill our memory
_DATE = re.compile(r"(\d{8})?(-)?(\d{8})?")
_COLUMNS: dict[str, tuple[int, Column[Any]]] = {
    "StudyInstanceUID": (0, STUDIES.c.study_uid),
    "StudyDate": (0, STUDIES.c.date),
    "AccessionNumber": (0, STUDIES.c.accession),
    "PatientID": (0, STUDIES.c.patient),
    "SeriesInstanceUID": (1, SERIES.c.series_uid),
    "Modality": (1, SERIES.c.modality),
    "SOPInstanceUID": (2, INSTANCES.c.instance_uid),
    "SOPClassUID": (2, INSTANCES.c.sop_class),
}
_LEVELS = {"STUDY": 0, "SERIES": 1, "IMAGE": 2}
_KEYS: tuple[Column[Any], ...] = (STUDIES.c.study_uid, SERIES.c.series_uid, INSTANCES.c.instance_uid)
_COUNTED = {"NumberOfStudyRelatedSeries": 0, "NumberOfStudyRelatedInstances": 0, "NumberOfSeriesRelatedInstances": 1}
_OWN = {"QueryRetrieveLevel", "SpecificCharacterSet", "ModalitiesInStudy", "RetrieveAETitle", "InstanceAvailability"}
_ALIASED = {"PatientID": "patient", "AccessionNumber": "accession"}
_log = logging.getLogger(__name__)


def answers(index: Index, title: str, event: Any) -> Iterator[tuple[int, Dataset | None]]:
    """What C-FIND is answered, one match after the other; `title` is ours."""
    try:
        asked = event.identifier
        level = _LEVELS[str(asked.QueryRetrieveLevel)]
        wanted = [element.keyword for element in asked if element.keyword]
        statement = _statement(index, asked, level)
        status = PENDING_NOT_ALL if any(_unknown(asked, word, level) for word in wanted) else PENDING
    except ToolError as error:
        _log.error("%s; a query is told to wait", error)
        yield BUSY, None
        return
    except (AttributeError, KeyError, ValueError):
        yield MISMATCH, None
        return
    except Exception:  # pydicom's parser raises anything
        yield UNABLE, None
        return
    last = ""
    while True:
        try:
            with index.reading() as connection:
                rows = [dict(row._mapping) for row in connection.execute(statement.where(_KEYS[level] > last).limit(_AT_ONCE))]
                more = _modalities(connection, rows) if "ModalitiesInStudy" in wanted and level == 0 else {}
        except ToolError as error:
            _log.error("%s; a query is told to wait", error)
            yield BUSY, None
            return
        for row in rows:
            while event.assoc.is_established and event.assoc.dul.to_provider_queue.qsize() > _WAITING:
                time.sleep(0.001)
            if event.is_cancelled:
                yield CANCELLED, None
                return
            if not event.assoc.is_established or getattr(event.assoc.dimse, "closing", False):
                return
            yield status, _match(asked, level, row, more, title)
        if len(rows) < _AT_ONCE:
            return
        last = rows[-1][_KEYS[level].name]


def _statement(index: Index, asked: Dataset, level: int) -> Select[Any]:
    """One row a match, with all columns of its level and above, and what is counted, in the order of the level's UID."""
    tables: tuple[Any, ...] = (STUDIES, SERIES, INSTANCES)
    columns = [column for word, (at, column) in _COLUMNS.items() if at <= level]
    counts = [_count(word).label(word) for word, at in _COUNTED.items() if at <= level and word in asked]
    origin = tables[0]
    if level > 0:
        origin = origin.join(SERIES, SERIES.c.study_uid == STUDIES.c.study_uid)
    if level > 1:
        origin = origin.join(INSTANCES, INSTANCES.c.series_uid == SERIES.c.series_uid)
    statement = select(*columns, *counts).select_from(origin).order_by(_KEYS[level])
    for word, (at, column) in _COLUMNS.items():
        values = _values(asked, word)
        if not values:
            continue
        if word in _ALIASED:
            with index.reading() as connection:
                newest = newest_of(connection, _ALIASED[word], values)
            values = [newest.get(value, value) for value in values]
        criterion = _date(column, values[0]) if word == "StudyDate" else _criterion(column, values, "UID" not in word)
        statement = statement.where(criterion if at <= level else _below(level, at, criterion))
    modalities = _values(asked, "ModalitiesInStudy")
    if modalities and level == 0:
        statement = statement.where(_below(0, 1, _criterion(SERIES.c.modality, modalities, True)))
    return statement


def _below(level: int, at: int, criterion: ColumnElement[bool]) -> ColumnElement[bool]:
    """A criterion of a lower level than that of the query: something of it has to match."""
    if level == 1:
        return SERIES.c.series_uid.in_(select(INSTANCES.c.series_uid).where(criterion))
    found = select(SERIES.c.study_uid).where(criterion)
    if at == 2:
        found = select(SERIES.c.study_uid).join(INSTANCES, INSTANCES.c.series_uid == SERIES.c.series_uid).where(criterion)
    return STUDIES.c.study_uid.in_(found)


def _count(word: str) -> Any:
    series, instances = SERIES.alias("counted"), INSTANCES.alias("counted_instances")
    if word == "NumberOfSeriesRelatedInstances":
        return select(func.count()).where(instances.c.series_uid == SERIES.c.series_uid).scalar_subquery()
    if word == "NumberOfStudyRelatedSeries":
        return select(func.count()).where(series.c.study_uid == STUDIES.c.study_uid).scalar_subquery()
    joined = instances.join(series, series.c.series_uid == instances.c.series_uid)
    return select(func.count()).select_from(joined).where(series.c.study_uid == STUDIES.c.study_uid).scalar_subquery()


def _values(asked: Dataset, word: str) -> list[str]:
    value = asked.get(word)
    if value is None or value == "":
        return []
    values = [value] if isinstance(value, str) else list(value) if hasattr(value, "__iter__") else [value]
    return [str(one) for one in values if str(one) not in ("", "*")]


def _criterion(column: Column[Any], values: list[str], wild: bool) -> ColumnElement[bool]:
    plain = [value for value in values if not wild or not set("*?") & set(value)]
    patterns = [value for value in values if value not in plain]
    found: list[ColumnElement[bool]] = [column.in_(plain)] if plain else []
    for pattern in patterns:
        like = re.sub(r"([\\%_])", r"\\\1", pattern).replace("*", "%").replace("?", "_")
        found.append(column.like(like, escape="\\"))
    return or_(*found)


def _date(column: Column[Any], value: str) -> ColumnElement[bool]:
    matched = _DATE.fullmatch(value.replace(" ", ""))
    if matched is None or not (matched[1] or matched[3]):
        raise ValueError(value)
    if not matched[2]:
        return column == value
    return and_(column != "", column >= (matched[1] or ""), column <= (matched[3] or "99999999"))


def _modalities(connection: Any, rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    uids = [row["study_uid"] for row in rows]
    for row in connection.execute(select(SERIES.c.study_uid, SERIES.c.modality).where(SERIES.c.study_uid.in_(uids)).distinct()):
        found.setdefault(row.study_uid, set()).add(row.modality)
    return {uid: sorted(modalities) for uid, modalities in found.items()}


def _unknown(asked: Dataset, word: str, level: int) -> bool:
    """Whether the attribute is a criterion that is not kept here."""
    known = word in _OWN or word in _COLUMNS or _COUNTED.get(word, 9) <= level
    return not known and bool(_values(asked, word))


def _match(asked: Dataset, level: int, row: dict[str, Any], modalities: dict[str, list[str]], title: str) -> Dataset:
    made = Dataset()
    for element in asked:
        word = element.keyword
        if not word or word == "SpecificCharacterSet":
            continue
        at, column = _COLUMNS.get(word, (9, None))
        if column is not None and at <= level:
            setattr(made, word, row[column.name])
        elif word in row:
            setattr(made, word, row[word])
        elif word == "ModalitiesInStudy":
            made.ModalitiesInStudy = modalities.get(row["study_uid"], [])
        elif dictionary_VR(word) == "SQ":
            setattr(made, word, [])
        else:
            setattr(made, word, None)
    setattr(made, ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")[level], row[_KEYS[level].name])
    made.QueryRetrieveLevel = asked.QueryRetrieveLevel
    made.RetrieveAETitle = title
    return made
