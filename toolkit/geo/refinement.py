"""From an approximate pose to the best one nearby: lines of a photograph are laid onto contours by robust least squares.

Pieces of the photograph's lines are matched with the nearest contour of compatible direction, the pose is moved to bring them onto the
great circles through those, and so on (iterated closest points with point-to-line distances: Chen, Medioni, "Object modelling by
registration of multiple range images", 1992). The kernel of Geman and McClure leaves out what has no partner (bushes, clouds, ridges
that the elevation model lacks); it is wide at first and ends at the width of the residuals (graduated non-convexity: Blake,
Zisserman, "Visual Reconstruction", 1987). Unknowns: the rotation, the focal length, the position on the ground, and how much too low
the elevation model cuts its ridges; each has a prior.

Standard errors are those of the linear fit, with one independent observation per degree of arc, or per few cells of the elevation model
as they are seen, or as far as the residuals go together, and not one per point: neighbouring points of a line are wrong together. To
these comes what all lines have wrong together. What no line holds, the yaw before one flat line, has a large error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from toolkit.core.errors import BadData
from toolkit.geo.camera import Camera
from toolkit.geo.edges import Edges, edge_polylines
from toolkit.geo.line_fit import (
    CELLS_ALIKE,
    FOCAL,
    LIFT,
    PLACE,
    ROTATION,
    Problem,
    Rows,
    State,
    Trees,
    chosen,
    correlation,
    covariance,
    improved,
    in_view,
    independent,
    information,
    normal_equations,
    observe,
    robustness,
    rotation_vector,
    trees_at,
    turn,
    variance,
)  # fmt: skip
from toolkit.geo.pose import Pose, pose_from_matrix
from toolkit.geo.segments import Pieces, Polylines, cut

# Of the photograph's lines so many pieces at most take part: more would add time, not independent observations.
_MOST_PIECES = 700
# Pieces of lines, radians.
_STEP = math.radians(0.1)
# Contours that a photograph's lines may come to lie on: farther outside them none is looked at.
_MARGIN = math.radians(8.0)
# The start that is tried beside the given one: the best of turns by so many degrees in yaw and pitch, seen with a kernel of this width.
_AROUND, _AROUND_WIDTH, _AROUND_STRIDE = (-2.4, -1.2, 0.0, 1.2, 2.4), 0.6, 6
# Widths of the kernel, degrees: it narrows from what is left to the starts to what is left between lines that belong together. (A
# kernel so wide that one start were enough is drawn away by lines that have no partner.) While it is wide, every third piece is enough.
_WIDTHS, _LAST = (1.0, 1.0, 0.7, 0.5, 0.4, 0.3), 0.2
_STRIDE, _STRIDE_FROM = 3, 0.7
_MOST_LAST_STEPS, _STILL = 12, math.radians(1e-4)
# No fit is believed to be better than that: pixels of the working picture, residual lens distortion, refraction. Radians.
_FLOOR = math.radians(0.05)
# What all lines have wrong together, however many they are: distortion of a lens that is not calibrated, the eye's height, radians; and
# the place of the elevation model's grid, cells.
_SYSTEMATIC, _SYSTEMATIC_CELLS = math.radians(0.05), 0.1
# Standard deviation of the start's rotation, radians. It comes from a correlation; the truth is hardly farther from it than this.
_ROTATION_PRIOR = math.radians(3.0)
# In the errors it must not count as knowledge: what no line holds is unknown.
_UNKNOWN = math.radians(60.0)
# A turn by the prior's standard deviation must be made up for by this share of lines that are followed.
_TURN_COST = 0.03
# By how many cells an elevation model's ridges are too low, and how well this is known: the mean over a cell takes s / 4 of a cell off a
# ridge with flanks of slope s, 0.4 or so, where the ridge runs along the middle of cells, and nothing where it runs along their border.
_CUT, _CUT_PRIOR = 0.1, 0.1


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
    pieces = cut(contours, _STEP)
    cell = np.zeros(len(pieces.points))
    for level in reversed(steps):
        cell[pieces.distance <= level["to_m"]] = level["cell_m"]
    return Target(pieces, np.where(np.isfinite(pieces.distance), cell / np.maximum(pieces.distance, 1.0), 0.0))


def sights(edges: Edges, camera: Camera) -> Sights:
    """A photograph's lines made ready. Raises BadData when there is no edge, or the camera is not for this picture."""
    return sights_of(edge_polylines(edges, camera), camera)


