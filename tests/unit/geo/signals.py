"""Line drawings on the sphere that several tests share."""

import numpy as np

from toolkit.geo.segments import Segments


def cap_of_arcs(seed: int = 1, count: int = 3000, spread: float = 0.25) -> Segments:
    """Random short arcs around the pole, as a photograph's edges are in the camera's frame."""
    random = np.random.default_rng(seed)
    start = _unit(random.normal(size=(count, 3)) * spread * [1, 1, 0.2] + [0, 0, 1])
    end = _unit(start + random.normal(size=start.shape) * 0.01)
    return Segments(start, end, random.uniform(size=count))


def rotated(segments: Segments, matrix: np.ndarray) -> Segments:
    return Segments(segments.start @ matrix.T, segments.end @ matrix.T, segments.strength)


def lengths(segments: Segments) -> np.ndarray:
    return 2 * np.arcsin(np.linalg.norm(segments.end - segments.start, axis=1) / 2)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]
