"""Write the elevation model that matplotlib ships, the Cumberland Mountains around Jacksboro, Tennessee, as a GeoTIFF.

The file tells its borders wrongly: its `ymin`, 36.733, is larger than its `ymax`, 36.446, and they are not merely swapped. The
number of rows times `dy` was added to the northern border instead of taken off it. The first row is the northernmost and `ymax`
is its border: only so does the highest cell, 1076 m, lie at 36.198 N 84.231 W, where Cross Mountain is (1077 m), and the town
of Jacksboro, which gave the file its name, inside it. With the two swapped everything would lie 32 km too far north.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from toolkit.core.errors import ToolError
from toolkit.core.streams import atomic_output


def jacksboro() -> tuple[np.ndarray, float, float, float]:
    """Heights in metres, int16, first row northernmost; the western and northern border and the side of a cell, in degrees."""
    from matplotlib.cbook import get_sample_data

    with get_sample_data("jacksboro_fault_dem.npz") as data:
        return data["elevation"], float(data["xmin"]), float(data["ymax"]), float(data["dx"])


def write_geotiff(path: str, heights: np.ndarray, west: float, north: float, cell: float) -> None:
    """Write `heights` (first row northernmost) as a GeoTIFF in degrees of WGS 84; it appears whole or not at all."""
    import rasterio
    from rasterio.io import MemoryFile

    profile = {
        "driver": "GTiff",
        "height": heights.shape[0],
        "width": heights.shape[1],
        "count": 1,
        "dtype": heights.dtype,
        "crs": "EPSG:4326",
        "transform": rasterio.transform.from_origin(west, north, cell, cell),
        "compress": "deflate",
        "predictor": 3 if heights.dtype.kind == "f" else 2,
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as raster:
            raster.write(heights, 1)
        with atomic_output(path) as stream:
            stream.write(memory.read())


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the terrain of the demo as a GeoTIFF.")
    parser.add_argument("output", metavar="OUT.tif")
    write_geotiff(parser.parse_args().output, *jacksboro())


if __name__ == "__main__":
    try:
        main()
    except ToolError as error:
        print(f"make_terrain: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
