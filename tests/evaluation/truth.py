"""Photographs of known pose in a directory: photo/, truth.csv, pose/, dem_*.tif, and horizon/ where horizons were surveyed.

Columns and units are those of the public Columbia Glacier time-lapse cameras (github.com/ezwelty/glimpse): yaw is from the north of the
position's UTM zone, heights are above the ellipsoid as the elevation model's are.
"""

from __future__ import annotations

import csv
import fnmatch
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyproj

from toolkit.geo.camera import Camera, camera_from_hfov
from toolkit.geo.pose import Pose


@dataclass(frozen=True)
class Truth:
    """What is known of a photograph. `pose` is from true north; `note` says where it comes from; `hfov`: degrees, without distortion."""

    name: str
    station: str
    note: str
    photo: Path
    latitude: float
    longitude: float
    height: float
    pose: Pose
    size: tuple[int, int]
    hfov: float
    camera: Camera | None
    dem: Path
    horizon: Path | None

    @property
    def at(self) -> str:
        """Its position as an option's value."""
        return f"{self.latitude},{self.longitude},{self.height}"

    @property
    def pinhole(self) -> Camera:
        """A lens without distortion, of its field of view."""
        return camera_from_hfov(*self.size, self.hfov)


def read_truths(data: Path, chosen: str = "*") -> list[Truth]:
    """Those whose photo or station fits the pattern `chosen`, in the table's order."""
    with open(data / "truth.csv", newline="") as table:
        rows = [row for row in csv.DictReader(table) if any(fnmatch.fnmatch(row[key], chosen) for key in ("photo", "station"))]
    return [_truth(data, row) for row in rows]


def _truth(data: Path, row: dict[str, str]) -> Truth:
    latitude, longitude = float(row["lat"]), float(row["lon"])
    yaw = (float(row["yaw_deg_cw_from_grid_north"]) + convergence(latitude, longitude)) % 360.0
    pose, horizon = data / "pose" / f"{row['photo']}.json", data / "horizon" / f"{row['station']}.geojson"
    size = int(row["width"]), int(row["height"])
    return Truth(
        row["photo"], row["station"], row["pose_note"], _photo(data / "photo", row["photo"]), latitude, longitude,
        float(row["height_ellipsoid_m"]), Pose(yaw, float(row["pitch_deg_up"]), float(row["roll_deg_down_right"])), size,
        float(row["hfov_deg_pinhole"]), _camera(json.loads(pose.read_text()), size) if pose.exists() else None,
        _covering(sorted(data.glob("dem_*.tif")), latitude, longitude), horizon if horizon.exists() else None,
    )  # fmt: skip


def convergence(latitude: float, longitude: float) -> float:
    """Degrees from true north to the grid north of the position's UTM zone, clockwise."""
    zone = int((longitude + 180.0) // 6.0) % 60 + 1
    return float(pyproj.Proj(f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}").get_factors(longitude, latitude).meridian_convergence)


def _photo(folder: Path, name: str) -> Path:
    found = sorted(path for path in folder.glob(f"{name}.*"))
    return found[0] if found else folder / f"{name}.jpg"


def _camera(pose: dict[str, list[float]], size: tuple[int, int]) -> Camera:
    """A calibrated lens: focal length and principal point from millimetres to pixels of the photo's size."""
    pixels = np.array(size, float) / pose["sensorsz"]
    fx, fy = (float(value) for value in pose["fmm"] * pixels)
    cx, cy = (float(value) for value in np.array(size) / 2 + pose["cmm"] * pixels - 0.5)
    return Camera(*size, fx, fy, cx, cy, tuple(pose["k"]), tuple(pose["p"]))


def _covering(models: list[Path], latitude: float, longitude: float) -> Path:
    """The elevation model that reaches farthest around the position of those that hold it."""
    import rasterio

    best, reach = models[0], -np.inf
    for path in models:
        with rasterio.open(path) as raster:
            x, y = pyproj.Transformer.from_crs("OGC:CRS84", raster.crs, always_xy=True).transform(longitude, latitude)
            left, bottom, right, top = raster.bounds
            near = min((x - left) / (right - left), (right - x) / (right - left), (y - bottom) / (top - bottom), (top - y) / (top - bottom))
            if near > reach:
                best, reach = path, near
    return best
