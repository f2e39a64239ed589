"""What can be seen from a point: a distance image all around and the occluding contours in it.

Azimuths are clockwise from true north: rays are geodesics of the WGS 84 ellipsoid, carried into the elevation model's own
system. Distances are along the ground (the ellipsoid). The Earth's curvature uses the Gaussian mean radius at the
eye; at 100 km that is within 3 m of height of the ellipsoid.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit import __version__
from toolkit.core.errors import BadData, UsageError
from toolkit.core.progress import progress
from toolkit.geo.contours import LEAST_DEPTH_RATIO, contour_polylines, contour_segments, shores

if TYPE_CHECKING:  # reading a panorama's contours must not load GDAL and PROJ
    from toolkit.geo.sweep import Leg
    from toolkit.geo.terrain import Terrain

__all__ = ["LEAST_DEPTH_RATIO", "Contours", "Panorama", "contour_polylines", "contour_segments", "earth_radius", "render_panorama"]

_log = logging.getLogger(__name__)

BLOCK_COLUMNS = {"numpy": 64, "numba": 256}  # numpy: the block's arrays stay in the second-level cache

# Near the eye steps grow by this ratio until they are one cell: the ground at its feet has many rows.
_FIRST_STEP, _GROWTH = 0.25, 1.2


@dataclass(frozen=True)
class Contours:
    """Points of occluding contours, sorted by column and distance; all arrays of shape (points,).

    `column`: int32. `elevation`: float32, degrees, sub-pixel. `near`, `far`: float32, metres, of the ridge and of what is seen
    over it, infinite for the sky.
    """

    column: np.ndarray
    elevation: np.ndarray
    near: np.ndarray
    far: np.ndarray


@dataclass(frozen=True)
class Panorama:
    """The view from (`latitude`, `longitude`), degrees, at `height`, metres in the elevation data's vertical datum.

    Row r of `rows` looks at elevation max - (r + 0.5) step, degrees, with `elevations` = (min, max); column c of `width`
    at azimuth (c + 0.5) 360 / width, degrees clockwise from true north. `projection` "angle": rows are equal steps of elevation.
    `distance`: float32, shape (rows, width), metres along the ground, NaN for sky and unseen; None when it was not read.
    `parameters`: how it was made, as in the file; "visibility_m", metres, where ridges are to be seen through haze.
    """

    latitude: float
    longitude: float
    height: float
    elevations: tuple[float, float]
    projection: str
    width: int
    rows: int
    distance: np.ndarray | None
    contours: Contours
    parameters: dict[str, Any]

    @property
    def row_step(self) -> float:
        """Degrees from row to row."""
        return (self.elevations[1] - self.elevations[0]) / self.rows


def render_panorama(
    terrain: Terrain,
    latitude: float,
    longitude: float,
    height: float | None,
    *,
    above_ground: float = 2.0,
    range_m: float = 100e3,
    width: int = 4096,
    elevations: tuple[float, float] = (-45.0, 45.0),
    refraction: float = 0.13,
    engine: str = "auto",
) -> Panorama:
    """Render what is seen from a position in degrees at `height` metres, or `above_ground` metres over the terrain if None.

    `refraction` is the coefficient k: light bends with k times the Earth's curvature. `engine`: "numpy", "numba" or "auto".
    A height below the terrain is lifted, with a warning. Contours that are shores or margins of ice are left out, see
    `toolkit.geo.contours.shores`. Raises BadData where the terrain has a void at the position and no
    height is given, UsageError for numbers that make no panorama.
    """
    rows = round(width * (elevations[1] - elevations[0]) / 360.0)
    _check(range_m, width, elevations, rows, refraction)
    eye = _eye_height(terrain, latitude, longitude, height, above_ground)
    engine = choose_engine(width) if engine == "auto" else engine
    if engine == "numba":
        from toolkit.geo.sweep_numba import sweep_block
    else:
        from toolkit.geo.sweep import sweep_block
    from toolkit.geo.sweep import View

    earth = earth_radius(latitude)
    view = View(eye, earth / (1.0 - refraction), elevations[1], (elevations[1] - elevations[0]) / rows, rows)
    legs = _legs(terrain, latitude, longitude, range_m, width)

    distance = np.empty((rows, width), np.float32)
    points = []
    with progress("sweep", width, "columns") as bar:
        for first in range(0, width, BLOCK_COLUMNS[engine]):
            block = slice(first, min(first + BLOCK_COLUMNS[engine], width))
            image, found = sweep_block(legs, block, view)
            distance[:, block] = image.T
            points.append(found)
            bar.update(block.stop - block.start)
    table = np.concatenate(points).T
    parameters = {
        "dem": list(terrain.files),
        "crs": terrain.crs,
        "range_m": range_m,
        "refraction": refraction,
        "earth_radius_m": earth,
        "ground_m": _finite(terrain.height_at(latitude, longitude)),
        "steps": [{"cell_m": level.cell, "to_m": level.reach} for level in terrain.levels],
        "engine": engine,
        "version": __version__,
    }
    contours = Contours(table[0].astype(np.int32), *(values.astype(np.float32) for values in table[1:]))
    panorama = Panorama(latitude, longitude, eye, elevations, "angle", width, rows, distance, contours, parameters)
    lasting = ~shores(panorama)
    kept = Contours(contours.column[lasting], contours.elevation[lasting], contours.near[lasting], contours.far[lasting])
    return replace(panorama, contours=kept)


def earth_radius(latitude: float) -> float:
    """Gaussian mean radius of the WGS 84 ellipsoid, metres."""
    from toolkit.geo.terrain import GEOD

    sine = math.sin(math.radians(latitude)) ** 2
    return GEOD.a * math.sqrt(1.0 - GEOD.es) / (1.0 - GEOD.es * sine)  # sqrt(M N), M and N the principal radii of curvature


def choose_engine(width: int) -> str:
    """The engine that ends first, loading included: numba needs 0.5 s to start and then saves most of the sweep."""
    return "numba" if width >= 8192 else "numpy"


def _check(range_m: float, width: int, elevations: tuple[float, float], rows: int, refraction: float) -> None:
    if not (-90.0 <= elevations[0] < elevations[1] <= 90.0):
        problem = f"{elevations[0]:g}:{elevations[1]:g} is no range of elevation angles"
        raise UsageError("--elevations", problem, "give MIN:MAX within -90:90")
    if rows < 1:
        raise UsageError("--elevations", f"{elevations[0]:g}:{elevations[1]:g} is less than one row", "widen it, or raise --width")
    if width < 8 or not 0.0 < range_m <= 1000e3 or not -1.0 < refraction < 1.0:
        remedy = "give --width >= 8, --range up to 1000, --refraction within -1 to 1"
        raise UsageError("panorama", "the width, range or refraction cannot be meant", remedy)


def _eye_height(terrain: Terrain, latitude: float, longitude: float, height: float | None, above_ground: float) -> float:
    ground = terrain.height_at(latitude, longitude)
    if height is None:
        if math.isnan(ground):
            raise BadData(terrain.files[0], f"has no height at {latitude:g},{longitude:g}, it lies in a void", "give the eye's HEIGHT")
        return ground + above_ground
    if height < ground:  # false in a void
        _log.warning("the height %.1f m lies below the terrain at %.1f m; lifted to %.1f m", height, ground, ground + above_ground)
        return ground + above_ground
    return height


def _legs(terrain: Terrain, latitude: float, longitude: float, range_m: float, width: int) -> list[Leg]:
    """The rays' polynomials on each level's grid and the distances of its samples, one cell apart."""
    from toolkit.geo.sweep import Leg

    columns, rows = _ray_polynomials(terrain, latitude, longitude, range_m, width)
    legs, start = [], 0.01
    for level in terrain.levels:
        reach = min(level.reach, range_m)
        near: list[float] = []
        if level is terrain.levels[0]:
            d, step = start, _FIRST_STEP
            while step < level.cell and d < reach:
                near.append(d)
                d, step = d + step, step * _GROWTH
            start = d
        count = max(0, math.ceil((reach - start) / level.cell))
        distances = np.append(near, start + level.cell * np.arange(count))
        start = start + level.cell * count
        if len(distances):
            x, y = columns / level.factor, rows / level.factor
            x[0] -= level.column / level.factor + 0.5
            y[0] -= level.row / level.factor + 0.5
            legs.append(Leg(level.heights, distances, x, y, range_m))
    return legs


def _ray_polynomials(terrain: Terrain, latitude: float, longitude: float, range_m: float, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows on the finest grid along each geodesic, as polynomials in d / range_m: shapes (degree + 1, width).

    Fitted at 9 Chebyshev nodes; a cubic is exact to millimetres at 100 km, and the degree rises where a system bends more.
    """
    from toolkit.geo.terrain import GEOD

    nodes = 0.5 - 0.5 * np.cos(np.pi * (np.arange(9) + 0.5) / 9)
    azimuths = (np.arange(width) + 0.5) * 360.0 / width
    shape = (9, width)
    full = [np.broadcast_to(np.asarray(v, np.float64), shape).ravel() for v in (longitude, latitude, azimuths, (nodes * range_m)[:, None])]
    longitudes, latitudes, _ = GEOD.fwd(full[0], full[1], full[2], full[3])
    positions = [values.reshape(shape) for values in terrain.grid_position(latitudes, longitudes)]
    for degree in (3, 5, 8):
        basis = nodes[:, None] ** np.arange(degree + 1)
        fits = [np.linalg.lstsq(basis, values, rcond=None)[0] for values in positions]
        if max(np.abs(basis @ fit - values).max() for fit, values in zip(fits, positions, strict=True)) < 0.02:
            break
    return fits[0], fits[1]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
