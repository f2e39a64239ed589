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
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyproj
import rasterio
from pyproj.enums import TransformDirection

from toolkit.core.errors import BadData
from toolkit.geo.mosaic import Box, is_geographic, open_source, read_heights, system_of

_log = logging.getLogger(__name__)

GEOD = pyproj.Geod(ellps="WGS84")

# Cells as measured are used up to this distance, then each doubling of the distance doubles the cells. The bounds in cells
# keep a very coarse model whole where it matters, and a very fine one (1 m) from filling the memory: at 800 cells a cell is
# 0.07 degree wide, less than a pixel of a panorama 4096 wide.
FULL_RESOLUTION_M = 40e3
FULL_RESOLUTION_CELLS = (800, 2500)

# A void is interpolated when none of its cells is further than this from a measured one.
SMALL_VOID_CELLS = 8


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
        sources = [stack.enter_context(open_source(path)) for path in paths]
        grid = _choose_grid(sources, latitude, longitude)
        cell = grid.cell_size(latitude, longitude)
        full = min(max(FULL_RESOLUTION_M, FULL_RESOLUTION_CELLS[0] * cell), FULL_RESOLUTION_CELLS[1] * cell)
        levels: list[Level] = []
        lost = 0.0
        while not levels or levels[-1].reach < range_m:
            factor = 2 ** len(levels)
            reach = min(full * factor, range_m)
            box = grid.box_around(latitude, longitude, reach, factor)
            heights = read_heights(sources, grid.crs, rasterio.Affine(*grid.transform), box, factor)
            lost = max(lost, _mend_voids(heights, max(1, SMALL_VOID_CELLS // factor)))
            levels.append(Level(heights, box[0], box[1], factor, cell * factor, reach))
    if lost:
        share = f"{100 * lost:.3g} %"
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
        if is_geographic(self.crs):  # unwrapped around the camera: nothing breaks at the date line
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

    def box_around(self, latitude: float, longitude: float, distance: float, factor: int) -> Box:
        """Column, row, columns and rows of a box of finest cells, multiples of `factor`, that holds a circle with a margin."""
        azimuths = np.linspace(0.0, 360.0, 361)
        same = np.ones_like(azimuths)
        longitudes, latitudes, _ = GEOD.fwd(longitude * same, latitude * same, azimuths, distance * same)
        pole_inside = is_geographic(self.crs) and abs(latitude) + math.degrees(distance / 6350e3) >= 90.0
        box: list[int] = []
        for values in self.position(latitudes, longitudes):
            if pole_inside or not np.isfinite(values).all() or np.ptp(values) > 40000 * factor:
                problem = "are in a coordinate reference system that breaks down near the position"
                raise BadData("elevation data", problem, "reproject them to a local one with gdalwarp, or ask for a shorter range")
            first = (math.floor(values.min()) // factor - 2) * factor
            box += [first, math.ceil((values.max() - first) / factor + 2) * factor]
        return box[0], box[2], box[1], box[3]


@functools.lru_cache(maxsize=64)
def _from_degrees(crs: str) -> pyproj.Transformer:
    """From WGS 84 longitude and latitude to the horizontal part of a system."""
    return pyproj.Transformer.from_crs("OGC:CRS84", pyproj.CRS.from_wkt(crs).to_2d(), always_xy=True)


def _choose_grid(sources: list[rasterio.DatasetReader], latitude: float, longitude: float) -> _Grid:
    """The grid of the first file that holds the position; BadData naming the box covered when there is none."""
    boxes = []
    for source in sources:
        system = system_of(source)
        for turn in (0.0, 360.0, -360.0) if is_geographic(system) else (0.0,):
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


def _mend_voids(heights: np.ndarray, reach: int) -> float:
    """Interpolate small voids in place, make all others NaN; returns the share of cells in large voids.

    NaN marks voids and +inf what no file covers. A void is small when no cell of it is further than `reach` cells from
    a measured one. Interpolation is GDAL's: inverse distances of the heights met in eight directions.
    """
    void = np.isnan(heights)
    covered = np.isfinite(heights)
    lost = 0.0
    if not covered.any():
        lost = float(np.count_nonzero(void)) / heights.size
    elif void.any():
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
    heights[~np.isfinite(heights)] = np.nan
    return lost
