"""The least squares of `toolkit.geo.refinement`: partners for the pieces of a photograph's lines, offsets, derivatives, steps.

Unknowns, in this order: the rotation about East, North and Up (radians) from the present pose, the logarithm of the focal length's ratio
to the start's, the position east and north of the start in kilometres, and by how many cells the elevation model's ridges are too low.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from toolkit.geo.segments import Pieces

ROTATION, FOCAL, PLACE, LIFT = slice(0, 3), 3, slice(4, 6), 6

# Arc in which errors of a line are one error, at least; and the longest that is looked for, radians.
CORRELATION, _LONGEST_CORRELATION = math.radians(1.0), math.radians(4.0)
# A difference of direction by 90 degrees counts as an offset of this much when partners are chosen.
_TURN = math.radians(2.0)
# Partners farther off than so many widths of the kernel have no weight to speak of.
_SEARCH = 3.5
# The error of a contour, in cells of the elevation model as they are seen from the camera, beside what all have in common.
_CELL_ERROR = 0.05
# Contours of coarse models are off by so many cells and still the right ones: the kernel is that wide at least, but not wider than the
# other limit, radians: before one's feet a cell fills the view, and every line would be near.
_CELL_WIDTH, _WIDEST = 0.25, math.radians(0.5)
# Over how many cells it is one error when it comes to standard errors: interpolation, terraces and filters spread it. (In the fit
# it counts as one cell; nearer ridges, whose cells look wide, would be all but lost.)
CELLS_ALIKE = 3.0
# No step turns farther; steps are for small angles.
_LONGEST_STEP = math.radians(2.0)


@dataclass(frozen=True)
class State:
    """A pose on its way: `rotation`, camera to East-North-Up, shape (3, 3), and the other unknowns; `place`: shape (2,)."""

    rotation: np.ndarray
    log_focal: float
    place: np.ndarray
    lift: float


@dataclass(frozen=True)
class Problem:
    """What is fitted to what. `photo`: camera axes; `contours`: East-North-Up, as seen from the start; `normals`: of their great circles;
    `cell`: angle, radians, of one cell of the elevation model at each. `weight`: of each piece of the photograph, their sum is 1.
    `start`: rotation. `mean`, `prior`: of the unknowns and its standard deviation, shape (7,). `free`: which are sought, shape (7,).
    `most_focal`: bound of the logarithm of the focal length's ratio; `most_place`: of the displacement, kilometres.
    """

    photo: Pieces
    contours: Pieces
    normals: np.ndarray
    cell: np.ndarray
    weight: np.ndarray
    start: np.ndarray
    mean: np.ndarray
    prior: np.ndarray
    free: np.ndarray
    most_focal: float
    most_place: float


@dataclass(frozen=True)
class Trees:
    """Where contours are as seen from `place`: `points`, unit vectors, and `features`; trees over those of the skyline and over all, each
    with the numbers of its pieces.
    """

    place: np.ndarray
    points: np.ndarray
    features: np.ndarray
    kinds: tuple[tuple[np.ndarray, Any], tuple[np.ndarray, Any]]


@dataclass(frozen=True)
class Rows:
    """Observations: `offset` from the partner's great circle, radians, its `derivatives` by the unknowns, shape (N, 7), and `kernel`: the
    weight after the kernel, of which `weight` went in. `cell`: as in `Problem`. `piece`: number in the photograph's pieces.
    """

    offset: np.ndarray
    derivatives: np.ndarray
    kernel: np.ndarray
    weight: np.ndarray
    cell: np.ndarray
    piece: np.ndarray


def trees_at(problem: Problem, place: np.ndarray) -> Trees:
    """Trees of the contours as they are seen from `place`, kilometres east and north of the start."""
    from scipy.spatial import cKDTree

    points = problem.contours.points
    if place.any():
        points = points - np.append(1000.0 * place, 0.0) / problem.contours.distance[:, None]
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    features = _features(points, problem.contours.tangents)
    skyline, every = np.flatnonzero(problem.contours.skyline > 0.5), np.arange(len(features))
    return Trees(place, points, features, ((skyline, cKDTree(features[skyline])), (every, cKDTree(features))))


def observe(problem: Problem, trees: Trees, state: State, width: float, stride: int = 1) -> Rows:
    """The partners of each `stride`-th piece: of the skyline on the skyline, as far as it is certain, of everything else on all contours.

    `width`: of the kernel of Geman and McClure, radians.
    """
    photo, zoom = problem.photo, math.exp(-state.log_focal)
    scale = np.array([zoom, zoom, 1.0])
    seen = photo.points[::stride] * scale
    seen /= _lengths(seen)
    along = photo.tangents[::stride] * scale
    along -= seen * _dots(seen, along)
    along /= np.maximum(_lengths(along), 1e-15)
    sideways = seen * (-1.0, -1.0, 0.0)  # by the logarithm of the focal length
    sideways -= seen * _dots(seen, sideways)
    points, along, sideways = (values @ state.rotation.T for values in (seen, along, sideways))
    features = _features(points, along)
    certainty = photo.skyline[::stride] if len(trees.kinds[0][0]) else np.zeros(len(points))
    weight = problem.weight[::stride] * (problem.weight.sum() / max(float(problem.weight[::stride].sum()), 1e-15))
    found = []
    for (numbers, tree), share in zip(trees.kinds, (certainty, 1.0 - certainty), strict=True):
        chosen = np.flatnonzero(share > 0.05)
        _, nearest = tree.query(features[chosen], distance_upper_bound=_SEARCH * width)
        near = nearest < len(numbers)
        chosen, partner = chosen[near], numbers[nearest[near]]
        offset, derivatives, distance = _offsets(problem, trees, state, points[chosen], partner)
        derivatives[:, FOCAL] = _dots(sideways[chosen], problem.normals[partner])[:, 0]
        turned = ((features[chosen, 3:] - trees.features[partner, 3:]) ** 2).sum(axis=1) / _TURN**2
        agreement = np.maximum(1.0 - turned, 0.0) ** 2  # cos^4 of the angle between the lines
        going_in = weight[chosen] * share[chosen]
        kernel = going_in * agreement / (1.0 + (distance / _widened(width, problem.cell[partner])) ** 2) ** 2
        found.append((offset, derivatives, kernel, going_in, problem.cell[partner], chosen * stride))
    return Rows(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def _offsets(
    problem: Problem, trees: Trees, state: State, points: np.ndarray, partner: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets of points from their partners' great circles, derivatives by the unknowns but the focal length, distances from the pieces."""
    contours, normal, cell = problem.contours, problem.normals[partner], problem.cell[partner]
    derivatives = np.zeros((len(points), 7))
    offset = _dots(points, normal)[:, 0]
    if problem.free[PLACE].any():
        nearness = 1000.0 / contours.distance[partner]  # of the displacement in kilometres
        size = np.linalg.norm(contours.points[partner] - np.append(state.place, 0.0) * nearness[:, None], axis=1)
        derivatives[:, PLACE] = normal[:, :2] * (nearness / size)[:, None]
        offset += derivatives[:, PLACE] @ state.place  # the normal has nothing of the undisplaced point
    derivatives[:, ROTATION] = _cross(points, normal)
    derivatives[:, LIFT] = -cell * normal[:, 2]
    offset += derivatives[:, LIFT] * state.lift
    beyond = np.abs(_dots(points - trees.points[partner], contours.tangents[partner])[:, 0]) - contours.length[partner]
    return offset, derivatives, np.hypot(offset, np.maximum(beyond, 0.0))