def sights_of(lines: Polylines, camera: Camera) -> Sights:
    """The same from lines in camera axes. Raises BadData when they are points without length."""
    arc = np.linalg.norm(np.diff(lines.points, axis=0), axis=1)[np.diff(lines.line) == 0].sum()
    pieces = cut(lines, max(_STEP, float(arc) / _MOST_PIECES))
    if not len(pieces.points):
        raise BadData("edges", "hold single points only, no line", "take another photo, or find edges with a lower contrast")
    return Sights(pieces, camera)


def zoomed(camera: Camera, zoom: float) -> Camera:
    """The lens whose focal length is `zoom` times longer: what is seen at a pixel is nearer to the axis, in the plane z = 1 by this factor.

    The distortion is carried along, so that this holds for it too: a calibrated lens that proves longer keeps its straight lines straight.
    """
    k = tuple(value * zoom ** (2.0 * (number % 3 + 1)) for number, value in enumerate(camera.k))
    return replace(camera, fx=camera.fx * zoom, fy=camera.fy * zoom, k=k, p=(camera.p[0] * zoom, camera.p[1] * zoom))


def refine_sights(
    photo: Sights, contours: Target, pose: Pose, *, fit_hfov: float = 0.05, position_m: float = 0.0, zoom: float = 1.0
) -> Refined:
    """The best pose near `pose`, as `refine`. `zoom`: what focal length to start from, as a share of the camera's."""
    problem = _problem(photo.pieces, contours, pose.matrix, fit_hfov, position_m)
    trees = trees_at(problem, np.zeros(2))
    approached = [_approached(problem, trees, start) for start in _starts(problem, trees, math.log(zoom))]
    if position_m > 0.0:  # near ridges lie far from where they are seen: no step finds them from the wrong side
        _, state = max(approached, key=lambda entry: entry[0])
        bearings = np.radians(np.arange(0.0, 360.0, 60.0))
        places = 0.6e-3 * position_m * np.stack([np.sin(bearings), np.cos(bearings)], axis=1)
        approached += [_approached(problem, trees, replace(state, place=place)) for place in places]
    _, state = max(approached, key=lambda entry: entry[0])
    return _told(problem, *_finished(problem, trees, state), photo.camera)


def _problem(photo: Pieces, contours: Target, start: np.ndarray, fit_hfov: float, position_m: float) -> Problem:
    near = in_view(photo, contours.pieces, start, _MARGIN)
    pieces, cell = chosen(contours.pieces, near), contours.cell[near]
    normals = np.cross(pieces.points, pieces.tangents)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-15)
    weight = photo.strength * photo.length
    prior = np.array([*[_ROTATION_PRIOR] * 3, max(0.5 * fit_hfov, 1e-9), *[max(0.5e-3 * position_m, 1e-9)] * 2, _CUT_PRIOR])
    coarse = bool(cell.any())
    return Problem(
        photo=photo,
        contours=pieces,
        normals=normals,
        cell=cell,
        weight=weight / max(float(weight.sum()), 1e-15),
        start=start,
        mean=np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, _CUT if coarse else 0.0]),
        prior=prior,
        free=np.array([True, True, True, fit_hfov > 0.0, position_m > 0.0, position_m > 0.0, coarse]),
        most_focal=math.log1p(fit_hfov),
        most_place=1e-3 * position_m,
    )


def _starts(problem: Problem, trees: Trees, log_focal: float) -> list[State]:
    """The start, and the one around it that promises most."""
    given = State(problem.start, min(max(log_focal, -problem.most_focal), problem.most_focal), np.zeros(2), float(problem.mean[LIFT]))
    forward = problem.start[:, 2]
    sideways = np.array([forward[1], -forward[0], 0.0]) / max(math.hypot(forward[0], forward[1]), 1e-9)
    around = []
    for yaw in _AROUND:
        for pitch in _AROUND:
            turned = turn(np.array([0.0, 0.0, math.radians(yaw)])) @ turn(sideways * math.radians(pitch))
            state = replace(given, rotation=turned @ problem.start)
            around.append((_merit(problem, trees, state, math.radians(_AROUND_WIDTH), _AROUND_STRIDE), state))
    _, best = max(around, key=lambda entry: entry[0])
    return [given] if np.array_equal(best.rotation, given.rotation) else [given, best]


