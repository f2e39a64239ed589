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


@dataclass(frozen=True)
class Pieces:
    """Lines cut into N short pieces, all arrays of N rows: what is fitted to one another has no need to know the lines.

    `points`: the middles, `tangents`: the directions in which the lines run there, unit vectors, shape (N, 3). `length`: radians of arc.
    `strength`, `skyline`, `distance`: as in `Polylines`; `distance` is infinite where the lines have none. `line`: int64, the number of
    the line.
    """

    points: np.ndarray
    tangents: np.ndarray
    length: np.ndarray
    strength: np.ndarray
    skyline: np.ndarray
    distance: np.ndarray
    line: np.ndarray


def cut(lines: Polylines, step: float) -> Pieces:
    """Cut each line into equal pieces of about `step` radians; lines without any length vanish.

    Tangents span three pieces, within the line: edges are found on a grid of pixels and contours in columns, which makes stairs of them.
    """
    points, line = lines.points, lines.line
    arc = np.linalg.norm(np.diff(points, axis=0), axis=1)
    arc[line[1:] != line[:-1]] = 1e-9  # keeps lines apart on the common scale
    along = np.concatenate([[0.0], np.cumsum(arc + 1e-15)]) if len(points) else np.zeros(0)
    begin, end = along[lines.first[:-1]], along[lines.first[1:] - 1]
    count = np.where(end > begin, np.maximum(1, np.round((end - begin) / step)), 0).astype(np.int64)
    length = np.repeat((end - begin) / np.maximum(count, 1), count)
    low, high = np.repeat(begin, count), np.repeat(end, count)
    at = low + (np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + 0.5) * length

    def value(of: np.ndarray, where: np.ndarray) -> np.ndarray:
        return np.interp(where, along, of) if len(along) else np.zeros(0)

    def place(where: np.ndarray) -> np.ndarray:
        return np.stack([value(points[:, axis], where) for axis in range(3)], axis=1)

    middle = place(at)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    tangent = place(np.minimum(at + 1.5 * length, high)) - place(np.maximum(at - 1.5 * length, low))
    tangent -= middle * (tangent * middle).sum(axis=1, keepdims=True)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-15)
    distance = np.full(len(at), np.inf) if lines.distance is None else value(lines.distance, at)
    number = np.repeat(np.arange(len(count)), count)
    return Pieces(middle, tangent, length, value(lines.strength, at), value(lines.skyline, at), distance, number)
