"""What lies on both sides of a line, at several distances: whether it parts two surfaces, and which of them is farther away.

The compass operator (Ruzon, Tomasi 2001) compares the colours of the two halves of a disc. Here the halves are Gaussian discs on
both sides of a line whose direction is known, and are compared by Fisher's criterion: the difference of their mean colours over
the variation within each. A silhouette parts two surfaces from near to far; the grain of ice, woods and waves has the same mean on
both sides as soon as the discs hold a few grains.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from toolkit.geo.lines import Points

_NEAR = 0.4  # of the distance: the near pair of discs, which sees also a narrow layer between two ridges
_RADIUS = 0.4  # of the distance of a disc's centre from the line: its Gaussian


def parted(points: Points, picture: np.ndarray, haze: np.ndarray | None, distance: float, noise: float) -> Points:
    """The `points` with what the two sides of their lines tell, in `picture`, float32, shape (rows, columns, 3), 0..1.

    `parted`: how clearly two surfaces are parted, mean over a near pair of discs and one with centres at `distance` pixels. `ordered`: 1
    where the upper side is as near as the lower one or nearer to `haze`, the colour of the sky's end, shape (columns, 3), 0 where only
    the lower side has it: air in between drives all colours towards that one (Koschmieder 1924), so the farther of two surfaces is
    nearer to it. Water, snow patches and sunlit clearings under darker ground fail this. Without a sky it is 1.
    `noise`: the contrast that says nothing: this much variation is always taken to be there.
    """
    clear = np.zeros(len(points.x))
    for far in (_NEAR * distance, distance):
        (upper, lower), variation = _discs(points, picture, far)
        apart = np.square(lower - upper).sum(axis=1)
        clear += 0.5 * apart / (apart + 0.5 * variation + noise**2)
    order = np.ones(len(points.x))
    if haze is not None:
        colour = haze[np.clip(points.column, 0, len(haze) - 1)]
        above, below = (np.sqrt(np.square(side - colour).sum(axis=1)) for side in (upper, lower))
        order = np.minimum(2.0 * (below + noise) / (above + below + 2.0 * noise), 1.0)
    return dataclasses.replace(points, parted=clear, ordered=order)


def _discs(points: Points, picture: np.ndarray, distance: float) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The mean colours of Gaussian discs above and below each line, shapes (N, 3), and the sum of the variances within both, (N,)."""
    step = max(1, int(distance / 2.5))  # a Gaussian of one cell's width is as round as it needs to be
    with_squares = np.concatenate([picture, np.square(picture).sum(axis=2, keepdims=True)], axis=2)
    width = _RADIUS * distance / step
    small = np.moveaxis(_shrunk(with_squares, step), 2, 0)
    cells = [ndimage.gaussian_filter(np.ascontiguousarray(cell), width, mode="nearest", truncate=2.5) for cell in small]
    normal_x, normal_y = -np.sin(points.angle), np.cos(points.angle)  # downwards: angles are in (-pi/2, pi/2]
    means, variation = [], np.zeros(len(points.x))
    for side in (-distance, distance):
        place = [(points.y + side * normal_y + 0.5) / step - 0.5, (points.x + side * normal_x + 0.5) / step - 0.5]
        sampled = np.stack([ndimage.map_coordinates(cell, place, order=1, mode="nearest") for cell in cells], axis=1)
        means.append(sampled[:, :3].astype(np.float64))
        variation += np.maximum(sampled[:, 3] - np.square(means[-1]).sum(axis=1), 0.0)
    return (means[0], means[1]), variation


def _shrunk(picture: np.ndarray, step: int) -> np.ndarray:
    rows, columns = -(-picture.shape[0] // step), -(-picture.shape[1] // step)
    if step == 1:
        return picture
    padded = np.pad(picture, ((0, rows * step - picture.shape[0]), (0, columns * step - picture.shape[1]), (0, 0)), mode="edge")
    return padded.reshape(rows, step, columns, step, picture.shape[2]).mean(axis=(1, 3))
