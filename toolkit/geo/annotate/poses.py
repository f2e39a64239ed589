"""The pose by which a photograph is annotated: the first line of a list of candidates, and the lens that goes with it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

from toolkit.core.errors import BadData
from toolkit.core.streams import open_input, stream_name
from toolkit.geo.camera import WIDEST_HFOV, Camera, camera_from_hfov, read_camera, scaled
from toolkit.geo.pose import Pose

_REMEDY = "give the JSON lines of locate(1) or rank-candidates(1)"


@dataclass(frozen=True)
class Found:
    """A pose and what the program that found it said of it, None where it said nothing.

    `hfov`: degrees. `position`: latitude and longitude in degrees. `verdict`: "accepted", "doubtful" or "rejected", for a `reason`.
    """

    pose: Pose
    hfov: float | None = None
    position: tuple[float, float] | None = None
    verdict: str | None = None
    reason: str | None = None


def read_first(path: str) -> Found:
    """The first pose of a list of JSON lines; ``-`` is standard input.

    Raises NoInput when there is no such file, BadData when it is empty or its first line is no pose.
    """
    place = stream_name(path)
    with open_input(path) as stream:
        line = next((line for line in stream if line.strip()), b"")
    if not line:
        raise BadData(place, "holds no pose", _REMEDY)
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadData(place, "is no list of poses", _REMEDY) from error
    if not isinstance(content, dict):
        raise BadData(place, "is no list of poses", _REMEDY)
    angles = [_number(content.get(name)) for name in ("yaw", "pitch", "roll")]
    hfov, latitude, longitude = (_number(content.get(name)) for name in ("hfov", "latitude", "longitude"))
    yaw, pitch, roll = angles
    if yaw is None or pitch is None or roll is None or abs(pitch) > 90.0:
        raise BadData(place, "begins with a line without yaw, pitch and roll in degrees", _REMEDY)
    if hfov is not None and not 0.0 < hfov < WIDEST_HFOV:
        raise BadData(place, f"gives a horizontal field of view of {hfov:g} degrees", "it must be more than 0 and less than 170")
    position = None
    if latitude is not None and longitude is not None and abs(latitude) <= 90.0:
        position = (latitude, (longitude + 180.0) % 360.0 - 180.0)
    verdict, reason = (value if isinstance(value, str) and value else None for value in (content.get("verdict"), content.get("reason")))
    return Found(Pose(yaw % 360.0, pitch, roll), hfov, position, verdict, reason)


def camera_for(width: int, height: int, path: str | None, hfov: float | None, exif_hfov: float | None, place: str) -> Camera:
    """The lens of a picture of `width` x `height` pixels: that of a camera file (see `toolkit.geo.camera.read_camera`), or one without
    distortion; `hfov`, degrees, where it is known, goes before that of the file or of the photo's EXIF. `place` names the photo.

    Raises BadData when no field of view is known, or the file is for other pictures.
    """
    if path:
        camera = scaled(read_camera(path), width, height)
        if hfov is None:
            return camera
        factor = width / (2.0 * math.tan(math.radians(hfov) / 2.0)) / camera.fx  # the distortion goes with the angles
        return replace(camera, fx=camera.fx * factor, fy=camera.fy * factor)
    if hfov is None and exif_hfov is None:
        raise BadData(place, "has no focal length in its EXIF", "give --hfov or --camera")
    return camera_from_hfov(width, height, hfov if hfov is not None else exif_hfov)  # type: ignore[arg-type]


def _number(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
