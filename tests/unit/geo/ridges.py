"""Contours of mountains that never were, and what a camera would see of them: lines whose true pose is known."""

from __future__ import annotations

import functools

import numpy as np

from toolkit.geo.camera import Camera, project, rays
from toolkit.geo.segments import Polylines

STEP = 360.0 / 4096


@functools.cache
def contours(seed: int, ridges: int = 6) -> Polylines:
    """A skyline all around and pieces of nearer `ridges` below it: irregular waves of 30 to 3 degrees, nearer is lower."""
    rng = np.random.default_rng(seed)
    azimuth = np.arange(0.0, 360.0, STEP)
    lines, distances = [], []
    for number in range(ridges + 1):
        height = np.zeros(len(azimuth))
        for waves in range(12, 121):
            phase, size = rng.uniform(0.0, 2.0 * np.pi), rng.normal(0.0, 7.0 / waves)
            height += size * np.sin(np.radians(waves * azimuth) + phase)
        if number == 0:
            lines.append((azimuth, 8.0 + height))
            distances.append(15e3)
            continue
        for begin in rng.integers(0, len(azimuth) - 200, 8):
            part = slice(begin, begin + int(rng.integers(60, 200)))
            lines.append((azimuth[part], 8.0 - 2.0 * number + height[part]))
            distances.append(15e3 * 0.6**number)
    points = np.concatenate([_directions(*line) for line in lines])
    sizes = [len(line[0]) for line in lines]
    skyline = np.repeat([1.0] + [0.0] * (len(lines) - 1), sizes)
    return Polylines(points, np.concatenate([[0], np.cumsum(sizes)]), np.ones(len(points)), skyline, np.repeat(distances, sizes))


def photographed(lines: Polylines, camera: Camera, rotation: np.ndarray, place: tuple[float, float] = (0.0, 0.0)) -> Polylines:
    """What of the `lines` lies in the picture, in camera axes; `place`: metres east and north from where the contours are seen."""
    points = lines.points
    if lines.distance is not None:
        points = points - np.array([*place, 0.0]) / lines.distance[:, None]
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
    seen = points @ rotation
    x, y = project(camera, seen)
    inside = (x > 0) & (x < camera.width - 1) & (y > 0) & (y < camera.height - 1)
    line = lines.line
    breaks = np.flatnonzero((np.diff(line[inside]) != 0) | (np.diff(np.flatnonzero(inside)) != 1)) + 1
    count = int(inside.sum())
    first = np.concatenate([[0], breaks, [count]])
    return Polylines(seen[inside], first, lines.strength[inside], lines.skyline[inside])


def disturbed(lines: Polylines, rng: np.random.Generator, degrees: float) -> Polylines:
    """The same lines, seen wrong by `degrees` (root mean square) across them; what is wrong in one place is so for about a degree."""
    points = lines.points.copy()
    for begin, end in zip(lines.first[:-1], lines.first[1:], strict=True):
        if end - begin < 3:
            continue
        part = lines.points[begin:end]
        along = np.degrees(np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(part, axis=0), axis=1))]))
        knots = np.arange(-2.0, along[-1] + 2.0, 0.2)
        bells = np.exp(-0.5 * ((along[:, None] - knots) / 0.3) ** 2)
        offset = np.radians(degrees) * (bells @ rng.normal(size=len(knots))) / np.sqrt((bells**2).sum(axis=1))
        normal = np.cross(part, np.gradient(part, axis=0))
        points[begin:end] = part + offset[:, None] * normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return Polylines(points / np.linalg.norm(points, axis=1, keepdims=True), lines.first, lines.strength, lines.skyline)


def cluttered(lines: Polylines, camera: Camera, rng: np.random.Generator, share: float) -> Polylines:
    """The same lines among others, bushes and clouds, which make up `share` of all points."""
    wanted = round(len(lines.points) * share / (1.0 - share))
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < wanted:
        count = 60
        direction = rng.uniform(0.0, 2.0 * np.pi) + np.cumsum(rng.normal(0.0, 0.25, count))
        x = rng.uniform(0.0, camera.width) + np.cumsum(2.0 * np.cos(direction))
        y = rng.uniform(0.0, camera.height) + np.cumsum(2.0 * np.sin(direction))
        parts.append(rays(camera, x, y))
    sizes = np.concatenate([np.diff(lines.first), [len(part) for part in parts]])
    points = np.concatenate([lines.points, *parts])
    extra = len(points) - len(lines.points)
    skyline = np.concatenate([lines.skyline, rng.choice([0.0, 1.0], len(parts), p=[0.7, 0.3]).repeat([len(part) for part in parts])])
    return Polylines(points, np.concatenate([[0], np.cumsum(sizes)]), np.concatenate([lines.strength, np.ones(extra)]), skyline)


def _directions(azimuth: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    a, e = np.radians(azimuth), np.radians(elevation)
    return np.stack([np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), np.sin(e)], axis=1)
