import logging

import numpy as np
import pytest
import rasterio

from tests.unit.geo.terrains import EYE, UTM, hills, write_dem
from toolkit.core.errors import BadData, NoInput
from toolkit.geo.terrain import read_terrain


def slope(east, north):
    return 1000 + 0.1 * east + 0.2 * north


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_the_height_is_bilinear_and_at_the_right_place(tmp_path, crs):
    terrain = read_terrain([write_dem(tmp_path / "d.tif", slope, 3000, 30, crs)], *EYE, 2000)
    assert terrain.height_at(*EYE) == pytest.approx(1000, abs=0.05)
    assert terrain.height_at(EYE[0] + 1000 / 111150, EYE[1]) == pytest.approx(1200, abs=0.3)
    assert terrain.files == ("d.tif",)


def test_far_cells_are_means_and_the_levels_reach_the_range(tmp_path):
    terrain = read_terrain([write_dem(tmp_path / "d.tif", hills, 200e3, 500)], *EYE, 900e3)
    assert [level.factor for level in terrain.levels] == [1, 2, 4]
    assert [level.reach for level in terrain.levels] == pytest.approx([400e3, 800e3, 900e3], rel=0.01)
    for level in terrain.levels:
        assert np.isnan(level.heights[0, 0]), "outside the file nothing is known"
        row, column = -level.row // level.factor + 100, -level.column // level.factor + 100
        first, last = terrain.levels[0], level.factor
        top, left = row * last + level.row - first.row, column * last + level.column - first.column
        block = first.heights[top : top + last, left : left + last]
        assert level.heights[row, column] == pytest.approx(block.mean(), abs=0.01)


def test_tiles_are_one_mosaic(tmp_path):
    whole = write_dem(tmp_path / "whole.tif", hills, 3000, 30)
    tiles = []
    with rasterio.open(whole) as source:
        heights = source.read(1)
        for rows in (slice(0, 77), slice(77, 200)):
            for columns in (slice(0, 101), slice(101, 200)):
                place = source.transform * rasterio.Affine.translation(columns.start, rows.start)
                tiles.append(str(tmp_path / f"{rows.start}-{columns.start}.tif"))
                part = heights[rows, columns]
                profile = source.profile | {"height": part.shape[0], "width": part.shape[1], "transform": place}
                with rasterio.open(tiles[-1], "w", **profile) as file:
                    file.write(part, 1)
    one, many = read_terrain([whole], *EYE, 2500), read_terrain(tiles, *EYE, 2500)
    assert len(many.files) == 4
    x, y = one.grid_position(np.array([EYE[0]]), np.array([EYE[1]]))
    u, v = many.grid_position(np.array([EYE[0]]), np.array([EYE[1]]))
    shift = round(float(u[0] - x[0])), round(float(v[0] - y[0]))
    a, b = one.levels[0], many.levels[0]
    assert (b.column - a.column, b.row - a.row) == shift
    np.testing.assert_array_equal(a.heights, b.heights)


def test_voids_of_the_first_file_are_filled_from_the_next(tmp_path):
    def holed(east, north):
        return np.where(np.hypot(east - 1000, north) < 600, -9999, slope(east, north))

    paths = [write_dem(tmp_path / "a.tif", holed, 3000, 30, nodata=-9999), write_dem(tmp_path / "b.tif", slope, 3000, 30)]
    heights = read_terrain(paths, *EYE, 2000).levels[0].heights
    np.testing.assert_array_equal(heights, read_terrain(paths[1:], *EYE, 2000).levels[0].heights)


@pytest.mark.parametrize("marker, options", [(-32768, {}), (-9999, {"nodata": -9999}), (7, {"nodata": 7}), (32767, {})])
def test_small_voids_are_mended_and_large_ones_unseen(tmp_path, caplog, marker, options):
    def holed(east, north):
        void = (np.hypot(east - 500, north) < 100) | (np.hypot(east + 1000, north) < 500)
        return np.where(void, marker, slope(east, north))

    with caplog.at_level(logging.WARNING):
        terrain = read_terrain([write_dem(tmp_path / "d.tif", holed, 3000, 30, dtype="int16", **options)], *EYE, 2000)
    one_km = 1 / (111320 * np.cos(np.radians(EYE[0])))
    assert terrain.height_at(EYE[0], EYE[1] + 500 * one_km) == pytest.approx(1050, abs=5)
    assert np.isnan(terrain.height_at(EYE[0], EYE[1] - 1000 * one_km))
    assert np.nanmin(terrain.levels[0].heights) > 300, "never sea level"
    assert len(caplog.records) == 1 and "d.tif" in caplog.text and "unseen" in caplog.text


