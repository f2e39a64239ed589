"""Elevation files laid on one grid: neighbours, other systems, the date line, cells much finer than the range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio

from toolkit.core.errors import BadData
from toolkit.geo.terrain import read_terrain

ARC = 1.0 / 1200.0  # SRTM3


def write(
    path: Path, heights: np.ndarray, west: float, north: float, cell: float, crs: str | None = "EPSG:4326", **settings: object
) -> str:
    transform = rasterio.Affine(cell, 0, west, 0, -cell, north)
    settings = {"driver": "GTiff", "crs": crs} | settings
    with rasterio.open(
        path, "w", width=heights.shape[1], height=heights.shape[0], count=1, dtype=heights.dtype, transform=transform, **settings
    ) as file:
        file.write(heights, 1)
    return str(path)


def plane(west: float, north: float, cell: float, columns: int, rows: int) -> np.ndarray:
    """Heights linear in x and y, so that bilinear heights are exact."""
    x = west + (np.arange(columns) + 0.5) * cell
    y = north - (np.arange(rows) + 0.5) * cell
    return (1000.0 + 700.0 * (x[None, :] - 8.0) - 900.0 * (y[:, None] - 46.0)).astype(np.float32)


def plane_at(latitude: float, longitude: float) -> float:
    return 1000.0 + 700.0 * (longitude - 8.0) - 900.0 * (latitude - 46.0)


def test_neighbouring_tiles_that_share_an_edge_are_one_surface(tmp_path: Path) -> None:
    """SRTM tiles: 1201 x 1201 int16, cell centres on whole degrees, the shared row and column in both."""
    whole = (500 + 300 * np.sin(np.arange(2401)[:, None] / 50) * np.cos(np.arange(2401)[None, :] / 70)).astype(np.int16)
    names = []
    for south in (46, 47):
        for west in (7, 8):
            rows = slice(0, 1201) if south == 47 else slice(1200, 2401)
            columns = slice(0, 1201) if west == 7 else slice(1200, 2401)
            name = tmp_path / f"N{south:02d}E{west:03d}.hgt"
            whole[rows, columns].astype(">i2").tofile(name)
            names.append(str(name))
    single = write(tmp_path / "single.tif", whole, 7 - ARC / 2, 48 + ARC / 2, ARC)
    tiles, one = read_terrain(names, 47.0001, 8.0001, 70e3), read_terrain([single], 47.0001, 8.0001, 70e3)
    # Which tile counts the grid's cells from its corner does not matter; the heights do.
    for latitude, longitude in ((47.0, 8.0), (47.00041, 8.2), (46.8, 7.99959), (47.2, 7.9)):
        assert tiles.height_at(latitude, longitude) == pytest.approx(one.height_at(latitude, longitude), abs=1e-3)
    a, b = tiles.levels[0].heights, one.levels[0].heights
    assert a.shape == b.shape
    np.testing.assert_array_equal(a, b)
    assert not np.isnan(a).any()


def test_files_of_different_systems_are_one_mosaic(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    degrees = plane(7.5, 46.5, 0.001, 500, 1000)  # west of 8 E
    first = write(tmp_path / "west.tif", degrees, 7.5, 46.5, 0.001)
    to_degrees = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
    x, y = np.meshgrid(415e3 + (np.arange(400) + 0.5) * 100, 5140e3 - (np.arange(900) + 0.5) * 100)
    longitudes, latitudes = to_degrees.transform(x, y)
    utm = (1000.0 + 700.0 * (longitudes - 8.0) - 900.0 * (latitudes - 46.0)).astype(np.float32)
    second = write(tmp_path / "east.tif", utm, 415e3, 5140e3, 100.0, "EPSG:32632")
    terrain = read_terrain([first, second], 46.0, 7.95, 20e3)
    for latitude, longitude in ((46.0, 7.9), (46.03, 8.1), (45.9, 8.05)):
        assert terrain.height_at(latitude, longitude) == pytest.approx(plane_at(latitude, longitude), abs=0.5)
    assert not caplog.records, "what lies beside a file's outline is no void of it"


def test_nothing_but_void_is_not_sea_level(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dem = write(tmp_path / "dem.tif", np.full((50, 50), -9999, np.int16), 8.0, 46.05, 0.001, nodata=-9999)
    terrain = read_terrain([dem], 46.02, 8.02, 500)
    assert np.isnan(terrain.levels[0].heights).all() and len(caplog.records) == 1


def test_coarser_cells_mean_only_what_was_measured(tmp_path: Path) -> None:
    heights = np.full((3000, 3000), 1500, np.int16)
    heights[::2, ::5] = -32768  # single cells all over
    dem = write(tmp_path / "dem.tif", heights, 7.0, 47.5, 0.001, nodata=-32768)
    for level in read_terrain([dem], 46.0, 8.5, 100e3).levels:
        middle = level.heights[100:-100, 100:-100]
        assert middle[np.isfinite(middle)].min() == middle[np.isfinite(middle)].max() == 1500
        assert np.isfinite(middle).mean() > 0.99


def test_south_up_and_the_date_line(tmp_path: Path) -> None:
    tiles = []
    for west in (179.9, -180.0):
        heights = plane(west % 360.0 - 172.0, -16.9, 0.001, 100, 100) - 56000.0  # linear across 180 degrees
        tiles.append(write(tmp_path / f"tile{west}.tif", heights, west, -16.9, 0.001))
    flipped = tmp_path / "flipped.tif"
    with rasterio.open(tiles[0]) as file:
        data = file.read(1)[::-1]
    with rasterio.open(
        flipped, "w", driver="GTiff", width=100, height=100, count=1, dtype="float32", crs="EPSG:4326",
        transform=rasterio.Affine(0.001, 0, 179.9, 0, 0.001, -17.0),
    ) as file:  # fmt: skip
        file.write(data, 1)
    for files, position in ((tiles, (-16.95, 179.999)), (tiles, (-16.95, -179.999)), ([str(flipped), tiles[1]], (-16.95, -179.999))):
        terrain = read_terrain(files, *position, 3e3)
        for longitude in (179.98, 179.9999, -179.99):
            assert terrain.height_at(-16.951, longitude) == pytest.approx(plane_at(-16.951, longitude % 360.0 - 172.0) - 56000.0, abs=0.05)


def test_a_pole_in_range_is_refused_in_degrees(tmp_path: Path) -> None:
    dem = write(tmp_path / "dem.tif", np.zeros((100, 36000 // 100), np.int16), -180.0, 90.0, 1.0 / 10)
    with pytest.raises(BadData, match="reproject"):
        read_terrain([dem], 89.5, -170.0, 100e3)


def test_a_fine_and_small_model_is_no_void_far_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """1 m cells on 1 km: a range of 30 km goes down to cells of 16 m, all but a few of them outside."""
    dem = write(tmp_path / "dem.tif", np.full((1000, 1000), 1500, np.float32), 500e3, 5100e3, 1.0, "EPSG:32632")
    longitude, latitude = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform(500500, 5099500)
    terrain = read_terrain([dem], latitude, longitude, 30e3)
    assert terrain.levels[-1].factor == 16
    for level in terrain.levels:
        seen = np.isfinite(level.heights)
        assert np.all(level.heights[seen] == 1500)
        assert np.count_nonzero(seen) * level.factor**2 == pytest.approx(1e6, rel=0.08)
    assert not caplog.records
