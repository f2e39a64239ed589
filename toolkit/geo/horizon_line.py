"""The border between sky and land in a photograph, by dynamic programming over columns.

Sky is what is smooth from the upper border down to a line; the first line that ends smoothness along the whole picture is the
border. Clouds have soft edges and end; the skyline is sharp and crosses the picture. (The path search is that of Lie, Lin and
Hung 2005, with the calm above the line instead of its strength alone.)
"""

from __future__ import annotations

import numpy as np

from toolkit.geo.lines import Gradient, Points

_NEAR = 1.5  # working pixels across the border within which a line is the border
_COLUMNS = 400  # the border is searched in a picture of this width first: finer does not help, and clouds cost less there
_STEEPEST = 4  # rows a column that the border may climb


def sky_border(gradient: Gradient, low: float) -> np.ndarray | None:
    """The row of the border for each column, float64, shape (columns,); 0 where land fills the column; None without a sky.

    `low`: gradient that lines exceed and noise does not.
    """
    columns = gradient.magnitude.shape[1]
    step = max(1, columns // _COLUMNS)
    edge = _reduced(gradient.magnitude, step)
    flat = np.abs(gradient.normal_y[::step, ::step])[: edge.shape[0], : edge.shape[1]]
    path = _best_path(_gain(edge, flat, low, step), _STEEPEST, bend=0.06)
    below_top = path > 1
    sharp = edge[path, np.arange(len(path))] > 1.6 * low
    if below_top.sum() < 0.2 * len(path) or sharp[below_top].mean() < 0.5:
        return None  # the best path is no line: a picture without a sky
    coarse = np.interp(np.arange(columns), (np.arange(len(path)) + 0.5) * step - 0.5, (path + 0.5) * step - 0.5)
    return np.where(coarse > 2 * step, _refined(gradient, coarse, low, reach=2 * step + 2), 0.0)


def near_border(points: Points, border: np.ndarray | None) -> np.ndarray:
    """Which points lie on the border, bool, shape (N,)."""
    if border is None:
        return np.zeros(len(points.x), np.bool_)
    return np.abs(_below(points, border)) <= _NEAR


def drop_sky(points: Points, border: np.ndarray | None) -> Points:
    """Without the points above the border."""
    return points if border is None else points[_below(points, border) >= -2.0 * _NEAR]


def weights(points: Points, border: np.ndarray | None, skyline: float, depth: float) -> np.ndarray:
    """Weight of each point, shape (N,): `skyline` at the border, then 1 and less with the distance below it (1/e at `depth`)."""
    if border is None:
        return np.ones(len(points.x))
    below = points.y - border[points.column]
    return np.where(near_border(points, border), skyline, np.exp(-np.maximum(below, 0.0) / depth))


def _below(points: Points, border: np.ndarray) -> np.ndarray:
    """Distance of the points from the border, across it, positive below."""
    slope = np.gradient(border)
    return (points.y - np.interp(points.x, np.arange(len(border)), border)) / np.hypot(1.0, slope[points.column])


def _gain(edge: np.ndarray, flat: np.ndarray, low: float, step: int) -> np.ndarray:
    """How well each pixel would do as the border: a sharp, flat edge itself and no edge above it."""
    evidence = edge / (edge + 4.0 * low) * (0.3 + 0.7 * flat)
    rough = np.maximum(edge - 2.0 * low, 0.0)  # what is more than noise
    rough /= rough + 4.0 * low
    above = np.cumsum(rough, axis=0) - rough
    blur = 1 + round(4 / step)  # rows over which an edge itself is smeared
    above = np.vstack([np.zeros((blur, edge.shape[1])), above[:-blur]])
    return evidence - 0.08 * above


def _refined(gradient: Gradient, coarse: np.ndarray, low: float, reach: int) -> np.ndarray:
    """The border of single pixels within `reach` rows of the coarse one."""
    rows, columns = gradient.magnitude.shape
    band = np.round(coarse).astype(np.intp) + np.arange(-reach, reach + 1)[:, None]
    inside = np.clip(band, 0, rows - 1)
    edge = gradient.magnitude[inside, np.arange(columns)].astype(np.float64)
    gain = _gain(edge, np.abs(gradient.normal_y[inside, np.arange(columns)]), low, step=1)
    path = _best_path(gain, _STEEPEST, bend=0.02)
    return inside[path, np.arange(columns)].astype(np.float64)


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
