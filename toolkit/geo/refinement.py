"""From an approximate pose to the best one nearby: lines of a photograph are laid onto contours by robust least squares.

Pieces of the photograph's lines are matched with the nearest contour of compatible direction, the pose is moved to bring them onto the
great circles through those, and so on (iterated closest points with point-to-line distances: Chen, Medioni, "Object modelling by
registration of multiple range images", 1992). The kernel of Geman and McClure leaves out what has no partner (bushes, clouds, ridges
that the elevation model lacks); it is wide at first and ends at the width of the residuals (graduated non-convexity: Blake,
Zisserman, "Visual Reconstruction", 1987). Unknowns: the rotation, the focal length, the position on the ground, and how much too low
the elevation model cuts its ridges; all but the first have a prior.

Standard errors are those of the linear fit, with one independent observation per `CORRELATION` of arc, or per cell of the
elevation model as it is seen, and not one per point: neighbouring points of a line are wrong together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from toolkit.geo.camera import Camera
from toolkit.geo.edges import Edges, edge_polylines
from toolkit.geo.pose import Pose, pose_from_matrix
from toolkit.geo.segments import Pieces, Polylines, cut

# Arc in which errors of a line are one error.
CORRELATION = math.radians(1.0)
# Of the photograph's lines so many pieces at most take part: more would add time, not independent observations.
MOST_PIECES = 700
# Pieces of contours.
STEP = math.radians(0.1)
# A difference of direction by 90 degrees counts as an offset of this much when partners are chosen.
_TURN = math.radians(2.0)
# Widths of the kernel, from what a start may be off to what is left between lines that belong together; degrees.
_WIDTHS = (3.0, 2.2, 1.6, 1.2, 0.9, 0.7, 0.5, 0.4, 0.3, 0.3)
# No fit is believed to be better than that: pixels of the working picture, residual lens distortion, refraction. Radians.
_FLOOR = math.radians(0.05)
# Standard deviations of the priors: rotation (the start is from a correlation), radians; the logarithm of the focal length.
_ROTATION_PRIOR, _FOCAL_PRIOR = math.radians(10.0), 0.025
# By how many cells an elevation model's ridges are too low, and how well this is known: gridding cuts a ridge with flanks of slope s
# off by s / 4 of a cell, and interpolation between its cells by as much again.
_CUT, _CUT_PRIOR = 0.25, 0.25


@dataclass(frozen=True)
class Target:
    """Contours made ready for refinement: their `pieces`, East-North-Up, and for each the angle, radians, under which one cell of the
    elevation model is seen there, float64, shape (N,).
    """

    pieces: Pieces
    cell: np.ndarray


@dataclass(frozen=True)
class Sights:
    """A photograph's lines made ready for refinement: their `pieces` in camera axes, seen through `camera`."""

    pieces: Pieces
    camera: Camera


@dataclass(frozen=True)
class Refined:
    """The best pose near a start.

    `camera`: the lens with the fitted focal length, for pictures of the given camera's size; `hfov`: its horizontal field of view,
    degrees. `position`: metres east and north of the start, None unless it was sought.
    `covariance`: of rotation about East, North and Up (radians), the logarithm of the focal length, metres east and north; float64,
    shape (6, 6), zero where nothing was sought. `standard_errors`: of yaw, pitch, roll, degrees; `hfov_error`, degrees;
    `position_errors`: metres, or None. `residual`: root mean square offset of the lines that have a partner, degrees. `followed`: share of
    the photograph's lines, by weight, that has one; `skyline_followed`: of its skyline, 0 where it has none.
    """

    pose: Pose
    camera: Camera
    hfov: float
    position: tuple[float, float] | None
    covariance: np.ndarray
    standard_errors: tuple[float, float, float]
    hfov_error: float
    position_errors: tuple[float, float] | None
    residual: float
    followed: float
    skyline_followed: float


