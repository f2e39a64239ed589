"""The demo's terrain lies where it lies on Earth, and its renderer puts things where the pose says."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from toolkit.geo.photo import read_photo

DEMO = Path(__file__).resolve().parents[3] / "examples" / "demo"
PITCH_OF_FLAT_HORIZON = -math.degrees(math.sqrt(2.0 * 50.0 * (1.0 - 0.13) / 6371e3))  # the dip seen from 50 m


def load(name: str) -> ModuleType:
    """The script examples/demo/NAME.py as a module."""
    specification = importlib.util.spec_from_file_location(name, DEMO / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def renderer() -> ModuleType:
    return load("render_photo")


@pytest.fixture(scope="module")
def terrain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "terrain.tif"
    load("make_terrain").write_geotiff(str(path), *load("make_terrain").jacksboro())
    return path


def height(renderer: ModuleType, terrain: Path, latitude: float, longitude: float) -> float:
    return renderer.height_of(renderer.read_dem(str(terrain)), latitude, longitude)


def test_the_highest_cell_is_cross_mountain(renderer: ModuleType, terrain: Path) -> None:
    dem = renderer.read_dem(str(terrain))
    row, column = np.unravel_index(dem.heights.argmax(), dem.heights.shape)
    latitude, longitude = dem.north - (row + 0.5) * dem.cell, dem.west + (column + 0.5) * dem.cell
    # USGS: 3534 feet = 1077 m at 36 11 54 N, 84 13 50 W; a cell is 3".
    assert (latitude, longitude) == pytest.approx((36 + 11 / 60 + 54 / 3600, -(84 + 13 / 60 + 50 / 3600)), abs=3 / 3600)
    assert dem.heights.max() == pytest.approx(1077.0, abs=5.0)


@pytest.mark.parametrize(
    ("latitude", "longitude", "metres"),
    [(36.330, -84.184, 329.0), (36.3806, -84.1197, 320.0), (36.2206, -84.155, 259.0)],
    ids=["Jacksboro", "LaFollette", "Rocky Top"],
)
def test_towns_lie_at_their_height(renderer: ModuleType, terrain: Path, latitude: float, longitude: float, metres: float) -> None:
    assert height(renderer, terrain, latitude, longitude) == pytest.approx(metres, abs=15.0)


def view(renderer: ModuleType, **pose: float) -> object:
    blank = renderer.View(0.0, 0.0, 50.0, 0.0, 0.0, 0.0, 54.0, 35)
    return replace(blank, **pose)


def flat_ground(renderer: ModuleType, metres: float = 0.0) -> object:
    """A plain 80 km wide, the eye in its middle."""
    cells = np.full((801, 801), metres, np.float32)
    return renderer.Ground(cells, -40e3, -40e3, 100.0)


def with_cone(renderer: ModuleType, east: float, north: float, metres: float) -> object:
    ground = flat_ground(renderer)
    x = -40e3 + 100.0 * np.arange(801)
    cone = metres - 0.5 * np.hypot(x[None, :] - east, x[:, None] - north)
    return replace(ground, heights=np.maximum(ground.heights, cone).astype(np.float32))


def sky(renderer: ModuleType, ground: object, of_view: object, width: int = 300, height: int = 200) -> np.ndarray:
    """True where the ray of a pixel's centre meets no ground."""
    directions = renderer.rays(of_view, np.arange(width)[None, :] + 0.5, np.arange(height)[:, None] + 0.5, width, height)
    return np.isinf(renderer.trace(ground, of_view.height, directions))


