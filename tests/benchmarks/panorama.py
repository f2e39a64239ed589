"""How fast panorama is: 4096 x 1024 to 100 km over 30 m cells; JSON lines on standard output.

The terrain is made here: ridges of many sizes on 200 x 200 km around 46.5 N 8.5 E, as deflated int16 and as plain float32 GeoTIFF.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, CHECKOUT)

CELLS, CELL_M = 6760, 30.0
LATITUDE, LONGITUDE = 46.5, 8.5
BAR_WHOLE_S, BAR_WARM_S = 3.0, 1.0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        heights = mountains()
        for name, dtype, settings in (("int16-deflate", "int16", {"compress": "deflate", "tiled": True}), ("float32", "float32", {})):
            dem = os.path.join(folder, name + ".tif")
            write_dem(dem, heights.astype(dtype), settings)
            for engine in ("numpy", "numba"):
                output = os.path.join(folder, "panorama.tif")
                line = [sys.executable, os.path.join(CHECKOUT, "bin", "panorama"), dem, "--at", f"{LATITUDE},{LONGITUDE}", "-o", output, "--engine", engine]
                report(f"panorama whole process, {engine}, {name}", [timed(lambda line=line: subprocess.run(line, check=True)) for _ in range(3)], BAR_WHOLE_S)
            in_process(dem, name)


def in_process(dem: str, name: str) -> None:
    """Terrain read and panorama rendered again and again in one process: what a server or `panorama-db` sees."""
    from toolkit.geo.panorama import render_panorama
    from toolkit.geo.terrain import read_terrain

    def once(engine: str) -> None:
        terrain = read_terrain([dem], LATITUDE, LONGITUDE, 100e3)
        render_panorama(terrain, LATITUDE, LONGITUDE, None, engine=engine)

    for engine in ("numpy", "numba"):
        once(engine)
        report(f"panorama warm, {engine}, {name}", [timed(lambda engine=engine: once(engine)) for _ in range(3)], BAR_WARM_S if engine == "numba" else BAR_WHOLE_S)


def report(benchmark: str, seconds: list[float], bar: float) -> None:
    best = min(seconds)
    line = {"benchmark": benchmark, "ours_s": round(best, 3), "all_s": [round(s, 3) for s in seconds], "bar_s": bar, "ratio": round(best / bar, 3)}
    print(json.dumps(line | {"load_average": round(os.getloadavg()[0], 2)}), flush=True)


def timed(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - start


def mountains() -> np.ndarray:
    """Fractal mountains, float32, metres: noise whose spectrum falls as that of real relief, rough at the size of a cell."""
    generator = np.random.default_rng(7)
    size = 1 << (CELLS - 1).bit_length()
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]).astype(np.float32)
    spectrum = np.fft.rfft2(generator.standard_normal((size, size), np.float32)).astype(np.complex64)
    spectrum /= np.maximum(frequency, 1.0 / 1000.0) ** 1.9
    field = np.fft.irfft2(spectrum)[:CELLS, :CELLS]
    return (1800.0 + 700.0 * (field - field.mean()) / field.std()).clip(200, 4800).astype(np.float32)


def write_dem(path: str, heights: np.ndarray, settings: dict[str, object]) -> None:
    import rasterio

    x, y = 500e3, 0.0
    crs = rasterio.crs.CRS.from_proj4(f"+proj=tmerc +lat_0={LATITUDE} +lon_0={LONGITUDE} +x_0=500000 +datum=WGS84")
    transform = rasterio.Affine(CELL_M, 0.0, x - CELLS * CELL_M / 2, 0.0, -CELL_M, y + CELLS * CELL_M / 2)
    with rasterio.open(path, "w", driver="GTiff", width=CELLS, height=CELLS, count=1, dtype=heights.dtype, crs=crs, transform=transform, **settings) as file:
        file.write(heights, 1)


if __name__ == "__main__":
    main()