def refine(
    edges: Edges,
    camera: Camera,
    contours: Polylines,
    pose: Pose,
    *,
    fit_hfov: float = 0.05,
    position_m: float = 0.0,
    steps: Sequence[Mapping[str, float]] = (),
) -> Refined:
    """The best pose near `pose`. Whoever refines several makes `sights` and `target` once and calls `refine_sights`.

    `fit_hfov`: by which share the focal length may differ, 0 to keep it; `position_m`: metres by which the position may be off, 0 to keep
    it. `steps`: what the elevation model's cells are, as in a panorama's parameters. Raises BadData when there is no edge.
    """
    return refine_sights(sights(edges, camera), target(contours, steps), pose, fit_hfov=fit_hfov, position_m=position_m)


def target(contours: Polylines, steps: Sequence[Mapping[str, float]] = ()) -> Target:
    """Contours, East-North-Up, made ready. `steps`: cells ("cell_m") and how far each goes ("to_m"), nearest first; none: exact."""
    pieces = cut(contours, STEP)
    cell = np.zeros(len(pieces.points))
    for level in reversed(steps):
        cell[pieces.distance <= level["to_m"]] = level["cell_m"]
    return Target(pieces, np.where(np.isfinite(pieces.distance), cell / np.maximum(pieces.distance, 1.0), 0.0))


def sights(edges: Edges, camera: Camera) -> Sights:
    """A photograph's lines made ready. Raises BadData when there is no edge, or the camera is not for this picture."""
    return sights_of(edge_polylines(edges, camera), camera)


def sights_of(lines: Polylines, camera: Camera) -> Sights:
    """The same from lines in camera axes."""
    arc = np.linalg.norm(np.diff(lines.points, axis=0), axis=1)[np.diff(lines.line) == 0].sum()
    return Sights(cut(lines, max(STEP, float(arc) / MOST_PIECES)), camera)


def zoomed(camera: Camera, zoom: float) -> Camera:
    """The lens whose focal length is `zoom` times longer: what is seen at a pixel is nearer to the axis, in the plane z = 1 by this factor.

    The distortion is carried along, so that this holds for it too: a calibrated lens that proves longer keeps its straight lines straight.
    """
    k = tuple(value * zoom ** (2.0 * (number % 3 + 1)) for number, value in enumerate(camera.k))
    return replace(camera, fx=camera.fx * zoom, fy=camera.fy * zoom, k=k, p=(camera.p[0] * zoom, camera.p[1] * zoom))


def refine_sights(photo: Sights, contours: Target, pose: Pose, *, fit_hfov: float = 0.05, position_m: float = 0.0) -> Refined:
    """The best pose near `pose`, as `refine`."""
    fit = _Fit(photo.pieces, contours, pose.matrix, fit_hfov, position_m)
    for width in _WIDTHS:
        for _ in range(2):
            fit.step(math.radians(width))
    return fit.result(photo.camera)


@dataclass(frozen=True)
class _Rows:
    """Observations: offset from the partner, distance to it (radians), agreement of the directions (0 to 1), derivatives of the offset by
    the unknowns, weight, angle of a cell, and which pieces of the photograph's lines they are.
    """

    offset: np.ndarray
    distance: np.ndarray
    agreement: np.ndarray
    derivatives: np.ndarray
    weight: np.ndarray
    cell: np.ndarray
    piece: np.ndarray


_ROTATION, _FOCAL, _PLACE, _LIFT = slice(0, 3), 3, slice(4, 6), 6


