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

from dataclasses import dataclass

import numpy as np

from toolkit.geo.camera import Camera, rays
from toolkit.geo.segments import Polylines

_BATCH = 400_000  # points of the photograph, counted for each pose, that are looked at together: arrays stay in the cache of the machine
_DIRECTIONS = 4  # layers of a map: contours within 45 degrees of a direction lie in its layer


@dataclass(frozen=True)
class MetricParameters:
    """What is near, long and costly; angles in degrees. One set for all photographs, whatever the elevation model."""

    # The lines are cut into pieces of this length: finer than what the elevation models hold, and than `spread`.
    step: float = 0.1
    # Cells of the maps.
    cell: float = 0.1
    # Where a line is no longer near: skylines of elevation models with cells of 100 m are 0.1 to 0.5 degrees too low.
    near: float = 0.8
    # Standard deviation of the offset at which a point still counts 61 %.
    spread: float = 0.3
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


@dataclass(frozen=True)
class ContourMap:
    """Lines on a grid of azimuth x elevation, so that the nearest one is looked up instead of sought.

    `points`, `tangents`, `normals`: unit vectors, float32, shape (N, 3), of pieces of the lines in the lines' frame; the normal is
    to the left of the tangent, seen from inside (above a line that runs from west to east, below one from east to west).
    `half`: half their length, radians, float32, shape (N,). `strength`, `skyline`: as in `Polylines`, float32. `ends`: whether the
    line ends there, bool, shape (N,).
    `nearest`: int32, shape (5, rows, columns): the nearest piece within the reach, -1 for none; layer d < 4 of lines within 45 degrees
    of the direction d 45 degrees from the horizontal, layer 4 of all. `chance`: uint8, shape (4, rows, columns), in 1 / 255: the score
    of a point about there by chance, with the spread of the map's parameters. Columns start at azimuth 0, rows at the elevation `low`,
    radians; `cell`: radians.
    """

    points: np.ndarray
    tangents: np.ndarray
    normals: np.ndarray
    half: np.ndarray
    strength: np.ndarray
    skyline: np.ndarray
    ends: np.ndarray
    nearest: np.ndarray
    chance: np.ndarray
    low: float
    cell: float


@dataclass(frozen=True)
class Walk:
    """The lines of a photograph in pieces of equal length, in camera axes.

    `points`, `tangents`: unit vectors, float32, shape (N, 3). `length`: radians, `weight`: what a radian counts, `skyline`: certainty
    of sky above, all float32, shape (N,). `first`: int64, shape (K + 1,), of the K lines. `own`: the same lines as a map, turned so
    that the optical axis is its north, seen through a lens whose focal length is the map's times `zoom`. `frame`: the inner normals
    of the picture's borders, shape (4, 3), or None where they are not known.
    """

    points: np.ndarray
    tangents: np.ndarray
    length: np.ndarray
    weight: np.ndarray
    skyline: np.ndarray
    first: np.ndarray
    own: ContourMap
    zoom: float
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


def contour_map(contours: Polylines, parameters: MetricParameters = MetricParameters()) -> ContourMap:
    """The map of lines, in East-North-Up."""
    cell, reach = np.radians(parameters.cell), np.radians(parameters.near)
    points, tangents, length, strength, skyline, first = _pieces(contours, np.radians(parameters.step))
    normals = np.cross(points, tangents)  # seen from inside, with up above: left of the tangent
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    elevation = np.arcsin(np.clip(points[:, 2], -1.0, 1.0))
    low = float(elevation.min(initial=0.0) - reach - 3.0 * cell)
    rows = int(np.ceil((elevation.max(initial=0.0) + reach + 3.0 * cell - low) / cell))
    columns = round(2.0 * np.pi / cell)
    ends = np.zeros(len(points), bool)
    ends[first[:-1]] = ends[first[1:] - 1] = True
    # Steepness in 0 to pi: the angle from the horizontal.
    up = tangents[:, 2] / np.maximum(np.cos(elevation), 1e-6)
    east = (points[:, 1] * tangents[:, 0] - points[:, 0] * tangents[:, 1]) / np.maximum(np.hypot(points[:, 0], points[:, 1]), 1e-6)
    angle = np.arctan2(up, east)
    nearest = np.full((_DIRECTIONS + 1, rows, columns), -1, np.int32)
    chance = np.zeros((_DIRECTIONS, rows, columns), np.uint8)
    for layer in range(_DIRECTIONS + 1):
        chosen = np.arange(len(points))
        if layer < _DIRECTIONS:
            chosen = np.flatnonzero(np.cos(2.0 * (angle - np.pi * layer / _DIRECTIONS)) >= 0.0)
        offset = _mark_neighbourhood(nearest[layer], chosen, points[chosen], low, cell, reach)
        if layer < _DIRECTIONS:
            chance[layer] = np.round(255.0 * _chance(offset, parameters))
    points, tangents, normals, half, strength, skyline = _single(points, tangents, normals, 0.5 * length, strength, skyline)
    return ContourMap(points, tangents, normals, half, strength, skyline, ends, nearest, chance, low, cell)


