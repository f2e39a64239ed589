"""Two spheres to correlate: a synthetic range of mountains around the eye, and a photograph 60 degrees wide that looks at it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit.core.arrays import write_array
from toolkit.geo.panorama import Contours, Panorama
from toolkit.geo.pose import rotation_matrix
from toolkit.geo.segments import Segments
from toolkit.geo.sphere import Coefficients, splat

POSE = (77.0, -6.0, 2.0)


def save(path: Path, segments: Segments, bandwidth: int) -> str:
    with open(path, "wb") as stream:
        write_array(stream, splat(segments, bandwidth))
    return str(path)


def ridges(columns: int = 4096, lines: int = 8) -> Segments:
    """Wavy lines all around, the lower the nearer: about what a panorama holds."""
    azimuth = 2 * np.pi * np.arange(columns) / columns
    random = np.random.default_rng(5)
    starts, ends = [], []
    for line in range(lines):
        waves = sum(random.normal() / n * np.sin(n * azimuth + random.uniform(0, 6)) for n in range(3, 120))
        up = np.radians(3.0 - 2.5 * line + 2.0 * waves)
        points = np.stack([np.sin(azimuth) * np.cos(up), np.cos(azimuth) * np.cos(up), np.sin(up)], 1)
        starts.append(points)
        ends.append(np.roll(points, -1, axis=0))
    return Segments(np.concatenate(starts), np.concatenate(ends), np.repeat(1.0 / (1 + np.arange(lines)), columns))


def seen_from(world: Segments) -> Segments:
    to_camera = rotation_matrix(*POSE)
    start, end = world.start @ to_camera, world.end @ to_camera
    ahead = start[:, 2] > np.cos(np.radians(30.0))
    return Segments(start[ahead], end[ahead], world.strength[ahead])


def noise(bandwidth: int) -> Coefficients:
    """A sphere full of detail up to the band limit: nothing can be left out."""
    random = np.random.default_rng(bandwidth)
    values = random.normal(size=(3, bandwidth * (bandwidth + 1) // 2)) * (1 + 0j)
    values[:, bandwidth:] += 1j * random.normal(size=values[:, bandwidth:].shape)
    return Coefficients(bandwidth, *values)


def synthetic_panorama() -> Panorama:
    """The ridges as a panorama file, with a distance image of the usual size."""
    world = ridges()
    column = np.arange(len(world.strength)) % 4096
    order = np.lexsort((world.start[:, 2], column))
    near = (2000.0 / (5 + np.degrees(world.start[:, 2]).max() - np.degrees(world.start[:, 2]))).astype(np.float32) * 10
    contours = Contours(
        column[order].astype(np.int32), np.degrees(np.arcsin(world.start[order, 2])).astype(np.float32), near[order], 3 * near[order]
    )
    distance = np.random.default_rng(1).uniform(100, 1e5, (1024, 4096)).astype(np.float32)
    return Panorama(46.0, 8.0, 2000.0, (-45.0, 45.0), "angle", 4096, 1024, distance, contours, {})
