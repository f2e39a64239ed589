"""Elevation models made for tests: a grid around a place, heights as a function of metres east and north of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio

EYE = (46.0, 8.2)  # 62 km west of the meridian of UTM zone 32: its grid is turned there by half a degree
UTM = "EPSG:32632"

Heights = Callable[[np.ndarray, np.ndarray], np.ndarray]


def write_dem(path: Path, heights: Heights, half_m: float, cell_m: float, crs: str = UTM, dtype: str = "float32", **options: object) -> str:
    """A GeoTIFF of `half_m` metres to each side of EYE; `heights` takes metres true east and north (azimuthal equidistant)."""
    from pyproj import Transformer

    latitude, longitude = EYE
    step_x, step_y = cell_m, cell_m
    if crs == "EPSG:4326":
        step_x, step_y = cell_m / (111320.0 * np.cos(np.radians(latitude))), cell_m / 111150.0
    x_0, y_0 = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)
    count = 2 * round(half_m / cell_m)
    place = rasterio.transform.from_origin(x_0 - count / 2 * step_x, y_0 + count / 2 * step_y, step_x, step_y)
    i, j = np.mgrid[:count, :count] + 0.5
    ground = f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +ellps=WGS84"
    east, north = Transformer.from_crs(crs, ground, always_xy=True).transform(place.c + j * step_x, place.f - i * step_y)
    shape = {"driver": "GTiff", "width": count, "height": count, "count": 1, "dtype": dtype, "crs": crs, "transform": place}
    with rasterio.open(path, "w", **(shape | options)) as file:
        file.write(np.asarray(heights(east, north)).astype(dtype), 1)
    return str(path)


def hills(east: np.ndarray, north: np.ndarray) -> np.ndarray:
    """Smooth ridges of several sizes, 0 to 1500 m, with the eye in a hollow."""
    waves = 500 * np.sin(east / 1700 + 0.7) * np.cos(north / 1300 - 0.4) + 150 * np.sin(east / 450 + north / 600)
    return 750 + waves * np.clip(np.hypot(east, north) / 4000, 0.1, 1)
