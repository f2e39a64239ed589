"""Refinement finds the pose, the focal length and the position that lines were seen with, and says how well."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.geo.ridges import cluttered, contours, disturbed, photographed
from toolkit.core.errors import BadData
from toolkit.geo.camera import Camera, camera_from_hfov, project, rays
from toolkit.geo.edges import Edges
from toolkit.geo.pose import Pose, angle_between
from toolkit.geo.refinement import Refined, refine, refine_sights, sights_of, target, zoomed
from toolkit.geo.segments import Polylines

CAMERA = camera_from_hfov(1200, 800, 50.0)
TRUTH = Pose(137.0, 3.0, -2.0)
STEPS = [{"cell_m": 100.0, "to_m": 80e3}]


def turned(pose: Pose, yaw: float, pitch: float, roll: float) -> Pose:
    return Pose(pose.yaw + yaw, pose.pitch + pitch, pose.roll + roll)


def error(found: Refined, truth: Pose = TRUTH) -> float:
    return float(angle_between(found.pose.matrix, truth.matrix))


def some_pose(rng: np.random.Generator) -> Pose:
    return Pose(rng.uniform(0.0, 360.0), rng.uniform(-4.0, 8.0), rng.uniform(-5.0, 5.0))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_exact_is_found_exactly(seed: int) -> None:
    world = contours(seed)
    photo = sights_of(photographed(world, CAMERA, TRUTH.matrix), CAMERA)
    found = refine_sights(photo, target(world), turned(TRUTH, 1.5, -1.0, 1.0))
    assert error(found) < 1e-3
    assert found.hfov == pytest.approx(50.0, abs=2e-3)
    assert found.followed > 0.9 and found.skyline_followed > 0.9
    assert found.position is None and found.position_errors is None


@pytest.mark.parametrize("zoom", [0.97, 1.03])
def test_a_wrong_focal_length_is_put_right(zoom: float) -> None:
    world = contours(3)
    wrong = zoomed(CAMERA, zoom)
    lines = through(photographed(world, CAMERA, TRUTH.matrix), zoom)
    found = refine_sights(sights_of(lines, wrong), target(world), turned(TRUTH, -1.0, 0.5, 0.5))
    assert error(found) < 0.02
    assert found.camera.fx == pytest.approx(CAMERA.fx, rel=2e-3)
    told = refine_sights(sights_of(lines, wrong), target(world), turned(TRUTH, -1.0, 0.5, 0.5), zoom=1.0 / zoom)
    assert error(told) < 0.02
    kept = refine_sights(sights_of(lines, wrong), target(world), turned(TRUTH, -1.0, 0.5, 0.5), fit_hfov=0.0)
    assert kept.camera == wrong and kept.hfov_error == 0.0


def through(lines: Polylines, zoom: float) -> Polylines:
    """What a lens of CAMERA sees, taken for what one with a `zoom` times longer focal length does."""
    seen = lines.points / (zoom, zoom, 1.0)
    return Polylines(seen / np.linalg.norm(seen, axis=1, keepdims=True), lines.first, lines.strength, lines.skyline)


def test_the_focal_length_stays_within_its_bounds() -> None:
    world = contours(3)
    lines = through(photographed(world, CAMERA, TRUTH.matrix), 1.08)
    found = refine_sights(sights_of(lines, CAMERA), target(world), TRUTH, fit_hfov=0.05)
    assert found.camera.fx == pytest.approx(CAMERA.fx / 1.05, rel=1e-9)


def test_a_zoomed_lens_scales_what_is_seen_distortion_included() -> None:
    camera = Camera(1200, 800, 1200.0, 1210.0, 590.0, 410.0, (-0.2, 0.05, 0.01, 0.02, 0.0, 0.003), (0.002, -0.001))
    x, y = np.array([10.0, 600.0, 1150.0]), np.array([20.0, 700.0, 400.0])
    near, far = rays(camera, x, y), rays(zoomed(camera, 1.04), x, y)
    np.testing.assert_allclose(far[:, :2] / far[:, 2:], near[:, :2] / near[:, 2:] / 1.04, atol=1e-9)


def test_errors_are_as_large_as_said() -> None:
    world, scores, stated, errors = [target(contours(seed)) for seed in range(4)], [], [], []
    for draw in range(100):
        rng, seed = np.random.default_rng(1000 + draw), draw % 4
        truth = some_pose(rng)
        photo = sights_of(disturbed(photographed(contours(seed), CAMERA, truth.matrix), rng, 0.25), CAMERA)
        found = refine_sights(photo, world[seed], turned(truth, *rng.normal(0.0, 0.7, 3)))
        off = np.array([(found.pose.yaw - truth.yaw + 180.0) % 360.0 - 180.0, found.pose.pitch - truth.pitch, found.pose.roll - truth.roll])
        scores.append([*off / found.standard_errors, (found.hfov - 50.0) / found.hfov_error])
        stated.append([*found.standard_errors, found.hfov_error])
        errors.append([*off, found.hfov - 50.0])
    assert (np.abs(scores) <= 3.0).mean() >= 0.99
    real = np.sqrt(np.mean(np.square(errors), axis=0))
    assert (np.sqrt(np.mean(np.square(scores), axis=0)) < 1.3).all()  # too small by less than a third
    assert (np.mean(stated, axis=0) < 2.0 * real).all()
    assert (real < [0.1, 0.1, 0.2, 0.2]).all()


def test_three_degrees_and_five_percent_are_not_too_far() -> None:
    good = 0
    for draw in range(30):
        rng = np.random.default_rng(draw)
        world, truth, zoom = contours(draw % 6), some_pose(rng), np.exp(rng.uniform(-0.045, 0.045))
        lines = disturbed(photographed(world, CAMERA, truth.matrix), rng, 0.1)
        off = rng.normal(size=3)
        start = turned(truth, *off * rng.uniform(0.0, 3.0) / np.linalg.norm(off))
        found = refine_sights(sights_of(through(lines, zoom), zoomed(CAMERA, zoom)), target(world), start)
        good += error(found, truth) < 0.3
    assert good >= 29


def test_a_third_of_clutter_does_no_harm() -> None:
    errors = []
    for draw in range(20):
        rng = np.random.default_rng(draw)
        world, truth = contours(draw % 5), some_pose(rng)
        lines = cluttered(disturbed(photographed(world, CAMERA, truth.matrix), rng, 0.1), CAMERA, rng, 0.33)
        found = refine_sights(sights_of(lines, CAMERA), target(world), turned(truth, *rng.normal(0.0, 1.0, 3)))
        errors.append(error(found, truth))
    assert np.median(errors) < 0.1 and np.sort(errors)[-2] < 0.3


@pytest.mark.parametrize("seed", range(4))
def test_near_ridges_tell_the_position(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world, place = contours(seed), 80.0 * np.array([np.sin(seed + 1.0), np.cos(seed + 1.0)])
    lines = disturbed(photographed(world, CAMERA, TRUTH.matrix, (place[0], place[1])), rng, 0.05)
    found = refine_sights(sights_of(lines, CAMERA), target(world), turned(TRUTH, 0.7, -0.5, 0.5), position_m=100.0)
    assert found.position is not None and found.position_errors is not None
    assert np.hypot(*(found.position - place)) < 10.0
    assert (np.abs(found.position - place) < 4.0 * np.array(found.position_errors)).all()
    assert error(found) < 0.1
    unaware = refine_sights(sights_of(lines, CAMERA), target(world), TRUTH)
    assert error(unaware) > error(found)


def test_a_position_is_not_sought_beyond_its_limit() -> None:
    world = contours(1)
    lines = photographed(world, CAMERA, TRUTH.matrix, (150.0, 0.0))
    found = refine_sights(sights_of(lines, CAMERA), target(world), TRUTH, position_m=60.0)
    assert found.position is not None and np.hypot(*found.position) <= 60.0 + 1e-9


def test_ridges_that_an_elevation_model_cuts_low_are_allowed_for() -> None:
    world = contours(2)
    assert world.distance is not None
    rise = 0.1 * 100.0 / world.distance  # a tenth of a cell of 100 m
    lifted = world.points + rise[:, None] * [0.0, 0.0, 1.0]
    real = Polylines(lifted / np.linalg.norm(lifted, axis=1, keepdims=True), world.first, world.strength, world.skyline, world.distance)
    photo = sights_of(photographed(real, CAMERA, TRUTH.matrix), CAMERA)
    aware, unaware = (refine_sights(photo, target(world, steps), turned(TRUTH, 0.5, 0.5, 0.0)) for steps in (STEPS, []))
    assert abs(aware.pose.pitch - TRUTH.pitch) < 0.01 < 0.03 < TRUTH.pitch - unaware.pose.pitch
    assert aware.standard_errors[1] > unaware.standard_errors[1]  # of a common error no number of ridges tells


def test_ground_before_ones_feet_neither_helps_nor_harms() -> None:
    world = contours(2)
    assert world.distance is not None
    near = world.distance < 1500.0
    feet = Polylines(world.points, world.first, world.strength, world.skyline, np.where(near, 2.0, world.distance))
    photo = sights_of(photographed(world, CAMERA, TRUTH.matrix), CAMERA)
    usual, odd = (refine_sights(photo, target(seen, STEPS), turned(TRUTH, 0.5, 0.3, 0.2)) for seen in (world, feet))
    assert error(odd, usual.pose) < 0.05
    np.testing.assert_allclose(odd.standard_errors, usual.standard_errors, rtol=0.3)


def one_line(elevation: float, wide: float) -> Polylines:
    azimuth = np.radians(np.arange(137.0 - wide, 137.0 + wide, 0.05))
    up = np.full(len(azimuth), np.radians(elevation))
    points = np.stack([np.sin(azimuth) * np.cos(up), np.cos(azimuth) * np.cos(up), np.sin(up)], axis=1)
    return Polylines(points, np.array([0, len(points)]), np.ones(len(points)), np.ones(len(points)), np.full(len(points), 1e4))


def test_one_flat_line_tells_neither_yaw_nor_focal_length() -> None:
    photo = sights_of(photographed(one_line(3.0, 5.0), CAMERA, TRUTH.matrix), CAMERA)
    found = refine_sights(photo, target(one_line(3.0, 180.0)), turned(TRUTH, 0.5, 0.3, 0.3))
    yaw, pitch, roll = found.standard_errors
    assert yaw > 10.0
    assert pitch < 1.0 and roll < 5.0
    assert found.hfov_error == pytest.approx(0.025 * np.degrees(np.sin(np.radians(50.0))), rel=0.1)  # no more than was known before


def test_without_a_partner_nothing_moves_and_nothing_is_known() -> None:
    photo = sights_of(photographed(contours(0), CAMERA, TRUTH.matrix), CAMERA)
    for world in (one_line(-60.0, 20.0), Polylines(np.empty((0, 3)), np.zeros(1, np.int64), *[np.empty(0)] * 3)):
        found = refine_sights(photo, target(world), TRUTH)
        assert error(found) < 1e-6
        assert min(found.standard_errors) > 30.0
        assert found.followed == found.skyline_followed == found.residual == 0.0


def test_edges_of_a_smaller_picture_are_refined_with_the_lens_of_the_whole() -> None:
    world = contours(4)
    lines = photographed(world, CAMERA, TRUTH.matrix)
    x, y = project(CAMERA, lines.points)
    none, one = np.zeros(len(x), np.float32), np.ones(len(x), np.float32)
    small_x, small_y, skyline = (values.astype(np.float32) for values in (0.5 * x - 0.25, 0.5 * y - 0.25, lines.skyline))
    edges = Edges(600, 400, small_x, small_y, none, one, one, skyline, lines.line.astype(np.int32))
    found = refine(edges, CAMERA, world, turned(TRUTH, 0.5, 0.5, 0.5))
    assert error(found) < 1e-2
    assert found.camera.width == 1200 and found.camera.fx == pytest.approx(CAMERA.fx, rel=1e-3)
    with pytest.raises(BadData, match="pictures of 1200 x 800"):
        refine(replace(edges, height=600), CAMERA, world, TRUTH)


def test_points_are_no_lines() -> None:
    point = Polylines(np.array([[0.0, 0.0, 1.0]]), np.array([0, 1]), np.ones(1), np.ones(1))
    with pytest.raises(BadData, match="no line"):
        sights_of(point, CAMERA)
