"""Occluding contours as lines: which points are one ridge, and how much of each a photograph is likely to show where it is drawn.

A panorama knows every place where ground ends before farther ground. A photograph does not show them all, and does not show all of them
there: a line may lack contrast, lie in haze, be moved by the elevation model's cells, or by water and ice since it was measured.
A contour's weight is the product of these doubts, each of which can be read off the panorama alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.geo.segments import Polylines, Segments, paths

if TYPE_CHECKING:  # which makes these functions known under its own name
    from toolkit.geo.panorama import Panorama


@dataclass(frozen=True)
class ContourParameters:
    """What makes a contour count. One set for all panoramas.

    The numbers were compared on rendered photographs of one range and real ones of another, by the error of the best pose in the
    correlation and by the lead of the true one. A line's own length, l / (l + 0.1 to 5 degrees), was tried too and is not used: the
    longer the scale the less the true pose led in the real ones, where the elevation model breaks up ridges that photographs show whole.
    """

    # A contour with less than this between near and far is a slope at grazing incidence, not a silhouette: at 1.02 half are.
    least_depth_ratio: float = 1.1
    # How many cells of the elevation model a ridge must be away to count half, 1 / (1 + (cells cell / distance)^4): nearer ones have
    # the shape of the interpolation between cells rather than that of the ground. All from 3 to 15 do about as well. Beyond, a ridge of
    # coarse cells is moved by part of a degree and yet the best there is: weights that begin to fall farther away lose skylines.
    cells: float = 8.0
    # The contrast at which a line counts half where the visibility is known: edges are found by what stands out in their
    # neighbourhood, so that half the contrast is not half a line.
    contrast: float = 0.05
    # A ridge so few metres over level ground or water behind it is a shore or the margin of ice, and so is one between two levels, such
    # as the front of a glacier: they move with tide, melt and years, and with how the elevation model was made.
    shore: float = 15.0
    # Ground that rises or falls by less than this is level: lakes and the sea are, the tongues of glaciers nearly (2 degrees).
    level: float = 0.035


STANDARD = ContourParameters()
LEAST_DEPTH_RATIO = STANDARD.least_depth_ratio

_KOSCHMIEDER = math.log(0.02)  # the contrast that is left at the meteorological visibility


def contour_segments(panorama: Panorama, parameters: ContourParameters = STANDARD) -> Segments:
    """The occluding contours as arcs in East-North-Up, each between two neighbouring columns.

    Two points are one ridge when each is the other's closest match, in distance and elevation together, and both differ little:
    a ridge may recede or climb steeply from one column to the next, but not both change hands. The strength is 1 - near / far,
    the depth step d = log(far / near) through 1 - exp(-d): the larger the step, the more haze, light and texture
    differ across it in a photograph, and the less do errors of the elevation model move or make it; the skyline has 1. Ridges a few
    cells away have less, see `ContourParameters`, and where the panorama knows the visibility, those in haze (Koschmieder 1924):
    ground that has faded behind a ridge is as good as sky, and beyond the visibility there is nothing. Steps below the least depth
    ratio are slopes at grazing incidence and are dropped.
    """
    points, forward = _linked(panorama, parameters)
    here = np.flatnonzero(forward >= 0)
    other = forward[here]
    strength = 0.5 * (points.strength[here] + points.strength[other])
    return Segments(points.points[here], points.points[other], strength)


def contour_polylines(panorama: Panorama, parameters: ContourParameters = STANDARD) -> Polylines:
    """The same contours as lines through their points, from west to east where they do not close around the eye."""
    points, forward = _linked(panorama, parameters)
    order, first = paths(np.stack([forward, _backward(forward)], axis=1))
    assert points.distance is not None
    return Polylines(points.points[order], first, points.strength[order], points.skyline[order], points.distance[order])


def _linked(panorama: Panorama, parameters: ContourParameters) -> tuple[Polylines, np.ndarray]:
    """The contours' points, each a line of its own, and the index of each one's neighbour in the next column, -1 for none."""
    contours, width = panorama.contours, panorama.width
    visibility = float(panorama.parameters.get("visibility_m") or math.inf)
    keep = (contours.far >= parameters.least_depth_ratio * contours.near) & (contours.near <= visibility)
    column = contours.column[keep]
    elevation = contours.elevation[keep].astype(np.float64)
    distance, far = contours.near[keep].astype(np.float64), contours.far[keep].astype(np.float64)
    near = np.log(distance)
    forward = _best_match(column, elevation, near, 1, panorama)
    backward = _best_match(column, elevation, near, -1, panorama)
    mutual = (forward >= 0) & (backward[forward] == np.arange(len(forward)))
    sky = np.isinf(far)
    seen, seen_behind = _contrast(distance, visibility), np.where(sky, 0.0, _contrast(np.where(sky, 0.0, far), visibility))
    strength = (1.0 - distance / far * seen_behind / seen) * _certainty(distance, panorama.parameters.get("steps", ()), parameters)
    if math.isfinite(visibility):
        strength *= seen / (seen + parameters.contrast) * (1.0 + parameters.contrast)
    points = Polylines(_directions(column, elevation, width), np.arange(len(column) + 1), strength, 1.0 - seen_behind, distance)
    return points, np.where(mutual, forward, -1)


def shores(panorama: Panorama, parameters: ContourParameters = STANDARD) -> np.ndarray:
    """Which contour points are shores or margins of ice, bool, shape (points,): see `ContourParameters.shore`; never the skyline.

    The heights of the ground before and behind follow from the distances and elevations of two pixels on either side. Raises ValueError
    when the distances were not read.
    """
    if panorama.distance is None:
        raise ValueError("without distances nothing is known of the ground behind a contour")
    if panorama.rows < 7:
        return np.zeros(len(panorama.contours.column), bool)
    contours = panorama.contours
    row = np.floor((panorama.elevations[1] - contours.elevation.astype(np.float64)) / panorama.row_step).astype(np.int64)
    ridge = _height(contours.near.astype(np.float64), contours.elevation.astype(np.float64), panorama)
    inner = (row >= 3) & (row + 3 < panorama.rows) & np.isfinite(contours.far)
    row = np.where(inner, row, 3)

    def at(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distance = panorama.distance[rows, contours.column].astype(np.float64)  # type: ignore[index]
        return distance, _height(distance, panorama.elevations[1] - (rows + 0.5) * panorama.row_step, panorama)

    with np.errstate(invalid="ignore", divide="ignore"):
        (behind, behind_height), (beyond, beyond_height) = at(row - 1), at(row - 2)
        level_behind = np.abs(beyond_height - behind_height) <= parameters.level * np.abs(beyond - behind)
        # Edges of plateaus come out a little too high: the next row may still look over them.
        (before, before_height), (earlier, earlier_height) = at(row + 2), at(row + 3)
        level_before = np.abs(before_height - earlier_height) <= parameters.level * np.abs(before - earlier)
        low = np.abs(ridge - behind_height) <= parameters.shore
    return np.asarray(inner & level_behind & (low | level_before))


def _height(distance: np.ndarray, elevation: np.ndarray, panorama: Panorama) -> np.ndarray:
    """Metres, of ground seen at distances in metres and elevations in degrees."""
    earth = float(panorama.parameters.get("earth_radius_m", 6371e3))
    bend = (1.0 - float(panorama.parameters.get("refraction", 0.13))) / (2.0 * earth)
    return np.asarray(panorama.height + distance * np.tan(np.radians(elevation)) + bend * distance**2)


def _contrast(distance: np.ndarray, visibility: float) -> np.ndarray:
    """What the air leaves of contrast over distances, 0 to 1; all in metres."""
    return np.exp(_KOSCHMIEDER / visibility * distance)


def _certainty(distance: np.ndarray, steps: Sequence[Mapping[str, float]], parameters: ContourParameters) -> np.ndarray:
    """What the elevation model's cells leave of a ridge's weight, 0 to 1; `steps` as in `Panorama.parameters`, none: exact lines."""
    cell = np.zeros(len(distance))
    for level in reversed(steps):
        cell[distance <= level["to_m"]] = level["cell_m"]
    return np.asarray(1.0 / (1.0 + (parameters.cells * cell / distance) ** 4))


def _backward(forward: np.ndarray) -> np.ndarray:
    backward = np.full(len(forward), -1)
    backward[forward[forward >= 0]] = np.flatnonzero(forward >= 0)
    return backward


def _best_match(column: np.ndarray, elevation: np.ndarray, near: np.ndarray, step: int, panorama: Panorama) -> np.ndarray:
    """For each point the index of the closest one in the next column (`step` 1 or -1), or -1 where none is close enough.

    Closeness: |log near| differences count 1 at the tolerance of 10 %, elevations 1 at 10 rows (84 degrees steep).
    """
    if not len(column):
        return np.zeros(0, np.int64)
    span = 64.0  # more than any log distance
    key = column * span + near  # sorted, because the points are
    target = (column + step) % panorama.width
    place = np.searchsorted(key, target * span + near)
    best, best_cost = np.full(len(column), -1), np.full(len(column), np.inf)
    for offset in (-2, -1, 0, 1):
        candidate = np.clip(place + offset, 0, len(column) - 1)
        depth, climb = np.abs(near[candidate] - near) / 0.1, np.abs(elevation[candidate] - elevation) / (10.0 * panorama.row_step)
        cost = np.where((column[candidate] == target) & (depth <= 1.0) & (climb <= 1.0), depth + climb, np.inf)
        better = cost < best_cost
        best[better], best_cost[better] = candidate[better], cost[better]
    return best


def _directions(column: np.ndarray, elevation: np.ndarray, width: int) -> np.ndarray:
    azimuth, up = np.radians((column + 0.5) * (360.0 / width)), np.radians(elevation)
    return np.stack([np.sin(azimuth) * np.cos(up), np.cos(azimuth) * np.cos(up), np.sin(up)], axis=1)
