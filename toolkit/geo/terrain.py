"""Elevation data around one point: any raster that GDAL reads, several files as one mosaic, coarser cells far away.

Heights are in metres in the vertical datum of the data themselves (usually above the geoid, i.e. orthometric). NaN marks
what nobody measured: it is never taken for sea level.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import rasterio
import rasterio.crs
import rasterio.errors
from pyproj.enums import TransformDirection
from rasterio.enums import MaskFlags, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from toolkit.core.errors import BadData, NoInput

_log = logging.getLogger(__name__)

GEOD = pyproj.Geod(ellps="WGS84")

# Cells as measured are used up to this distance, then each doubling of the distance doubles the cells. The bounds in cells
# keep a very coarse model whole where it matters, and a very fine one (1 m) from filling the memory: at 800 cells a cell is
# 0.07 degree wide, less than a pixel of a panorama 4096 wide.
FULL_RESOLUTION_M = 40e3
FULL_RESOLUTION_CELLS = (800, 2500)

# A void is interpolated when none of its cells is further than this from a measured one.
SMALL_VOID_CELLS = 8

# Values that programs write for "no data" without declaring it.
_UNDECLARED_VOIDS = (-32768.0, -32767.0, -9999.0)
_HIGHEST_M = 12000.0  # above every mountain, below every other marker (1e20, 3.4e38, 32767)

_METRES = {"ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "us-ft": 1200 / 3937, "us survey foot": 1200 / 3937}
_STRIP_ROWS = 512


@dataclass(frozen=True)
class Level:
    """Heights on one grid of the pyramid.

    `heights`: float32, shape (rows, columns), metres, NaN in voids. Its cell (i, j) covers the `factor` x `factor` cells
    of the finest grid from (`row` + factor i, `column` + factor j) on. `cell`: its size on the ground, metres.
    `reach`: up to which distance from the centre, in metres, it is to be used.
    """

    heights: np.ndarray
    column: int
    row: int
    factor: int
    cell: float
    reach: float


@dataclass(frozen=True)
class Terrain:
    """Elevation around (`latitude`, `longitude`), degrees, up to `reach` of the last of `levels`, finest first.

    `crs`: WKT of the grid's horizontal system. `transform`: the six affine numbers a, b, c, d, e, f that take (column, row),
    counted from the corner of the finest grid, to x = a column + b row + c, y = d column + e row + f in that system.
    """

    levels: tuple[Level, ...]
    crs: str
    transform: tuple[float, float, float, float, float, float]
    latitude: float
    longitude: float
    files: tuple[str, ...]

    def height_at(self, latitude: float, longitude: float) -> float:
        """The height in metres, bilinear, at a position in degrees; NaN in a void and outside."""
        columns, rows = self.grid_position(np.array([latitude]), np.array([longitude]))
        for level in self.levels:
            x, y = (columns[0] - level.column) / level.factor - 0.5, (rows[0] - level.row) / level.factor - 0.5
            j, i = math.floor(x), math.floor(y)
            if 0 <= i < level.heights.shape[0] - 1 and 0 <= j < level.heights.shape[1] - 1:
                corners = level.heights[i : i + 2, j : j + 2].astype(np.float64)
                return float(np.array([1 - (y - i), y - i]) @ corners @ np.array([1 - (x - j), x - j]))
        return math.nan

    def grid_position(self, latitudes: np.ndarray, longitudes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows (float64, from the corner of the finest grid) of positions in degrees."""
        return _Grid(self.crs, self.transform, self.longitude).position(latitudes, longitudes)


