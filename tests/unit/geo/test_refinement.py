"""Refinement finds the pose, the focal length and the position that lines were seen with, and says how well."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.geo.ridges import contours, photographed
from toolkit.geo.camera import camera_from_hfov
from toolkit.geo.pose import Pose, angle_between
from toolkit.geo.refinement import Refined, refine_sights, sights_of, target, zoomed

CAMERA = camera_from_hfov(1200, 800, 50.0)
TRUTH = Pose(137.0, 3.0, -2.0)


def turned(pose: Pose, yaw: float, pitch: float, roll: float) -> Pose:
    return Pose(pose.yaw + yaw, pose.pitch + pitch, pose.roll + roll)


def error(found: Refined, truth: Pose = TRUTH) -> float:
    return float(angle_between(found.pose.matrix, truth.matrix))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_exact_is_found_exactly(seed: int) -> None:
    world = contours(seed)
    photo = sights_of(photographed(world, CAMERA, TRUTH.matrix), CAMERA)
    found = refine_sights(photo, target(world), turned(TRUTH, 1.5, -1.0, 1.0))
    assert error(found) < 1e-3
    assert found.hfov == pytest.approx(50.0, abs=2e-3)
    assert found.followed > 0.9 and found.skyline_followed > 0.9
    assert found.position is None


@pytest.mark.parametrize("zoom", [0.97, 1.03])
def test_a_wrong_focal_length_is_put_right(zoom: float) -> None:
    world = contours(3)
    wrong = zoomed(CAMERA, zoom)
    lines = photographed(world, CAMERA, TRUTH.matrix)
    seen = lines.points * (1.0 / zoom, 1.0 / zoom, 1.0)
    lines = type(lines)(seen / np.linalg.norm(seen, axis=1, keepdims=True), lines.first, lines.strength, lines.skyline)
    found = refine_sights(sights_of(lines, wrong), target(world), turned(TRUTH, -1.0, 0.5, 0.5))
    assert error(found) < 0.02
    assert found.camera.fx == pytest.approx(CAMERA.fx, rel=2e-3)
    kept = refine_sights(sights_of(lines, wrong), target(world), turned(TRUTH, -1.0, 0.5, 0.5), fit_hfov=0.0)
    assert kept.camera == wrong and kept.hfov_error == 0.0
