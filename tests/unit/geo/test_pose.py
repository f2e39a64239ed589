"""Angles to rotations and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.geo.pose import angle_between, pose_from_matrix, rotation_matrix

ANGLES = st.tuples(st.floats(0, 359.999), st.floats(-89.9, 89.9), st.floats(-179.9, 179.9))


@given(ANGLES)
def test_round_trip(angles):
    matrix = rotation_matrix(*angles)
    pose = pose_from_matrix(matrix)
    assert angle_between(rotation_matrix(pose.yaw, pose.pitch, pose.roll), matrix) < 1e-6
    assert 0 <= pose.yaw < 360
    assert (pose.pitch, pose.roll) == pytest.approx(angles[1:], abs=1e-5)


@given(st.floats(0, 359), st.sampled_from([-90.0, 90.0]), st.floats(-180, 180))
def test_straight_up_and_down_keep_the_rotation(yaw, pitch, roll):
    matrix = rotation_matrix(yaw, pitch, roll)
    pose = pose_from_matrix(matrix)
    assert angle_between(rotation_matrix(pose.yaw, pose.pitch, pose.roll), matrix) < 1e-5


@pytest.mark.parametrize(
    ("pose", "camera_axis", "world"),
    [
        ((0, 0, 0), (0, 0, 1), (0, 1, 0)),  # looks north
        ((90, 0, 0), (0, 0, 1), (1, 0, 0)),  # east is a quarter turn clockwise
        ((0, 90, 0), (0, 0, 1), (0, 0, 1)),  # pitch is upwards
        ((0, 0, 0), (1, 0, 0), (0, 0, -1)),  # the image's down is down
        ((0, 0, 0), (0, 1, 0), (-1, 0, 0)),  # looking north, left is west
        ((0, 0, 90), (0, -1, 0), (0, 0, -1)),  # roll takes the right side down
    ],
)
def test_axes_are_those_of_the_convention(pose, camera_axis, world):
    assert rotation_matrix(*pose) @ camera_axis == pytest.approx(world, abs=1e-12)


def test_angle_between_is_exact_for_small_and_large_rotations():
    for degrees in (1e-6, 0.1, 90.0, 179.9):
        assert angle_between(rotation_matrix(0, 0, 0), rotation_matrix(degrees, 0, 0)) == pytest.approx(degrees, rel=1e-6)
    assert np.isclose(angle_between(rotation_matrix(0, 10, 0), rotation_matrix(0, -10, 0)), 20)
