"""Lines on a grid of azimuth x elevation: which one runs nearest is looked up, for a million points a second, instead of sought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.geo.segments import Polylines, cut

# Layers of a map: in layer d < DIRECTIONS the lines within 45 degrees of the direction d 45 degrees from the horizontal, then all of
# them, then the skyline's.
DIRECTIONS, ALL, SKYLINE = 4, 4, 5


@dataclass(frozen=True)
class ContourMap:
    """Lines cut into N pieces, and a grid over their frame that knows the nearest piece.

    `points`, `tangents`, `normals`: unit vectors, float32, shape (N, 3), in the lines' frame; the normal is to the left of the tangent,
    seen from inside: above a line that runs from west to east. `half`: half the piece's length, radians, `strength`, `skyline`: as in
    `Polylines`, `rise`: radians to the left by which the line moves for each cell by which the elevation model cuts ridges off, all
    float32, shape (N,). `ends`: whether the line ends there, bool, shape (N,). `nearest`: int32, shape (6, rows,
    columns): the nearest piece within `reach` radians of the cell's centre, -1 for none; the layers are those above. `closeness`:
    uint8, same shape, in 1 / 255: what `bells` gives for the distances of the places within three degrees, on average. Columns start at
    azimuth 0, rows at the elevation `low`, radians; `cell`: radians.
    """

    points: np.ndarray
    tangents: np.ndarray
    normals: np.ndarray
    half: np.ndarray
    strength: np.ndarray
    skyline: np.ndarray
    rise: np.ndarray
    ends: np.ndarray
    nearest: np.ndarray
    closeness: np.ndarray
    low: float
    cell: float


@dataclass(frozen=True)
class Nearest:
    """Of each of some points, all arrays of one shape: whether any line is within reach; the nearest piece, int64, 0 where there is none;
    the offset to its left and the distance, radians; the angle between the directions, radians, 0 to pi / 2; and the closeness of
    lines thereabouts, 0 to 1.
    """

    found: np.ndarray
    piece: np.ndarray
    offset: np.ndarray
    distance: np.ndarray
    angle: np.ndarray
    closeness: np.ndarray


def map_lines(
    lines: Polylines, step: float, cell: float, reach: float, spreads: Sequence[float], dem: Sequence[Mapping[str, float]] = ()
) -> ContourMap:
    """Put lines on a grid of cells of `cell` radians, in pieces of about `step` radians; the rest as in `ContourMap` and `bells`.

    `dem`: the elevation model's cells, as in a panorama's parameters; none: the lines are exact.
    """
    pieces = cut(lines, step)
    count = len(pieces.points)
    if not count:  # one piece to which no cell points
        pieces = cut(Polylines(np.eye(3)[:2], np.array([0, 2]), np.zeros(2), np.zeros(2)), np.pi)
    points, tangents, skyline = pieces.points, pieces.tangents, pieces.skyline
    normals = np.cross(tangents, points)
    elevation = np.arcsin(np.clip(points[:, 2], -1.0, 1.0))
    low = float(elevation.min(initial=0.0) - reach - 3.0 * cell)
    columns = round(2.0 * np.pi / cell)
    shape = (6, int(np.ceil((elevation.max(initial=0.0) + reach + 3.0 * cell - low) / cell)), columns)
    change = np.concatenate([[True], pieces.line[1:] != pieces.line[:-1], [True]])
    angle = _steepness(points, tangents)
    row = np.floor((elevation - low) / cell).astype(np.int64)
    column = np.floor(np.arctan2(points[:, 0], points[:, 1]) / cell).astype(np.int64) % columns
    nearest, closeness = np.full(shape, -1, np.int32), np.zeros(shape, np.uint8)
    for layer in range(6):
        chosen = np.arange(count)
        if layer < DIRECTIONS:
            chosen = np.flatnonzero(np.cos(2.0 * (angle[:count] - np.pi * layer / DIRECTIONS)) >= 0.0)
        elif layer == SKYLINE:
            chosen = np.flatnonzero(skyline > 0.5)
        # One piece of a cell is enough: cells are about as large as pieces.
        _, one = np.unique(row[chosen] * columns + column[chosen], return_index=True)
        chosen = chosen[one]
        distance = _mark(nearest[layer], chosen, row[chosen], column[chosen], low, cell, reach)
        closeness[layer] = np.round(255.0 * _blurred(bells(distance, spreads), np.radians(6.0) / cell))
    rise = cell_angles(pieces.distance, dem) * normals[:, 2]
    points, tangents, normals, half, strength, skyline, rise = single(
        points, tangents, normals, 0.5 * pieces.length, pieces.strength, skyline, rise
    )
    ends = (change[1:] | change[:-1])[: len(points)]
    return ContourMap(points, tangents, normals, half, strength, skyline, rise, ends, nearest, closeness, low, cell)


def cell_angles(distance: np.ndarray, dem: Sequence[Mapping[str, float]]) -> np.ndarray:
    """The angle, radians, at which a cell of an elevation model is seen at so many metres; 0 where there are none. `dem`: as above."""
    cell = np.zeros(distance.shape)
    for level in reversed(dem):
        cell[distance <= level["to_m"]] = level["cell_m"]
    return cell / np.maximum(distance, 2.0 * cell + 1.0)  # nearer than two cells nothing is known of a ridge


def bells(distance: np.ndarray, spreads: Sequence[float]) -> np.ndarray:
    """The mean of Gaussian bells of height 1, float32: distance and their standard deviations in the same unit."""
    square = np.asarray(distance, np.float32) ** 2
    return np.asarray(sum(np.exp(square * np.float32(-0.5 / spread**2)) for spread in spreads) / np.float32(len(spreads)))


def look_up(
    points: np.ndarray, tangents: np.ndarray, contours: ContourMap, layer: int | None = None, lift: np.ndarray | float = 0.0
) -> Nearest:
    """The nearest of the lines of a layer; by default of those of each point's direction. Unit vectors of shape (..., 3).

    `lift`: by how many cells of the elevation model the lines lie higher than they are in the map.
    """
    _, rows, columns = contours.nearest.shape
    row = np.floor((np.arcsin(np.clip(points[..., 2], -1.0, 1.0)) - np.float32(contours.low)) * np.float32(1.0 / contours.cell))
    column = np.floor(np.arctan2(points[..., 0], points[..., 1]) * np.float32(1.0 / contours.cell)).astype(np.int64) % columns
    inside = (row >= 0) & (row < rows)
    cell = np.where(inside, row, 0).astype(np.int64) * columns + column
    if layer is None:
        cell += np.round(_steepness(points, tangents) * (DIRECTIONS / np.pi)).astype(np.int64) % DIRECTIONS * (rows * columns)
    else:
        cell += layer * rows * columns
    piece = contours.nearest.reshape(-1)[cell]
    found = inside & (piece >= 0)
    piece = np.where(found, piece, 0)
    offset, distance = offsets(points, piece, contours, lift)
    cosine = np.einsum("...i,...i", tangents, contours.tangents[piece])
    angle = np.arccos(np.minimum(np.abs(cosine), np.float32(1.0)))
    closeness = np.where(inside, contours.closeness.reshape(-1)[cell], 0) * np.float32(1.0 / 255.0)
    return Nearest(found, piece, offset, distance, angle, closeness)


def offsets(points: np.ndarray, piece: np.ndarray, contours: ContourMap, lift: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """How far points lie to the left of pieces, and how far from them, radians."""
    offset = np.einsum("...i,...i", points, contours.normals[piece]) - lift * contours.rise[piece]
    beyond = np.abs(np.einsum("...i,...i", points, contours.tangents[piece])) - contours.half[piece] - np.float32(0.5 * contours.cell)
    return offset, np.hypot(offset, np.maximum(beyond, 0.0))


def single(*arrays: np.ndarray) -> list[np.ndarray]:
    """Arrays as float32, in which a hundred poses times a thousand points are twice as fast."""
    return [array.astype(np.float32) for array in arrays]


def _steepness(points: np.ndarray, tangents: np.ndarray) -> np.ndarray:
    """The angle of tangents from the horizontal towards up, radians."""
    return np.arctan2(tangents[..., 2], points[..., 1] * tangents[..., 0] - points[..., 0] * tangents[..., 1])


def _mark(
    nearest: np.ndarray, pieces: np.ndarray, row: np.ndarray, column: np.ndarray, low: float, cell: float, reach: float
) -> np.ndarray:
    """Put the nearest of the pieces, which lie in the cells (row, column), into all cells within `reach`.

    Returns the cells' distances, infinite elsewhere.
    """
    rows, columns = nearest.shape
    distance = np.full(nearest.shape, np.inf, np.float32)
    shrink = np.maximum(np.cos(low + (np.arange(rows) + 0.5) * cell), 0.05)  # of a step in azimuth, with the elevation
    far = int(np.ceil(reach / cell))
    for down in range(-far, far + 1):
        inside = (row + down >= 0) & (row + down < rows)
        target, start, piece = (row + down)[inside], column[inside], pieces[inside]
        narrow = shrink[target]
        for across in range(-int(far / narrow.min(initial=1.0)), int(far / narrow.min(initial=1.0)) + 1):
            # All that come to a cell from the same direction are equally far: no order is needed.
            apart = cell * np.hypot(down, across * narrow)
            place = target, (start + across) % columns
            closer = (apart < distance[place]) & (apart <= reach)
            place = place[0][closer], place[1][closer]
            distance[place], nearest[place] = apart[closer], piece[closer]
    return distance


def _blurred(values: np.ndarray, cells: float) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    return uniform_filter(values, round(cells), mode=("constant", "wrap"))