def walk(
    photo: Polylines,
    parameters: MetricParameters = MetricParameters(),
    frame: np.ndarray | None = None,
    like: Walk | None = None,
    zoom: float = 1.0,
) -> Walk:
    """The lines of a photograph, camera axes, cut into pieces; `frame` as in `Walk`.

    `like`: the walk of the same lines through a lens whose focal length was `zoom` times shorter; its map serves again.
    """
    points, tangents, length, strength, skyline, first = _pieces(photo, np.radians(parameters.step))
    if like is not None:
        own, zoom = like.own, zoom * like.zoom
    else:
        own, zoom = contour_map(Polylines(photo.points @ _CAMERA_TO_MAP.T, photo.first, photo.strength, photo.skyline), parameters), 1.0
    points, tangents, length, strength, skyline = _single(points, tangents, length, strength, skyline)
    return Walk(points, tangents, length, strength, skyline, first, own, zoom, frame)


def evidence(
    photo: Polylines,
    rotation: np.ndarray,
    contours: ContourMap,
    parameters: MetricParameters = MetricParameters(),
    frame: np.ndarray | None = None,
) -> Evidence:
    """Of one pose: `rotation`, shape (3, 3), camera to East-North-Up. Whoever has several poses makes the `walk` once."""
    return evidences(walk(photo, parameters, frame), np.asarray(rotation)[None], contours, parameters)[0]


def evidences(walk: Walk, rotations: np.ndarray, contours: ContourMap, parameters: MetricParameters = MetricParameters()) -> list[Evidence]:
    """Of each pose: `rotations`, shape (M, 3, 3), camera to East-North-Up."""
    found: list[Evidence] = []
    batch = max(1, _BATCH // max(1, len(walk.points)))
    for start in range(0, len(rotations), batch):
        found += _evidences(walk, np.asarray(rotations[start : start + batch], np.float32), contours, parameters)
    return found


def frame_of(camera: Camera) -> np.ndarray:
    """The inner normals of a picture's borders, float64, shape (4, 3), camera axes; lens distortion bends them, the corners are right."""
    right, bottom = camera.width - 0.5, camera.height - 0.5
    corners = rays(camera, np.array([-0.5, right, right, -0.5]), np.array([-0.5, -0.5, bottom, bottom]))
    normals = np.cross(np.roll(corners, -1, axis=0), corners)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True) * np.sign(normals[:, 2:].sum())


# Camera axes (down, left, forward) to the map's (right, forward, up).
_CAMERA_TO_MAP = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])


