"""Many poses at once come to rest where the photograph's lines lie on contours: what is between the raster and the refinement of a few.

A candidate of the correlation is half a cell off, and its field of view is what the camera's maker says. As in the iterative closest
point method (Chen, Medioni 1992, in its point-to-line form) each point is paired with the nearest contour of its direction, the small
turn and zoom that bring all points closest is solved for, and so on, with a neighbourhood that shrinks.
"""

from __future__ import annotations

import math

import numpy as np

from toolkit.geo.contour_map import SKYLINE, ContourMap, look_up
from toolkit.geo.precise_metric import MetricParameters, Walk, zoomed

_POINTS = 800  # of the photograph's lines: a pose has four unknowns
_BATCH = 400_000
# Standard deviations of offsets in each round, degrees.
_SPREADS = (0.8, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2)
# What is known beforehand: turns in degrees, how true the focal length of an EXIF is, and the elevation model, in cells.
_TURN, _ZOOM, _LIFT = 1.0, 0.02, 0.15
_MOST_LIFT = 0.5
_ALIKE = 1.0  # degrees of a line within which offsets are one and the same error


def settle(
    walk: Walk, rotations: np.ndarray, contours: ContourMap, parameters: MetricParameters, fit_hfov: float = 0.05
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The poses to which those of `rotations`, shape (M, 3, 3), come: rotations, by how much longer the focal length is, shape (M,), and by
    how many cells of the elevation model contours lie higher than in the map, shape (M,). `fit_hfov`: by which share the focal length may
    differ.
    """
    most = np.array([math.log1p(fit_hfov), _MOST_LIFT])
    rotations = np.array(rotations, np.float64)
    unknowns = np.zeros((len(rotations), 2))  # the logarithm of the zoom, and the lift
    every = slice(None, None, max(1, len(walk.points) // _POINTS))
    batch = max(1, _BATCH // max(1, len(walk.points[every])))
    for start in range(0, len(rotations), batch):
        part = slice(start, start + batch)
        for spread in _SPREADS:
            step = _step(walk, every, rotations[part], unknowns[part], contours, parameters, np.radians(spread))
            rotations[part] = rotations[part] @ small_rotations(step[:, :3])
            unknowns[part] = np.clip(unknowns[part] + step[:, 3:], -most, most)
    return rotations, np.exp(unknowns[:, 0]), unknowns[:, 1]


def _step(
    walk: Walk,
    every: slice,
    rotations: np.ndarray,
    unknowns: np.ndarray,
    contours: ContourMap,
    parameters: MetricParameters,
    spread: float,
) -> np.ndarray:
    """Shape (M, 5): a turn about the camera's axes, radians, and the changes of the two other unknowns."""
    seen, along = zoomed(walk.points[every], walk.tangents[every], np.exp(unknowns[:, 0]).astype(np.float32))
    lift = unknowns[:, 1:].astype(np.float32)
    matrices = rotations.astype(np.float32).swapaxes(1, 2)
    points, tangents = seen @ matrices, along @ matrices
    found = look_up(points, tangents, contours, lift=lift)
    piece, distance, angle, near = found.piece, found.distance, found.angle, found.found
    worth = 0.5 + 0.5 * contours.strength[piece]
    border = np.flatnonzero(walk.skyline[every] > 0.3)
    if len(border):
        sky = look_up(points[:, border], tangents[:, border], contours, SKYLINE, lift)
        for whole, other in ((piece, sky.piece), (distance, sky.distance), (angle, sky.angle), (worth, 1.0)):
            whole[:, border] = np.where(sky.found, other, whole[:, border])
        near[:, border] |= sky.found
    normals = contours.normals[piece]
    rise = contours.rise[piece]
    offset = np.einsum("mni,mni->mn", points, normals) - lift * rise
    weight = (walk.weight * walk.length)[every] * every.step / np.radians(_ALIKE) / spread**2 * worth
    weight = np.where(near, weight / (1.0 + (distance / spread) ** 2) ** 2, 0.0)  # Geman, McClure 1987
    weight *= np.exp(-0.5 * (angle / np.radians(parameters.turn)) ** 2)
    normals = normals @ rotations.astype(np.float32)  # in camera axes
    across = seen[..., 0] ** 2 + seen[..., 1] ** 2
    stretch = seen * across[..., None]
    stretch[..., :2] -= seen[..., :2]
    slopes = np.concatenate([np.cross(seen, normals), np.einsum("mni,mni->mn", stretch, normals)[..., None], -rise[..., None]], axis=2)
    weighted = slopes * weight[..., None]
    form = (slopes.swapaxes(1, 2) @ weighted).astype(np.float64)
    side = -np.einsum("mni,mn->mi", weighted, offset).astype(np.float64)
    known = np.array([*3 * [1.0 / np.radians(_TURN)], 1.0 / _ZOOM, 1.0 / _LIFT]) ** 2
    side[:, 3:] -= known[3:] * unknowns
    return np.linalg.solve(form + np.diag(known), side[..., None])[..., 0]


def small_rotations(turns: np.ndarray) -> np.ndarray:
    """The rotations about the vectors `turns`, radians, shape (M, 3): shape (M, 3, 3); Rodrigues' formula."""
    angle = np.linalg.norm(turns, axis=1)[:, None, None]
    x, y, z = turns.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    return np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * np.sinc(angle / (2.0 * np.pi)) ** 2 * (cross @ cross)
