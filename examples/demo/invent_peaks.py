"""Write a list of peaks for an elevation model: its summits, under names that were made up.

A summit is the highest place within a kilometre; its name follows from its number, so the same model has the same names each time.
Every third place is 150 m beside its summit, and every second has no height, as in lists that people made.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import sys

import numpy as np

from toolkit.core.errors import ToolError
from toolkit.core.streams import atomic_output

APART_M, ASIDE_M, DEGREE_M = 1000.0, 150.0, 111_195.0  # metres; the last of a degree of latitude
FIRST = ("Alder", "Badger", "Cinder", "Drover", "Ember", "Fallow", "Gannet", "Hollow", "Ivory", "Juniper", "Kestrel", "Lantern", "Marrow")
SECOND = ("Knob", "Mountain", "Top", "Bald", "Peak", "Pinnacle", "Butte", "Dome", "Spur")
_GOLDEN = 2.39996  # radians: directions that never repeat


def summits(heights: np.ndarray, cell_m: float) -> list[tuple[int, int]]:
    """Rows and columns of the cells that are the highest within a kilometre, the highest first."""
    from scipy import ndimage

    reach = round(APART_M / cell_m)
    rows, columns = np.nonzero(heights == ndimage.maximum_filter(heights, 2 * reach + 1))
    order = np.argsort(-heights[rows, columns], kind="stable")
    apart: list[tuple[int, int]] = []
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if all(np.hypot(row - a, column - b) > reach for a, b in apart):  # of a flat top one cell
            apart.append((row, column))
    return apart


def peaks(path: str) -> list[tuple[str, str, str, str]]:
    """Name, latitude, longitude and height of each summit of a model in degrees, as a table has them."""
    import rasterio

    with rasterio.open(path) as raster:
        heights, transform = raster.read(1), raster.transform
    names = (f"{first} {second}" for second, first in itertools.product(SECOND, FIRST))
    found = []
    for number, ((row, column), name) in enumerate(zip(summits(heights, -transform.e * DEGREE_M), names, strict=False)):
        longitude, latitude = transform @ (column + 0.5, row + 0.5)
        aside = ASIDE_M / DEGREE_M if number % 3 == 0 else 0.0
        latitude += aside * np.cos(_GOLDEN * number)
        longitude += aside * np.sin(_GOLDEN * number) / np.cos(np.radians(latitude))
        found.append((name, f"{latitude:.5f}", f"{longitude:.5f}", "" if number % 2 else f"{heights[row, column]}"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Make up names for the summits of an elevation model.")
    parser.add_argument("terrain", metavar="DEM.tif")
    parser.add_argument("-o", "--output", metavar="PEAKS.csv", default="-")
    options = parser.parse_args()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("name", "lat", "lon", "height"), *peaks(options.terrain)])
    with atomic_output(options.output) as stream:
        stream.write(text.getvalue().encode())


if __name__ == "__main__":
    try:
        main()
    except ToolError as error:
        print(f"invent_peaks: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
