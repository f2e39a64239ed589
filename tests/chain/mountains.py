"""A range of mountains that does not exist, and a photograph of it: what the chain of commands is tried on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from toolkit.geo.camera import camera_from_hfov, rays
from toolkit.geo.panorama import render_panorama
from toolkit.geo.pose import Pose
from toolkit.geo.terrain import read_terrain

LATITUDE, LONGITUDE, HEIGHT = 46.5, 8.0, 2300.0
HFOV = 52.0


def write_mountains(path: Path, size: int = 600, cell: float = 1 / 900, seed: int = 7) -> None:
    """A GeoTIFF of fractal peaks about (LATITUDE, LONGITUDE)."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    frequency[0, 0] = 1.0
    spectrum = np.fft.fft2(random.normal(size=(size, size))) / frequency**1.9
    spectrum[frequency < 2.5 / size] = 0
    heights = np.fft.ifft2(spectrum).real
    heights = 1800 + 500 * heights / heights.std()
    transform = from_origin(LONGITUDE - size / 2 * cell, LATITUDE + size / 2 * cell, cell, cell)
    profile = {"driver": "GTiff", "width": size, "height": size, "count": 1, "dtype": "float32", "crs": "EPSG:4326", "transform": transform}
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(heights.astype(np.float32), 1)


def write_photo(path: Path, dem: Path, pose: Pose, width: int = 900, height: int = 600) -> None:
    """What a camera sees: grey by distance through haze, with sensor noise; no shape is told but by what hides what."""
    view = render_panorama(read_terrain([str(dem)], LATITUDE, LONGITUDE, 40e3), LATITUDE, LONGITUDE, HEIGHT, width=8192, range_m=40e3)
    assert view.distance is not None
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    seen = rays(camera_from_hfov(width, height, HFOV), x.ravel(), y.ravel()) @ pose.matrix.T
    column = np.degrees(np.arctan2(seen[:, 0], seen[:, 1])) % 360 * view.width / 360
    row = (view.elevations[1] - np.degrees(np.arcsin(seen[:, 2]))) / view.row_step
    distance = view.distance[np.clip(row.astype(int), 0, view.rows - 1), column.astype(int) % view.width].reshape(height, width)
    grey = np.where(np.isnan(distance), 215.0, 200.0 - 160.0 * np.exp(-distance / 12e3))
    grey += np.random.default_rng(1).normal(size=grey.shape) * 2
    Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(path, quality=92)
