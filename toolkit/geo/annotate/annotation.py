"""From a list of peaks and a pose to labels in a picture, and to a record of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.geo.annotate.captions import captions, text_size
from toolkit.geo.annotate.drawing import Annotation, Outline, outlines
from toolkit.geo.annotate.importance import by_importance
from toolkit.geo.annotate.labels import place_labels
from toolkit.geo.annotate.peaks import Peak
from toolkit.geo.annotate.visible import Sight, visible_peaks
from toolkit.geo.camera import Camera, project, rays
from toolkit.geo.panorama import Panorama, contour_polylines
from toolkit.geo.pose import Pose

if TYPE_CHECKING:
    from toolkit.geo.terrain import Terrain


@dataclass(frozen=True)
class Named:
    """The peaks in a picture, the most important first: `sights`, their pixels (x, y), float64, shape (N, 2), and what is drawn."""

    sights: Sequence[Sight]
    pixels: np.ndarray
    annotation: Annotation


def annotate_view(
    peaks: Sequence[Peak],
    panorama: Panorama,
    terrain: Terrain | None,
    camera: Camera,
    pose: Pose,
    *,
    most: int | None = None,
    language: str | None = None,
    imperial: bool = False,
    contours: bool = False,
) -> Named:
    """Find which peaks a picture shows and where, and lay out their labels; at most `most` of them."""
    sights = visible_peaks(peaks, panorama, terrain, _azimuths(camera, pose))
    x, y = project(camera, directions(sights) @ pose.matrix)  # the matrix takes camera to world; from the right it is its inverse
    with np.errstate(invalid="ignore"):
        inside = (x >= 0) & (x <= camera.width - 1) & (y >= 0) & (y <= camera.height - 1)
    order = [i for i in by_importance(sights) if inside[i]]
    shown, pixels = [sights[i] for i in order], np.stack([x[order], y[order]], axis=1)
    size = text_size(camera.width, camera.height)
    texts = captions(shown, size, language, imperial)
    sizes = np.array([(text.width, text.height) for text in texts]).reshape(-1, 2)
    labels = place_labels(pixels, sizes, (camera.width, camera.height), gap=0.35 * size, margin=0.5 * size, most=most)
    lines: list[Outline] = outlines(contour_polylines(panorama), camera, pose) if contours else []
    return Named(shown, pixels, Annotation(size, labels, texts, lines))


def directions(sights: Sequence[Sight]) -> np.ndarray:
    """Unit vectors in East-North-Up, float64, shape (N, 3)."""
    azimuth, up = np.radians([(sight.azimuth, sight.elevation) for sight in sights]).reshape(-1, 2).T
    return np.stack([np.sin(azimuth) * np.cos(up), np.cos(azimuth) * np.cos(up), np.sin(up)], axis=1)


def records(named: Named) -> list[dict[str, Any]]:
    """The peaks as JSON has them; `label`: left, top, right and bottom of the label, None where it found no place."""
    labels = named.annotation.labels
    boxes = {label.index: [round(value, 1) for value in (label.left, label.top, label.right, label.bottom)] for label in labels}
    return [
        {
            "name": sight.peak.name,
            "x": round(float(x), 2),
            "y": round(float(y), 2),
            "distance_m": round(sight.distance, 1),
            "azimuth": round(sight.azimuth, 4),
            "elevation": round(sight.elevation, 4),
            "height_m": round(sight.height, 1),
            "height_from": sight.height_from,
            "prominence_m": sight.peak.prominence,
            "latitude": round(sight.peak.latitude, 6),
            "longitude": round(sight.peak.longitude, 6),
            "label": boxes.get(i),
        }
        for i, (sight, (x, y)) in enumerate(zip(named.sights, named.pixels, strict=True))
    ]


def _azimuths(camera: Camera, pose: Pose) -> tuple[float, float]:
    """First and last azimuth, degrees clockwise, of the picture's border and a degree more; all around where it looks steeply."""
    steps = np.linspace(0.0, 1.0, 33)
    across, down = steps * (camera.width - 1), steps * (camera.height - 1)
    x = np.concatenate([across, across, np.zeros(33), np.full(33, camera.width - 1.0)])
    y = np.concatenate([np.zeros(33), np.full(33, camera.height - 1.0), down, down])
    east, north, _ = pose.matrix @ np.nan_to_num(rays(camera, x, y)).T
    if np.hypot(east, north).min() < 0.05 or abs(pose.pitch) > 60.0:
        return 0.0, 360.0
    turn = (np.degrees(np.arctan2(east, north)) - pose.yaw + 180.0) % 360.0 - 180.0
    return pose.yaw + float(turn.min()) - 1.0, pose.yaw + float(turn.max()) + 1.0
