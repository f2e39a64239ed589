"""How well a photograph's lines follow a panorama's contours under one pose: the slow and precise metric.

After Baboud, Cadik, Eisemann, Seidel, "Automatic photo-to-terrain alignment for the annotation of mountain pictures", CVPR 2011,
section 5: each line of the photograph is walked through the neighbourhood of the contours. Where it keeps to a contour for long, or
leaves on the side on which it came, that speaks for the pose, the more the longer; where it enters on one side and soon leaves on the
other, it crosses, and silhouettes do not cross: they meet in T-junctions, where one of the two lines ends.

Three things are not in the paper, because elevation models are coarse and photographs cluttered. The neighbourhood is graded: a
point counts less the farther from the contour it is and the more the directions differ. What lines at random places would score amid
contours as dense as those at the place is subtracted. And the panorama has a say: where its skyline crosses the picture and the
photograph has no such line, that speaks against the pose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from toolkit.geo.camera import Camera, rays
from toolkit.geo.contour_map import ALL, SKYLINE, ContourMap, Nearest, bells, cell_angles, look_up, map_lines, single
from toolkit.geo.segments import Polylines, cut

__all__ = ["ContourMap", "Evidence", "MetricParameters", "Walk", "contour_map", "evidence", "evidences", "frame_of", "walk"]

_BATCH = 400_000  # points of the photograph, counted for each pose, that are looked at together


@dataclass(frozen=True)
class MetricParameters:
    """What is near, long and costly; angles in degrees. One set for all photographs, whatever the elevation model."""

    # The lines are cut into pieces of this length: finer than what the elevation models hold.
    step: float = 0.1
    # Cells of the maps. Offsets are exact; a map decides only which of two lines is the nearest.
    cell: float = 0.15
    # How far from lines a map reaches, for poses that are not yet exact.
    reach: float = 1.2
    # Where a line is no longer near: skylines of elevation models with cells of 100 m are 0.1 to 0.5 degrees too low.
    near: float = 0.8
    # Standard deviations of the offsets of exact and of coarse elevation models; a point's score is the mean of these bells.
    spreads: tuple[float, ...] = (0.12, 0.35)
    # Standard deviation of the angle between a line and the contour that it follows.
    turn: float = 20.0
    # A contour that is followed for this long is no coincidence: l_fit.
    fit: float = 3.0
    # Shorter ones count l^a, relative to l_fit^a; a.
    power: float = 1.5
    # What a crossing of a clear line with a clear contour costs, as the length of a line that is followed; c.
    crossing: float = 0.5
    # What a piece of a skyline, the panorama's or the photograph's, costs to which the other has nothing, as a share of what a line brings.
    missed: float = 0.3
    # By how many of its cells an elevation model shows ridges too low, about: a cell holds the mean of its heights, or one that is not the
    # ridge's; and by how many more or less.
    lift: float = 0.15
    lifts: tuple[float, ...] = (-0.3, -0.15, 0.0, 0.15, 0.3)
    # What a skyline counts that follows a contour which is none.
    other: float = 0.3
    # How much the score by chance counts: lines do not all run in the contours' direction.
    chance: float = 1.0


@dataclass(frozen=True)
class Walk:
    """The lines of a photograph in pieces of equal length, in camera axes.

    `points`, `tangents`: unit vectors, float32, shape (N, 3). `length`: radians, `weight`: what a radian counts, `skyline`: certainty
    of sky above, all float32, shape (N,). `first`: int64, shape (K + 1,), of the K lines. `own`: the same lines as a map, turned so
    that the optical axis is its north. `frame`: the inner normals of the picture's borders, shape (4, 3), or None where they are not known.
    """

    points: np.ndarray
    tangents: np.ndarray
    length: np.ndarray
    weight: np.ndarray
    skyline: np.ndarray
    first: np.ndarray
    own: ContourMap
    frame: np.ndarray | None


@dataclass(frozen=True)
class Evidence:
    """What speaks for a pose and against it; lengths are radians of arc, those of lines weighted by their strength.

    `fine_score`: what is left of all of it, as a share of `total`: 1 is a photograph all of whose lines follow contours. `followed`:
    length of the lines that do, as far as not by chance; `total`: of all. `crossings`: how many lines cross contours.
    `skyline_followed`, `skyline_total`: of the photograph's skyline, weighted by its certainty, what follows the panorama's skyline,
    and all. `panorama_followed`, `panorama_total`: of the panorama's skyline inside the picture what the photograph shows, and all
    (0 where the picture's frame is unknown).
    """

    fine_score: float
    followed: float
    crossings: float
    total: float
    skyline_followed: float
    skyline_total: float
    panorama_followed: float
    panorama_total: float


def contour_map(
    contours: Polylines, parameters: MetricParameters = MetricParameters(), dem: Sequence[Mapping[str, float]] = ()
) -> ContourMap:
    """The map of a panorama's contours, East-North-Up, or of a photograph's lines.

    `dem`: the cells of the elevation model, as in a panorama's parameters. The contours are lifted by what these cut off ridges.
    """
    step, cell, reach = np.radians([parameters.step, parameters.cell, parameters.reach])
    if dem and contours.distance is not None:
        lift = parameters.lift * cell_angles(contours.distance, dem)
        points = contours.points + lift[:, None] * [0.0, 0.0, 1.0]
        contours = replace(contours, points=points / np.linalg.norm(points, axis=1, keepdims=True))
    return map_lines(contours, step, cell, reach, _radians(parameters.spreads), dem)


def walk(photo: Polylines, parameters: MetricParameters = MetricParameters(), frame: np.ndarray | None = None) -> Walk:
    """The lines of a photograph, camera axes, cut into pieces; `frame` as in `Walk`."""
    pieces = cut(photo, np.radians(parameters.step))
    first = np.flatnonzero(np.concatenate([[True], pieces.line[1:] != pieces.line[:-1], [True]])[: len(pieces.line) + 1])
    own = contour_map(Polylines(photo.points @ _CAMERA_TO_MAP.T, photo.first, photo.strength, photo.skyline), parameters)
    points, tangents, length, strength, skyline = single(
        pieces.points, pieces.tangents, pieces.length, pieces.strength, pieces.skyline
    )
    return Walk(points, tangents, length, strength, skyline, first, own, frame)


def evidence(
    photo: Polylines,
    rotation: np.ndarray,
    contours: ContourMap,
    parameters: MetricParameters = MetricParameters(),
    frame: np.ndarray | None = None,
) -> Evidence:
    """Of one pose: `rotation`, shape (3, 3), camera to East-North-Up. Whoever has several poses makes the `walk` once."""
    return evidences(walk(photo, parameters, frame), np.asarray(rotation)[None], contours, parameters)[0]


def evidences(
    walk: Walk,
    rotations: np.ndarray,
    contours: ContourMap,
    parameters: MetricParameters = MetricParameters(),
    zooms: np.ndarray | None = None,
    lifts: np.ndarray | None = None,
) -> list[Evidence]:
    """Of each pose: `rotations`, shape (M, 3, 3), camera to East-North-Up.

    `zooms`, shape (M,): by how much longer the focal length is than that of the camera that the walk was made with; default 1. `lifts`,
    shape (M,): by how many cells of the elevation model contours lie higher than in the map; default 0.
    """
    found: list[Evidence] = []
    rotations = np.asarray(rotations, np.float32)
    zooms = np.ones(len(rotations), np.float32) if zooms is None else np.asarray(zooms, np.float32)
    lifts = np.zeros(len(rotations), np.float32) if lifts is None else np.asarray(lifts, np.float32)
    batch = max(1, _BATCH // max(1, len(walk.points)))
    for start in range(0, len(rotations), batch):
        part = slice(start, start + batch)
        found += _evidences(walk, _Poses(rotations[part], zooms[part], lifts[part]), contours, parameters)
    return found


def frame_of(camera: Camera) -> np.ndarray:
    """The inner normals of a picture's borders, float64, shape (4, 3), camera axes; lens distortion bends them, the corners are right."""
    right, bottom = camera.width - 0.5, camera.height - 0.5
    corners = rays(camera, np.array([-0.5, right, right, -0.5]), np.array([-0.5, -0.5, bottom, bottom]))
    normals = np.cross(np.roll(corners, -1, axis=0), corners)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True) * np.sign(normals[:, 2:].sum())


