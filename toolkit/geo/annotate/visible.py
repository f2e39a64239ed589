"""Which peaks are seen from a panorama's eye, where exactly, and how high: a peak is seen where the distance image shows its summit.

Each pixel of that image is a place on the ground: its azimuth and distance say where, its elevation angle how high. So a list's
summit, which is often 50 to 300 m beside the elevation model's, is moved to the highest ground near by that is seen.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.geo.annotate.peaks import Peak
from toolkit.geo.panorama import Panorama

if TYPE_CHECKING:
    import pyproj

    from toolkit.geo.terrain import Level, Terrain

# How far lists are beside the summit; and how far before a round summit, which hides its own top, the line of sight touches it.
SNAP_M = 300.0
_SNAP_CELLS = 2.5  # in a coarse model a summit may be any of the cells around
_SNAP_SHARE = 0.25  # of the distance: closer, the search would turn the head
# A higher place farther from the listed one is taken only where it rises to it by this slope at least: a summit rises faster, a ridge
# that runs on to the next one often does not.
_LEAST_SLOPE = 0.1
_MISSING_M = 100.0  # a model of 100 m cells cuts so much off a sharp summit
_BESIDE, _NOT_FARTHER = 15.0, 1.3  # degrees to each side; times the summit's distance
_NEAREST_M = 50.0  # whoever stands on a summit does not see it


@dataclass(frozen=True)
class Sight:
    """A peak that is seen. `azimuth`, `elevation`: degrees, of what is seen of its summit. `distance`: metres along the ground.

    `height`: metres, from `height_from`: "list", "dem" or "panorama". `relief`: metres by which it rises over what is seen beside it.
    """

    peak: Peak
    azimuth: float
    elevation: float
    distance: float
    height: float
    height_from: str
    relief: float


@dataclass(frozen=True)
class _Ground:
    """A panorama as ground. `distance`: of each column from the top, shape (width, rows), metres. `elevations`: degrees of the rows.

    `first`: where the contour points of each column begin, shape (width + 1,). `radius`: see `height_at`.
    """

    panorama: Panorama
    distance: np.ndarray
    elevations: np.ndarray
    first: np.ndarray
    radius: float


def height_at(eye: float, distance: np.ndarray, elevation: np.ndarray, radius: float) -> np.ndarray:
    """Metres of ground seen at `distance` metres under `elevation` degrees; `radius` is the Earth's, stretched for refraction.

    Solved for h: tan e = (cos s - 1) / sin s + (h - eye) / ((R + h) sin s) with s = distance / R, see `toolkit.geo.sweep`.
    """
    angle = distance / radius
    share = (np.tan(np.radians(elevation)) + np.tan(angle / 2.0)) * np.sin(angle)
    return (eye + radius * share) / (1.0 - share)


def visible_peaks(
    peaks: Sequence[Peak], panorama: Panorama, terrain: Terrain | None = None, azimuths: tuple[float, float] = (0.0, 360.0)
) -> list[Sight]:
    """The peaks that are seen, in the order given, of those within (first, last) `azimuths`, degrees clockwise; last may exceed 360.

    Where a `terrain` is given, summits and heights that lists lack are its; without, those of what is seen. A peak is not seen when
    no ground near its place is, or when what is seen there is lower than its summit by more than a pixel and the model's errors.
    """
    from toolkit.geo.terrain import GEOD

    assert panorama.distance is not None
    if not peaks:
        return []
    places = np.array([(peak.latitude, peak.longitude) for peak in peaks])
    azimuth, distance = _bearings(panorama, places)
    range_m = float(panorama.parameters.get("range_m", np.inf))
    wanted = (distance > _NEAREST_M) & (distance <= range_m) & ((azimuth - azimuths[0]) % 360.0 <= azimuths[1] - azimuths[0])
    radius = float(panorama.parameters.get("earth_radius_m", GEOD.a)) / (1.0 - float(panorama.parameters.get("refraction", 0.13)))
    elevations = panorama.elevations[1] - (np.arange(panorama.rows) + 0.5) * panorama.row_step
    first = np.searchsorted(panorama.contours.column, np.arange(panorama.width + 1))
    ground = _Ground(panorama, np.ascontiguousarray(panorama.distance.T), elevations, first, radius)
    chosen = np.flatnonzero(wanted)
    azimuth, distance, places = azimuth[chosen], distance[chosen], places[chosen]
    reach = np.array([snap_radius(panorama, away) for away in distance])
    heights: list[float | None] = [None] * len(chosen)
    if terrain is not None:
        places, heights = summits_near(terrain, places, distance, reach)
        azimuth, distance = _bearings(panorama, places)
    found = []
    for i, number in enumerate(chosen.tolist()):
        sight = _sight(ground, peaks[number], float(azimuth[i]), float(distance[i]), heights[i], float(reach[i]))
        if sight is not None:
            found.append(sight)
    return found


def summits_near(
    terrain: Terrain, places: np.ndarray, distance: np.ndarray, reach: np.ndarray
) -> tuple[np.ndarray, list[float | None]]:
    """Latitudes and longitudes, shape (N, 2), and heights of the summits of the elevation model that listed places (N, 2) mean.

    Of the cells within `reach` metres that no neighbour exceeds, the highest, less 0.1 m for each metre away; the listed place with
    its own height where there is none; height None outside the model. `distance`: metres from the eye, shape (N,).
    """
    columns, rows = terrain.grid_position(places[:, 0], places[:, 1])
    found, heights = places.copy(), []
    for number, (column, row) in enumerate(zip(columns.tolist(), rows.tolist(), strict=True)):
        level = next((level for level in terrain.levels if level.reach >= distance[number]), terrain.levels[-1])
        x, y = (column - level.column) / level.factor - 0.5, (row - level.row) / level.factor - 0.5
        best = _highest_summit(level, round(y), round(x), x, y, float(reach[number]))
        if best is None:
            height = terrain.height_at(*places[number].tolist())
            heights.append(None if np.isnan(height) else height)
            continue
        i, j = best
        found[number] = _degrees_at(terrain, (j + 0.5) * level.factor + level.column, (i + 0.5) * level.factor + level.row)
        heights.append(float(level.heights[i, j]))
    return found, heights


def _highest_summit(level: Level, i: int, j: int, x: float, y: float, reach: float) -> tuple[int, int] | None:
    """Row and column of the summit near column `x`, row `y`, of which `j`, `i` is the nearest cell; None for none, and at the border."""
    span = max(1, int(np.ceil(reach / level.cell)))
    if not (span < i < level.heights.shape[0] - span - 1 and span < j < level.heights.shape[1] - span - 1):
        return None
    around = level.heights[i - span - 1 : i + span + 2, j - span - 1 : j + span + 2]
    inner = around[1:-1, 1:-1]
    size = len(inner)
    neighbours = [around[a : a + size, b : b + size] for a in range(3) for b in range(3) if (a, b) != (1, 1)]
    with np.errstate(invalid="ignore"):
        top = np.all([inner >= other for other in neighbours], axis=0)
    offset = level.cell * np.hypot(np.arange(i - span, i + span + 1)[:, None] - y, np.arange(j - span, j + span + 1) - x)
    top &= offset <= reach
    if not top.any():
        return None
    a, b = np.unravel_index(np.argmax(np.where(top, inner - _LEAST_SLOPE * offset, -np.inf)), inner.shape)
    return int(i - span + a), int(j - span + b)


def _degrees_at(terrain: Terrain, column: float, row: float) -> tuple[float, float]:
    a, b, c, d, e, f = terrain.transform
    longitude, latitude = _to_degrees(terrain.crs).transform(a * column + b * row + c, d * column + e * row + f)
    return float(latitude), float(longitude)


@functools.lru_cache(maxsize=8)
def _to_degrees(crs: str) -> pyproj.Transformer:
    import pyproj

    return pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(crs).to_2d(), "OGC:CRS84", always_xy=True)


def snap_radius(panorama: Panorama, distance: float) -> float:
    """How far from a listed place at `distance` metres its summit may be: 300 m, or two and a half cells of the elevation model."""
    return min(max(SNAP_M, _SNAP_CELLS * _cell(panorama, distance)), _SNAP_SHARE * distance)


def _cell(panorama: Panorama, distance: float) -> float:
    steps = panorama.parameters.get("steps") or [{"cell_m": 30.0, "to_m": np.inf}]
    return float(next((step["cell_m"] for step in steps if step["to_m"] >= distance), steps[-1]["cell_m"]))


def _bearings(panorama: Panorama, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Azimuths, degrees, and distances, metres, shapes (N,), from the eye to latitudes and longitudes, shape (N, 2)."""
    from toolkit.geo.terrain import GEOD

    same = np.ones(len(places))
    azimuth, _, distance = GEOD.inv(panorama.longitude * same, panorama.latitude * same, places[:, 1], places[:, 0])
    return np.asarray(azimuth) % 360.0, np.asarray(distance)


