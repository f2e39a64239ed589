"""From candidates to poses with errors and a verdict, on contours of mountains that never were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.geo.ridges import STEP, contours, photographed
from toolkit.geo.camera import camera_from_hfov, project
from toolkit.geo.candidates import Candidate
from toolkit.geo.edges import Edges
from toolkit.geo.panorama import Contours, Panorama
from toolkit.geo.pose import Pose, angle_between
from toolkit.geo.precise import PreciseOptions, PrecisePose, rank_precisely, rank_proposals
from toolkit.geo.segments import Polylines

CAMERA = camera_from_hfov(1200, 800, 50.0)
TRUTH = Pose(137.0, 3.0, -2.0)
RNG = np.random.default_rng(8)
KEYS = [
    "rank", "yaw", "pitch", "roll", "score", "fine_score", "hfov", "yaw_error", "pitch_error", "roll_error",
    "confidence", "verdict", "reason",
]  # fmt: skip


def panorama_of(lines: Polylines) -> Panorama:
    """The lines as contours of a panorama of 4096 columns at 61 degrees north, with exact elevations."""
    azimuth = np.degrees(np.arctan2(lines.points[:, 0], lines.points[:, 1])) % 360.0
    column = np.round(azimuth / STEP).astype(np.int32) % 4096
    assert lines.distance is not None
    order = np.lexsort((lines.distance, column))
    far = np.where(lines.skyline > 0.5, np.inf, 3.0 * lines.distance)
    table = Contours(
        column[order],
        np.degrees(np.arcsin(lines.points[:, 2]))[order].astype(np.float32),
        lines.distance[order].astype(np.float32),
        far[order].astype(np.float32),
    )
    return Panorama(61.0, -147.0, 400.0, (-45.0, 45.0), "angle", 4096, 1024, None, table, {})


def photo_of(world: Polylines, rotation: np.ndarray, place: tuple[float, float] = (0.0, 0.0)) -> Edges:
    """What of contours whose columns begin half a step east is in the picture, as edges with a pixel's noise."""
    half = np.radians(0.5 * STEP)
    turn = np.array([[np.cos(half), np.sin(half), 0.0], [-np.sin(half), np.cos(half), 0.0], [0.0, 0.0, 1.0]])
    lines = photographed(replace(world, points=world.points @ turn.T), CAMERA, rotation, place)
    x, y = project(CAMERA, lines.points)
    x, y = (values + np.random.default_rng(1).normal(0.0, 0.5, len(x)) for values in (x, y))
    ones = np.ones(len(x), np.float32)
    return Edges(
        1200, 800, x.astype(np.float32), y.astype(np.float32), 0 * ones, ones, 2 * ones, lines.skyline.astype(np.float32),
        lines.line.astype(np.int32),
    )  # fmt: skip


WORLD = contours(11)
PANORAMA, PHOTO = panorama_of(WORLD), photo_of(WORLD, TRUTH.matrix)


def proposed(*near: Pose, others: int = 40) -> list[Candidate]:
    """Poses at random, and those that are given."""
    poses = [Pose(RNG.uniform(0, 360), RNG.uniform(-10, 10), RNG.uniform(-8, 8)) for _ in range(others)]
    return [Candidate(rank, pose.yaw, pose.pitch, pose.roll, 100.0 - rank) for rank, pose in enumerate([*poses, *near], 1)]


NEAR = Pose(TRUTH.yaw + 0.6, TRUTH.pitch - 0.5, TRUTH.roll + 0.7)
OPTIONS = PreciseOptions(top=4, refined=6)


def error(found: PrecisePose) -> float:
    return float(angle_between(found.pose.matrix, TRUTH.matrix))


def test_the_last_candidate_becomes_the_first_when_lines_follow_contours() -> None:
    found = rank_precisely(PHOTO, CAMERA, PANORAMA, proposed(NEAR), OPTIONS)
    assert [pose.rank for pose in found] == [1, 2, 3, 4]
    assert list(found[0].record) == KEYS
    assert error(found[0]) < 0.1
    assert found[0].hfov == pytest.approx(50.0, abs=0.3)
    assert found[0].score == 59.0  # the correlation's, of the candidate
    assert found[0].fine_score > 0.6 > 0.4 > found[1].fine_score
    assert max(found[0].yaw_error, found[0].pitch_error, found[0].roll_error) < 0.3
    assert found[0].confidence > 0.9 > 0.5 > found[1].confidence
    assert found[1].verdict == "rejected"
    rotations = [pose.pose.matrix for pose in found]
    assert min(angle_between(one, other) for n, one in enumerate(rotations) for other in rotations[:n]) >= OPTIONS.separation


def test_without_the_true_pose_nothing_is_believed() -> None:
    found = rank_precisely(PHOTO, CAMERA, PANORAMA, proposed(), OPTIONS)
    assert all(pose.verdict != "accepted" for pose in found)
    assert found[0].confidence < 0.5


def test_a_compass_favours_and_excludes_nothing() -> None:
    candidates = proposed(NEAR)
    plain = rank_precisely(PHOTO, CAMERA, PANORAMA, candidates, OPTIONS)
    wrong = rank_precisely(PHOTO, CAMERA, PANORAMA, candidates, replace(OPTIONS, heading=((TRUTH.yaw + 180.0) % 360.0, 10.0)))
    assert error(wrong[0]) < 0.1
    third, others = plain[2].pose.matrix, candidates[:-1]
    headings = [replace(OPTIONS, heading=(yaw, 3.0)) for yaw in (TRUTH.yaw, plain[2].yaw)]
    away, towards = (rank_precisely(PHOTO, CAMERA, PANORAMA, others, options) for options in headings)
    ranks = [next((pose.rank for pose in found if angle_between(pose.pose.matrix, third) < 1.0), 99) for found in (towards, away)]
    assert ranks[0] < ranks[1]


def test_of_several_lenses_the_right_one_is_found() -> None:
    lenses = [(camera_from_hfov(1200, 800, hfov), proposed(NEAR, others=15)) for hfov in (30.0, 40.0, 52.0, 65.0)]
    found = rank_proposals(PHOTO, lenses, PANORAMA, OPTIONS)
    assert error(found[0]) < 0.2
    assert found[0].hfov == pytest.approx(50.0, abs=0.5)


def test_the_position_is_refined_for_all_that_are_listed() -> None:
    """60 m east and 40 m south of where the panorama was made."""
    photo = photo_of(WORLD, TRUTH.matrix, (60.0, -40.0))
    found = rank_precisely(photo, CAMERA, PANORAMA, proposed(NEAR, others=10), replace(OPTIONS, top=2, position_m=100.0))
    best = found[0]
    assert best.latitude is not None and best.longitude is not None
    assert (best.latitude - 61.0) * 111.4e3 == pytest.approx(-40.0, abs=25.0)
    assert (best.longitude + 147.0) * 111.3e3 * np.cos(np.radians(61.0)) == pytest.approx(60.0, abs=25.0)
    assert list(best.record) == [*KEYS[:10], "latitude", "longitude", *KEYS[10:]]
    assert {tuple(pose.record) for pose in found} == {tuple(best.record)}
    assert error(best) < 0.2


def test_no_candidate_no_pose() -> None:
    assert rank_precisely(PHOTO, CAMERA, PANORAMA, [], OPTIONS) == []
