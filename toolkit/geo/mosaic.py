"""Elevation files laid on one grid: as they are where their cells coincide with the grid's, else resampled."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import rasterio
import rasterio.crs
import rasterio.errors
from rasterio.enums import MaskFlags, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from toolkit.core.errors import BadData, NoInput

Box = tuple[int, int, int, int]

# Values that programs write for "no data" without declaring it.
_UNDECLARED_VOIDS = (-32768.0, -32767.0, -9999.0)
_HIGHEST_M = 12000.0  # above every mountain, below every other marker (1e20, 3.4e38, 32767)

_METRES = {"ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "us-ft": 1200 / 3937, "us survey foot": 1200 / 3937}
_STRIP_ROWS = 512


def open_source(path: str) -> rasterio.DatasetReader:
    """Open one file. Raises NoInput when it is missing, BadData when it holds no georeferenced heights."""
    if not os.path.exists(path) and "://" not in path and not path.startswith("/vsi"):
        raise NoInput(path, "No such file or directory", "name a file that exists and can be read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            source = rasterio.open(path)
    except rasterio.errors.RasterioError as error:
        remedy = "give elevation data: GeoTIFF, SRTM .hgt, ESRI ASCII, USGS DEM, VRT"
        raise BadData(path, "is no raster that can be read", remedy) from error
    if source.count != 1:
        raise BadData(path, f"has {source.count} bands", "give elevation data: one band of heights")
    if source.transform.is_identity or source.transform.determinant == 0:
        raise BadData(path, "does not say where on Earth it lies", "georeference it, for instance with gdal_edit.py -a_ullr")
    return source


def system_of(source: rasterio.DatasetReader) -> str:
    """The file's system as WKT; plain degrees where it names none and its numbers allow it."""
    if source.crs is not None:
        return str(source.crs.to_wkt())
    left, bottom, right, top = source.bounds
    if -180.5 <= left < right <= 360.5 and -90.5 <= bottom < top <= 90.5:
        return rasterio.crs.CRS.from_epsg(4326).to_wkt()
    raise BadData(source.name, "names no coordinate reference system", "add one: a .prj file, or gdal_edit.py -a_srs EPSG:...")


@functools.lru_cache(maxsize=64)
def is_geographic(crs: str) -> bool:
    """Whether a system, WKT, counts in degrees."""
    return bool(pyproj.CRS.from_wkt(crs).is_geographic)


