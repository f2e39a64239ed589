"""What lines do at contours - follow, leave, cross, end - and what that is worth to the precise metric."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.geo.ridges import contours, photographed
from toolkit.geo.camera import camera_from_hfov
from toolkit.geo.pose import Pose, angle_between
from toolkit.geo.precise_metric import Evidence, MetricParameters, contour_map, evidence, evidences, frame_of, walk
from toolkit.geo.segments import Polylines
from toolkit.geo.settling import settle

POSE = Pose(30.0, 4.0, 2.0)
NEAR = MetricParameters().near
FOLLOWED_FULLY = 10.0  # degrees of a line: more than what counts in full


def line(azimuths: list[float], elevations: list[float], step: float = 0.05) -> np.ndarray:
    """A line through places that lie so many degrees from where the camera looks, about `step` degrees from point to point."""
    corners = np.column_stack([azimuths, elevations]).astype(float)
    size = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
    along = np.linspace(0.0, size[-1], max(2, round(size[-1] / step)))
    azimuth, elevation = (np.radians(start + np.interp(along, size, corners[:, i])) for i, start in enumerate((POSE.yaw, POSE.pitch)))
    return np.stack([np.sin(azimuth) * np.cos(elevation), np.cos(azimuth) * np.cos(elevation), np.sin(elevation)], axis=1)


def drawn(*lines: np.ndarray, skyline: float = 0.0) -> Polylines:
    """Lines in East-North-Up, all as clear as can be."""
    points = np.concatenate(lines)
    first = np.cumsum([0, *map(len, lines)])
    return Polylines(points, first, np.ones(len(points)), np.full(len(points), skyline))


def seen(world: Polylines) -> Polylines:
    """The same in camera axes."""
    return replace(world, points=world.points @ POSE.matrix)


def judged(photo: Polylines, world: Polylines) -> Evidence:
    return evidence(seen(photo), POSE.matrix, contour_map(world))


LEVEL = drawn(line([-15, 15], [0, 0]))


def test_a_line_along_a_contour_counts_with_its_whole_length() -> None:
    found = judged(drawn(line([-5, 5], [0, 0])), LEVEL)
    assert found.total == pytest.approx(np.radians(FOLLOWED_FULLY * np.cos(np.radians(POSE.pitch))), rel=0.01)
    assert found.followed > 0.95 * found.total
    assert found.crossings == 0.0
    assert found.fine_score > 0.95


def test_the_farther_from_the_contour_the_less_a_line_counts() -> None:
    offsets = [0.0, 0.1, 0.2, 0.4, 0.7]
    scores = [judged(drawn(line([-5, 5], [up, up])), LEVEL).fine_score for up in offsets]
    assert (np.diff(scores) < -0.05).all()


@pytest.mark.parametrize("side", [-1, 1])
def test_a_parallel_just_outside_the_neighbourhood_counts_nothing(side: int) -> None:
    outside = side * (NEAR + 0.05)
    found = judged(drawn(line([-5, 5], [outside, outside])), LEVEL)
    assert found.crossings == 0.0
    assert abs(found.followed) < 0.1 * found.total


def test_a_long_line_counts_more_than_its_pieces() -> None:
    """l^a with a > 1 up to l_fit: pieces far apart, each of a degree, against one line."""
    whole = judged(drawn(line([-3, 3], [0, 0])), LEVEL)
    world = drawn(*(line([3.0 * n - 0.5, 3.0 * n + 0.5], [0, 0]) for n in range(-3, 3)))
    pieces = judged(world, LEVEL)
    assert pieces.total == pytest.approx(whole.total, rel=0.01)
    assert pieces.followed < 0.7 * whole.followed


def test_a_line_that_leaves_on_the_side_on_which_it_came_does_not_cross() -> None:
    found = judged(drawn(line([-2, -0.4, 0.4, 2], [4, 0.2, 0.2, 4])), LEVEL)
    assert found.crossings == 0.0


@pytest.mark.parametrize("lean", [-1.0, 0.0, 1.0])
def test_a_line_that_leaves_on_the_other_side_crosses(lean: float) -> None:
    found = judged(drawn(line([-lean, lean], [-4, 4])), LEVEL)
    assert found.crossings == pytest.approx(1.0, abs=0.01)
    assert found.fine_score < 0.0


def test_a_line_that_crosses_after_it_followed_for_long_is_no_crossing() -> None:
    found = judged(drawn(line([-6, -5, 5, 6], [-3, -0.1, 0.1, 3])), LEVEL)
    assert found.crossings == 0.0
    assert found.followed > 0.4 * found.total


@pytest.mark.parametrize("end", [-0.3, 0.0, 0.3])
def test_a_line_that_ends_at_a_contour_is_a_junction(end: float) -> None:
    assert judged(drawn(line([0, 0], [4, end])), LEVEL).crossings == 0.0


def test_a_contour_that_ends_at_a_line_is_a_junction() -> None:
    through = drawn(line([0, 0], [-4, 4]))
    assert judged(through, drawn(line([-15, 0.1], [0, 0]))).crossings == 0.0
    assert judged(through, drawn(line([-15, 2.0], [0, 0]))).crossings == pytest.approx(1.0, abs=0.01)


def test_faint_lines_and_faint_contours_cross_for_less() -> None:
    through = drawn(line([0, 0], [-4, 4]))
    faint = replace(LEVEL, strength=0.3 * LEVEL.strength)
    assert judged(through, faint).crossings == pytest.approx(0.3, abs=0.01)
    assert judged(replace(through, strength=0.2 * through.strength), LEVEL).crossings == pytest.approx(0.2, abs=0.01)


def test_amid_dense_contours_lines_prove_little() -> None:
    """Level lines at random heights follow some of the contours that lie 0.4 degrees apart: that is chance and is taken off."""
    hatching = drawn(*(line([-15, 15], [up, up]) for up in np.arange(-8, 8, 0.4)))
    heights = np.random.default_rng(2).uniform(-4, 4, 40)
    by_chance = [judged(drawn(line([-5, 5], [up, up])), hatching) for up in heights]
    assert abs(np.mean([found.followed / found.total for found in by_chance])) < 0.15
    assert judged(drawn(line([-5, 5], [0, 0])), LEVEL).followed > 0.95 * by_chance[0].total


@pytest.mark.parametrize("step", [0.01, 0.3])
def test_how_densely_lines_are_sampled_does_not_matter(step: float) -> None:
    def scene(step: float) -> tuple[Polylines, Polylines]:
        photo = drawn(line([-5, 0, 5], [0.1, 0.3, 0], step), line([2, 3], [-4, 4], step))
        return photo, drawn(line([-15, 15], [0, 0], step))

    one, other = (judged(*scene(size)) for size in (step, 0.1))
    for name in ("fine_score", "followed", "crossings", "total"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=0.02), name


def test_the_direction_in_which_lines_run_does_not_matter() -> None:
    photo = drawn(line([-5, 0, 5], [0.1, 0.3, 0]), line([2, 3], [-4, 4]))
    backwards = drawn(line([5, 0, -5], [0, 0.3, 0.1]), line([3, 2], [4, -4]))
    found = judged(photo, LEVEL)
    for other in (judged(backwards, LEVEL), judged(photo, drawn(line([15, -15], [0, 0])))):
        assert vars(other) == pytest.approx(vars(found), abs=0.01)


def test_a_skyline_is_worth_more_on_the_skyline_than_on_a_ridge() -> None:
    sky, ridge = drawn(line([-15, 15], [0, 0]), skyline=1.0), LEVEL
    border = drawn(line([-5, 5], [0, 0]), skyline=1.0)
    assert judged(border, sky).fine_score > judged(border, ridge).fine_score + 0.3
    both = drawn(line([-15, 15], [0, 0]), line([-15, 15], [0.2, 0.2]))
    both = replace(both, skyline=np.repeat([0.0, 1.0], np.diff(both.first)))
    assert judged(border, both).skyline_followed > 0.4 * judged(border, sky).skyline_followed  # a ridge next to it does not hide it


def test_a_skyline_that_the_photograph_lacks_speaks_against_the_pose() -> None:
    frame = frame_of(camera_from_hfov(900, 600, 40.0))
    ridge, sky = line([-12, 12], [-3, -3]), line([-30, 30], [4, 4])
    world, shown, lacking = drawn(ridge, sky), drawn(ridge, line([-18, 18], [4, 4])), drawn(ridge)
    world, shown = (replace(lines, skyline=np.repeat([0.0, 1.0], np.diff(lines.first))) for lines in (world, shown))
    full, poor = (evidence(seen(photo), POSE.matrix, contour_map(world), frame=frame) for photo in (shown, lacking))
    assert full.panorama_total == pytest.approx(np.radians(38.0), rel=0.1)
    assert full.panorama_followed > 0.85 * full.panorama_total
    assert poor.panorama_followed < 0.05 * poor.panorama_total
    assert poor.fine_score < full.fine_score - 0.3


def test_a_pose_does_not_gain_by_turning_the_skyline_out_of_the_picture() -> None:
    world, camera = contours(4), camera_from_hfov(1200, 800, 50.0)
    lines = walk(photographed(world, camera, POSE.matrix), frame=frame_of(camera))
    up = Pose(POSE.yaw, POSE.pitch - 20.0, POSE.roll)
    right, away = evidences(lines, np.stack([POSE.matrix, up.matrix]), contour_map(world))
    assert away.panorama_total < 0.1
    assert away.fine_score < 0.0 < 0.7 < right.fine_score


def test_contours_are_lifted_by_what_a_coarse_elevation_model_cuts_off() -> None:
    """A ridge 5 km away over cells of 100 m: a tenth of a cell is 0.115 degrees."""
    far = replace(LEVEL, distance=np.full(len(LEVEL.points), 5000.0))
    parameters, cells = MetricParameters(lift=0.2), [{"cell_m": 100.0, "to_m": 1e5}]
    world = contour_map(far, parameters, cells)
    higher = seen(drawn(line([-5, 5], [0.2292, 0.2292])))
    assert evidence(higher, POSE.matrix, world, parameters).fine_score > 0.95
    assert evidence(higher, POSE.matrix, contour_map(far, parameters), parameters).fine_score < 0.7
    lines, poses = walk(higher, parameters), np.repeat(POSE.matrix[None], 2, axis=0)
    as_it_is, more = evidences(lines, poses, world, parameters, lifts=np.array([0.0, 0.3]))
    assert more.fine_score < as_it_is.fine_score - 0.3


def test_many_poses_at_once_are_judged_as_each_alone() -> None:
    world, camera = contours(5), camera_from_hfov(1200, 800, 50.0)
    photo = photographed(world, camera, POSE.matrix)
    poses = np.stack([Pose(POSE.yaw + turn, POSE.pitch, POSE.roll).matrix for turn in (0.0, 0.3, 40.0)])
    many = evidences(walk(photo), poses, contour_map(world), zooms=np.ones(3))
    for pose, found in zip(poses, many, strict=True):
        assert vars(evidence(photo, pose, contour_map(world))) == pytest.approx(vars(found), rel=1e-5, abs=1e-6)


def test_without_any_contour_nothing_is_followed() -> None:
    nothing = Polylines(np.zeros((0, 3)), np.zeros(1, np.int64), np.zeros(0), np.zeros(0))
    found = judged(drawn(line([-5, 5], [0, 0])), nothing)
    assert found.followed == found.crossings == found.panorama_total == 0.0


def test_poses_settle_on_contours() -> None:
    """From up to 1.2 degrees off in each angle and a focal length 2 % wrong, among 100 at once."""
    world, camera = contours(6), camera_from_hfov(1200, 800, 50.0)
    photo = photographed(world, camera, POSE.matrix)
    rng = np.random.default_rng(3)
    off = rng.uniform(-1.0, 1.0, (100, 3)) * [1.2, 0.8, 1.2]
    starts = np.stack([Pose(*(np.array([POSE.yaw, POSE.pitch, POSE.roll]) + turn)).matrix for turn in off])
    shorter = photo.points * [1 / 0.98, 1 / 0.98, 1.0]  # as a camera whose focal length is 2 % too short would see it
    lines = walk(replace(photo, points=shorter / np.linalg.norm(shorter, axis=1, keepdims=True)))
    rotations, zooms, lifts = settle(lines, starts, contour_map(world), MetricParameters())
    errors = angle_between(rotations, POSE.matrix)
    assert np.median(errors) < 0.05
    assert np.mean(errors < 0.1) >= 0.9
    assert np.median(zooms) == pytest.approx(1.0 / 0.98, abs=0.003)
    assert (lifts == 0.0).all()  # the contours are exact
