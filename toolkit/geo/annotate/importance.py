"""Which of the peaks in a picture a person asks for first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from toolkit.geo.annotate.visible import Sight


def importance(sight: Sight) -> float:
    """A number that is larger for what deserves its label more; only its order means something.

    How far a summit stands out comes first: its prominence, else the metres by which it rises over what is seen beside it. A thousand
    metres of that are as much as twice the height of the summit squared, or a fifth of the distance: log(100 + p) + 0.5 log(h) -
    0.4 log(d + 2 km). The 100 m keep small prominences, which lists give badly, from mattering; the 2 km do so for what is near.
    Where lists know only some prominences, what is seen is taken at half: it is less than the prominence only where something nearer
    hides the saddle, and more wherever the saddle lies behind.
    """
    rise = sight.peak.prominence if sight.peak.prominence is not None else 0.5 * sight.relief
    return math.log(100.0 + max(0.0, rise)) + 0.5 * math.log(max(100.0, sight.height)) - 0.4 * math.log(sight.distance + 2000.0)


def by_importance(sights: Sequence[Sight]) -> list[int]:
    """The places in `sights`, the most important first; what is equal keeps its order."""
    return sorted(range(len(sights)), key=lambda i: -importance(sights[i]))
