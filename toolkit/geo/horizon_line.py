"""The border between sky and land in a photograph, by dynamic programming over columns.

Sky is what is smooth from the upper border down to a line; the first line that ends smoothness along the whole picture is the
border. Clouds have soft edges and end; the skyline is sharp and crosses the picture. (The path search is that of Lie, Lin and
Hung 2005, with the calm above the line instead of its strength alone.)
"""

from __future__ import annotations

import numpy as np

from toolkit.geo.lines import Gradient, Points

_NEAR = 4.5  # working pixels around the border that are the border: the search's own step and the blur of the picture
_COLUMNS = 400  # the border is searched in a picture of this width: finer does not help, and cost grows with the square


def sky_border(gradient: Gradient, low: float) -> np.ndarray | None:
    """The row of the border for each column, float64, shape (columns,); 0 where land fills the column; None without a sky."""
    columns = gradient.magnitude.shape[1]
    step = max(1, columns // _COLUMNS)
    edge = _reduced(gradient.magnitude, step)
    evidence = edge / (edge + 4.0 * low)
    flat = np.abs(gradient.normal_y[::step, ::step])[: edge.shape[0], : edge.shape[1]]
    reward = evidence * (0.3 + 0.7 * flat)
    # What lies above the line: every gradient there that is more than noise speaks against sky.
    rough = np.maximum(edge - 2.0 * low, 0.0)
    rough /= rough + 4.0 * low
    above = np.cumsum(rough, axis=0) - rough
    above = np.vstack([np.zeros((3, edge.shape[1])), above[:-3]])  # the line's own slope is not above it
    gain = reward - 0.08 * above
    path = _best_path(gain, steepest=4, bend=0.06)
    found = gain[path, np.arange(len(path))]
    if np.mean(found) < 0.1:
        return None
    border = (path + 0.5) * step - 0.5
    return np.interp(np.arange(columns), (np.arange(len(path)) + 0.5) * step - 0.5, border)


def near_border(points: Points, border: np.ndarray | None) -> np.ndarray:
    """Which points lie on the border, bool, shape (N,)."""
    if border is None:
        return np.zeros(len(points.x), np.bool_)
    return np.abs(points.y - border[points.column]) <= _NEAR


def drop_sky(points: Points, border: np.ndarray | None) -> Points:
    """Without the points above the border."""
    if border is None:
        return points
    return points[points.y >= border[points.column] - _NEAR]


def weights(points: Points, border: np.ndarray | None, skyline: float, depth: float) -> np.ndarray:
    """Weight of each point, shape (N,): `skyline` at the border, then 1 and less with the distance below it (1/e at `depth`)."""
    if border is None:
        return np.ones(len(points.x))
    below = points.y - border[points.column]
    return np.where(near_border(points, border), skyline, np.exp(-np.maximum(below, 0.0) / depth))


def _reduced(values: np.ndarray, step: int) -> np.ndarray:
    rows, columns = values.shape[0] // step, values.shape[1] // step
    return values[: rows * step, : columns * step].reshape(rows, step, columns, step).max(axis=(1, 3)).astype(np.float64)


def _best_path(gain: np.ndarray, steepest: int, bend: float) -> np.ndarray:
    """The row in each column of the path with the largest sum of `gain`, shape (rows, columns), less `bend` for each row climbed."""
    rows, columns = gain.shape
    steps = np.arange(-steepest, steepest + 1)
    best, came = gain[:, 0].copy(), np.empty((columns, rows), np.int8)
    for column in range(1, columns):
        padded = np.pad(best, steepest, constant_values=-np.inf)
        options = np.stack([padded[steepest + s : steepest + s + rows] - bend * abs(s) for s in steps])
        came[column] = np.argmax(options, axis=0) - steepest
        best = options.max(axis=0) + gain[:, column]
    path = np.empty(columns, np.intp)
    path[-1] = int(np.argmax(best))
    for column in range(columns - 1, 0, -1):
        path[column - 1] = path[column] + came[column, path[column]]
    return path