def normal_equations(
    problem: Problem, state: State, rows: Rows, sigma: float, alike: float = CORRELATION, cells_alike: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Matrix, shape (7, 7), and right side, priors included. `sigma`: error of one independent observation, radians; `alike`: arc in
    which errors are one, radians, if that is not less than so many cells.
    """
    weight = information(problem, rows, sigma, alike, cells_alike)
    weighted = rows.derivatives * weight[:, None]
    turned = rotation_vector(state.rotation @ problem.start.T)
    gone = np.array([*turned, state.log_focal, *state.place, state.lift]) - problem.mean
    return weighted.T @ rows.derivatives + np.diag(problem.prior**-2), -weighted.T @ rows.offset - gone * problem.prior**-2


def information(problem: Problem, rows: Rows, sigma: float, alike: float, cells_alike: float) -> np.ndarray:
    """The weights of the rows in `normal_equations`: inverse squares of radians."""
    return rows.kernel * independent(problem, rows, alike, cells_alike) / (sigma**2 + (_CELL_ERROR * rows.cell) ** 2)


def independent(problem: Problem, rows: Rows, alike: float, cells_alike: float) -> np.ndarray:
    """How many independent observations there would be if all lines were like the row's: arc by the arc in which errors are one."""
    return float(problem.photo.length.sum()) / np.maximum(alike, cells_alike * rows.cell)


def variance(rows: Rows) -> float:
    """Mean square offset of what has a partner, radians squared."""
    return float((rows.kernel * rows.offset**2).sum() / max(float(rows.kernel.sum()), 1e-15))


def robustness(rows: Rows, width: float) -> float:
    """By how much the variance of the fit exceeds that of least squares with the kernel's weights as if they were given.

    That of an M-estimator is E psi^2 / (E psi')^2 (Huber, "Robust Statistics", 1981, 3.2), psi being offset times weight: what lies on
    the kernel's flank pulls less the farther it is, and what lies nearer by chance is chosen.
    """
    square = (rows.offset / _widened(width, rows.cell)) ** 2
    slope = float((rows.kernel * (1.0 - 3.0 * square) / (1.0 + square)).sum())
    total = max(float(rows.kernel.sum()), 1e-15)
    share = np.divide(rows.kernel, rows.weight, out=np.zeros_like(rows.kernel), where=rows.weight > 0.0)
    pull = float((rows.kernel * share * rows.offset**2).sum())
    return max(1.0, pull * total**2 / (max(slope, 0.2 * total) ** 2 * max(float((rows.kernel * rows.offset**2).sum()), 1e-30)))


def correlation(problem: Problem, rows: Rows) -> float:
    """Arc in which offsets are one error, radians, from the sums of offsets over arcs of the longest that is looked for.

    Were the offsets independent, the square of a sum would be the sum of the squares; were they equal, it would be that times their number.
    """
    photo = problem.photo
    pull = np.bincount(rows.piece, rows.kernel * rows.offset, len(photo.length))
    along = np.cumsum(photo.length) - photo.length
    begin = np.searchsorted(photo.line, photo.line)  # the first piece of each one's line
    part = np.floor((along - along[begin]) / _LONGEST_CORRELATION).astype(np.int64)
    _, arc = np.unique(photo.line * (part.max(initial=0) + 1) + part, return_inverse=True)
    sums = float((np.bincount(arc, pull) ** 2).sum())
    found = sums / max(float((pull**2 / photo.length).sum()), 1e-30)
    return min(max(found, CORRELATION), _LONGEST_CORRELATION)


def improved(problem: Problem, state: State, rows: Rows, sigma: float, alike: float = CORRELATION) -> tuple[State, float]:
    """One step of Gauss and Newton; and by how much it turns, radians. `sigma`, `alike`: as for `normal_equations`."""
    matrix, right = normal_equations(problem, state, rows, sigma, alike)
    step = _solved(matrix, right, problem.free)
    over = state.log_focal + step[FOCAL]
    if abs(over) > problem.most_focal:  # it stays at the bound, and the others make the best of that
        bounded = math.copysign(problem.most_focal, over) - state.log_focal
        others = problem.free & (np.arange(7) != FOCAL)
        step = _solved(matrix, right - matrix[:, FOCAL] * bounded, others)
        step[FOCAL] = bounded
    size = float(np.linalg.norm(step[ROTATION]))
    step *= min(1.0, _LONGEST_STEP / max(size, 1e-15))
    rotation = turn(step[ROTATION]) @ state.rotation
    place = state.place + step[PLACE]
    place = place * min(1.0, problem.most_place / max(float(np.linalg.norm(place)), 1e-15))
    return State(rotation, float(state.log_focal + step[FOCAL]), place, float(state.lift + step[LIFT])), size


def covariance(problem: Problem, matrix: np.ndarray) -> np.ndarray:
    """Of the unknowns, shape (7, 7), zero for those that were not sought."""
    inverse, chosen = np.zeros_like(matrix), np.ix_(problem.free, problem.free)
    inverse[chosen] = np.linalg.inv(matrix[chosen])
    return inverse


def in_view(photo: Pieces, contours: Pieces, rotation: np.ndarray, margin: float) -> np.ndarray:
    """The numbers of the contours that lines may meet: in a cone about the lines' middle, wider than they by `margin` radians."""
    middle = photo.points.mean(axis=0)
    middle /= np.linalg.norm(middle)
    wide = math.acos(min(max(float((photo.points @ middle).min()), -1.0), 1.0)) + margin
    return np.flatnonzero(contours.points @ (rotation @ middle) >= math.cos(min(wide, math.pi)))


def chosen(pieces: Pieces, numbers: np.ndarray) -> Pieces:
    """Some of the pieces."""
    return replace(pieces, **{name: values[numbers] for name, values in vars(pieces).items()})


def turn(vector: np.ndarray) -> np.ndarray:
    """The matrix of a rotation vector in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    cross = np.array([[0.0, -vector[2], vector[1]], [vector[2], 0.0, -vector[0]], [-vector[1], vector[0], 0.0]])
    sine, cosine = (math.sin(angle) / angle, (1.0 - math.cos(angle)) / angle**2) if angle > 1e-8 else (1.0, 0.5)
    return np.asarray(np.eye(3) + sine * cross + cosine * (cross @ cross))


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """The inverse of `turn`, for angles well below 180 degrees."""
    axis = 0.5 * np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    sine = float(np.linalg.norm(axis))
    return axis * (math.atan2(sine, 0.5 * (float(np.trace(matrix)) - 1.0)) / sine if sine > 1e-12 else 1.0)


def _widened(width: float, cell: np.ndarray) -> np.ndarray:
    """A kernel's width before contours of an elevation model with such cells."""
    return np.hypot(width, np.minimum(_CELL_WIDTH * cell, _WIDEST))


def _features(points: np.ndarray, tangents: np.ndarray) -> np.ndarray:
    """Places and directions without a sign (the doubled angle from the horizontal) in one space, shape (N, 5)."""
    flat = np.maximum(np.hypot(points[:, 0], points[:, 1]), 1e-9)
    across = (points[:, 1] * tangents[:, 0] - points[:, 0] * tangents[:, 1]) / flat
    up = tangents[:, 2] / flat
    features = np.empty((len(points), 5))
    features[:, :3], features[:, 3], features[:, 4] = points, 0.5 * _TURN * (across**2 - up**2), _TURN * across * up
    return features


def _solved(matrix: np.ndarray, right: np.ndarray, free: np.ndarray) -> np.ndarray:
    step = np.zeros(len(right))
    step[free] = np.linalg.solve(matrix[np.ix_(free, free)], right[free])
    return step


def _dots(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("ij,ij->i", one, other))[:, None]


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(_dots(vectors, vectors))


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """As numpy.cross, which is five times slower for few vectors."""
    x = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
    y = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
    z = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return np.stack([x, y, z], axis=1)
