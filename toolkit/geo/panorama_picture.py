"""A panorama as a picture for people: shaded ground, haze that grows with distance, drawn ridges."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from toolkit.geo.panorama import LEAST_DEPTH_RATIO, Panorama

_HAZE_M = 45e3  # where haze has taken 63 % of the contrast: a clear day
_HAZE_COLOUR = np.array([196, 213, 230], np.float32)
_GROUND = np.array([[96, 104, 70], [132, 124, 104], [240, 241, 245]], np.float32)  # valley, rock, snow by height
_ZENITH = np.array([92, 140, 200], np.float32)
_SUN = np.array([-0.55, 0.35, 0.75], np.float32)  # from the viewer's left, behind, above: right, away, up


def write_picture(panorama: Panorama, stream: BinaryIO) -> None:
    """Write the picture as PNG."""
    from PIL import Image

    Image.fromarray(paint(panorama)).save(stream, format="PNG", compress_level=3)


def paint(panorama: Panorama) -> np.ndarray:
    """The picture, uint8, shape (rows, width, 3). Raises ValueError when the distances were not read."""
    if panorama.distance is None:
        raise ValueError("a panorama without distances cannot be painted")
    low, high = panorama.elevations
    elevation = np.radians(high - (np.arange(panorama.rows, dtype=np.float32) + 0.5) * panorama.row_step)[:, None]
    distance = panorama.distance
    seen = np.isfinite(distance)
    ground = np.where(seen, distance, np.float32(1.0))

    height = ground * np.tan(elevation) + ground**2 / np.float32(2 * 6371e3)
    light = _shading(ground, height, panorama)
    colour = _height_colours(height, seen)
    colour *= light[..., None]
    haze = 1.0 - np.exp(-ground / np.float32(_HAZE_M))
    colour += haze[..., None] * (_HAZE_COLOUR - colour)

    sky = np.clip(elevation / np.radians(45.0), 0.0, 1.0)[..., None] ** 0.6
    sky = _HAZE_COLOUR + sky * (_ZENITH - _HAZE_COLOUR)
    image = np.where(seen[..., None], colour, sky)
    _draw_contours(image, panorama)
    return np.clip(image, 0, 255).astype(np.uint8)


def _shading(ground: np.ndarray, height: np.ndarray, panorama: Panorama) -> np.ndarray:
    """Lambert's law on the surface through neighbouring pixels; the light turns with the view, so that every side is shaded alike."""
    turn = np.float32(2.0 * np.pi / panorama.width)
    # Tangents along a row (right, away, up) and along a column; the normal is their cross product.
    away_r = 0.5 * (np.roll(ground, -1, 1) - np.roll(ground, 1, 1))
    up_r = 0.5 * (np.roll(height, -1, 1) - np.roll(height, 1, 1))
    right_r = ground * turn
    away_c, up_c = np.gradient(ground, axis=0), np.gradient(height, axis=0)
    normal = np.stack([away_r * up_c - up_r * away_c, -right_r * up_c, right_r * away_c])
    normal *= np.where(normal[2] < 0, -1, 1)
    length = np.sqrt((normal**2).sum(axis=0)) + np.float32(1e-6)
    lambert = np.tensordot(_SUN / np.linalg.norm(_SUN) * np.array([1, -1, 1], np.float32), normal, axes=1) / length
    return (0.35 + 0.75 * np.clip(lambert, 0.0, 1.0)).astype(np.float32)


def _height_colours(height: np.ndarray, seen: np.ndarray) -> np.ndarray:
    low, high = np.percentile(height[seen][::97], [2, 99.5]) if seen.any() else (0.0, 1.0)
    level = np.clip((height - low) / max(high - low, 1.0), 0.0, 1.0) * 2.0
    part = level[..., None]
    low_half, high_half = _GROUND[0] + part * (_GROUND[1] - _GROUND[0]), _GROUND[1] + (part - 1) * (_GROUND[2] - _GROUND[1])
    return np.where(part < 1, low_half, high_half).astype(np.float32)


def _draw_contours(image: np.ndarray, panorama: Panorama) -> None:
    """Darken the pixels of occluding contours, the more the larger their depth step."""
    contours = panorama.contours
    row = np.floor((panorama.elevations[1] - contours.elevation) / panorama.row_step).astype(np.int64)
    drawn = (contours.far >= LEAST_DEPTH_RATIO * contours.near) & (row >= 0) & (row < panorama.rows)
    strength = 1.0 - contours.near[drawn] / contours.far[drawn]
    image[row[drawn], contours.column[drawn]] *= (1.0 - 0.6 * strength)[:, None]