def _pieces(lines: Polylines, step: float) -> tuple[np.ndarray, ...]:
    """Cut lines into pieces of about `step` radians: middle, tangent, length, strength, skyline, and the first piece of each line.

    Lines without length vanish.
    """
    points, line = lines.points, lines.line
    arc = np.linalg.norm(np.diff(points, axis=0), axis=1)
    arc[line[1:] != line[:-1]] = 0.0
    along = np.concatenate([[0.0], np.cumsum(arc)]) if len(points) else np.zeros(0)
    begin, end = along[lines.first[:-1]], along[lines.first[1:] - 1]
    count = np.where(end > begin, np.maximum(1, np.round((end - begin) / step)), 0).astype(np.int64)
    kept = count > 0
    begin, end, count = begin[kept], end[kept], count[kept]
    first = np.concatenate([[0], np.cumsum(count)])
    piece = np.repeat((end - begin) / np.maximum(count, 1), count)
    number = np.arange(first[-1]) - np.repeat(first[:-1], count)
    at = np.repeat(begin, count) + (number + 0.5) * piece
    # A tangent over three pieces: edges are found on a pixel grid, contours in columns.
    low, high = np.repeat(begin, count), np.repeat(end, count)
    gap = 1e-12 * np.arange(len(along)) + along  # lines meet at one number: a hair keeps them apart
    back, ahead = _at(points, gap, np.maximum(at - 1.5 * piece, low + 1e-9)), _at(points, gap, np.minimum(at + 1.5 * piece, high - 1e-9))
    middle = _at(points, gap, at)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    tangent = ahead - back
    tangent -= middle * (tangent * middle).sum(axis=1, keepdims=True)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-12)
    return middle, tangent, piece, np.interp(at, gap, lines.strength), np.interp(at, gap, lines.skyline), first


def _single(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.astype(np.float32) for array in arrays]


def _at(points: np.ndarray, along: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(at, along, points[:, axis]) for axis in range(3)], axis=1)


def _mark_neighbourhood(nearest: np.ndarray, numbers: np.ndarray, points: np.ndarray, low: float, cell: float, reach: float) -> np.ndarray:
    """Put the nearest of the points, by their `numbers`, into all cells within `reach` radians; the distances, `reach` where none is."""
    rows, columns = nearest.shape
    distance = np.full(nearest.shape, reach, np.float32)
    row = np.floor((np.arcsin(np.clip(points[:, 2], -1.0, 1.0)) - low) / cell).astype(np.int64)
    azimuth = np.arctan2(points[:, 0], points[:, 1]) % (2.0 * np.pi)
    column = np.floor(azimuth / cell).astype(np.int64) % columns
    # One point of each cell is enough: cells are as small as pieces.
    _, one = np.unique(row * columns + column, return_index=True)
    row, column, numbers = row[one], column[one], numbers[one]
    shrink = np.maximum(np.cos(low + (np.arange(rows) + 0.5) * cell), 0.05)
    far = int(np.ceil(reach / cell))
    for down in range(-far, far + 1):
        target = row + down
        inside = (target >= 0) & (target < rows)
        target, near_column, number = target[inside], column[inside], numbers[inside]
        narrow = shrink[target]
        wide = int(np.ceil(far / narrow.min(initial=1.0)))
        for across in range(-wide, wide + 1):
            apart = cell * np.hypot(down, across * narrow)
            place = target, (near_column + across) % columns
            closer = apart < distance[place]
            place = place[0][closer], place[1][closer]
            # Several points can meet in one cell: the closest is to be the last one that is written.
            order = np.argsort(-apart[closer], kind="stable")
            place = place[0][order], place[1][order]
            distance[place], nearest[place] = apart[closer][order], number[closer][order]
    return distance


def _chance(distance: np.ndarray, parameters: MetricParameters) -> np.ndarray:
    """What a point within about three degrees of each cell scores for its offset, on average."""
    from scipy.ndimage import uniform_filter

    score = _graded(distance, parameters)
    size = round(6.0 / parameters.cell)
    return uniform_filter(score, (size, size), mode=("constant", "wrap"))


def _graded(offset: np.ndarray, parameters: MetricParameters) -> np.ndarray:
    """The weight of an offset in radians: 1 on the contour, 0 where it is no longer near."""
    near = offset < np.radians(parameters.near)
    return np.where(near, np.exp(-0.5 * (offset / np.radians(parameters.spread)) ** 2), 0.0).astype(np.float32)