def read_terrain(paths: list[str], latitude: float, longitude: float, range_m: float) -> Terrain:
    """Read the elevation within `range_m` metres of a position given in degrees (WGS 84); no more is read than is needed.

    Several files are one mosaic on the grid of the file that holds the position; where they overlap the first one counts,
    and its voids are filled from the next. Raises NoInput for a file that cannot be opened, BadData for one that
    is no elevation raster, and for a position that no file covers.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"))  # tiles are decompressed side by side
        sources = [stack.enter_context(_open(path)) for path in paths]
        grid = _choose_grid(sources, latitude, longitude)
        cell = grid.cell_size(latitude, longitude)
        full = min(max(FULL_RESOLUTION_M, FULL_RESOLUTION_CELLS[0] * cell), FULL_RESOLUTION_CELLS[1] * cell)
        levels: list[Level] = []
        lost = 0.0
        while not levels or levels[-1].reach < range_m:
            factor = 2 ** len(levels)
            reach = min(full * factor, range_m)
            box = grid.box_around(latitude, longitude, reach, factor)
            heights = _read_heights(sources, grid, box, factor)
            lost = max(lost, _mend_voids(heights, max(1, SMALL_VOID_CELLS // factor)))
            levels.append(Level(heights, box[0], box[1], factor, cell * factor, reach))
    if lost:
        share = f"{100 * lost:.2g} %"
        _log.warning("%s: %s of the cells in range are in voids too large to interpolate; treated as unseen", _names(paths), share)
    return Terrain(tuple(levels), grid.crs, grid.transform, latitude, longitude, tuple(os.path.basename(path) for path in paths))


@dataclass(frozen=True)
class _Grid:
    """The finest grid: WKT, affine transform, and the longitude around which degrees are counted."""

    crs: str
    transform: tuple[float, float, float, float, float, float]
    longitude: float

    def position(self, latitudes: np.ndarray, longitudes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = _from_degrees(self.crs).transform(longitudes, latitudes)
        if _is_geographic(self.crs):  # unwrapped around the camera: nothing breaks at the date line
            x = self.longitude + (x - self.longitude + 180.0) % 360.0 - 180.0
        a, b, c, d, e, f = self.transform
        determinant = a * e - b * d
        return (e * (x - c) - b * (y - f)) / determinant, (a * (y - f) - d * (x - c)) / determinant

    def cell_size(self, latitude: float, longitude: float) -> float:
        """The side in metres of the square with the area of a cell at a position."""
        longitudes, latitudes, _ = GEOD.fwd([longitude] * 3, [latitude] * 3, [0.0, 0.0, 90.0], [0.0, 100.0, 100.0])
        columns, rows = self.position(np.asarray(latitudes), np.asarray(longitudes))
        area = abs((columns[1] - columns[0]) * (rows[2] - rows[0]) - (columns[2] - columns[0]) * (rows[1] - rows[0]))
        return 100.0 / math.sqrt(area)

    def box_around(self, latitude: float, longitude: float, distance: float, factor: int) -> tuple[int, int, int, int]:
        """Column, row, columns and rows of a box of finest cells, multiples of `factor`, that holds a circle with a margin."""
        azimuths = np.linspace(0.0, 360.0, 361)
        same = np.ones_like(azimuths)
        longitudes, latitudes, _ = GEOD.fwd(longitude * same, latitude * same, azimuths, distance * same)
        box: list[int] = []
        for values in self.position(latitudes, longitudes):
            if not np.isfinite(values).all() or np.ptp(values) > 40000 * factor:
                problem = "are in a coordinate reference system that breaks down near the position"
                raise BadData("elevation data", problem, "reproject them to a local one with gdalwarp, or ask for a shorter range")
            first = (math.floor(values.min()) // factor - 2) * factor
            box += [first, math.ceil((values.max() - first) / factor + 2) * factor]
        return box[0], box[2], box[1], box[3]


def _open(path: str) -> rasterio.DatasetReader:
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


@functools.lru_cache(maxsize=64)
def _from_degrees(crs: str) -> pyproj.Transformer:
    """From WGS 84 longitude and latitude to the horizontal part of a system."""
    return pyproj.Transformer.from_crs("OGC:CRS84", pyproj.CRS.from_wkt(crs).to_2d(), always_xy=True)


@functools.lru_cache(maxsize=64)
def _is_geographic(crs: str) -> bool:
    return bool(pyproj.CRS.from_wkt(crs).is_geographic)


def _system(source: rasterio.DatasetReader) -> str:
    """The file's system as WKT; plain degrees where it names none and its numbers allow it."""
    if source.crs is not None:
        return str(source.crs.to_wkt())
    left, bottom, right, top = source.bounds
    if -180.5 <= left < right <= 360.5 and -90.5 <= bottom < top <= 90.5:
        return rasterio.crs.CRS.from_epsg(4326).to_wkt()
    raise BadData(source.name, "names no coordinate reference system", "add one: a .prj file, or gdal_edit.py -a_srs EPSG:...")


def _choose_grid(sources: list[rasterio.DatasetReader], latitude: float, longitude: float) -> _Grid:
    """The grid of the first file that holds the position; BadData naming the box covered when there is none."""
    boxes = []
    for source in sources:
        system = _system(source)
        for turn in (0.0, 360.0, -360.0) if _is_geographic(system) else (0.0,):
            a, b, c, d, e, f = tuple(source.transform)[:6]
            grid = _Grid(system, (a, b, c + turn, d, e, f), longitude)
            columns, rows = grid.position(np.array([latitude]), np.array([longitude]))
            if 0 <= columns[0] <= source.width and 0 <= rows[0] <= source.height:
                return grid
        left, bottom, right, top = source.bounds
        boxes.append(_from_degrees(system).transform_bounds(left, bottom, right, top, direction=TransformDirection.INVERSE))
    west, south, east, north = (pick(box[side] for box in boxes) for side, pick in enumerate((min, min, max, max)))
    covered = f"latitude {south:.4f} to {north:.4f}, longitude {west:.4f} to {east:.4f} is covered"
    problem = f"the position {latitude:g},{longitude:g} lies outside: {covered}"
    raise BadData(_names([source.name for source in sources]), problem, "add the file that holds it, or mend --at")