class _Fit:
    """A pose on its way. `unknowns`: rotation from the start (radians), log focal length, kilometres east and north, cells of lift."""

    def __init__(self, photo: Pieces, contours: Target, start: np.ndarray, fit_hfov: float, position_m: float) -> None:
        self.photo, self.start, self.rotation = photo, start, start
        self.unknowns = np.zeros(7)
        self.bound = math.log1p(fit_hfov)
        self.position = position_m > 0.0
        self.prior = np.array([*[_ROTATION_PRIOR] * 3, _FOCAL_PRIOR, *[max(position_m, 1.0) / 2000.0] * 2, _CUT_PRIOR])
        self.mean = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, _CUT])
        near = _in_view(photo.points, contours.pieces.points, start)
        self.contours, self.cell = _chosen(contours.pieces, near), contours.cell[near]
        self.free = np.array([True] * 3 + [self.bound > 0.0] + [self.position] * 2 + [bool(self.cell.any())])
        if self.free[_LIFT]:
            self.unknowns[_LIFT] = _CUT
        normals = np.cross(self.contours.points, self.contours.tangents)
        self.normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-15)
        self.weight = photo.strength * photo.length / max(float((photo.strength * photo.length).sum()), 1e-15)
        self.planted()

    def planted(self) -> None:
        """Trees of the contours as seen from the present position: of the skyline, and of all."""
        from scipy.spatial import cKDTree

        self.moved, self.moved_tangents = self._from_position(self.contours.points), self.contours.tangents
        features = _features(self.moved, self.moved_tangents)
        self.trees = []
        for chosen in (np.flatnonzero(self.contours.skyline > 0.5), np.arange(len(features))):
            self.trees.append((chosen, cKDTree(features[chosen]) if len(chosen) else None))
        self.seen_from = self.unknowns[_PLACE].copy()

    def _from_position(self, points: np.ndarray) -> np.ndarray:
        if not self.position:
            return points
        moved = points - np.append(1000.0 * self.unknowns[_PLACE], 0.0) / self.contours.distance[:, None]
        return moved / np.linalg.norm(moved, axis=1, keepdims=True)

    def rows(self) -> _Rows:
        """The photograph's pieces and their partners under the present pose: skyline with skyline first, everything else with all."""
        zoom = math.exp(self.unknowns[_FOCAL])
        seen = self.photo.points * (1.0 / zoom, 1.0 / zoom, 1.0)
        length = np.linalg.norm(seen, axis=1, keepdims=True)
        seen /= length
        points = seen @ self.rotation.T
        along = self.photo.tangents * (1.0 / zoom, 1.0 / zoom, 1.0)
        along -= seen * (along * seen).sum(axis=1, keepdims=True)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-15)
        features = _features(points, along @ self.rotation.T)
        sideways = -seen * (1.0, 1.0, 0.0)  # by the logarithm of the focal length
        sideways -= seen * (sideways * seen).sum(axis=1, keepdims=True)
        sideways = sideways @ self.rotation.T
        found = []
        (skyline, skyline_tree), (every, tree) = self.trees
        certainty = self.photo.skyline if skyline_tree is not None else np.zeros(len(points))
        for numbers, kind, share in ((skyline, skyline_tree, certainty), (every, tree, 1.0 - certainty)):
            chosen = np.flatnonzero(share > 0.05)
            if kind is None or not len(chosen):
                continue
            _, nearest = kind.query(features[chosen])
            found.append(self._matched(points, sideways, features, chosen, numbers[nearest], share[chosen]))
        if not found:
            return _Rows(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros((0, 7)), np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
        return _Rows(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))

    def _matched(
        self, points: np.ndarray, sideways: np.ndarray, features: np.ndarray, chosen: np.ndarray, partner: np.ndarray, share: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        place, normal, cell = points[chosen], self.normals[partner], self.cell[partner]
        other = self.contours.points[partner]
        upwards = normal[:, 2]
        displaced = np.zeros(len(chosen))
        derivatives = np.zeros((len(chosen), 7))
        if self.position:
            parallax = normal[:, :2] * (1000.0 / self.contours.distance[partner])[:, None]
            moved = other - np.append(1000.0 * self.unknowns[_PLACE], 0.0) / self.contours.distance[partner][:, None]
            size = np.linalg.norm(moved, axis=1)
            displaced = (normal * moved).sum(axis=1) / size
            derivatives[:, _PLACE] = parallax / size[:, None]
            other = moved / size[:, None]
        offset = (place * normal).sum(axis=1) - displaced - self.unknowns[_LIFT] * cell * upwards
        beyond = np.abs(((place - other) * self.contours.tangents[partner]).sum(axis=1)) - self.contours.length[partner]
        turned = np.linalg.norm(features[chosen, 3:] - _features(other, self.contours.tangents[partner])[:, 3:], axis=1)
        distance = np.sqrt(offset**2 + np.maximum(beyond, 0.0) ** 2)
        agreement = np.maximum(1.0 - (turned / _TURN) ** 2, 0.0) ** 2  # cos^4 of the angle between the lines
        derivatives[:, _ROTATION] = np.cross(place, normal)
        derivatives[:, _FOCAL] = (sideways[chosen] * normal).sum(axis=1)
        derivatives[:, _LIFT] = -cell * upwards
        return offset, distance, agreement, derivatives, self.weight[chosen] * share, cell, chosen

    def step(self, width: float) -> None:
        """One step of Gauss and Newton with a kernel of `width` radians."""
        if self.position and np.abs(self.unknowns[_PLACE] - self.seen_from).max() > 1e-4:
            self.planted()
        rows = self.rows()
        matrix, right, _ = self._normal_equations(rows, width, 0.5 * width)
        self._move(_solved(matrix, right, self.free))

    def _normal_equations(self, rows: _Rows, width: float, sigma: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Matrix and right side, priors included, and the number of independent observations; `sigma`: their error, radians."""
        kernel = rows.weight * rows.agreement * _kernel(rows.distance, width)
        independent = self._independent(rows)
        weight = kernel * independent / sigma**2
        matrix = (rows.derivatives * weight[:, None]).T @ rows.derivatives + np.diag(self.prior**-2)
        gone = self.unknowns - self.mean
        right = -(rows.derivatives * weight[:, None]).T @ rows.offset - gone * self.prior**-2
        return matrix, right, float((kernel * independent).sum())

    def _independent(self, rows: _Rows) -> np.ndarray:
        """How many independent observations there would be if all pieces were like this one."""
        return float(self.photo.length.sum()) / np.maximum(CORRELATION, rows.cell)

    def _move(self, step: np.ndarray) -> None:
        size = float(np.linalg.norm(step[_ROTATION]))
        if size > math.radians(2.0):
            step = step * (math.radians(2.0) / size)
        self.unknowns = self.unknowns + step
        self.unknowns[_FOCAL] = min(max(self.unknowns[_FOCAL], -self.bound), self.bound)
        self.rotation = _turn(step[_ROTATION]) @ self.rotation
        self.unknowns[_ROTATION] = _rotation_vector(self.rotation @ self.start.T)

    def result(self, camera: Camera) -> Refined:
        """The present pose, with its errors."""
        rows = self.rows()
        width = math.radians(_WIDTHS[-1])
        kernel = rows.weight * rows.agreement * _kernel(rows.distance, width)
        mean_square = float((kernel * rows.offset**2).sum() / max(float(kernel.sum()), 1e-15))
        _, _, count = self._normal_equations(rows, width, 1.0)
        spare = count / max(count - float(self.free.sum()), 0.25 * max(count, 1e-9))
        sigma = math.sqrt(max(mean_square * min(spare, 4.0), _FLOOR**2))
        matrix, _, _ = self._normal_equations(rows, width, sigma)
        covariance = _inverse(matrix, self.free)
        pose = pose_from_matrix(self.rotation)
        errors = _angle_errors(self.rotation, covariance[_ROTATION, _ROTATION])
        fitted = zoomed(camera, math.exp(self.unknowns[_FOCAL]))
        half = math.radians(0.5 * fitted.hfov)
        east, north = (1000.0 * self.unknowns[_PLACE]).tolist()
        scale = np.array([1.0, 1.0, 1.0, 1.0, 1000.0, 1000.0])
        place_errors = 1000.0 * np.sqrt(np.diag(covariance)[_PLACE])
        certainty = self.photo.skyline[rows.piece]
        skyline = float((rows.weight * certainty).sum())
        return Refined(
            pose=pose,
            camera=fitted,
            hfov=fitted.hfov,
            position=(east, north) if self.position else None,
            covariance=covariance[:6, :6] * scale * scale[:, None],
            standard_errors=errors,
            hfov_error=math.degrees(2.0 * math.sin(half) * math.cos(half) * math.sqrt(covariance[_FOCAL, _FOCAL])),
            position_errors=(float(place_errors[0]), float(place_errors[1])) if self.position else None,
            residual=math.degrees(math.sqrt(mean_square)),
            followed=float(kernel.sum()),
            skyline_followed=float((kernel * certainty).sum()) / skyline if skyline > 0.0 else 0.0,
        )


def _in_view(seen: np.ndarray, contours: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Which contours may meet the photograph's lines: those in a cone about their middle, 8 degrees wider than they."""
    if not len(seen) or not len(contours):
        return np.zeros(0, np.int64)
    middle = seen.mean(axis=0) / np.linalg.norm(seen.mean(axis=0))
    wide = float(np.arccos(np.clip((seen @ middle).min(), -1.0, 1.0))) + math.radians(8.0)
    return np.flatnonzero(contours @ (rotation @ middle) >= math.cos(min(wide, math.pi)))


def _chosen(pieces: Pieces, numbers: np.ndarray) -> Pieces:
    return Pieces(**{name: values[numbers] for name, values in vars(pieces).items()})


def _features(points: np.ndarray, tangents: np.ndarray) -> np.ndarray:
    """Places and directions without a sign (the doubled angle from the horizontal) in one space, shape (N, 5)."""
    flat = np.maximum(np.hypot(points[:, 0], points[:, 1]), 1e-9)
    across = (points[:, 1] * tangents[:, 0] - points[:, 0] * tangents[:, 1]) / flat
    up = tangents[:, 2] / flat
    return np.column_stack([points, 0.5 * _TURN * (across**2 - up**2), _TURN * across * up])


def _kernel(distance: np.ndarray, width: float) -> np.ndarray:
    """The weight that Geman and McClure's kernel gives, 1 at no distance."""
    return 1.0 / (1.0 + (distance / width) ** 2) ** 2


def _solved(matrix: np.ndarray, right: np.ndarray, free: np.ndarray) -> np.ndarray:
    step = np.zeros(len(right))
    step[free] = np.linalg.solve(matrix[np.ix_(free, free)], right[free])
    return step


def _inverse(matrix: np.ndarray, free: np.ndarray) -> np.ndarray:
    covariance = np.zeros_like(matrix)
    covariance[np.ix_(free, free)] = np.linalg.inv(matrix[np.ix_(free, free)])
    return covariance


def _turn(vector: np.ndarray) -> np.ndarray:
    """The matrix of a rotation vector in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    cross = np.array([[0.0, -vector[2], vector[1]], [vector[2], 0.0, -vector[0]], [-vector[1], vector[0], 0.0]])
    sine, cosine = (math.sin(angle) / angle, (1.0 - math.cos(angle)) / angle**2) if angle > 1e-8 else (1.0, 0.5)
    return np.asarray(np.eye(3) + sine * cross + cosine * (cross @ cross))


def _rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """The inverse of `_turn`, for angles well below 180 degrees."""
    axis = 0.5 * np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    sine = float(np.linalg.norm(axis))
    return axis * (math.atan2(sine, 0.5 * (float(np.trace(matrix)) - 1.0)) / sine if sine > 1e-12 else 1.0)


def _angle_errors(rotation: np.ndarray, covariance: np.ndarray) -> tuple[float, float, float]:
    """Standard errors of yaw, pitch and roll, degrees, at most 180, from the covariance of the rotation vector in East-North-Up.

    A turn is -yaw' about Up, -pitch' about the horizontal axis Rz(alpha) y and roll' about the optical axis. Looking straight up yaw
    and roll are one; both are then unknown.
    """
    forward = rotation[:, 2]
    level = max(math.hypot(forward[0], forward[1]), 1e-6)
    axes = np.array([[0.0, 0.0, 1.0], [-forward[1] / level, forward[0] / level, 0.0], forward]).T
    rates = np.linalg.pinv(axes)
    errors = np.degrees(np.sqrt(np.maximum(np.diag(rates @ covariance @ rates.T), 0.0)))
    yaw, pitch, roll = np.minimum(errors, 180.0).tolist()
    return yaw, pitch, roll
