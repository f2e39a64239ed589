"""A surveyed horizon as a panorama: lines in space along which the terrain ends before the sky, seen from a point.

The file is GeoJSON (RFC 7946): LineStrings or MultiLineStrings of longitude, latitude and height, the height in the datum of the
eye's (the RFC says ellipsoidal; any will do if both agree). Directions are those of `toolkit.geo.sweep`: geodesics, the Earth's curvature
and refraction included.
"""

from __future__ import annotations

import json
import logging
import math
from typing import Any

import numpy as np

from toolkit import __version__
from toolkit.core.errors import BadData, UsageError
from toolkit.core.streams import open_input, stream_name
from toolkit.geo.panorama import Contours, Panorama, earth_radius

_log = logging.getLogger(__name__)

WIDTH = 16384  # columns: 0.022 degrees, finer than what is surveyed
_MARGIN = 1.0  # degrees of sky above the horizon and of ground below it
# Where a line leaps from one ridge to another it is no line: it would be seen as a wall.
_LEAP = 2.0  # one point being so many times as far as the next
_GAP = 2.0  # degrees between two points of a line


def read_horizon(path: str) -> list[np.ndarray]:
    """The lines of a file, each float64, shape (points, 3): longitude, latitude, metres. ``-`` is standard input.

    Raises NoInput when there is no such file, BadData when it holds no line with heights.
    """
    place = stream_name(path)
    with open_input(path) as stream:
        try:
            content = json.loads(stream.read())
        except ValueError as error:
            raise BadData(place, f"is no JSON ({error})", "give GeoJSON with LineStrings of longitude, latitude, height") from error
    lines = []
    for number, points in enumerate(_coordinates(content), 1):
        try:
            line = np.array([[float(value) for value in point[:3]] for point in points])
        except (TypeError, ValueError):
            line = np.zeros((0, 2))
        if line.ndim != 2 or line.shape[1] != 3 or not np.isfinite(line).all():
            raise BadData(place, f"line {number} is not a list of longitude, latitude and height", "give every point its height in metres")
        if (np.abs(line[:, :2]) > (360.0, 90.0)).any():
            raise BadData(place, f"line {number} is not in degrees", "convert it to longitude and latitude (WGS 84)")
        if len(line) > 1:
            lines.append(line)
    if not lines:
        raise BadData(place, "holds no LineString", "give GeoJSON with LineStrings of longitude, latitude, height")
    return lines


def horizon_panorama(path: str, latitude: float, longitude: float, height: float, *, refraction: float = 0.13) -> Panorama:
    """The horizon in `path` as seen from a position in degrees at `height` metres: skyline contours, and distances along them only.

    Of lines one behind the other the highest is the horizon. Warns when it is below the eye all around. Raises as `read_horizon`,
    and BadData when the eye is on a line.
    """
    from toolkit.geo.terrain import GEOD

    earth = earth_radius(latitude)
    columns, elevations, distances = [], [], []
    for line in read_horizon(path):
        eye = np.full(len(line), longitude), np.full(len(line), latitude)
        azimuth, _, distance = GEOD.inv(*eye, line[:, 0], line[:, 1])
        if (distance < 1.0).any():
            raise BadData(stream_name(path), "has a point at the eye's own position", "is --at right? latitude comes first")
        angle = distance * (1.0 - refraction) / earth
        tangent = (line[:, 2] - height) / ((earth / (1.0 - refraction) + line[:, 2]) * np.sin(angle)) - np.tan(angle / 2.0)
        for column, at in _crossed(np.asarray(azimuth) * WIDTH / 360.0 - 0.5, np.asarray(distance)):
            columns.append(column)
            first = at.astype(np.int64)
            part = at - first
            elevations.append(np.degrees(np.arctan((1 - part) * tangent[first] + part * tangent[first + 1])))
            distances.append((1 - part) * distance[first] + part * distance[first + 1])
    if not columns:
        raise BadData(stream_name(path), "shows no horizon from this position", "is --at right? latitude comes first")
    column, elevation, near = (np.concatenate(values) for values in (columns, elevations, distances))
    if elevation.max() < 0.0:
        _log.warning("%s: all of the horizon lies below the eye; is its height in metres, and in the horizon's datum?", stream_name(path))
    order = np.lexsort((-elevation, column))
    _, highest = np.unique(column[order], return_index=True)
    chosen = order[highest]
    return _panorama(path, latitude, longitude, height, refraction, earth, column[chosen], elevation[chosen], near[chosen])


def _coordinates(content: Any) -> list[Any]:
    """The coordinates of all lines in a GeoJSON object, however nested."""
    if not isinstance(content, dict):
        return []
    kind = content.get("type")
    if kind in ("FeatureCollection", "GeometryCollection"):
        parts = content.get("features" if kind == "FeatureCollection" else "geometries")
        return [line for part in (parts if isinstance(parts, list) else []) for line in _coordinates(part)]
    if kind == "Feature":
        return _coordinates(content.get("geometry"))
    coordinates = content.get("coordinates")
    if not isinstance(coordinates, list):
        return []
    return coordinates if kind == "MultiLineString" else [coordinates] if kind == "LineString" else []


def _crossed(place: np.ndarray, distance: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The whole columns between neighbouring points of a line, and where along the line, counted in points, each is met."""
    found = []
    turn = (np.diff(place) + WIDTH / 2) % WIDTH - WIDTH / 2
    ratio = distance[1:] / distance[:-1]
    for i in np.flatnonzero((np.abs(turn) < _GAP * WIDTH / 360.0) & (np.maximum(ratio, 1.0 / ratio) < _LEAP) & (turn != 0.0)):
        start, end = place[i], place[i] + turn[i]
        column = np.arange(math.ceil(min(start, end)), math.floor(max(start, end)) + 1)
        if len(column):
            found.append((column % WIDTH, i + np.clip((column - start) / turn[i], 0.0, 1.0 - 1e-9)))
    return found


def _panorama(
    path: str,
    latitude: float,
    longitude: float,
    height: float,
    refraction: float,
    earth: float,
    column: np.ndarray,
    elevation: np.ndarray,
    near: np.ndarray,
) -> Panorama:
    step = 360.0 / WIDTH
    rows = math.ceil((np.ptp(elevation) + 2.0 * _MARGIN) / step)
    low = max(-90.0, float(elevation.min()) - _MARGIN)
    top = low + rows * step
    if top > 90.0:
        raise UsageError("--at", "looks up at a horizon in the zenith", "is its height in the horizon's datum?")
    distance = np.full((rows, WIDTH), np.nan, np.float32)
    distance[np.clip(np.floor((top - elevation) / step), 0, rows - 1).astype(np.intp), column] = near
    sky = np.full(len(near), np.inf, np.float32)
    contours = Contours(column.astype(np.int32), elevation.astype(np.float32), near.astype(np.float32), sky)
    parameters = {
        "horizon": stream_name(path),
        "refraction": refraction,
        "earth_radius_m": earth,
        "steps": [],
        "version": __version__,
    }
    return Panorama(latitude, longitude, height, (low, top), "angle", WIDTH, rows, distance, contours, parameters)
