"""Render a photograph of terrain from a place and in a pose that are drawn at random, and write both down for the comparison.

It is a second way from terrain to picture, made to check the first: nothing of the code that `panorama` computes with is used
here, and where `panorama` sweeps over the cells, this marches along the ray of every sample of every pixel, over a spline through
the elevation model that is three to four times finer and grown over with trees. Light, shadow, haze, clouds and noise make the
photograph; a low sun, aerial perspective (Koschmieder's law, stronger for blue) and soft cumulus are the whole of its weather.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
from dataclasses import asdict, dataclass

import numba
import numpy as np

from toolkit.core.errors import BadData, NoInput, ToolError
from toolkit.core.streams import atomic_output
from toolkit.geo.pose import rotation_matrix

CELL = 25.0  # metres, of the ground that is rendered
NO_GROUND = -1e4  # metres: where the elevation model ends
EARTH_RADIUS, REFRACTION = 6371e3, 0.13
SAMPLES = 2  # a pixel is the mean of so many rays in each direction
FOCALS_35MM = range(32, 39)  # mm; at 3:2 these are 59 to 51 degrees wide
VIEWPOINTS = 24  # the best of them, from which the seed chooses
DIAGONAL_35MM = 43.27  # CIPA DCG-001


@dataclass(frozen=True)
class Ground:
    """Heights in metres, float32, shape (y, x), on a square grid about the eye: y northwards, x eastwards.

    Cell (0, 0) lies `west` and `south` metres from the eye (both negative); `cell` is its side in metres.
    """

    heights: np.ndarray
    west: float
    south: float
    cell: float


@dataclass(frozen=True)
class View:
    """What TRUTH.json holds: degrees, `height` in metres in the elevation model's datum."""

    latitude: float
    longitude: float
    height: float
    yaw: float
    pitch: float
    roll: float
    hfov: float
    focal_35mm: int


@dataclass(frozen=True)
class Terrain:
    """An elevation model in degrees: `heights` (first row northernmost), its `west` and `north` borders and the side of a `cell`."""

    heights: np.ndarray
    west: float
    north: float
    cell: float


def read_dem(path: str) -> Terrain:
    """Read a north-up GeoTIFF in geographic coordinates. Raises NoInput or BadData when it is none."""
    import rasterio

    try:
        with rasterio.open(path) as raster:
            transform, geographic = raster.transform, raster.crs is not None and raster.crs.is_geographic
            heights = raster.read(1).astype(np.float32)
    except rasterio.RasterioIOError as error:
        raise NoInput(path, "is no elevation model that can be read", "make it with make_terrain.py") from error
    if not geographic or transform.b or transform.d or not math.isclose(transform.a, -transform.e, rel_tol=1e-6):
        raise BadData(path, "is not in degrees with square cells, north up", "reproject it to EPSG:4326 with gdalwarp")
    return Terrain(heights, transform.c, transform.f, transform.a)


def focal_pixels(focal_35mm: float, width: int, height: int) -> float:
    """The focal length in pixels: a 35 mm equivalent compares the diagonals."""
    return focal_35mm / DIAGONAL_35MM * math.hypot(width, height)


def rays(view: View, columns: np.ndarray, rows: np.ndarray, width: int, height: int) -> np.ndarray:
    """East-North-Up directions, shape (..., 3), of places in the picture counted from its top left corner in pixels."""
    focal = 0.5 * width / math.tan(math.radians(view.hfov) / 2.0)
    camera = np.stack(np.broadcast_arrays(rows - height / 2.0, width / 2.0 - columns, np.float64(focal)), -1)
    camera /= np.linalg.norm(camera, axis=-1, keepdims=True)
    return camera @ rotation_matrix(view.yaw, view.pitch, view.roll).T


