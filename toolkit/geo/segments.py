"""Line features as arcs between two directions: what panoramas and photographs have in common before they meet on a sphere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Segments:
    """N short great-circle arcs in one frame (East-North-Up for a panorama, camera axes of `toolkit.geo.pose` for a photograph).

    `start`, `end`: unit vectors, float64, shape (N, 3). `strength`: weight per radian of arc, float64, shape (N,), not negative.
    """

    start: np.ndarray
    end: np.ndarray
    strength: np.ndarray


@dataclass(frozen=True)
class Polylines:
    """K lines through N points in one frame (as `Segments`), each in the order in which a finger would follow it.

    `points`: unit vectors, float64, shape (N, 3). `first`: int64, shape (K + 1,): line k is points[first[k] : first[k + 1]]; a line may
    be a single point. `strength`: weight per radian of arc, float64, shape (N,), not negative. `skyline`: how certain it is that the sky
    is what lies above the point, float64, shape (N,), 0 to 1. `distance`: metres to the ridge that is seen there, float64, shape (N,);
    None for a photograph.
    """

    points: np.ndarray
    first: np.ndarray
    strength: np.ndarray
    skyline: np.ndarray
    distance: np.ndarray | None = None

    @property
    def line(self) -> np.ndarray:
        """The number of each point's line, int64, shape (N,)."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))


def paths(partners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order points along the lines that their partners make: int64 (order, first), shapes (N,) and (K + 1,).

    `partners`: int64, shape (N, 2): the neighbours of each point along its line, in no order, -1 for none; if a is a partner of b, b is
    one of a. Line k goes through the points order[first[k] : first[k + 1]]; a ring is cut open.
    """
    near = partners.tolist()
    seen = [False] * len(near)
    ends = np.flatnonzero((partners < 0).any(axis=1)).tolist()
    order: list[int] = []
    first = [0]
    for start in [*ends, *range(len(near))]:  # what is left after the ends are rings
        here = start
        while not seen[here]:
            seen[here] = True
            order.append(here)
            here = next((other for other in near[here] if other >= 0 and not seen[other]), here)
        if len(order) > first[-1]:
            first.append(len(order))
    return np.array(order, np.int64), np.array(first, np.int64)
