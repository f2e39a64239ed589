"""Any cylindrical picture of 360 degrees as line features: the panoramas that users have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from toolkit.core.errors import BadData
from toolkit.geo.edges import EdgeParameters, detect_edges
from toolkit.geo.segments import Segments

_OVERLAP = 0.05  # of the width, repeated at both sides so that the seam is no border


def image_segments(pixels: np.ndarray, elevations: tuple[float, float], projection: str) -> Segments:
    """The lines of a panorama as arcs in East-North-Up.

    `pixels`: uint8, shape (rows, columns, 3); its left border is true north, columns go clockwise through 360 degrees. Its lower and
    upper borders are at `elevations` = (min, max), degrees; rows are equal steps of the elevation's tangent (`projection`
    "tan") or of the elevation itself ("angle"). Raises BadData for a picture without lines.
    """
    rows, columns = pixels.shape[:2]
    margin = max(1, round(columns * _OVERLAP))
    around = np.concatenate([pixels[:, -margin:], pixels, pixels[:, :margin]], axis=1)
    edges = detect_edges(around, replace(EdgeParameters(), working_size=max(around.shape[:2])))
    x = edges.x.astype(np.float64) - margin
    here = (x >= -0.5) & (x < columns - 0.5)
    if not here.any():
        raise BadData("panorama", "shows no line", "give a panorama of mountains, or render one with panorama(1)")
    x, y, angle = x[here], edges.y[here].astype(np.float64), edges.angle[here].astype(np.float64)
    across, down = (0.5 * edges.length[here] * function(angle) for function in (np.cos, np.sin))
    start, end = (_directions(x + sign * across, y + sign * down, rows, columns, elevations, projection) for sign in (-1, 1))
    return Segments(start, end, edges.strength[here].astype(np.float64))


def _directions(x: np.ndarray, y: np.ndarray, rows: int, columns: int, elevations: tuple[float, float], projection: str) -> np.ndarray:
    azimuth = np.radians((x + 0.5) * 360.0 / columns)
    low, high = np.radians(elevations)
    share = (y + 0.5) / rows
    if projection == "tan":
        up = np.arctan(np.tan(high) + share * (np.tan(low) - np.tan(high)))
    else:
        up = high + share * (low - high)
    return np.stack([np.sin(azimuth) * np.cos(up), np.cos(azimuth) * np.cos(up), np.sin(up)], axis=1)