def ground_about(terrain: Terrain, latitude: float, longitude: float, rng: np.random.Generator, cell: float = CELL) -> Ground:
    """The terrain on an azimuthal equidistant grid about the eye, by a cubic spline, with relief too fine for the elevation model."""
    import pyproj
    from scipy.ndimage import gaussian_filter, map_coordinates

    rows, columns = terrain.heights.shape
    plane = pyproj.Transformer.from_crs("EPSG:4326", f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +ellps=WGS84", always_xy=True)
    along = np.linspace(0.0, 1.0, 50)
    border_x, border_y = plane.transform(
        terrain.west + terrain.cell * columns * np.concatenate([along, along, 0 * along, 0 * along + 1]),
        terrain.north - terrain.cell * rows * np.concatenate([0 * along, 0 * along + 1, along, along]),
    )
    x, y = (np.arange(math.floor(b.min() / cell), math.ceil(b.max() / cell) + 1) * cell for b in (border_x, border_y))
    xx, yy = np.meshgrid(x, y)
    lon, lat = plane.transform(xx, yy, direction="INVERSE")
    row, column = (terrain.north - lat) / terrain.cell - 0.5, (lon - terrain.west) / terrain.cell - 0.5
    heights = map_coordinates(terrain.heights, [row, column], order=3, mode="nearest", output=np.float32)
    for size, metres in ((4.0, 3.0), (2.0, 1.5), (1.0, 0.8)):  # half the size, half the height: about what hillsides do
        bumps = gaussian_filter(rng.standard_normal(heights.shape, np.float32), size)
        heights += metres * bumps / bumps.std() * np.clip(np.hypot(xx, yy) / 400.0 - 0.25, 0.0, 1.0)  # the eye keeps its place
    heights[(row < 0) | (row > rows - 1) | (column < 0) | (column > columns - 1)] = NO_GROUND
    return Ground(heights, float(x[0]), float(y[0]), cell)


def height_of(terrain: Terrain, latitude: float, longitude: float) -> float:
    """The height of a place: of the elevation model between its cells, or of the spline through it where that is higher."""
    from scipy.ndimage import map_coordinates

    place = [[(terrain.north - latitude) / terrain.cell - 0.5], [(longitude - terrain.west) / terrain.cell - 0.5]]
    return max(float(map_coordinates(terrain.heights, place, order=order)[0]) for order in (1, 3))


@numba.njit(cache=True)
def _hash(i: int, j: int, layer: int) -> float:
    """A number in [0, 1) that belongs to the corner (i, j) of a noise lattice."""
    n = (i * 73856093) ^ (j * 19349663) ^ (layer * 83492791)
    n = ((n ^ (n >> 13)) * 1274126177) & 0xFFFFFFFF
    n = ((n ^ (n >> 16)) * 668265263) & 0xFFFFFFFF
    return ((n ^ (n >> 15)) & 0xFFFFFF) / 16777216.0


@numba.njit(cache=True)
def _noise(x: float, y: float, layer: int) -> float:
    """Value noise in [-1, 1], lattice of side 1, with continuous derivatives."""
    i, j = math.floor(x), math.floor(y)
    u, v = x - i, y - j
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    i, j = int(i), int(j)
    low = _hash(i, j, layer) * (1.0 - u) + _hash(i + 1, j, layer) * u
    high = _hash(i, j + 1, layer) * (1.0 - u) + _hash(i + 1, j + 1, layer) * u
    return 2.0 * (low * (1.0 - v) + high * v) - 1.0


@numba.njit(cache=True)
def _sample(grid: np.ndarray, x: float, y: float) -> float:
    """Linear between the cells; NO_GROUND outside. `x`, `y` in cells."""
    if not (0.0 <= x < grid.shape[1] - 1 and 0.0 <= y < grid.shape[0] - 1):
        return NO_GROUND
    i, j = int(x), int(y)
    u, v = x - i, y - j
    return (grid[j, i] * (1 - u) + grid[j, i + 1] * u) * (1 - v) + (grid[j + 1, i] * (1 - u) + grid[j + 1, i + 1] * u) * v


@numba.njit(cache=True)
def _surface(grid: np.ndarray, west: float, south: float, cell: float, x: float, y: float, trees: float) -> float:
    """Height of the ground with its trees, whose crowns are `trees` metres high and which the eye's clearing keeps away."""
    ground = _sample(grid, (x - west) / cell, (y - south) / cell)
    distance = math.hypot(x, y)
    if trees == 0.0 or ground == NO_GROUND or distance > 9000.0:
        return ground
    grown = min(1.0, max(0.0, (distance - 30.0) / 120.0))
    crowns = 0.6 * _noise(x / 11.0, y / 11.0, 1) + 0.4 * _noise(x / 4.5, y / 4.5, 2) if distance < 4000.0 else 0.0
    return ground + grown * trees * (0.7 * crowns + 0.5 * _noise(x / 45.0, y / 45.0, 3))


@numba.njit(cache=True, parallel=True)
def _march(grid, west, south, cell, eye, directions, trees, drop, steepest):  # type: ignore[no-untyped-def]
    """Horizontal distance in metres where each ray, shape (n, 3), meets the ground; infinite where it meets the sky."""
    distances = np.full(len(directions), np.inf)
    top = grid.max() + 2.0 * trees
    farthest = math.hypot(grid.shape[1], grid.shape[0]) * cell
    for ray in numba.prange(len(directions)):
        east, north, up = directions[ray]
        flat = math.hypot(east, north)
        if flat < 1e-9:
            continue
        sine, cosine, slope = east / flat, north / flat, up / flat
        near = far = 1.0
        while far < farthest:
            height = eye + slope * far + drop * far * far
            if height > top and slope + 2.0 * drop * far > 0.0:
                break
            above = height - _surface(grid, west, south, cell, far * sine, far * cosine, trees)
            if above < 0.0:
                for _ in range(12):
                    middle = 0.5 * (near + far)
                    surface = _surface(grid, west, south, cell, middle * sine, middle * cosine, trees)
                    if eye + slope * middle + drop * middle * middle < surface:
                        far = middle
                    else:
                        near = middle
                distances[ray] = far
                break
            near = far
            far += max(above / (steepest + abs(slope)), 0.3 + far * 2e-4)
    return distances


def trace(ground: Ground, eye: float, directions: np.ndarray, trees: float = 0.0) -> np.ndarray:
    """Where rays from the eye, `eye` metres high in the middle of `ground`, meet it: horizontal distance in metres, or infinity.

    `directions` are East-North-Up, shape (..., 3). A ray bends towards the ground by the refraction, and the ground drops by the
    curvature: at the distance s the ray lies s^2 (1 - k) / 2R higher than on a plane.
    """
    drop = (1.0 - REFRACTION) / (2.0 * EARTH_RADIUS)
    flat = np.ascontiguousarray(directions.reshape(-1, 3))
    return _march(ground.heights, ground.west, ground.south, ground.cell, eye, flat, trees, drop, 1.2).reshape(directions.shape[:-1])


@numba.njit(cache=True, parallel=True)
def _sunlight(grid, cell, east, north, slope):  # type: ignore[no-untyped-def]
    """The share of the sun that every cell gets past the terrain, 0 to 1, with the soft border of a half degree wide sun."""
    light = np.ones(grid.shape, np.float32)
    for j in numba.prange(grid.shape[0]):
        for i in range(grid.shape[1]):
            open_sky, step = 1.0, 1.5
            while step < 240.0 and open_sky > 0.0:
                other = _sample(grid, i + step * east, j + step * north)
                clear = (grid[j, i] + step * cell * slope - other) / (step * cell)
                open_sky = min(open_sky, 0.5 + clear / 0.04)
                step *= 1.06
            light[j, i] = max(0.0, open_sky)
    return light


@numba.njit(cache=True, parallel=True)
def _colours(grid, lit, hollow, west, south, cell, trees, directions, distances, sun, look, weather):  # type: ignore[no-untyped-def]
    """Linear red, green, blue of every ray: lit forest seen through haze, or sky with clouds."""
    out = np.empty((len(directions), 3), np.float32)
    for ray in numba.prange(len(directions)):
        east, north, up = directions[ray]
        s = distances[ray]
        flat = math.hypot(east, north)
        glow = max(0.0, (east * sun[0] + north * sun[1]) / max(flat, 1e-9) / math.hypot(sun[0], sun[1]))
        haze = (0.36 + 0.22 * glow**4, 0.46 + 0.15 * glow**4, 0.60 + 0.04 * glow**4)
        if s == np.inf:
            rise = max(up, 0.0) ** 0.62
            sky = (haze[0] * (1 - rise) + 0.02 * rise, haze[1] * (1 - rise) + 0.09 * rise, haze[2] * (1 - rise) + 0.30 * rise)
            cover, bright = 0.0, 1.0
            if up > 0.004:
                reach = 1.0 / (up + 0.12)  # the cloud layer sinks to the horizon as it does on a round Earth
                x, y = weather + reach * east * 2.2, weather + reach * north * 2.2
                x, y = x + 0.2 * _noise(2.0 * x, 2.0 * y, 30), y + 0.2 * _noise(2.0 * x, 2.0 * y, 31)
                thick, size, part = 0.0, 1.0, 0.5
                for octave in range(6):
                    thick += part * _noise(x * size, y * size, 20 + octave)
                    size, part = size * 2.1, part * 0.55
                cover = min(1.0, max(0.0, (thick - 0.02) / 0.45))
                cover = cover * cover * (3.0 - 2.0 * cover) * min(1.0, up / 0.08) * 0.88
                beyond = _noise(x + 0.35 * sun[0], y + 0.35 * sun[1], 20) - _noise(x - 0.35 * sun[0], y - 0.35 * sun[1], 20)
                bright = min(0.95, max(0.40, 0.78 - 0.45 * max(0.0, thick - 0.05) - 0.28 * beyond))
            for c in range(3):
                cloud = bright * (0.96, 0.95, 0.97)[c]
                out[ray, c] = sky[c] * (1.0 - cover) + cloud * cover
            continue
        x, y = s * east / flat, s * north / flat
        i, j = (x - west) / cell, (y - south) / cell
        reach = max(3.0, s * look)
        slope_x = _surface(grid, west, south, cell, x + reach, y, trees) - _surface(grid, west, south, cell, x - reach, y, trees)
        slope_y = _surface(grid, west, south, cell, x, y + reach, trees) - _surface(grid, west, south, cell, x, y - reach, trees)
        slope_x, slope_y = slope_x / (2.0 * reach), slope_y / (2.0 * reach)
        if abs(slope_x) > 5.0 or abs(slope_y) > 5.0:  # at the elevation model's border
            slope_x = slope_y = 0.0
        length = math.sqrt(1.0 + slope_x * slope_x + slope_y * slope_y)
        facing = max(0.0, (sun[2] - slope_x * sun[0] - slope_y * sun[1]) / length)
        shine = facing * _sample(lit, i, j) * 2.1
        shade = 0.30 * max(0.25, _sample(hollow, i, j)) * (0.5 + 0.5 / length)
        stand = 0.5 * _noise(x / 700.0, y / 700.0, 10) + 0.35 * _noise(x / 190.0, y / 190.0, 11)
        stand += 0.25 * _noise(x / 60.0, y / 60.0, 12) - 0.12
        fine = 0.0
        for octave in range(6):
            metres = (24.0, 9.0, 3.5, 1.3, 0.45, 0.15)[octave]
            fine += 0.35 * max(0.0, 1.0 - s * look / (0.7 * metres)) * _noise(x / metres, y / metres, 13 + octave)
        autumn = min(1.0, max(0.0, 0.5 + 0.9 * stand))
        clearing = _noise(x / 420.0, y / 420.0, 17) + 0.5 * _noise(x / 120.0, y / 120.0, 18) - 0.55 - 1.5 * (length - 1.0)
        meadow = min(1.0, max(0.0, 6.0 * clearing))
        for c in range(3):
            leaf = (0.040, 0.075, 0.024)[c] * (1 - autumn) + (0.100, 0.078, 0.026)[c] * autumn
            leaf = leaf * (1 - meadow) + (0.125, 0.135, 0.050)[c] * meadow
            leaf *= max(0.25, 1.0 + 0.6 * fine)
            light = leaf * (shine * (1.00, 0.90, 0.72)[c] + shade * (0.85, 1.0, 1.3)[c]) * 1.35
            through = math.exp(-s / (19e3, 14.5e3, 9.5e3)[c])
            out[ray, c] = light * through + haze[c] * (1.0 - through)
    return out


def render(ground: Ground, view: View, width: int, height: int, seed: int, trees: float = 6.0) -> np.ndarray:
    """The photograph, uint8, shape (height, width, 3). The same arguments give the same picture."""
    from scipy.ndimage import gaussian_filter, uniform_filter

    rng = np.random.default_rng([seed, 1])
    columns, rows = (np.arange(n * SAMPLES) / SAMPLES + 0.5 / SAMPLES for n in (width, height))
    directions = rays(view, columns[None, :], rows[:, None], width, height).reshape(-1, 3)
    distances = trace(ground, view.height, directions, trees)
    sun = _sun(view.yaw, rng)
    lit = _sunlight(ground.heights, ground.cell, *sun[:2] / np.hypot(*sun[:2]), sun[2] / np.hypot(*sun[:2]))
    around = np.maximum(ground.heights, ground.heights[ground.heights > NO_GROUND].min())
    hollow = np.clip(0.85 + (around - gaussian_filter(around, 600.0 / ground.cell)) / 400.0, 0.35, 1.15).astype(np.float32)
    pixel = math.radians(view.hfov) / width
    weather = float(rng.uniform(0.0, 1000.0))
    place = (ground.west, ground.south, ground.cell, trees)
    linear = _colours(ground.heights, lit, hollow, *place, directions, distances, sun, pixel, weather)
    linear = linear.reshape(height, SAMPLES, width, SAMPLES, 3).mean(axis=(1, 3), dtype=np.float32)
    linear = gaussian_filter(linear, (0.55, 0.55, 0.0))  # the lens
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-height / width, height / width, height))
    linear *= (1.0 - 0.13 * (across**2 + down**2))[..., None]
    noise = rng.standard_normal(linear.shape, np.float32)
    noise = 0.8 * noise + 0.2 * uniform_filter(noise, (3, 3, 1)) * 3.0  # a colour filter array spreads its noise a little
    linear += noise * np.sqrt(np.maximum(linear, 0.0) * 1.5e-4 + 4e-6)
    toned = np.clip(1.0 - np.exp(-1.55 * np.clip(linear, 0.0, None)), 0.0, 1.0) / (1.0 - math.exp(-1.55))
    grey = np.where(toned <= 0.0031308, 12.92 * toned, 1.055 * toned ** (1.0 / 2.4) - 0.055)  # sRGB, IEC 61966-2-1
    return (np.clip(grey, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _sun(yaw: float, rng: np.random.Generator) -> np.ndarray:
    """East-North-Up direction of a low sun in the southern half of the sky that shines across the view."""
    side = yaw + np.array([75.0, -75.0])
    azimuth = side[np.argmin(np.cos(np.radians(side)))] + rng.uniform(-15.0, 15.0)
    elevation = math.radians(rng.uniform(20.0, 30.0))
    flat, around = math.cos(elevation), math.radians(azimuth)
    return np.array([flat * math.sin(around), flat * math.cos(around), math.sin(elevation)])


def choose_view(terrain: Terrain, seed: int, width: int, height: int) -> View:
    """A place with a wide view over ridge behind ridge, and a direction in which they are seen; the rest of the pose is chance."""
    from scipy.ndimage import map_coordinates, maximum_filter

    rng = np.random.default_rng([seed, 0])
    focal = int(rng.choice(FOCALS_35MM))
    hfov = math.degrees(2.0 * math.atan(width / (2.0 * focal_pixels(focal, width, height))))
    rows, columns = terrain.heights.shape
    metres = np.radians(terrain.cell) * EARTH_RADIUS
    shrink = math.cos(math.radians(terrain.north - terrain.cell * rows / 2))
    tops = (maximum_filter(terrain.heights, 9) == terrain.heights) & (terrain.heights > np.percentile(terrain.heights, 55))
    margin = 0.16
    tops[: int(margin * rows)] = tops[-int(margin * rows) :] = False
    tops[:, : int(margin * columns)] = tops[:, -int(margin * columns) :] = False
    azimuths, reach = np.radians(np.arange(0.0, 360.0, 1.5)), np.geomspace(250.0, 26e3, 160)
    foot, middle = np.searchsorted(reach, (600.0, 10e3))
    inside = int(hfov / 1.5)
    windows = (np.arange(len(azimuths))[:, None] + np.arange(inside)) % len(azimuths)
    found = []
    for row, column in np.argwhere(tops):
        r = row - reach[:, None] * np.cos(azimuths) / metres
        c = column + reach[:, None] * np.sin(azimuths) / (metres * shrink)
        seen = map_coordinates(terrain.heights, [r, c], order=1, cval=NO_GROUND) - terrain.heights[row, column] - 3.0
        angle = np.degrees(seen / reach[:, None] - reach[:, None] * (1.0 - REFRACTION) / (2.0 * EARTH_RADIUS))
        horizon = np.maximum.accumulate(angle, axis=0)
        visible = angle >= horizon
        ridges = (visible[:-1] & ~visible[1:])[foot:].sum(axis=0)  # where a line of sight leaves the ground: a ridge
        skyline, far = horizon[-1], np.log2(reach[np.argmax(angle, axis=0)] / 1500.0)
        foreground = np.maximum(horizon[foot] + 14.0, 0.0)  # degrees by which it hides what lies below
        ends = seen[middle] < NO_GROUND / 2
        rise, depth = np.minimum(np.ptp(skyline[windows], axis=1), 6.0), np.clip(far[windows], -2.0, 2.0)
        scores = 1.3 * rise + 0.6 * np.minimum(ridges[windows].mean(axis=1), 6.0) + 1.2 * depth.mean(axis=1) + 1.5 * depth.std(axis=1)
        scores -= 0.3 * foreground[windows].mean(axis=1) + 6.0 * ends[windows].mean(axis=1)
        start = int(np.argmax(scores))
        found.append((scores[start], row, column, start * 1.5 + inside * 0.75, float(skyline[windows[start]].mean())))
    found.sort(key=lambda one: -one[0])
    best = found[:VIEWPOINTS]
    _, row, column, yaw, skyline_angle = best[rng.integers(len(best))]
    yaw = (yaw + rng.uniform(-6.0, 6.0)) % 360.0
    # From the summit itself its own round top would fill the picture: a few steps down towards the view, to where the ground falls.
    steps = rng.uniform(60.0, 160.0) / metres
    row, column = row + 0.5 - steps * math.cos(math.radians(yaw)), column + 0.5 + steps * math.sin(math.radians(yaw)) / shrink
    # Six digits of a degree and whole decimetres: what the EXIF holds is the truth.
    latitude = round(float(terrain.north - row * terrain.cell), 6)
    longitude = round(float(terrain.west + column * terrain.cell), 6)
    eye = round(height_of(terrain, latitude, longitude) + float(rng.uniform(2.0, 4.0)), 1)
    pitch = float(np.clip(skyline_angle + rng.uniform(-5.0, 0.0), -5.0, 2.0))
    return View(latitude, longitude, eye, float(yaw), pitch, float(rng.uniform(-4.0, 4.0)), hfov, focal)


def jpeg(picture: np.ndarray, view: View) -> bytes:
    """The picture as a camera writes it: JPEG with position, altitude and focal length in its EXIF."""
    from PIL import ExifTags, Image

    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "scape-toolkit", "examples/demo/render_photo.py"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = view.focal_35mm
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLatitude] = "NS"[view.latitude < 0], _sexagesimal(abs(view.latitude))
    gps[ExifTags.GPS.GPSLongitudeRef], gps[ExifTags.GPS.GPSLongitude] = "EW"[view.longitude < 0], _sexagesimal(abs(view.longitude))
    gps[ExifTags.GPS.GPSAltitudeRef], gps[ExifTags.GPS.GPSAltitude] = b"\0", abs(view.height)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=92, exif=exif)
    return stream.getvalue()


