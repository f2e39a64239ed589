"""Photographs: upright pixels, and what the camera wrote about them (EXIF 2.32: position, heading, focal length)."""

from __future__ import annotations

import csv
import functools
import logging
import math
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags

from toolkit.core.errors import BadData
from toolkit.core.streams import open_input, stream_name

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

# CIPA DCG-001: a 35 mm equivalent compares the diagonals, 43.27 mm being that of the 36 x 24 mm frame. The diagonal also stays
# right for 4:3 sensors, where cameras that compare the widths would be 4 % off.
DIAGONAL_35MM = 43.27
_WIDEST_FRAME = 2.4  # long by short side; wider pictures were stitched, and their EXIF tells the focal length of one frame


@dataclass(frozen=True)
class PhotoFacts:
    """What a photograph's EXIF tells; None where it does not.

    `latitude`, `longitude`: degrees, north and east positive (WGS 84). `altitude`: metres, as the receiver gave it (usually above
    mean sea level). `heading`: degrees clockwise from the north that `heading_reference` names, "true" or "magnetic".
    `focal_35mm`: 35 mm equivalent focal length, mm, of the 43.27 mm diagonal. `hfov`: horizontal field of view of the upright
    picture, degrees, from `focal_35mm`, else from the focal length and the sensor's size. `make`, `model`: the camera's.
    """

    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None
    heading: float | None = None
    heading_reference: str | None = None
    focal_35mm: float | None = None
    hfov: float | None = None
    make: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class Photo:
    """`pixels`: uint8, shape (rows, columns, 3), red, green, blue, upright; `facts`: see there."""

    pixels: np.ndarray
    facts: PhotoFacts


def read_photo(path: str, largest: int | None = None) -> Photo:
    """Read any picture that Pillow reads, and HEIC where pillow-heif is installed; ``-`` is standard input.

    It is turned upright as its EXIF orientation says. With `largest` the longer side is halved while it is decoded until it has no
    more pixels than that (see `toolkit.geo.decode`); what the EXIF tells is that of the whole picture.
    Raises NoInput when there is no such file, BadData when it is no picture, is cut short or would take more than 1 GB to decode,
    Unavailable for HEIC without its decoder.
    """
    from toolkit.geo.decode import opened, upright_rgb  # here: PhotoFacts alone must not cost loading an image library

    place = stream_name(path)
    with open_input(path) as stream, opened(stream, place) as image:
        tags, gps = _tags(image, place)
        stitched = b"GPano:ProjectionType" in _xmp(image)
        width, height = image.size
        pixels = upright_rgb(image, place, largest)
    if min(pixels.shape[:2]) < 16:
        raise BadData(place, f"has only {pixels.shape[1]} x {pixels.shape[0]} pixels", "give the photograph itself, not an icon")
    if (height > width) != (pixels.shape[0] > pixels.shape[1]):
        width, height = height, width
    return Photo(pixels, photo_facts(tags, gps, width, height, place, stitched))


def photo_facts(
    tags: Mapping[int, Any], gps: Mapping[int, Any], width: int, height: int, place: str = "photo", stitched: bool = False
) -> PhotoFacts:
    """What the EXIF `tags` (both of the picture and of the Exif block) and `gps` tags say of an upright picture `width` x `height`."""
    make, model = _text(tags.get(ExifTags.Base.Make)), _text(tags.get(ExifTags.Base.Model))
    focal_35mm = _positive(tags.get(ExifTags.Base.FocalLengthIn35mmFilm))
    focal_pixels = _focal_pixels(tags, focal_35mm, make, model, width, height)
    if focal_pixels and (stitched or max(width, height) > _WIDEST_FRAME * min(width, height)):
        log.warning("%s: looks like a stitched panorama; the focal length in its EXIF is not used", place)
        focal_pixels = None
    latitude = _coordinate(gps, ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef, "NS", 90.0)
    longitude = _coordinate(gps, ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef, "EW", 180.0)
    if latitude is None or longitude is None or (latitude == 0.0 and longitude == 0.0):  # receivers without a fix write zeros
        if ExifTags.GPS.GPSLatitude in gps:
            log.warning("%s: the GPS position in its EXIF is not usable and was ignored", place)
        latitude = longitude = None
    heading = _number(gps.get(ExifTags.GPS.GPSImgDirection))
    reference = {"T": "true", "M": "magnetic"}.get(_text(gps.get(ExifTags.GPS.GPSImgDirectionRef)) or "T")
    return PhotoFacts(
        latitude=latitude,
        longitude=longitude,
        altitude=_altitude(gps) if latitude is not None else None,
        heading=None if heading is None else heading % 360.0,
        heading_reference=None if heading is None else reference,
        focal_35mm=focal_35mm,
        hfov=None if focal_pixels is None else math.degrees(2.0 * math.atan(width / (2.0 * focal_pixels))),
        make=make,
        model=model,
    )