# Camera axes (down, left, forward) to the map's (right, forward, up).
_CAMERA_TO_MAP = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])


@dataclass(frozen=True)
class _Match:
    """For each point: the piece that it follows best and the score, 0 to 1, as it is and less what chance would give."""

    piece: np.ndarray
    score: np.ndarray
    gain: np.ndarray


@dataclass(frozen=True)
class _Poses:
    """Rotations (M, 3, 3), zooms and lifts (M,), float32."""

    rotations: np.ndarray
    zooms: np.ndarray
    lifts: np.ndarray


def _match(
    points: np.ndarray,
    tangents: np.ndarray,
    skyline: np.ndarray,
    contours: ContourMap,
    parameters: MetricParameters,
    lift: np.ndarray | float = 0.0,
) -> _Match:
    """What points of lines follow: unit vectors of shape (M, N, 3), and how certainly they are of the skyline, shape (N,).

    Of what is certainly the border of the sky it is asked first whether it follows the skyline, then, for less, any other contour. By
    chance a line scores the mean over the places thereabouts.
    """
    found = look_up(points, tangents, contours, lift=lift)
    worth = 0.5 + 0.5 * contours.strength[found.piece]
    worth *= 1.0 - np.float32(1.0 - parameters.other) * skyline * (1.0 - contours.skyline[found.piece])
    share = np.float32(parameters.chance)
    piece, score, chance = found.piece, _graded(found, parameters) * worth, share * found.closeness * worth
    border = np.flatnonzero(skyline > 0.3)
    if len(border):
        found = look_up(points[:, border], tangents[:, border], contours, SKYLINE, lift)
        better = _graded(found, parameters)
        taken = better > score[:, border]
        piece[:, border] = np.where(taken, found.piece, piece[:, border])
        chance[:, border] = np.where(taken, share * found.closeness, chance[:, border])
        score[:, border] = np.where(taken, better, score[:, border])
    return _Match(piece, score, (score - chance) / (1.0 - np.minimum(chance, 0.9)))


