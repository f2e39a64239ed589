import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.geo.terrains import EYE, UTM, hills, write_dem
from toolkit.core.errors import BadData, UsageError
from toolkit.geo.panorama import Contours, Panorama, contour_segments, render_panorama
from toolkit.geo.sweep import Leg, View
from toolkit.geo.sweep import sweep_block as sweep_numpy
from toolkit.geo.sweep_numba import sweep_block as sweep_numba
from toolkit.geo.terrain import read_terrain

EARTH = 6371e3


def render(path, height=None, range_m=10e3, **options):
    terrain = read_terrain(path if isinstance(path, list) else [path], *EYE, range_m)
    return render_panorama(terrain, *EYE, height, range_m=range_m, **{"width": 720, **options})


def skyline(panorama):
    """Elevation of the upper end of the ground in each column, degrees: half a row at most below the truth, or as much above."""
    rows = np.isnan(panorama.distance).sum(axis=0)
    return panorama.elevations[1] - rows * panorama.row_step


def azimuths(panorama):
    return (np.arange(panorama.width) + 0.5) * 360 / panorama.width


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dem")


@pytest.fixture(scope="module")
def hilly(folder):
    return {crs: write_dem(folder / f"{crs[5:]}.tif", hills, 12e3, 30, crs) for crs in (UTM, "EPSG:4326")}


@pytest.mark.parametrize("refraction", [0.0, 0.13])
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_the_sea_dips_and_ends_at_the_horizon(folder, refraction, engine):
    path = write_dem(folder / "sea.tif", lambda east, north: 0 * east, 60e3, 250)
    view = render(path, 100.0, 55e3, elevations=(-2, 1), width=7200, refraction=refraction, engine=engine)
    radius = EARTH / (1 - refraction)
    dip = np.degrees(np.sqrt(2 * 100 / radius))  # 0.321 degree without air
    assert np.abs(skyline(view) + dip).max() <= view.row_step * 0.51
    down = np.tan(np.radians(view.elevations[1] - (np.arange(view.rows) + 0.5) * view.row_step))
    with np.errstate(invalid="ignore"):
        expected = -radius * (down + np.sqrt(down**2 - 2 * 100 / radius))
    rows = np.nonzero(down < -np.tan(np.radians(dip)) * 1.001)[0]
    assert expected[rows].max() > 20e3
    np.testing.assert_allclose(view.distance[rows], np.broadcast_to(expected[rows, None], (len(rows), view.width)), rtol=0.005)
    assert view.contours.near == pytest.approx(np.sqrt(2 * 100 * radius), rel=0.01)  # 35.7 km without air
    assert len(view.contours.near) == view.width, "the horizon is the only contour"
    assert view.contours.elevation == pytest.approx(-dip, abs=0.002) and np.isinf(view.contours.far).all()


def test_a_cone_has_its_top_where_it_stands(folder):
    east_0, north_0 = 3000.0, 4000.0

    def cone(east, north):
        return np.maximum(0, 1000 - 0.8 * np.hypot(east - east_0, north - north_0))

    view = render(write_dem(folder / "cone.tif", cone, 9e3, 20), 300.0, 8e3, width=3600, refraction=0.0)
    column = int(np.argmax(skyline(view)))
    assert azimuths(view)[column] == pytest.approx(np.degrees(np.arctan2(3, 4)), abs=0.2)
    assert skyline(view)[column] == pytest.approx(np.degrees(np.arctan((700 - 5000**2 / 2 / EARTH) / 5000)), abs=0.15)
    # The flank towards the eye: the line of sight at 3 degrees up meets it where 300 + d tan 3 = 1000 - 0.8 (5000 - d).
    row = int((45 - 3) / view.row_step)
    up = np.tan(np.radians(45 - (row + 0.5) * view.row_step))
    assert view.distance[row, column] == pytest.approx((4000 - 700) / (0.8 - up), rel=0.01)


def test_a_ramp_is_met_where_geometry_says(folder):
    view = render(write_dem(folder / "ramp.tif", lambda east, north: 0.3 * east, 6e3, 20), 100.0, 5e3, refraction=0.0)
    for row in (80, 100, 120):  # all look down or barely up
        up = np.tan(np.radians(45 - (row + 0.5) * view.row_step))
        slope = 0.3 * np.sin(np.radians(azimuths(view)))
        with np.errstate(divide="ignore"):
            expected = 100 / (slope - up)
        meets = (expected > 50) & (expected < 3000)
        assert meets.sum() > 100
        assert view.distance[row, meets] == pytest.approx(expected[meets], rel=0.01)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_a_wall_hides_what_is_behind_it(folder, engine):
    def wall(east, north):
        return 100 * np.exp(-(((north - 2000) / 150) ** 2)) + np.where(north > 4000, 0.5 * (north - 4000), 0)

    view = render(write_dem(folder / "wall.tif", wall, 9e3, 20), 20.0, 8e3, width=3600, refraction=0.0, engine=engine)
    contours = view.contours
    north = (contours.column == 0) & (contours.near < 3000)
    assert north.sum() == 1
    up = 80 / 2000
    assert contours.elevation[north] == pytest.approx(np.degrees(np.arctan(up)), abs=0.03)
    assert contours.near[north] == pytest.approx(2000, abs=20)
    assert contours.far[north] == pytest.approx((2000 + 20) / (0.5 - up), rel=0.01)  # 20 + d up = 0.5 (d - 4000)
    seen = view.distance[:, 0][np.isfinite(view.distance[:, 0])]
    assert not ((seen > 2030) & (seen < 4000)).any(), "the ground behind is hidden"


