"""When two lists mean the same peak: names compared without accents, case and the many words for a mountain; and close by."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.geo.annotate.peaks import Peak

# Lists place a summit up to 300 m off; two summits of one name are rarely closer than this.
SAME_M = 1000.0
# Abbreviations that lists use for the same word. Words for a mountain are not dropped: Mount and Mont, but Piz and Pico, tell names apart.
_WORDS = {"mt": "mount", "mtn": "mountain", "pk": "peak", "st": "saint", "ste": "sainte", "mte": "monte", "pto": "punto", "pta": "punta"}
_FOLDED = str.maketrans({"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ł": "l", "đ": "d", "ı": "i"})


def comparable(name: str) -> str:
    """The name without case, accents and punctuation, abbreviations written out: ``Mt. Séliné`` is ``mount seline``.

    Only accents of Latin, Greek and Cyrillic letters go: vowel signs of other scripts are letters.
    """
    folded = unicodedata.normalize("NFKD", name.casefold().translate(_FOLDED))
    folded = re.sub("[\u0300-\u036f'\u2019\u02bc\u02bb.]", lambda sign: " " if sign[0] == "." else "", folded)
    folded = unicodedata.normalize("NFC", folded)
    words = re.sub(r"[\s\-\u2010-\u2015_/()\",;:&\u00b7]+", " ", folded).split()
    return " ".join(_WORDS.get(word, word) for word in words)


def merged(peaks: Iterable[Peak]) -> list[Peak]:
    """Peaks of several lists, each summit once: two with a name in common that are within 1000 m are one.

    What comes first says name and position, what comes later adds what it lacks; a name in the language asked for goes before
    others.
    """
    found: list[Peak] = []
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for peak in peaks:
        same = next((i for key in sorted(peak.keys) for i in holders[key] if _metres_apart(found[i], peak) <= SAME_M), None)
        if same is None:
            same = len(found)
            found.append(peak)
            new = peak.keys
        else:
            first = found[same]
            new = peak.keys - first.keys
            better = peak if peak.translated and not first.translated else first
            found[same] = replace(
                first,
                name=better.name,
                translated=better.translated,
                height=first.height if first.height is not None else peak.height,
                prominence=first.prominence if first.prominence is not None else peak.prominence,
                keys=first.keys | new,
            )
        for key in new:
            holders[key].append(same)
    return found


def _metres_apart(a: Peak, b: Peak) -> float:
    """On a sphere: good to half a per cent, which is all that is asked."""
    east = (a.longitude - b.longitude + 180.0) % 360.0 - 180.0
    return 111_195.0 * math.hypot(a.latitude - b.latitude, east * math.cos(math.radians(a.latitude)))
