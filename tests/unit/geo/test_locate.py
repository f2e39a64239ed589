"""From a photograph to poses: photographs as they come (tilted, upright, of unknown focal length), hints, and pictures of no mountains."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageDraw

from tests.chain.mountains import HEIGHT, HFOV, LATITUDE, LONGITUDE, write_mountains, write_photo
from toolkit.core.errors import BadData
from toolkit.geo.camera import camera_from_hfov
from toolkit.geo.candidates import Candidate
from toolkit.geo.edges import detect_edges
from toolkit.geo.locate import (
    EXIF_TOLERANCE,
    FIELDS_OF_VIEW,
    Search,
    exif_heading,
    lenses,
    propose,
    rank_of,
    rank_photo,
    rank_poses,
    rejection,
)
from toolkit.geo.panorama import render_panorama
from toolkit.geo.photo import PhotoFacts, read_photo
from toolkit.geo.pose import Pose, angle_between
from toolkit.geo.precise import PreciseOptions
from toolkit.geo.terrain import read_terrain

WINDOW = Search(128, pitch=(-45.0, 45.0), roll=(-35.0, 35.0))
POSE = Pose(133.0, 1.5, -4.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mountains")
    write_mountains(path / "dem.tif")
    write_photo(path / "photo.png", path / "dem.tif", POSE)
    return path


@pytest.fixture(scope="module")
def view(folder):
    terrain = read_terrain([str(folder / "dem.tif")], LATITUDE, LONGITUDE, 40e3)
    return render_panorama(terrain, LATITUDE, LONGITUDE, HEIGHT, range_m=40e3)


@pytest.fixture(scope="module")
def edges(folder):
    return detect_edges(read_photo(str(folder / "photo.png")).pixels)


def best_of(view, path, hfov=(HFOV, HFOV), search=WINDOW, **options):
    photo = read_photo(str(path), 4096)
    edges = detect_edges(photo.pixels, facts=photo.facts)
    found, _ = rank_photo(view, edges, lenses(edges, hfov), search, "photo", PreciseOptions(**options))
    return found[0]


def error(found, truth=POSE) -> float:
    return float(angle_between(found.pose.matrix, truth.matrix))


@pytest.mark.parametrize("truth", [Pose(133.0, 1.5, 30.0), Pose(250.0, 4.0, -30.0)])
def test_a_camera_that_was_tilted_by_thirty_degrees(folder, view, tmp_path, truth):
    write_photo(tmp_path / "photo.png", folder / "dem.tif", truth)
    assert error(best_of(view, tmp_path / "photo.png"), truth) < 0.5


def test_a_photograph_held_upright_of_sixteen_bits_and_too_large(folder, view, tmp_path):
    truth = Pose(300.0, 4.0, 2.0)
    write_photo(tmp_path / "photo.png", folder / "dem.tif", truth, 600, 900)
    grey = np.asarray(Image.open(tmp_path / "photo.png")).astype(np.uint16) * 50  # 14 bits, not quite filled
    stored = np.repeat(np.repeat(np.rot90(grey, 1), 8, axis=0), 8, axis=1)
    block = Image.Exif()
    block[ExifTags.Base.Orientation] = 6
    Image.fromarray(stored).save(tmp_path / "photo.tif", exif=block)
    assert stored.shape == (4800, 7200)
    assert error(best_of(view, tmp_path / "photo.tif"), truth) < 0.5


def test_a_focal_length_that_is_off_is_mended(folder, view):
    found = best_of(view, folder / "photo.png", (HFOV * 1.04, HFOV * 1.04))
    assert error(found) < 0.5
    assert found.hfov == pytest.approx(HFOV, rel=0.02)


def test_a_focal_length_that_is_not_known_is_found(folder, view, caplog):
    with caplog.at_level("INFO", "toolkit"):
        found = best_of(view, folder / "photo.png", None)
    assert error(found) < 0.5
    assert found.hfov == pytest.approx(HFOV, rel=0.02)
    assert re.search(r"of 22 from 20 to 100 degrees, 5[12].\d fits best", caplog.text)


def test_lenses_are_those_that_are_not_ruled_out(edges):
    known = detect_edges(np.zeros((48, 64, 3), np.uint8), facts=PhotoFacts(hfov=63.0))
    assert [camera.hfov for camera in lenses(known, None)] == [pytest.approx(63.0)]
    assert [camera.hfov for camera in lenses(known, (40.0, 40.0))] == [pytest.approx(40.0)]
    for interval, asked in ((FIELDS_OF_VIEW, None), ((50.0, 52.0), (50.0, 52.0)), ((30.0, 60.0), (30.0, 60.0))):
        ladder = lenses(edges, asked)
        assert (ladder[0].hfov, ladder[-1].hfov) == (pytest.approx(interval[0]), pytest.approx(interval[1]))
        steps = [math.log(shorter.fx / longer.fx) for shorter, longer in zip(ladder[1:], ladder, strict=False)]
        assert max(steps) < 0 and min(steps) > -math.log(1.1) - 1e-9
        assert all(camera.fx == camera.fy and (camera.width, camera.height) == (900, 600) for camera in ladder)
    with pytest.raises(BadData, match="170"):
        lenses(edges, (60.0, 180.0))


def test_a_compass_that_is_wrong_excludes_nothing(view, edges):
    wrong = Search(128, pitch=(-45.0, 45.0), roll=(-35.0, 35.0), heading=(313.0, 20.0))
    camera = [camera_from_hfov(900, 600, HFOV)]
    found, _ = rank_photo(view, edges, camera, wrong, "photo", PreciseOptions(heading=wrong.heading))
    assert error(found[0]) < 0.5
    ((_, proposed),), _ = propose(view, edges, camera, wrong, "photo", 40)
    near = [one for one in proposed if abs((one.yaw - 313.0 + 180.0) % 360.0 - 180.0) <= 40.0]
    assert len(near) >= 10  # looked at in any case
    assert len({(one.yaw, one.pitch, one.roll) for one in proposed}) == len(proposed)


def test_a_heading_decides_between_poses_that_score_alike(view, edges):
    camera = camera_from_hfov(900, 600, HFOV)
    plain, _ = rank_poses(view, edges, camera, WINDOW, "photo", 20)
    second = plain[1]
    assert second.score < plain[0].score
    near = Search(128, pitch=(-45.0, 45.0), roll=(-35.0, 35.0), heading=(second.yaw, 5.0))
    moved, quality = rank_poses(view, edges, camera, near, "photo", 20, truth=second.pose)
    wins = second.score * 1.25 > plain[0].score
    assert [one.rank for one in moved] == list(range(1, 21))
    assert (moved[0].yaw == second.yaw) == wins
    assert quality.rank_of_truth == (1 if wins else 2)


def test_the_exif_heading_counts_as_far_as_it_can_be_believed(caplog):
    assert exif_heading(PhotoFacts(heading=77.0, heading_reference="true"), None, "a.jpg") == (77.0, EXIF_TOLERANCE)
    assert exif_heading(PhotoFacts(heading=77.0, heading_reference="true"), 10.0, "a.jpg") == (77.0, 10.0)
    assert not caplog.text
    assert exif_heading(PhotoFacts(heading=77.0, heading_reference="magnetic"), 10.0, "a.jpg") == (77.0, 35.0)
    assert "a.jpg: its heading 77 is from magnetic north" in caplog.text
    with pytest.raises(BadData, match="no heading"):
        exif_heading(PhotoFacts(), None, "a.jpg")


def test_the_rank_of_the_truth_is_that_of_the_first_pose_near_it():
    found = [Candidate(1, 10.0, 0.0, 0.0, 3.0), Candidate(2, 50.0, 1.0, 0.0, 2.0), Candidate(3, 51.0, 1.0, 0.0, 1.0)]
    assert rank_of(Pose(50.5, 1.0, 0.0), found, 2.5) == 2
    assert rank_of(Pose(80.0, 1.0, 0.0), found, 2.5) is None


def picture_of(kind: str) -> np.ndarray:
    """Rooms, walls and noise: no mountains."""
    random = np.random.default_rng(3)
    if kind == "noise":
        return random.integers(0, 256, (600, 900, 3), np.uint8)
    if kind == "fog":
        return np.clip(190.0 + random.normal(0, 2, (600, 900, 3)), 0, 255).astype(np.uint8)
    picture = Image.new("RGB", (900, 600), (215, 205, 185))
    pen = ImageDraw.Draw(picture)
    pen.polygon([(0, 600), (900, 600), (640, 420), (260, 420)], fill=(120, 90, 60))
    pen.polygon([(0, 0), (900, 0), (640, 120), (260, 120)], fill=(235, 235, 230))
    pen.rectangle((320, 170, 430, 300), fill=(120, 160, 200))
    pen.rectangle((500, 260, 590, 420), fill=(90, 60, 40))
    pen.polygon([(60, 600), (60, 380), (220, 340), (220, 520)], fill=(60, 60, 80))
    pen.ellipse((690, 330, 800, 440), fill=(180, 40, 40))
    return np.clip(np.asarray(picture, float) + random.normal(0, 3, (600, 900, 1)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["noise", "fog"])
def test_pictures_without_a_line_have_no_pose(view, kind):
    found = detect_edges(picture_of(kind))
    cameras = lenses(found, (HFOV, HFOV))
    assert rank_photo(view, found, cameras, WINDOW, "photo", PreciseOptions()) == ([], None)


def test_a_room_is_not_taken_for_mountains(view):
    found = detect_edges(picture_of("room"))
    assert found.x.size > 500
    best = rank_photo(view, found, lenses(found, (HFOV, HFOV)), WINDOW, "photo", PreciseOptions())[0][0]
    assert best.verdict == "rejected"
    assert best.confidence < 0.5


def test_a_rejection_has_the_keys_of_a_pose(view, edges):
    camera = camera_from_hfov(900, 600, HFOV)
    pose = rank_photo(view, edges, [camera], WINDOW, "photo", PreciseOptions(top=1))[0][0]
    record = rejection("fog", [camera])
    assert list(record) == list(pose.record)
    assert (record["rank"], record["hfov"], record["verdict"], record["reason"]) == (1, HFOV, "rejected", "fog")
    assert rejection("fog", lenses(edges, None))["hfov"] is None