def _layer_of(points: np.ndarray, tangents: np.ndarray) -> np.ndarray:
    """The layer of a map for lines there: the direction next to theirs."""
    angle = np.arctan2(tangents[..., 2], points[..., 1] * tangents[..., 0] - points[..., 0] * tangents[..., 1])
    return np.round(angle * (_DIRECTIONS / np.pi)).astype(np.int64) % _DIRECTIONS


def _cells(points: np.ndarray, contours: ContourMap) -> np.ndarray:
    """The cells of directions, row * columns + column, and -1 outside the map."""
    _, rows, columns = contours.nearest.shape
    row = np.floor((np.arcsin(np.clip(points[..., 2], -1.0, 1.0)) - contours.low) / contours.cell).astype(np.int64)
    column = np.floor(np.arctan2(points[..., 0], points[..., 1]) / contours.cell).astype(np.int64) % columns
    return np.where((row >= 0) & (row < rows), row * columns + column, -1)


@dataclass(frozen=True)
class _Match:
    """For each point: the nearest piece (0 where there is none), the signed offset to its left and the distance, radians, the cosine of
    the angle, and the graded score 0..1 without and with what chance would give."""

    piece: np.ndarray
    offset: np.ndarray
    distance: np.ndarray
    cosine: np.ndarray
    score: np.ndarray
    chance: np.ndarray


def _match(points: np.ndarray, tangents: np.ndarray, contours: ContourMap, parameters: MetricParameters) -> _Match:
    cells, layer = _cells(points, contours), _layer_of(points, tangents)
    size = contours.nearest[0].size
    index = np.where(cells >= 0, layer * size + cells, 0)
    piece = np.where(cells >= 0, contours.nearest.reshape(-1)[index], -1)
    chance = np.where(cells >= 0, contours.chance.reshape(-1)[index] * np.float32(1.0 / 255.0), 0.0)
    found, piece = piece >= 0, np.maximum(piece, 0)
    offset, distance = _offsets(points, piece, contours)
    cosine = np.einsum("...i,...i", tangents, contours.tangents[piece])
    angle = np.arccos(np.clip(np.abs(cosine), 0.0, 1.0))
    score = _graded(distance, parameters) * np.exp(-0.5 * (angle / np.radians(parameters.turn)) ** 2)
    return _Match(piece, offset, distance, cosine, np.where(found, score, 0.0), chance)


def _offsets(points: np.ndarray, piece: np.ndarray, contours: ContourMap) -> tuple[np.ndarray, np.ndarray]:
    """Signed offset to the left of each point's piece, and distance, radians."""
    offset = np.einsum("...i,...i", points, contours.normals[piece])
    beyond = np.abs(np.einsum("...i,...i", points, contours.tangents[piece])) - 1.5 * contours.half[piece]
    return offset, np.hypot(offset, np.maximum(beyond, 0.0))


def _evidences(walk: Walk, rotations: np.ndarray, contours: ContourMap, parameters: MetricParameters) -> list[Evidence]:
    points = np.einsum("mij,nj->mni", rotations, walk.points)
    tangents = np.einsum("mij,nj->mni", rotations, walk.tangents)
    match = _match(points, tangents, contours, parameters)
    followed, by_skyline = _followed(walk, match, contours, parameters)
    crossings = _crossings(walk, points, contours, parameters)
    panorama_followed, panorama_total = _panorama_side(walk, rotations, contours, parameters)
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


def _followed(walk: Walk, match: _Match, contours: ContourMap, parameters: MetricParameters) -> tuple[np.ndarray, np.ndarray]:
    """Weighted length of what follows a contour and of the skyline that follows the panorama's skyline, each shape (M,)."""
    contour_skyline = contours.skyline[match.piece]
    score = match.score * (0.5 + 0.5 * contours.strength[match.piece]) * (1.0 - 0.7 * walk.skyline * (1.0 - contour_skyline))
    # A run is what is followed without a gap along one line of the photograph.
    near = match.score > 0.1
    starts = near.copy()
    starts[:, 1:] &= ~near[:, :-1]
    starts[:, walk.first[:-1]] = near[:, walk.first[:-1]]
    run = np.cumsum(starts.reshape(-1)).reshape(near.shape)  # 0 before the first one
    run = np.where(near, run, 0)
    length = np.bincount(run.reshape(-1), (score * walk.length).reshape(-1))
    length[0] = 0.0
    bonus = np.minimum(1.0, (length / np.radians(parameters.fit)) ** (parameters.power - 1.0))
    gain = np.clip((score - match.chance) / (1.0 - np.minimum(match.chance, 0.9)), -1.0, 1.0) * np.where(near, bonus[run], 0.0)
    sky = match.score * contour_skyline * walk.skyline
    return (gain * walk.weight * walk.length).sum(axis=1), (sky * walk.length).sum(axis=1)