def _names(paths: Sequence[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _read_heights(sources: list[rasterio.DatasetReader], grid: _Grid, box: tuple[int, int, int, int], factor: int) -> np.ndarray:
    """Heights in a box of finest cells, each the mean of `factor` x `factor`; NaN in voids, +inf where no file lies."""
    column, row, columns, rows = box
    # From a factor of 8 on GDAL does the averaging: it knows overviews, which very fine models have.
    warped = factor if factor >= 8 else 1
    mean = factor // warped
    heights = np.full((rows // factor, columns // factor), np.inf, np.float32)
    with contextlib.ExitStack() as stack:
        pieces = [piece for source in sources if (piece := _on_grid(source, grid, box, warped, stack)) is not None]
        strip_rows = _STRIP_ROWS
        for first in range(0, rows // warped, strip_rows):
            strip = np.full((min(strip_rows, rows // warped - first), columns // warped), np.inf, np.float32)
            for number, piece in enumerate(pieces):
                piece.fill(strip, first, empty=number == 0)
            heights[first // mean : (first + len(strip)) // mean] = _average(strip, mean)
    return heights


@dataclass(frozen=True)
class _Piece:
    """A file laid on the grid's box: its cell (0, 0) is the box's cell (row, column)."""

    source: Any
    column: int
    row: int
    scale: float
    offset: float

    def fill(self, strip: np.ndarray, first: int, empty: bool) -> None:
        """Read what lies in the rows of the box from `first` on, into cells of `strip` that hold no height yet (`empty`: all)."""
        top, bottom = max(first, self.row), min(first + len(strip), self.row + self.source.height)
        left, right = max(0, self.column), min(strip.shape[1], self.column + self.source.width)
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
        target = strip[top - first : bottom - first, left:right]
        if empty:
            target[:] = values
        else:
            np.copyto(target, values, where=~np.isfinite(target))


def _on_grid(
    source: rasterio.DatasetReader, grid: _Grid, box: tuple[int, int, int, int], scale: int, stack: contextlib.ExitStack
) -> _Piece | None:
    """Lay a file on the grid, as it is when the cells coincide, else resampled; None when it does not touch the box."""
    column, row, columns, rows = box
    affine = rasterio.Affine(*grid.transform)
    unit = _METRES.get((source.units[0] or "").strip().lower(), 1.0)
    to_metres = unit * source.scales[0], unit * source.offsets[0]
    system = _system(source)
    same_system = system == grid.crs or pyproj.CRS.from_wkt(system) == pyproj.CRS.from_wkt(grid.crs)
    shape, wanted = ([t.a, t.b, t.d, t.e] for t in (source.transform, affine))
    if scale == 1 and same_system and np.allclose(shape, wanted, rtol=1e-6):
        for turn in (0.0, 360.0, -360.0) if _is_geographic(system) else (0.0,):
            x, y = ~affine * (source.transform.c + turn, source.transform.f)
            if abs(x - round(x)) > 0.02 or abs(y - round(y)) > 0.02:
                continue
            left, top = round(x) - column, round(y) - row
            if left < columns and top < rows and left + source.width > 0 and top + source.height > 0:
                return _Piece(source, left, top, *to_metres)
        else:
            if abs(x - round(x)) <= 0.02 and abs(y - round(y)) <= 0.02:
                return None
    finer = abs(source.transform.determinant) < abs(affine.determinant) * scale**2 if same_system else scale > 1
    warped = WarpedVRT(
        source,
        src_crs=system,
        crs=grid.crs,
        transform=affine * rasterio.Affine.translation(column, row) * rasterio.Affine.scale(scale),
        width=columns // scale,
        height=rows // scale,
        resampling=Resampling.average if finer else Resampling.bilinear,
        src_nodata=_nodata(source),
        nodata=float("nan"),
        dtype="float32",
        warp_mem_limit=256,
    )
    return _Piece(stack.enter_context(warped), 0, 0, *to_metres)


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


def _mend_voids(heights: np.ndarray, reach: int) -> float:
    """Interpolate small voids in place, make all others NaN; returns the share of cells in large voids.

    NaN marks voids and +inf what no file covers. A void is small when no cell of it is further than `reach` cells from
    a measured one. Interpolation is GDAL's: inverse distances of the heights met in eight directions.
    """
    void = np.isnan(heights)
    covered = np.isfinite(heights)
    lost = 0.0
    if void.any():
        from rasterio.fill import fillnodata
        from scipy import ndimage

        labels, count = ndimage.label(void)
        deepest = ndimage.maximum(ndimage.distance_transform_cdt(~covered, "chessboard"), labels, np.arange(1, count + 1))
        large = np.concatenate([[False], np.asarray(deepest) > reach])[labels]
        lost = float(np.count_nonzero(large)) / heights.size
        if count > np.count_nonzero(np.asarray(deepest) > reach):
            filled = fillnodata(np.where(covered, heights, 0).astype(np.float32), covered, max_search_distance=2.0 * reach + 1)
            np.copyto(heights, filled, where=void & ~large)
        heights[large] = np.nan
    heights[np.isinf(heights)] = np.nan
    return lost
