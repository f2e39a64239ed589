"""Verdicts on a rendered photograph, on its mirror image and on a picture of no mountains, from pixels to reasons."""

import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import synthetic  # noqa: E402

from toolkit.geo.camera import camera_from_hfov  # noqa: E402
from toolkit.geo.edges import detect_edges  # noqa: E402
from toolkit.geo.locate import Search, rank_photo  # noqa: E402
from toolkit.geo.pose import Pose, angle_between  # noqa: E402
from toolkit.geo.precise import PreciseOptions  # noqa: E402
from toolkit.geo.view import view_from  # noqa: E402

SEED = 12  # of the renderer: hills behind hills


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """A photograph with what is told with it, and the terrain around its place."""
    terrain = synthetic.terrains()["jacksboro"]
    dem = tmp_path_factory.mktemp("dem") / "dem.tif"
    synthetic.make_terrain.write_geotiff(str(dem), terrain.heights, terrain.west, terrain.north, terrain.cell)
    picture, view, _ = synthetic.photograph(terrain, SEED, (600, 400))
    seen = view_from([str(dem)], view.latitude, view.longitude, view.height, range_m=60e3, refraction=0.13)
    return picture, view, seen


def best(scene, picture):  # type: ignore[no-untyped-def]
    """The first pose of a picture that is said to have been taken there."""
    _, view, seen = scene
    height, width = picture.shape[:2]
    search = Search(128, None, (-45.0, 45.0), (-30.0, 30.0))
    camera = camera_from_hfov(width, height, view.hfov * 1.02)  # what a camera tells of its lens is rounded
    found, _ = rank_photo(seen, detect_edges(picture), [camera], search, "picture", PreciseOptions())
    return found[0]


def test_a_photograph_is_found_and_believed_and_its_mirror_image_is_not(scene) -> None:  # type: ignore[no-untyped-def]
    picture, view, _ = scene
    pose = best(scene, picture)
    assert angle_between(pose.pose.matrix, Pose(view.yaw, view.pitch, view.roll).matrix) < 0.5
    assert pose.verdict == "accepted" and pose.confidence >= 0.98
    mirrored = best(scene, np.ascontiguousarray(picture[:, ::-1]))
    assert mirrored.verdict != "accepted" and mirrored.confidence < pose.confidence - 0.2


def test_a_wood_has_no_pose(scene) -> None:  # type: ignore[no-untyped-def]
    """Trunks before dim leaves: lines enough, none of them a skyline."""
    random = np.random.default_rng(4)
    leaves = 60 + 60 * synthetic.noise(random, (400, 600), 5.0)
    trunks = np.zeros((400, 600))
    for centre, wide, lean in zip(random.uniform(0, 600, 14), random.uniform(4, 18, 14), random.uniform(-0.05, 0.05, 14), strict=True):
        trunks = np.maximum(trunks, np.abs(np.arange(600) - centre - lean * np.arange(400)[:, None]) < wide)
    picture = (leaves * (1 - 0.7 * trunks))[..., None] * np.array([0.8, 1.0, 0.5])
    pose = best(scene, np.clip(picture, 0, 255).astype(np.uint8))
    assert pose.verdict == "rejected" and pose.reason