def read_heights(sources: list[rasterio.DatasetReader], crs: str, transform: rasterio.Affine, box: Box, factor: int) -> np.ndarray:
    """Heights in metres, float32, shape (rows / factor, columns / factor), each the mean of `factor` x `factor` cells of the grid.

    The grid is given by its system's WKT and the affine `transform` of (column, row) counted from its corner; `box` is the first column
    and row and the numbers of columns and rows, all multiples of `factor`, a power of two. NaN marks voids, +inf where no file lies.
    Where files overlap the first one counts, and its voids are filled from the next. Raises BadData for a file cut short.
    """
    column, row, columns, rows = box
    # From a factor of 8 on GDAL does the averaging: it knows overviews, which very fine models have.
    warped = factor if factor >= 8 else 1
    mean = factor // warped
    columns, rows = columns // warped, rows // warped
    target = transform @ rasterio.Affine.translation(column, row) @ rasterio.Affine.scale(warped)
    heights = np.full((rows // mean, columns // mean), np.inf, np.float32)
    with contextlib.ExitStack() as stack:
        pieces = [piece for source in sources if (piece := _on_grid(source, crs, target, columns, rows, stack)) is not None]
        if not pieces:
            return heights
        # Only the cells that some file reaches: of a very fine and small model that is little of the range.
        left = max(0, min(piece.column for piece in pieces)) // mean * mean
        right = -(-min(columns, max(piece.column + piece.source.width for piece in pieces)) // mean) * mean
        top = max(0, min(piece.row for piece in pieces)) // mean * mean
        bottom = -(-min(rows, max(piece.row + piece.source.height for piece in pieces)) // mean) * mean
        for first in range(top, bottom, _STRIP_ROWS):
            strip = np.full((min(_STRIP_ROWS, bottom - first), right - left), np.inf, np.float32)
            for number, piece in enumerate(pieces):
                piece.fill(strip, first, left, empty=number == 0)
            heights[first // mean : (first + len(strip)) // mean, left // mean : right // mean] = _average(strip, mean)
    return heights


@dataclass(frozen=True)
class _Piece:
    """A file laid on the grid's box: its cell (0, 0) is the box's cell (row, column)."""

    source: Any
    column: int
    row: int
    scale: float
    offset: float
    covers: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None  # by column and row of the box; None: all of its cells

    def fill(self, strip: np.ndarray, first_row: int, first_column: int, empty: bool) -> None:
        """Read what lies in a part of the box, from its first row and column on, into cells that hold no height yet (`empty`: all)."""
        top, bottom = max(first_row, self.row), min(first_row + len(strip), self.row + self.source.height)
        left, right = max(first_column, self.column), min(first_column + strip.shape[1], self.column + self.source.width)
        if top >= bottom or left >= right:
            return
        window = Window(left - self.column, top - self.row, right - left, bottom - top)
        try:
            raw = self.source.read(1, window=window)
            mask = self.source.read_masks(1, window=window) if MaskFlags.per_dataset in self.source.mask_flag_enums[0] else None
        except rasterio.errors.RasterioError as error:
            raise BadData(self.source.name, "cannot be read to its end", "is it cut short? fetch it again") from error
        values = raw.astype(np.float32, copy=False)
        markers = {*_UNDECLARED_VOIDS, self.source.nodata} - {None}
        low, high = values.min(), values.max()
        sound = max(_UNDECLARED_VOIDS) < low and high < _HIGHEST_M and not any(low <= marker <= high for marker in markers)
        if not sound:  # most pieces have no void: two passes tell, the rest is many
            void = np.logical_or.reduce([raw == marker for marker in markers])
            values[void] = np.nan
        if mask is not None:
            values[mask == 0] = np.nan
        if self.scale != 1.0 or self.offset != 0.0:
            values = values * np.float32(self.scale) + np.float32(self.offset)
        if not sound or self.scale != 1.0 or self.offset != 0.0:
            values[~(np.abs(values) < _HIGHEST_M)] = np.nan
        if self.covers is not None:
            i, j = np.nonzero(np.isnan(values))
            beyond = ~self.covers(j + left, i + top)
            values[i[beyond], j[beyond]] = np.inf
        target = strip[top - first_row : bottom - first_row, left - first_column : right - first_column]
        if empty:
            target[:] = values
        else:
            np.copyto(target, values, where=~np.isfinite(target) & ~np.isinf(values))


def _on_grid(
    source: rasterio.DatasetReader, crs: str, target: rasterio.Affine, columns: int, rows: int, stack: contextlib.ExitStack
) -> _Piece | None:
    """Lay a file on the box of `columns` and `rows` whose cells `target` places; None when it does not touch it."""
    unit = _METRES.get((source.units[0] or "").strip().lower(), 1.0)
    to_metres = unit * source.scales[0], unit * source.offsets[0]
    system = system_of(source)
    same_system = system == crs or pyproj.CRS.from_wkt(system) == pyproj.CRS.from_wkt(crs)
    for turn in (0.0, 360.0, -360.0) if is_geographic(system) else (0.0,):
        place = rasterio.Affine.translation(turn, 0.0) @ source.transform
        left, top, right, bottom = _outline(place, source.shape, system, crs, target)
        if not (left < columns and top < rows and right > 0 and bottom > 0):
            continue
        shape, wanted = ([t.a, t.b, t.d, t.e] for t in (place, target))
        x, y = ~target @ (place.c, place.f)
        if same_system and np.allclose(shape, wanted, rtol=1e-6) and max(abs(x - round(x)), abs(y - round(y))) < 0.02:
            return _Piece(source, round(x), round(y), *to_metres)
        # Only cells with their centre in the file's outline: what lies beyond is no void.
        left, top = max(0, math.ceil(left - 0.5)), max(0, math.ceil(top - 0.5))
        right, bottom = min(columns, math.floor(right - 0.5) + 1), min(rows, math.floor(bottom - 0.5) + 1)
        if left >= right or top >= bottom:
            return None
        finer = _cell_area(place, system) * 2 < _cell_area(target, crs)
        warped = WarpedVRT(
            source,
            src_crs=system,
            src_transform=place,
            crs=crs,
            transform=target @ rasterio.Affine.translation(left, top),
            width=right - left,
            height=bottom - top,
            resampling=Resampling.average if finer else Resampling.bilinear,  # the mean of smaller cells, the surface of larger ones
            src_nodata=_nodata(source),
            nodata=float("nan"),
            dtype="float32",
            warp_mem_limit=256,
        )
        upright = same_system and place.b == place.d == target.b == target.d == 0.0
        covers = None if upright else functools.partial(_covers, place, source.shape, system, crs, target)
        return _Piece(stack.enter_context(warped), left, top, *to_metres, covers)
    return None


def _outline(
    place: rasterio.Affine, shape: tuple[int, int], system: str, crs: str, target: rasterio.Affine
) -> tuple[float, float, float, float]:
    """Left, top, right and bottom, in cells of `target`, of the box around a file of rows and columns `shape`."""
    side = np.linspace(0.0, 1.0, 21)
    zero, one = np.zeros_like(side), np.ones_like(side)
    u, v = np.concatenate([side, side, zero, one]) * shape[1], np.concatenate([zero, one, side, side]) * shape[0]
    x, y = place @ (u, v)
    if system != crs:
        x, y = _between(system, crs).transform(x, y)
    columns, rows = ~target @ (np.asarray(x), np.asarray(y))
    return float(columns.min()), float(rows.min()), float(columns.max()), float(rows.max())


def _covers(
    place: rasterio.Affine, shape: tuple[int, int], system: str, crs: str, target: rasterio.Affine, columns: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Which cells of `target` have their centre inside a file."""
    x, y = target @ (columns + 0.5, rows + 0.5)
    if system != crs:
        x, y = _between(crs, system).transform(x, y)
        if is_geographic(system):  # counted as the file counts
            x = place.c + (x - place.c + 90.0) % 360.0 - 90.0
    u, v = ~place @ (np.asarray(x), np.asarray(y))
    return np.asarray((u >= 0) & (u <= shape[1]) & (v >= 0) & (v <= shape[0]))


def _cell_area(transform: rasterio.Affine, crs: str) -> float:
    """Roughly, in square metres: enough to tell the finer of two grids."""
    return float(abs(transform.determinant) * (111e3**2 if is_geographic(crs) else 1.0))


@functools.lru_cache(maxsize=64)
def _between(system: str, other: str) -> pyproj.Transformer:
    """From one horizontal system to another, x before y."""
    return pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(system).to_2d(), pyproj.CRS.from_wkt(other).to_2d(), always_xy=True)


def _nodata(source: rasterio.DatasetReader) -> float:
    if source.nodata is not None:
        return float(source.nodata)
    return -32768.0 if source.dtypes[0] == "int16" else -9999.0


def _average(strip: np.ndarray, factor: int) -> np.ndarray:
    """Means over factor x factor cells, of those that hold a height; a void where fewer than half do."""
    if factor == 1:
        return strip
    blocks = strip.reshape(strip.shape[0] // factor, factor, strip.shape[1] // factor, factor)
    mean = strip
    for _ in range(factor.bit_length() - 1):  # factors are powers of two; ten times as fast as a mean over two axes
        rows = mean[0::2] + mean[1::2]
        mean = (rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25)
    wrong = np.nonzero(~np.isfinite(mean))
    if wrong[0].size:
        cells = blocks[wrong[0], :, wrong[1], :].reshape(-1, factor * factor)
        known = np.isfinite(cells)
        count = known.sum(axis=1)
        sums = np.where(known, cells, 0).sum(axis=1)
        empty = np.where(np.isnan(cells).any(axis=1), np.nan, np.inf)
        mean[wrong] = np.where(2 * count >= factor * factor, sums / np.maximum(count, 1), empty)
    return mean