def test_flat_horizon_lies_in_the_row_of_its_dip(renderer: ModuleType) -> None:
    width, height, pitch = 300, 200, 4.0
    focal = width / 2.0 / math.tan(math.radians(27.0))
    horizon = sky(renderer, flat_ground(renderer), view(renderer, yaw=30.0, pitch=pitch), width, height).sum(axis=0)
    # The picture's middle looks upwards by the pitch: the horizon, dipping, is below the middle.
    expected = height / 2.0 + focal * math.tan(math.radians(pitch - PITCH_OF_FLAT_HORIZON))
    assert horizon[width // 2] == pytest.approx(expected, abs=1.0)


@pytest.mark.parametrize("roll", [-8.0, 8.0])
def test_roll_lowers_the_right_side_of_the_camera(renderer: ModuleType, roll: float) -> None:
    horizon = sky(renderer, flat_ground(renderer), view(renderer, pitch=0.0, roll=roll)).sum(axis=0)
    # With the camera's right side down, the horizon is higher in the right of the picture: less sky there.
    assert (horizon[-1] - horizon[0]) / 299.0 == pytest.approx(-math.tan(math.radians(roll)), abs=0.01)


@pytest.mark.parametrize(("yaw", "aside"), [(90.0, 0.0), (80.0, 10.0), (105.0, -15.0)])
def test_summit_stands_in_its_column_and_row(renderer: ModuleType, yaw: float, aside: float) -> None:
    """A cone due east: to the right of the picture's middle by as much as the camera looks left of it."""
    width, height, distance, top = 300, 200, 8000.0, 1500.0
    horizon = sky(renderer, with_cone(renderer, distance, 0.0, top), view(renderer, yaw=yaw), width, height).sum(axis=0)
    focal = width / 2.0 / math.tan(math.radians(27.0))
    assert int(horizon.argmin()) + 0.5 == pytest.approx(width / 2.0 + focal * math.tan(math.radians(aside)), abs=2.0)
    rise = (top - 50.0 - distance**2 * (1.0 - 0.13) / (2.0 * 6371e3)) / distance
    assert horizon.min() == pytest.approx(height / 2.0 - focal * rise / math.cos(math.radians(aside)), abs=2.0)


def test_north_is_up_in_the_ground_about_the_eye(renderer: ModuleType, terrain: Path) -> None:
    """From 3 km south of Cross Mountain it stands 3 km north in the grid, at its own height."""
    dem = renderer.read_dem(str(terrain))
    ground = renderer.ground_about(dem, 36.19833 - 3000.0 / 110_960.0, -84.23056, np.random.default_rng(1))
    near = ground.heights[round((3000 - ground.south) / ground.cell) - 6 :, :][:12, round(-ground.west / ground.cell) - 6 :][:, :12]
    assert near.max() == ground.heights.max() == pytest.approx(1077.0, abs=15.0)


@pytest.fixture(scope="module")
def small(terrain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small photograph and its truth, made by the script as a user runs it."""
    directory = tmp_path_factory.mktemp("small")
    command = [sys.executable, DEMO / "render_photo.py", terrain, "-o", directory / "photo.jpg", "--truth", directory / "truth.json"]
    done = subprocess.run([*command, "--seed", "9", "--size", "240x160"], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return directory


def test_exif_tells_position_and_field_of_view(small: Path) -> None:
    truth = json.loads((small / "truth.json").read_text())
    photo = read_photo(str(small / "photo.jpg"))
    assert photo.pixels.shape == (160, 240, 3)
    assert (photo.facts.latitude, photo.facts.longitude) == pytest.approx((truth["latitude"], truth["longitude"]), abs=1e-6)
    assert photo.facts.altitude == pytest.approx(truth["height"], abs=0.05)
    assert photo.facts.hfov == pytest.approx(truth["hfov"], abs=1e-9)
    assert photo.facts.heading is None


def test_same_seed_same_picture(renderer: ModuleType, terrain: Path) -> None:
    dem, pictures = renderer.read_dem(str(terrain)), []
    for seed in (9, 9, 2):
        of_seed = renderer.choose_view(dem, seed, 120, 80)
        ground = renderer.ground_about(dem, of_seed.latitude, of_seed.longitude, np.random.default_rng([seed, 2]), cell=100.0)
        pictures.append(renderer.jpeg(renderer.render(ground, of_seed, 120, 80, seed), of_seed))
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]


def test_the_eye_is_above_the_ground(renderer: ModuleType, terrain: Path) -> None:
    dem = renderer.read_dem(str(terrain))
    truth = renderer.choose_view(dem, 5, 240, 160)
    ground = renderer.ground_about(dem, truth.latitude, truth.longitude, np.random.default_rng(5))
    below = ground.heights[round(-ground.south / ground.cell), round(-ground.west / ground.cell)]
    assert 1.5 <= truth.height - below <= 5.0
    assert -5.0 <= truth.pitch <= 2.0 and abs(truth.roll) <= 4.0 and 50.0 <= truth.hfov <= 60.0


@pytest.mark.parametrize(("yaw", "status"), [(359.0, 0), (0.9, 0), (357.0, 1), (180.0, 1)])
def test_compare_says_when_the_pose_is_wrong(tmp_path: Path, yaw: float, status: int) -> None:
    (tmp_path / "truth.json").write_text('{"yaw": 0.0, "pitch": 1.0, "roll": -2.0}')
    (tmp_path / "found.jsonl").write_text(f'{{"rank": 1, "yaw": {yaw}, "pitch": 1.0, "roll": -2.0}}\n{{"rank": 2}}\n')
    command = [sys.executable, DEMO / "compare.py", tmp_path / "truth.json", tmp_path / "found.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    assert f"{(yaw + 180) % 360 - 180:+.2f}" in done.stdout


def test_compare_without_candidates_says_so(tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text('{"yaw": 0.0, "pitch": 1.0, "roll": -2.0}')
    (tmp_path / "found.jsonl").write_text("")
    command = [sys.executable, DEMO / "compare.py", tmp_path / "truth.json", tmp_path / "found.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 65
    assert done.stderr.count("\n") == 1 and "found.jsonl: holds no pose" in done.stderr
