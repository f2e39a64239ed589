"""Camera poses: the one place where angles become rotations.

World axes: x East, y North, z Up. Camera axes: x down in the image, y left in the image, z forward along the optical axis.
A pose is the rotation g = Rz(alpha) Ry(beta) Rz(gamma) that takes camera coordinates to world coordinates, with
alpha = 90 deg - yaw, beta = 90 deg - pitch, gamma = roll (ZYZ convention of Varshalovich et al. 1988, 1.4.1). For users:
yaw clockwise from north in [0, 360), pitch positive upwards, roll positive when the camera's right side goes down; degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pose:
    """Where a camera looks: `yaw`, `pitch`, `roll` in degrees, as defined above."""

    yaw: float
    pitch: float
    roll: float

    @property
    def matrix(self) -> np.ndarray:
        """The rotation that takes camera coordinates to East-North-Up, shape (3, 3)."""
        return rotation_matrix(self.yaw, self.pitch, self.roll)


def rotation_matrix(yaw: np.ndarray | float, pitch: np.ndarray | float, roll: np.ndarray | float) -> np.ndarray:
    """The matrices, shape (..., 3, 3), that take camera coordinates to East-North-Up; angles in degrees, broadcast together."""
    alpha, beta, gamma = np.broadcast_arrays(np.radians(90.0 - np.asarray(yaw)), np.radians(90.0 - np.asarray(pitch)), np.radians(roll))
    return _about_z(alpha) @ _about_y(beta) @ _about_z(gamma)


def pose_from_matrix(matrix: np.ndarray) -> Pose:
    """The pose of a rotation matrix, shape (3, 3), camera to world. Looking straight up or down, roll is 0 and yaw carries the turn."""
    beta = np.arctan2(np.hypot(matrix[0, 2], matrix[1, 2]), matrix[2, 2])
    if np.hypot(matrix[0, 2], matrix[1, 2]) < 1e-12:
        alpha, gamma = np.arctan2(matrix[1, 0], matrix[1, 1]), 0.0
        if matrix[2, 2] < 0:
            alpha = np.arctan2(-matrix[1, 0], matrix[1, 1])
    else:
        alpha, gamma = np.arctan2(matrix[1, 2], matrix[0, 2]), np.arctan2(matrix[2, 1], -matrix[2, 0])
    return Pose(float(np.degrees(np.pi / 2 - alpha) % 360.0), float(90.0 - np.degrees(beta)), float(np.degrees(gamma)))


def angle_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The angle in degrees of the rotation from `a` to `b`: rotation matrices of shapes (..., 3, 3), broadcast together."""
    # From the Frobenius distance, which stays exact for small angles where arccos of the trace does not.
    distance = np.linalg.norm(a - b, axis=(-2, -1))
    return np.degrees(2.0 * np.arcsin(np.clip(distance / np.sqrt(8.0), 0.0, 1.0)))


def _about_z(angle: np.ndarray) -> np.ndarray:
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([np.stack([c, -s, zero], -1), np.stack([s, c, zero], -1), np.stack([zero, zero, one], -1)], -2)


def _about_y(angle: np.ndarray) -> np.ndarray:
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([np.stack([c, zero, s], -1), np.stack([zero, one, zero], -1), np.stack([-s, zero, c], -1)], -2)
