import numpy as np
import pytest

from tests.unit.geo.terrains import EYE, write_dem
from toolkit.geo.annotate.annotation import annotate_view, directions, records
from toolkit.geo.annotate.importance import by_importance, importance
from toolkit.geo.annotate.peaks import Peak
from toolkit.geo.annotate.visible import Sight, height_at, visible_peaks
from toolkit.geo.camera import camera_from_hfov, project
from toolkit.geo.panorama import render_panorama
from toolkit.geo.pose import Pose
from toolkit.geo.terrain import GEOD, read_terrain

# name: metres east and north of the eye, height, and metres of radius at which the cone has gone.
CONES = {
    "Near": (300, 9000, 1500, 1500),
    "Behind": (460, 13800, 1500, 1000),  # lower than the line of sight over Near
    "Giant": (0, 18200, 4200, 3000),
    "East": (12000, 4000, 1800, 2000),
    "Twin": (12900, 4300, 1700, 500),  # behind East
    "South": (0, -8000, 1200, 1000),
}
BASE = 500.0


def cones(east, north):
    heights = np.full_like(east, BASE)
    for x, y, top, radius in CONES.values():
        away = np.hypot(east - x, north - y)
        heights = np.maximum(heights, BASE + (top - BASE) * (1 - away / radius))
    return heights


def place(east, north):
    azimuth, distance = np.degrees(np.arctan2(east, north)), np.hypot(east, north)
    longitude, latitude, _ = GEOD.fwd(EYE[1], EYE[0], azimuth, distance)
    return latitude, longitude


def listed(name, aside=(0.0, 0.0), **more):
    x, y, _, _ = CONES[name]
    return Peak(name, *place(x + aside[0], y + aside[1]), **more)


@pytest.fixture(scope="module")
def terrain(tmp_path_factory):
    path = write_dem(tmp_path_factory.mktemp("dem") / "cones.tif", cones, 24e3, 50)
    return read_terrain([path], *EYE, 23e3)


@pytest.fixture(scope="module")
def panorama(terrain):
    return render_panorama(terrain, *EYE, None, above_ground=2.0, range_m=23e3, width=4096)


def test_heights_come_back_from_distances_and_elevations():
    radius, eye = 7.3e6, 1234.0
    distance, height = np.array([100.0, 5e3, 80e3]), np.array([1300.0, 400.0, 4000.0])
    angle = distance / radius
    tangent = (np.cos(angle) - 1) / np.sin(angle) + (height - eye) / ((radius + height) * np.sin(angle))
    assert height_at(eye, distance, np.degrees(np.arctan(tangent)), radius) == pytest.approx(height, abs=1e-6)


@pytest.mark.parametrize("with_terrain", [True, False])
def test_what_is_seen_and_what_is_hidden(terrain, panorama, with_terrain):
    peaks = [listed(name, height=float(CONES[name][2])) for name in CONES]
    seen = visible_peaks(peaks, panorama, terrain if with_terrain else None)
    assert [sight.peak.name for sight in seen] == ["Near", "Giant", "East", "South"]


@pytest.mark.parametrize("with_terrain", [True, False])
@pytest.mark.parametrize("aside", [(0, 0), (200, 0), (-150, 150), (0, -220)])
@pytest.mark.parametrize("name", ["Near", "Giant", "East", "South"])
def test_summits_beside_which_lists_are(terrain, panorama, with_terrain, aside, name):
    (sight,) = visible_peaks([listed(name, aside)], panorama, terrain if with_terrain else None)
    x, y, top, _ = CONES[name]
    distance = np.hypot(x, y)
    # The model's cells are 50 m, and the rays go by at up to half a column (0.044 degree).
    across = np.degrees(75.0 / distance) + 0.05
    assert (sight.azimuth - np.degrees(np.arctan2(x, y)) + 180) % 360 - 180 == pytest.approx(0.0, abs=across)
    assert sight.distance == pytest.approx(distance, abs=110)
    assert sight.height == pytest.approx(top, abs=60)
    assert sight.height_from == ("dem" if with_terrain else "panorama")
    expected = np.degrees(np.arctan((top - BASE - 2) / distance - distance / (2 * 6371e3) * 0.87))
    assert sight.elevation == pytest.approx(expected, abs=np.degrees(60 / distance) + 0.05)


