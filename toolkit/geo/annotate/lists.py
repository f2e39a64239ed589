"""Several lists of peaks as one."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from toolkit.geo.annotate.names import merged
from toolkit.geo.annotate.peaks import Peak, box_around, read_peaks
from toolkit.geo.panorama import Panorama

_log = logging.getLogger(__name__)
_FARTHEST = 1000e3  # metres, where a panorama does not say how far it looks


def read_lists(paths: Sequence[str], panorama: Panorama, language: str | None) -> tuple[list[Peak], int]:
    """The peaks of all lists that can be within the panorama's range, each once, and how many rows could not be used.

    Each of those is told as an error. `language`: see `toolkit.geo.annotate.peaks.read_peaks`, whose errors this raises too.
    """
    bad = 0

    def complain(place: str, problem: str, remedy: str) -> None:
        nonlocal bad
        bad += 1
        _log.error("%s: %s; %s", place, problem, remedy)

    area = box_around(panorama.latitude, panorama.longitude, float(panorama.parameters.get("range_m", _FARTHEST)))
    return merged([peak for path in paths for peak in read_peaks(path, language, area, complain)]), bad
