"""The panorama file, panorama(5): one TIFF that any image program opens and that holds all a later step needs.

Page 0 is an 8-bit picture for people with the metadata as JSON in its ImageDescription, page 1 the distances (float32, metres),
page 2 the contour points (float32, one row each: column, elevation in degrees, near and far in metres).
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from typing import Any, BinaryIO

import numpy as np

from toolkit.core.errors import BadData, InputOutput
from toolkit.core.streams import open_input, stream_name
from toolkit.geo.panorama import Contours, Panorama

FORMAT, SCHEMA = "scape-toolkit panorama", 1
_REMEDY = "make one with panorama(1)"


def write_panorama(panorama: Panorama, stream: BinaryIO) -> None:
    """Write a panorama with its distances; the stream may be a pipe. Raises ValueError when its distances were not read."""
    import tifffile

    if panorama.distance is None:
        raise ValueError("a panorama without distances cannot be written")
    contours = panorama.contours
    table = np.column_stack([contours.column.astype(np.float32), contours.elevation, contours.near, contours.far]).astype(np.float32)
    metadata = {
        "format": FORMAT,
        "schema": SCHEMA,
        "latitude": panorama.latitude,
        "longitude": panorama.longitude,
        "height_m": panorama.height,
        "elevations": list(panorama.elevations),
        "projection": panorama.projection,
        "width": panorama.width,
        "rows": panorama.rows,
        "contour_points": len(table),
        "parameters": panorama.parameters,
    }
    if not len(table):
        table = np.full((1, 4), np.nan, np.float32)  # TIFF has no empty images
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as tiff:
        common: dict[str, Any] = {"metadata": None, "compression": "zlib", "compressionargs": {"level": 1}, "rowsperstrip": 64}
        tiff.write(
            picture(panorama.distance), description=json.dumps(metadata), photometric="minisblack", software="scape-toolkit", **common
        )
        tiff.write(panorama.distance, photometric="minisblack", **common)
        tiff.write(table, photometric="minisblack", **(common | {"rowsperstrip": len(table)}))
    stream.write(buffer.getbuffer())


def read_panorama(path: str, distance: bool = True) -> Panorama:
    """Read a panorama, "-" is standard input; without `distance` the large page is left alone.

    Raises NoInput when the file cannot be opened, BadData when it is no panorama or cut short, InputOutput when reading fails.
    """
    place = stream_name(path)
    try:
        with open_input(path) as stream:
            # A pipe cannot be read at will, as TIFF needs it.
            return _read(stream if stream.seekable() else io.BytesIO(stream.read()), place, distance)
    except OSError as error:
        raise InputOutput(place, error.strerror or str(error)) from error


def picture(distance: np.ndarray) -> np.ndarray:
    """Distances as 8-bit grey levels, dark near and light far as haze makes them, 255 where nothing is seen."""
    with np.errstate(invalid="ignore"):
        grey = 255.0 - 235.0 / (1.0 + np.sqrt(distance * np.float32(1.0 / 8000.0)))
    return np.where(np.isnan(grey), np.float32(255.0), grey).astype(np.uint8)


def _read(stream: BinaryIO, place: str, distance: bool) -> Panorama:
    import tifffile

    try:
        with tifffile.TiffFile(stream) as tiff:
            metadata = json.loads(tiff.pages.first.description)
            if metadata["format"] != FORMAT:
                raise KeyError("format")
            if metadata["schema"] > SCHEMA:
                raise BadData(place, f"is a panorama of schema {metadata['schema']}, newer than this program", "upgrade scape-toolkit")
            table = tiff.pages[2].asarray()
            image = tiff.pages[1].asarray() if distance else None
            return _assemble(metadata, table, image, place)
    except BadData:
        raise
    except (tifffile.TiffFileError, json.JSONDecodeError, UnicodeDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadData(place, "is no panorama file", _REMEDY) from error
    except (ValueError, struct.error, zlib.error, EOFError, RuntimeError, OverflowError, MemoryError) as error:
        raise BadData(place, "is a damaged panorama file", "make it again, it may have been cut short") from error


def _assemble(metadata: dict[str, Any], table: np.ndarray, image: np.ndarray | None, place: str) -> Panorama:
    width, rows, points = int(metadata["width"]), int(metadata["rows"]), int(metadata["contour_points"])
    low, high = (float(v) for v in metadata["elevations"])
    table = table.reshape(-1, 4)[:points]
    column = table[:, 0]
    sound = width >= 1 and rows >= 1 and low < high and len(table) == points and (image is None or image.shape == (rows, width))
    if not sound or not np.isfinite(table[:, :3]).all() or not ((column >= 0) & (column < width) & (table[:, 2:] > 0).T).all():
        raise BadData(place, "contradicts itself", "make it again, it may have been damaged")
    return Panorama(
        latitude=float(metadata["latitude"]),
        longitude=float(metadata["longitude"]),
        height=float(metadata["height_m"]),
        elevations=(low, high),
        projection=str(metadata["projection"]),
        width=width,
        rows=rows,
        distance=image,
        contours=Contours(column.astype(np.int32), table[:, 1], table[:, 2], table[:, 3]),
        parameters=dict(metadata["parameters"]),
    )