def test_the_height_of_a_list_goes_first(terrain, panorama):
    (sight,) = visible_peaks([listed("East", height=1812.0)], panorama, terrain)
    assert (sight.height, sight.height_from) == (1812.0, "list")


def test_a_summit_that_the_list_makes_higher_than_the_ground_is_not_there(panorama):
    assert visible_peaks([listed("East", height=2300.0)], panorama) == []


def test_only_some_azimuths(terrain, panorama):
    peaks = [listed(name) for name in CONES]
    assert [sight.peak.name for sight in visible_peaks(peaks, panorama, terrain, (350.0, 370.0))] == ["Near", "Giant"]


def test_out_of_range_and_under_the_feet(terrain, panorama):
    far, here = Peak("Far", *place(0, 50e3)), Peak("Here", *EYE)
    assert visible_peaks([far, here], panorama, terrain) == []
    assert visible_peaks([], panorama, terrain) == []


def test_relief_is_what_a_summit_rises_over_its_sides(terrain, panorama):
    relief = {sight.peak.name: sight.relief for sight in visible_peaks([listed("East"), listed("Giant")], panorama, terrain)}
    assert relief["East"] == pytest.approx(1300, abs=80)  # down to the plain
    assert relief["Giant"] == pytest.approx(3700, abs=250)  # of which the plain's far end rises with distance, as seen


def sight(name="A", height=2000.0, distance=20e3, relief=200.0, prominence=None):
    return Sight(Peak(name, 46.0, 8.0, prominence=prominence), 0.0, 1.0, distance, height, "list", relief)


def test_importance():
    better = [sight(), sight(relief=150.0), sight(relief=150.0, distance=30e3), sight(relief=150.0, distance=30e3, height=1500.0)]
    assert by_importance(better[::-1]) == [3, 2, 1, 0]
    assert importance(sight(prominence=1500.0, height=2500.0)) > importance(sight(prominence=80.0, height=3500.0, relief=1000.0))
    assert importance(sight(relief=1500.0)) > importance(sight(prominence=150.0))


@pytest.mark.parametrize("pose", [Pose(5.0, 3.0, 0.0), Pose(355.0, -4.0, 12.0), Pose(10.0, 8.0, -25.0)])
def test_pixels_are_where_the_camera_sees_the_summit(terrain, panorama, pose):
    camera = camera_from_hfov(1200, 900, 70.0)
    named = annotate_view([listed(name, (120, -90)) for name in CONES], panorama, terrain, camera, pose)
    assert {sight.peak.name for sight in named.sights} == {"Near", "Giant"}
    for sight, pixel in zip(named.sights, named.pixels, strict=True):
        x, y, top, _ = CONES[sight.peak.name]
        eye, distance = BASE + 2, np.hypot(x, y)
        up = (top - eye) / distance - distance / (2 * 6371e3) * 0.87
        expected = project(camera, np.array([[x / distance, y / distance, up]]) @ pose.matrix)
        assert np.ravel(expected) == pytest.approx(pixel, abs=0.13 / 70 * 1200 + 1200 * 60 / distance)
    again = directions(named.sights) @ pose.matrix
    assert np.stack(project(camera, again), axis=1) == pytest.approx(named.pixels)


def test_records(terrain, panorama):
    camera = camera_from_hfov(1200, 900, 70.0)
    named = annotate_view([listed("Giant", height=4200.0, prominence=3000.0)], panorama, terrain, camera, Pose(0.0, 3.0, 0.0), most=0)
    (record,) = records(named)
    assert record["name"] == "Giant"
    assert (record["height_m"], record["height_from"], record["prominence_m"], record["label"]) == (4200.0, "list", 3000.0, None)
    assert record["distance_m"] == pytest.approx(18200, abs=100)
