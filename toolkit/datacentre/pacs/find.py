"""C-FIND of the study root (PS3.4 C.4.1, C.6.2): studies, series and instances as the index knows them.

Criteria of the levels above may stand together with those of the level that is asked for. Attributes that the data centre does not keep
(names, times) match anything, come back empty, and the status says so (0xFF01).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from toolkit.core.errors import BadData, ToolError
from toolkit.datacentre.images.search import INSTANCE_KEYS, SERIES_KEYS, STUDY_KEYS, find_instances, find_series, find_studies
from toolkit.datacentre.index import Index

PENDING, PENDING_NOT_ALL, CANCELLED, MISMATCH, UNABLE, BUSY = 0xFF00, 0xFF01, 0xFE00, 0xA900, 0xC000, 0xA700
_WAITING = 20  # answers that wait for the network: a peer that reads slowly does not fill our memory
_log = logging.getLogger(__name__)


class _Level(NamedTuple):
    find: Callable[[Index, Mapping[str, str]], Iterator[dict[str, str]]]
    keys: tuple[str, ...]
    unique: str


_LEVELS = {
    "STUDY": _Level(find_studies, STUDY_KEYS, "StudyInstanceUID"),
    "SERIES": _Level(find_series, SERIES_KEYS, "SeriesInstanceUID"),
    "IMAGE": _Level(find_instances, INSTANCE_KEYS, "SOPInstanceUID"),
}
_OURS = {"QueryRetrieveLevel", "SpecificCharacterSet", "RetrieveAETitle"}


def answers(index: Index, title: str, event: Any) -> Iterator[tuple[int, Dataset | None]]:
    """What C-FIND is answered, one match after the other; `title` is ours."""
    try:
        asked = event.identifier
        words = {element.keyword: _text(element.value) for element in asked if element.keyword and element.keyword not in _OURS}
        level = _LEVELS[str(asked.QueryRetrieveLevel)]
    except (AttributeError, KeyError):
        yield MISMATCH, None
        return
    except Exception:  # pydicom's parser raises anything
        yield UNABLE, None
        return
    unknown = [word for word, value in words.items() if value.strip("*") and word not in level.keys]
    status = PENDING_NOT_ALL if unknown else PENDING
    try:
        for found in level.find(index, {word: value for word, value in words.items() if word in level.keys}):
            while event.assoc.is_established and event.assoc.dul.to_provider_queue.qsize() > _WAITING:
                time.sleep(0.001)
            if event.is_cancelled:
                yield CANCELLED, None
                return
            if not event.assoc.is_established or event.assoc.dimse.closing:
                return
            yield status, _match(asked, words, level, found, title)
    except BadData:
        yield MISMATCH, None
    except ToolError as error:
        _log.error("%s; a query is told to wait", error)
        yield BUSY, None


def _text(value: Any) -> str:
    if isinstance(value, MultiValue):
        return "\\".join(str(one) for one in value)
    return "" if value is None or isinstance(value, (bytes, Sequence)) else str(value)


def _match(asked: Dataset, words: Mapping[str, str], level: _Level, found: Mapping[str, str], title: str) -> Dataset:
    made = Dataset()
    for word in {**words, level.unique: ""}:
        kind = dictionary_VR(word)
        value = found.get(word, "")
        setattr(made, word, [] if kind == "SQ" else value.split("\\") if "\\" in value else value or None)
    made.QueryRetrieveLevel = asked.QueryRetrieveLevel
    made.RetrieveAETitle = title
    return made