def _merit(problem: Problem, trees: Trees, state: State, width: float, stride: int = 1) -> float:
    turned = float(np.linalg.norm(rotation_vector(state.rotation @ problem.start.T))) / _ROTATION_PRIOR
    return float(observe(problem, trees, state, width, stride).kernel.sum()) - _TURN_COST * turned**2


def _approached(problem: Problem, trees: Trees, state: State) -> tuple[float, State]:
    """Where a start goes while the kernel narrows, and how good that is."""
    trees = _followed_to(problem, trees, state)
    for degrees in _WIDTHS:
        width, stride = math.radians(degrees), _STRIDE if degrees >= _STRIDE_FROM else 1
        state, _ = improved(problem, state, observe(problem, trees, state, width, stride), 0.5 * width)
        trees = _followed_to(problem, trees, state)
    return _merit(problem, trees, state, math.radians(_LAST)), state


def _finished(problem: Problem, trees: Trees, state: State) -> tuple[State, Rows]:
    """Steps with the last kernel until nothing moves, and the observations there."""
    width = math.radians(_LAST)
    trees = _followed_to(problem, trees, state)
    rows = observe(problem, trees, state, width)
    for _ in range(_MOST_LAST_STEPS):
        state, size = improved(problem, state, rows, *_spread(problem, rows))
        trees = _followed_to(problem, trees, state)
        rows = observe(problem, trees, state, width)
        if size < _STILL:
            break
    return state, rows


def _spread(problem: Problem, rows: Rows) -> tuple[float, float]:
    """The error of one independent observation with the last kernel, and the arc in which errors are one; radians."""
    return math.sqrt(max(variance(rows), _FLOOR**2) * robustness(rows, math.radians(_LAST))), correlation(problem, rows)


def _followed_to(problem: Problem, trees: Trees, state: State) -> Trees:
    """Trees for the position of the pose: those there are, as long as it is within a metre of theirs."""
    return trees if np.abs(state.place - trees.place).max() < 1e-3 else trees_at(problem, state.place)


def _told(problem: Problem, state: State, rows: Rows, camera: Camera) -> Refined:
    sigma, alike = _spread(problem, rows)
    count = float((rows.kernel * independent(problem, rows, alike, CELLS_ALIKE)).sum())
    spent = count / max(count - float(problem.free.sum()), 0.25 * max(count, 1e-9))  # degrees of freedom, at most 4
    matrix, _ = normal_equations(problem, state, rows, sigma * math.sqrt(spent), alike, CELLS_ALIKE)
    matrix[ROTATION, ROTATION] += np.eye(3) * (_UNKNOWN**-2 - _ROTATION_PRIOR**-2)
    found = covariance(problem, matrix)
    weight = information(problem, rows, sigma, alike, CELLS_ALIKE)
    cell = float((weight * rows.cell).sum() / max(float(weight.sum()), 1e-15))
    found[ROTATION, ROTATION] += np.eye(3) * (_SYSTEMATIC**2 + (_SYSTEMATIC_CELLS * cell) ** 2)
    found[PLACE] *= 1000.0
    found[:, PLACE] *= 1000.0
    fitted = zoomed(camera, math.exp(state.log_focal))
    half = math.radians(0.5 * fitted.hfov)
    errors = np.sqrt(np.diag(found))
    certainty = problem.photo.skyline[rows.piece]
    skyline = float((problem.weight * problem.photo.skyline).sum())
    moved = bool(problem.free[PLACE].any())
    return Refined(
        pose=pose_from_matrix(state.rotation),
        camera=fitted,
        hfov=fitted.hfov,
        position=(1000.0 * float(state.place[0]), 1000.0 * float(state.place[1])) if moved else None,
        covariance=found[:6, :6],
        standard_errors=_angle_errors(state.rotation, found[ROTATION, ROTATION]),
        hfov_error=math.degrees(math.sin(2.0 * half) * float(errors[FOCAL])),
        position_errors=(float(errors[4]), float(errors[5])) if moved else None,
        residual=math.degrees(math.sqrt(variance(rows))),
        followed=float(rows.kernel.sum()),
        skyline_followed=float((rows.kernel * certainty).sum()) / skyline if skyline > 0.0 else 0.0,
    )


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