def sensor_size(make: str | None, model: str | None) -> tuple[float, float] | None:
    """Long and short side in mm of the sensor of a camera, from the shipped table; None when it is not listed."""
    table = _sensor_sizes()
    for key in (_camera_key(make, model), _camera_key("", model)):  # many models begin with their make
        if key in table:
            return table[key]
    return None


def _focal_pixels(
    tags: Mapping[int, Any], focal_35mm: float | None, make: str | None, model: str | None, width: int, height: int
) -> float | None:
    if focal_35mm:
        return focal_35mm / DIAGONAL_35MM * math.hypot(width, height)
    focal, sensor = _positive(tags.get(ExifTags.Base.FocalLength)), sensor_size(make, model)
    if not focal or not sensor:
        return None
    # The picture is the largest part of the sensor with the picture's aspect ratio: 16:9 on a 3:2 sensor keeps the width.
    pixel = min(sensor[0] / max(width, height), sensor[1] / min(width, height))
    return focal * max(1.0, _number(tags.get(ExifTags.Base.DigitalZoomRatio)) or 1.0) / pixel


@functools.cache
def _sensor_sizes() -> dict[str, tuple[float, float]]:
    path = pathlib.Path(__file__).parent.parent / "data" / "sensor_sizes.csv"
    with open(path, newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(line for line in stream if not line.startswith("#"))
        return {_camera_key(row["make"], row["model"]): (float(row["width_mm"]), float(row["height_mm"])) for row in rows}


def _camera_key(make: str | None, model: str | None) -> str:
    """One spelling for all: ``NIKON CORPORATION``, ``NIKON D200`` is ``nikon d200``."""
    words = [*(make or "").lower().split()[:1], *(model or "").lower().split()]
    return " ".join(word for place, word in enumerate(words) if place == 0 or word != words[0])


def _tags(image: Image.Image, place: str) -> tuple[dict[int, Any], dict[int, Any]]:
    try:
        exif = image.getexif()
        return {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}, dict(exif.get_ifd(ExifTags.IFD.GPSInfo))
    except Exception as error:  # Pillow's EXIF reader raises anything on damaged blocks; the picture is still good
        log.warning("%s: its EXIF is damaged and was ignored (%s)", place, error)
        return {}, {}


def _xmp(image: Image.Image) -> bytes:
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return xmp.encode() if isinstance(xmp, str) else bytes(xmp)


def _coordinate(gps: Mapping[int, Any], tag: int, reference_tag: int, references: str, most: float) -> float | None:
    parts, reference = gps.get(tag), (_text(gps.get(reference_tag)) or "")[:1].upper()
    if not isinstance(parts, tuple | list) or not 1 <= len(parts) <= 3 or not reference or reference not in references:
        return None
    numbers = [_number(part) for part in parts]
    if any(number is None for number in numbers):
        return None
    degrees = sum(number / 60.0**place for place, number in enumerate(numbers) if number is not None)
    if not 0.0 <= degrees <= most:
        return None
    return degrees if reference == references[0] else -degrees


def _altitude(gps: Mapping[int, Any]) -> float | None:
    altitude, reference = _number(gps.get(ExifTags.GPS.GPSAltitude)), gps.get(ExifTags.GPS.GPSAltitudeRef, 0)
    if altitude is None:
        return None
    below = (reference[0] if isinstance(reference, bytes) and reference else reference) in (1, 3)  # 3: below the ellipsoid, EXIF 3.0
    return -altitude if below else altitude


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _positive(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and number > 0 else None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value.replace("\0", " ").strip() or None if isinstance(value, str) else None