def _radians(degrees: Sequence[float]) -> list[float]:
    return [float(value) for value in np.radians(degrees)]


def _graded(found: Nearest, parameters: MetricParameters) -> np.ndarray:
    """The score of offset and direction: 1 on a contour and along it, 0 where it is no longer near."""
    near = found.found & (found.distance < np.radians(parameters.near))
    turned = np.exp(found.angle**2 * np.float32(-0.5 / np.radians(parameters.turn) ** 2))
    return np.where(near, bells(found.distance, _radians(parameters.spreads)) * turned, np.float32(0.0))


def zoomed(points: np.ndarray, tangents: np.ndarray, zooms: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """What is seen at `points` in the directions `tangents`, camera axes, shape (..., N, 3), with a focal length `zooms` times longer."""
    scale = np.ones((*np.shape(zooms), 1, 3), np.float32)
    scale[..., :2] /= np.asarray(zooms)[..., None, None]
    seen, along = points * scale, tangents * scale
    seen /= np.sqrt(np.einsum("...i,...i", seen, seen))[..., None]
    along -= seen * np.einsum("...i,...i", along, seen)[..., None]
    along /= np.maximum(np.sqrt(np.einsum("...i,...i", along, along))[..., None], np.float32(1e-9))
    return seen, along


def _evidences(walk: Walk, poses: _Poses, contours: ContourMap, parameters: MetricParameters) -> list[Evidence]:
    to_world, lift = poses.rotations.swapaxes(1, 2), poses.lifts[:, None]
    points, tangents = (values @ to_world for values in zoomed(walk.points, walk.tangents, poses.zooms))
    matched = _match(points, tangents, walk.skyline, contours, parameters, lift)
    followed, by_skyline = _followed(walk, matched, contours, parameters)
    crossings = _crossings(walk, look_up(points, tangents, contours, ALL, lift), contours, parameters)
    panorama_followed, panorama_total = _panorama_side(walk, poses, contours, parameters)
    total, skyline_total = float((walk.weight * walk.length).sum()), float((walk.skyline * walk.length).sum())
    missed = np.maximum(panorama_total - panorama_followed, skyline_total - by_skyline)  # or poses that look elsewhere would gain
    cost = np.radians(parameters.crossing) * crossings + parameters.missed * missed
    scores = (followed - cost) / max(total, 1e-9)
    return [
        Evidence(float(score), float(good), float(crossed), total, float(sky), skyline_total, float(shown), float(all_of_it))
        for score, good, crossed, sky, shown, all_of_it in zip(
            scores, followed, crossings, by_skyline, panorama_followed, panorama_total, strict=True
        )
    ]


def _followed(walk: Walk, matched: _Match, contours: ContourMap, parameters: MetricParameters) -> tuple[np.ndarray, np.ndarray]:
    """Weighted length of what follows a contour and of the skyline that follows the panorama's skyline, each shape (M,)."""
    # A run is what is followed without a gap along one line of the photograph.
    near = matched.score > 0.05
    run = np.where(near, np.cumsum(_begins(near, walk.first).reshape(-1)).reshape(near.shape), 0)
    length = np.bincount(run.reshape(-1), (matched.score * walk.length).reshape(-1))
    bonus = np.minimum(1.0, (length / np.radians(parameters.fit)) ** (parameters.power - 1.0))
    gain = np.where(near, matched.gain * bonus[run], 0.0)
    sky = matched.score * contours.skyline[matched.piece] * walk.skyline
    return (gain * walk.weight * walk.length).sum(axis=1), (sky * walk.length).sum(axis=1)


def _begins(near: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Where runs of True begin, shape (M, N); they do not go on from one line to the next."""
    begins = near.copy()
    begins[:, 1:] &= ~near[:, :-1]
    begins[:, first[:-1]] = near[:, first[:-1]]
    return begins


def _crossings(walk: Walk, found: Nearest, contours: ContourMap, parameters: MetricParameters) -> np.ndarray:
    """How many lines cross contours, each counted by the strengths of both, shape (M,)."""
    near = found.found & (found.distance < np.radians(parameters.near))
    pose, entry = np.nonzero(_begins(near, walk.first))
    backwards = _begins(near[:, ::-1], len(walk.points) - walk.first[::-1])[:, ::-1]
    _, leaving = np.nonzero(backwards)
    inside = ~np.isin(entry, walk.first[:-1]) & ~np.isin(leaving, walk.first[1:] - 1)  # else the line ends at the contour: a T-junction
    length = np.concatenate([[0.0], np.cumsum(walk.length)])
    short = length[leaving + 1] - length[entry] < np.radians(parameters.fit)
    one, other = found.piece[pose, entry], found.piece[pose, leaving]
    along = np.sign((contours.tangents[one] * contours.tangents[other]).sum(axis=1))
    opposite = found.offset[pose, entry] * found.offset[pose, leaving] * along < 0.0
    junction = contours.ends[one] | contours.ends[other]  # the contour ends at the photograph's line
    crossed = inside & short & opposite & ~junction
    worth = np.minimum(1.0, walk.weight[entry]) * contours.strength[one]
    return np.bincount(pose[crossed], worth[crossed], len(near))


def _panorama_side(walk: Walk, poses: _Poses, contours: ContourMap, parameters: MetricParameters) -> tuple[np.ndarray, np.ndarray]:
    """Of the panorama's skyline inside the picture what the photograph's lines show, and all, radians, each shape (M,)."""
    shown, whole = np.zeros(len(poses.zooms)), np.zeros(len(poses.zooms))
    if walk.frame is None:
        return shown, whole
    skyline = contours.skyline > 0.5
    points, tangents, length = contours.points[skyline], contours.tangents[skyline], 2.0 * contours.half[skyline]
    up = contours.rise[skyline, None] * contours.normals[skyline]
    turn = _CAMERA_TO_MAP.T.astype(np.float32)
    for number, (rotation, zoom, lift) in enumerate(zip(poses.rotations, poses.zooms, poses.lifts, strict=True)):
        seen = (points + lift * up) @ rotation
        inside = (seen * np.array([zoom, zoom, 1.0], np.float32) @ walk.frame.T > 0.0).all(axis=1)
        whole[number] = length[inside].sum()
        if inside.any():
            there, along = zoomed(seen[inside], tangents[inside] @ rotation, 1.0 / zoom)
            certain = np.ones(len(there), np.float32)
            score = _match((there @ turn)[None], (along @ turn)[None], certain, walk.own, parameters).score
            shown[number] = (score * length[inside]).sum()
    return shown, whole