def _crossings(walk: Walk, points: np.ndarray, contours: ContourMap, parameters: MetricParameters) -> np.ndarray:
    """How many lines cross contours, each counted by the strengths of both, shape (M,)."""
    cells = _cells(points, contours)
    piece = np.where(cells >= 0, contours.nearest[_DIRECTIONS].reshape(-1)[np.maximum(cells, 0)], -1)
    near, piece = piece >= 0, np.maximum(piece, 0)
    offset, distance = _offsets(points, piece, contours)
    near &= distance < np.radians(parameters.near)
    starts = near.copy()
    starts[:, 1:] &= ~near[:, :-1]
    starts[:, walk.first[:-1]] = near[:, walk.first[:-1]]
    stops = near.copy()
    stops[:, :-1] &= ~near[:, 1:]
    stops[:, walk.first[1:] - 1] = near[:, walk.first[1:] - 1]
    pose, entry = np.nonzero(starts)
    _, leaving = np.nonzero(stops)
    begins, ends_there = np.isin(entry, walk.first[:-1]), np.isin(leaving, walk.first[1:] - 1)
    inside = ~begins & ~ends_there  # the others are T-junctions: the photograph's line ends at the contour
    length = np.concatenate([[0.0], np.cumsum(walk.length)])
    short = length[leaving + 1] - length[entry] < np.radians(parameters.fit)
    one, other = piece[pose, entry], piece[pose, leaving]
    opposite = offset[pose, entry] * offset[pose, leaving] * np.sign((contours.tangents[one] * contours.tangents[other]).sum(axis=1)) < 0.0
    junction = contours.ends[one] | contours.ends[other]  # the contour ends at the photograph's line
    crossed = inside & short & opposite & ~junction
    worth = np.minimum(1.0, walk.weight[entry]) * contours.strength[one]
    return np.bincount(pose[crossed], worth[crossed], len(points))


def _panorama_side(walk: Walk, rotations: np.ndarray, contours: ContourMap, parameters: MetricParameters) -> tuple[np.ndarray, np.ndarray]:
    """Of the panorama's skyline inside the picture what the photograph's lines show, and all, radians, each shape (M,)."""
    shown, whole = np.zeros(len(rotations)), np.zeros(len(rotations))
    if walk.frame is None:
        return shown, whole
    skyline = contours.skyline > 0.5
    points, tangents, length = contours.points[skyline], contours.tangents[skyline], 2.0 * contours.half[skyline]
    for number, rotation in enumerate(rotations):
        seen = points @ rotation
        inside = (seen @ walk.frame.T > 0.0).all(axis=1)
        whole[number] = length[inside].sum()
        if inside.any():
            match = _match(*_in_own_map(walk, seen[inside], tangents[inside] @ rotation), walk.own, parameters)
            shown[number] = (match.score * length[inside]).sum()
    return shown, whole


def _in_own_map(walk: Walk, points: np.ndarray, tangents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and tangents in camera axes, ahead of the camera, as they would be in the map of the photograph's lines."""
    turn, scale = _CAMERA_TO_MAP.T.astype(np.float32), np.array([walk.zoom, walk.zoom, 1.0], np.float32)
    seen, along = points * scale, tangents * scale
    length = np.linalg.norm(seen, axis=1, keepdims=True)
    seen = seen / length
    along -= seen * (along * seen).sum(axis=1, keepdims=True)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    return seen @ turn, along @ turn
