"""Line features as arcs between two directions: what panoramas and photographs have in common before they meet on a sphere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Segments:
    """N short great-circle arcs in one frame (East-North-Up for a panorama, camera axes of `toolkit.geo.pose` for a photograph).

    `start`, `end`: unit vectors, float64, shape (N, 3). `strength`: weight per radian of arc, float64, shape (N,), not negative.
    """

    start: np.ndarray
    end: np.ndarray
    strength: np.ndarray