def test_both_engines_give_the_same(hilly):
    one, other = (render(hilly[UTM], engine=engine, width=1500) for engine in ("numpy", "numba"))
    assert (np.isnan(one.distance) == np.isnan(other.distance)).mean() > 0.9999
    both = np.isfinite(one.distance) & np.isfinite(other.distance)
    assert (np.abs(one.distance - other.distance)[both] < 1e-3 * one.distance[both]).mean() > 0.9999
    assert len(one.contours.near) > 2500 and abs(len(one.contours.near) - len(other.contours.near)) < 5
    if len(one.contours.near) == len(other.contours.near):
        for name in ("column", "elevation", "near", "far"):
            np.testing.assert_allclose(getattr(one.contours, name), getattr(other.contours, name), rtol=1e-3, atol=1e-3)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.3))
def test_both_engines_agree_on_any_ground_with_voids(seed, voids):
    random = np.random.default_rng(seed)
    heights = np.cumsum(random.normal(0, 20, (40, 40)), axis=0).astype(np.float32)
    heights[random.uniform(size=heights.shape) < voids] = np.nan
    turn = np.linspace(0, 2 * np.pi, 50)
    lines = [np.stack([np.full(50, 20.0), 600 / 30 * wave(turn)]) for wave in (np.sin, np.cos)]
    legs = [Leg(heights, d, *lines, 600.0) for d in (np.arange(2, 200, 10.0), np.arange(202, 520, 25.0))]
    view = View(float(random.normal(0, 50)), EARTH / 0.87, 60.0, 0.5, 240)
    one, other = (sweep(legs, slice(0, 50), view) for sweep in (sweep_numpy, sweep_numba))
    np.testing.assert_array_equal(np.isnan(one[0]), np.isnan(other[0]))
    np.testing.assert_allclose(one[0], other[0], rtol=1e-4)
    np.testing.assert_allclose(one[1], other[1], rtol=1e-6, atol=1e-6)


def test_azimuths_are_true_in_a_turned_grid(hilly, folder):
    projected, geographic = (render(hilly[crs], width=1500) for crs in (UTM, "EPSG:4326"))
    lines = [skyline(view) for view in (projected, geographic)]
    apart = {shift: np.abs(np.roll(lines[0], shift) - lines[1]).mean() for shift in range(-4, 5)}
    assert min(apart, key=apart.get) == 0 and apart[0] < 0.1

    # 62 km west of the meridian the grid's north is 0.58 degree off: a peak due north must be at azimuth 0, not there.
    def peak(east, north):
        return np.maximum(0, 1000 - np.hypot(east, north - 8000))

    for crs in (UTM, "EPSG:4326"):
        view = render(write_dem(folder / f"peak{crs[5:]}.tif", peak, 10e3, 30, crs), 50.0, 9.5e3, width=3600)
        weight = np.maximum(skyline(view) - 3, 0)
        centre = (np.sum(weight * ((azimuths(view) + 180) % 360 - 180)) / weight.sum()).item()
        assert abs(centre) < 0.05


def test_a_height_below_the_ground_is_lifted(hilly, caplog):
    with caplog.at_level(logging.WARNING):
        view = render(hilly[UTM], 10.0, 2e3, above_ground=5.0)
    assert "lifted" in caplog.text
    assert view.height == pytest.approx(view.parameters["ground_m"] + 5)
    assert render(hilly[UTM], None, 2e3).height == pytest.approx(view.parameters["ground_m"] + 2)
    assert render(hilly[UTM], 5000.0, 2e3).height == 5000


def test_an_eye_in_a_void_needs_a_height(folder):
    def holed(east, north):
        return np.where(np.hypot(east, north) < 600, np.nan, 100 + 0 * east)

    path = write_dem(folder / "void.tif", holed, 3e3, 30)
    with pytest.raises(BadData, match=r"void\.tif.*void"):
        render(path, None, 2e3)
    view = render(path, 150.0, 2e3)
    assert np.nanmin(view.distance) > 500 and view.parameters["ground_m"] is None


@pytest.mark.parametrize("options", [{"elevations": (10, -10)}, {"elevations": (0, 0.01)}, {"width": 4}, {"refraction": 1.0}])
def test_impossible_numbers_are_refused(hilly, options):
    with pytest.raises(UsageError):
        render(hilly[UTM], None, 2e3, **options)


def test_neighbouring_contour_points_become_arcs():
    """Two ridges all around at different distances, one of them with a gap, and a slope at grazing incidence."""
    width = 360
    column = np.repeat(np.arange(width), 3)
    elevation = np.tile([1.0, 2.0, 3.0], width).astype(np.float32)
    near = np.tile([1e3, 5e3, 2e4], width).astype(np.float32)
    far = np.tile([4e3, 5.2e3, np.inf], width).astype(np.float32)
    gap = (column >= 100) & (column < 110) & (near == 1e3)
    contours = Contours(*(values[~gap] for values in (column.astype(np.int32), elevation, near, far)))
    view = Panorama(46.0, 8.0, 0.0, (-10.0, 10.0), "angle", width, 20, None, contours, {})
    segments = contour_segments(view)
    sky = segments.strength == 1.0
    assert sky.sum() == width and (~sky).sum() == width - 11
    assert segments.strength[~sky] == pytest.approx(0.75)
    for points in (segments.start, segments.end):
        assert np.linalg.norm(points, axis=1) == pytest.approx(1)
        assert np.degrees(np.arcsin(points[:, 2])) == pytest.approx(np.where(sky, 3, 1), abs=1e-4)
    turn = np.degrees(np.arctan2(segments.end[:, 0], segments.end[:, 1]) - np.arctan2(segments.start[:, 0], segments.start[:, 1]))
    assert turn % 360 == pytest.approx(1), "clockwise, from column to column, over north too"