def _sexagesimal(degrees: float) -> tuple[float, float, float]:
    minutes = degrees % 1.0 * 60.0
    return float(int(degrees)), float(int(minutes)), round(minutes % 1.0 * 60.0, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description="Render a photograph of terrain from a hidden place in a hidden pose.")
    parser.add_argument("terrain", metavar="TERRAIN.tif")
    parser.add_argument("-o", "--output", required=True, metavar="PHOTO.jpg")
    parser.add_argument("--truth", required=True, metavar="TRUTH.json", help="where to write the place and the pose")
    parser.add_argument("--seed", type=int, default=9, metavar="N", help="another number is another picture [%(default)s]")
    parser.add_argument("--size", default="1200x800", metavar="WxH", help="pixels [%(default)s]")
    arguments = parser.parse_args()
    width, height = (int(number) for number in arguments.size.split("x"))
    terrain = read_dem(arguments.terrain)
    view = choose_view(terrain, arguments.seed, width, height)
    ground = ground_about(terrain, view.latitude, view.longitude, np.random.default_rng([arguments.seed, 2]))
    picture = render(ground, view, width, height, arguments.seed)
    with atomic_output(arguments.output) as stream:
        stream.write(jpeg(picture, view))
    with atomic_output(arguments.truth) as stream:
        stream.write((json.dumps(asdict(view), indent=2) + "\n").encode())


if __name__ == "__main__":
    try:
        main()
    except ToolError as error:
        print(f"render_photo: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