def test_small_voids_alone_give_no_warning(tmp_path, caplog):
    def holed(east, north):
        return np.where(np.hypot(east - 500, north) < 100, -32768, slope(east, north))

    heights = read_terrain([write_dem(tmp_path / "d.tif", holed, 3000, 30)], *EYE, 2000).levels[0].heights
    assert np.isfinite(heights[10:-10, 10:-10]).all() and not caplog.records


def test_srtm_tiles_are_known_by_name(tmp_path):
    path = tmp_path / "N46E008.hgt"
    i, j = np.mgrid[:1201, :1201]
    (100 + i + j // 2).astype(">i2").tofile(path)  # rows from 47 to 46 degrees north, posts on the degree lines
    terrain = read_terrain([str(path)], 46.5, 8.25, 3000)
    assert terrain.height_at(46.5, 8.25) == pytest.approx(100 + 600 + 150, abs=0.3)
    assert terrain.height_at(46.5 + 12 / 1200, 8.25) == pytest.approx(100 + 588 + 150, abs=0.3)


def test_an_ascii_grid_without_a_system_is_in_degrees(tmp_path):
    path = tmp_path / "d.asc"
    rows = "\n".join(" ".join(["500"] * 40) for _ in range(40))
    path.write_text(f"ncols 40\nnrows 40\nxllcorner 8\nyllcorner 46\ncellsize 0.001\nNODATA_value -9999\n{rows}\n")
    assert read_terrain([str(path)], 46.02, 8.02, 1000).height_at(46.02, 8.02) == 500


def test_a_file_in_feet_becomes_metres(tmp_path):
    path = write_dem(tmp_path / "d.tif", slope, 3000, 30)
    with rasterio.open(path, "r+") as file:
        file.units = ("ft",)
    assert read_terrain([path], *EYE, 1000).height_at(*EYE) == pytest.approx(304.8, abs=0.05)


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_a_position_outside_is_told_what_is_covered(tmp_path, crs):
    path = write_dem(tmp_path / "d.tif", slope, 11115, 30, crs)
    with pytest.raises(BadData, match=r"d\.tif: the position 47,8.2 lies outside") as raised:
        read_terrain([path], 47.0, 8.2, 1000)
    numbers = [float(word.strip(",;")) for word in str(raised.value).split() if word.strip(",;").replace(".", "").isdigit()]
    assert numbers == pytest.approx([45.9, 46.1, 8.056, 8.344], abs=0.003)


def test_what_is_no_elevation_is_refused(tmp_path):
    with pytest.raises(NoInput, match="nothing.tif"):
        read_terrain([str(tmp_path / "nothing.tif")], *EYE, 1000)
    text = tmp_path / "text.tif"
    text.write_text("no raster")
    with pytest.raises(BadData, match="no raster"):
        read_terrain([str(text)], *EYE, 1000)
    path = write_dem(tmp_path / "d.tif", slope, 3000, 30)
    with rasterio.open(path) as source:
        heights, profile = source.read(1), source.profile
    with rasterio.open(tmp_path / "rgb.tif", "w", **(profile | {"count": 3})) as file:
        file.write(np.stack([heights] * 3))
    with pytest.raises(BadData, match="3 bands"):
        read_terrain([str(tmp_path / "rgb.tif")], *EYE, 1000)
    profile.pop("crs")
    with rasterio.open(tmp_path / "nowhere.tif", "w", **profile) as file:
        file.write(heights, 1)
    with pytest.raises(BadData, match="names no coordinate reference system"):
        read_terrain([str(tmp_path / "nowhere.tif")], *EYE, 1000)


def test_a_file_cut_short_is_bad_data(tmp_path):
    path = tmp_path / "d.tif"
    write_dem(path, hills, 3000, 30)
    path.write_bytes(path.read_bytes()[:100000])
    with pytest.raises(BadData, match=r"d\.tif"):
        read_terrain([str(path)], *EYE, 2500)