def _sight(ground: _Ground, peak: Peak, azimuth: float, distance: float, summit: float | None, reach: float) -> Sight | None:
    """What is seen of a peak within `reach` metres of a place; `summit`: its height in the elevation model, None if that is not known."""
    panorama, pixel = ground.panorama, np.radians(ground.panorama.row_step) * distance
    middle = azimuth * panorama.width / 360.0 - 0.5
    half = min(int(np.degrees(np.arctan2(reach, distance)) * panorama.width / 360.0) + 1, panorama.width // 8)
    columns = (round(middle) + np.arange(-half, half + 1)) % panorama.width
    seen = _Seen.of(ground, columns, azimuth, distance, reach)
    inside = np.flatnonzero(seen.offset <= reach)
    if not len(inside):
        return None
    best = inside[np.argmax(seen.height[inside] - _LEAST_SLOPE * seen.offset[inside])]
    if summit is None:
        beyond = (np.hypot(seen.along - seen.along[best], seen.across - seen.across[best]) <= 0.5 * reach) & (seen.offset > reach)
        if seen.offset[best] > 0.8 * reach and np.any(seen.height[beyond] > seen.height[best] + 2.0 * pixel):
            best = inside[np.argmin(seen.offset[inside])]  # a slope that goes on rising: the list means a place on it
    expected = summit if summit is not None else peak.height
    if expected is not None:
        # Rays pass beside the summit by up to half a column and read heights between cells: by as much they may be lower on steep ground.
        allowed = 0.5 * (np.radians(360.0 / panorama.width) * distance + _cell(panorama, distance))
        allowed += pixel * (0.25 if seen.exact[best] else 1.5)
        if seen.height[best] < expected - allowed - (0.0 if summit is not None else _MISSING_M):
            return None
    known = [(peak.height, "list"), (summit, "dem"), (float(seen.height[best]), "panorama")]
    height, source = next((value, source) for value, source in known if value is not None)
    relief = _relief(ground, float(seen.azimuth[best]), float(seen.elevation[best]), float(seen.distance[best]))
    return Sight(peak, float(seen.azimuth[best]), float(seen.elevation[best]), float(seen.distance[best]), height, source, relief)


@dataclass(frozen=True)
class _Seen:
    """Ground that is seen near a place, all shape (N,): directions in degrees, metres from the eye, height, metres from the place.

    `along`, `across`: those metres beyond it and to the right of it, as seen from the eye; `offset`: both together.
    `exact`: whether the elevation is that of a contour, not that of a pixel, above whose centre the ground may rise by half a row.
    """

    azimuth: np.ndarray
    elevation: np.ndarray
    distance: np.ndarray
    height: np.ndarray
    along: np.ndarray
    across: np.ndarray
    offset: np.ndarray
    exact: np.ndarray

    @staticmethod
    def of(ground: _Ground, columns: np.ndarray, azimuth: float, distance: float, reach: float) -> _Seen:
        """The ground in some columns whose distance differs from that of the place by at most twice `reach`."""
        panorama = ground.panorama
        image = ground.distance[columns]
        place, row = np.nonzero(np.abs(image - distance) <= 2.0 * reach)
        contours = panorama.contours
        point = np.concatenate([np.arange(ground.first[c], ground.first[c + 1]) for c in columns])
        point = point[np.abs(contours.near[point] - distance) <= 2.0 * reach]
        column = np.concatenate([columns[place], contours.column[point]])
        elevation = np.concatenate([ground.elevations[row], contours.elevation[point].astype(np.float64)])
        away = np.concatenate([image[place, row], contours.near[point]]).astype(np.float64)
        turn = np.radians((column + 0.5) * 360.0 / panorama.width - azimuth)
        along, across = away * np.cos(turn) - distance, away * np.sin(turn)
        height = height_at(panorama.height, away, elevation, ground.radius)
        exact = np.arange(len(away)) >= len(row)
        return _Seen((column + 0.5) * 360.0 / panorama.width, elevation, away, height, along, across, np.hypot(along, across), exact)


def _relief(ground: _Ground, azimuth: float, elevation: float, distance: float) -> float:
    """Metres from a summit down to the higher of the saddles left and right of it, in the outline of all that is not much farther.

    That outline, within 15 degrees, is what the eye compares it with; where a side does not rise above the summit its lowest place counts.
    """
    panorama = ground.panorama
    half = min(round(_BESIDE * panorama.width / 360.0), panorama.width // 2 - 1)
    middle = int(azimuth * panorama.width / 360.0)
    columns = (middle + np.arange(-half, half + 1)) % panorama.width
    # The higher a pixel the farther what it shows: halving finds the topmost that is near enough.
    low, high = np.zeros(len(columns), np.int64), np.full(len(columns), panorama.rows - 1)
    for _ in range(int(panorama.rows).bit_length()):
        row = (low + high) // 2
        near = ground.distance[columns, row] <= _NOT_FARTHER * distance  # false for the sky, NaN
        low, high = np.where(near, low, np.minimum(row + 1, high)), np.where(near, row, high)
    outline = ground.elevations[high]
    saddles = []
    for side in (outline[half::-1], outline[half:]):
        higher = np.flatnonzero(side > elevation + panorama.row_step)
        saddles.append(side[: higher[0]].min(initial=elevation) if len(higher) else side.min())
    return float(distance * np.tan(np.radians(max(0.0, elevation - max(saddles)))))
