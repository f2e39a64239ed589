"""panorama of 4096 x 1024 to 100 km: the whole process with numpy against 3 s, the sweep and reading with numba, warm, against 1 s.

The elevation data are made here: a fractal of 200 x 200 km in cells of 30 m, a tiled GeoTIFF as they are distributed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
import scipy.fft

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from toolkit.geo.panorama import render_panorama  # noqa: E402
from toolkit.geo.terrain import read_terrain  # noqa: E402

CELLS, CELL_M = 6750, 30.0
EYE = (46.0, 9.0)  # the middle, on the meridian of UTM zone 32
ROUNDS = 5


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fractal.tif"
        write_fractal(path)
        command = [sys.executable, str(ROOT / "bin" / "panorama"), str(path), "--at", f"{EYE[0]},{EYE[1]}", "--engine", "numpy"]
        command += ["-o", str(Path(folder) / "view.tif")]
        report("panorama numpy, whole process", 3.0, lambda: subprocess.run(command, check=True))
        render(path)  # loads and compiles
        report("panorama numba, warm", 1.0, lambda: render(path))


def render(path: Path) -> None:
    terrain = read_terrain([str(path)], *EYE, 100e3)
    view = render_panorama(terrain, *EYE, None, engine="numba")
    assert view.distance is not None and view.distance.shape == (1024, 4096)


def report(name: str, bar: float, action: Callable[[], object]) -> None:
    seconds = sorted(timed(action) for _ in range(ROUNDS))
    line = {
        "benchmark": name,
        "ours_s": round(seconds[ROUNDS // 2], 3),
        "fastest_s": round(seconds[0], 3),
        "bar_s": bar,
        "ratio": round(seconds[ROUNDS // 2] / bar, 3),
        "load_average": os.getloadavg()[0],
    }
    print(json.dumps(line), flush=True)


def timed(action: Callable[[], object]) -> float:
    """Seconds of wall time."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def write_fractal(path: Path) -> None:
    """Heights of 0 to 4000 m whose power falls with the frequency as that of mountains does."""
    random = np.random.default_rng(1)
    size = scipy.fft.next_fast_len(CELLS)
    spectrum = scipy.fft.rfft2(random.standard_normal((size, size), np.float32))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]).astype(np.float32)
    spectrum *= (frequency + np.float32(1.0 / 700.0)) ** np.float32(-2.1)
    heights = scipy.fft.irfft2(spectrum, (size, size))[:CELLS, :CELLS]
    heights -= heights.min()
    heights *= 4000.0 / heights.max()
    half = CELLS * CELL_M / 2
    place = rasterio.transform.from_origin(500e3 - half, 5094e3 + half, CELL_M, CELL_M)  # EYE is at about (500, 5094) km
    shape = {"width": CELLS, "height": CELLS, "count": 1, "dtype": "float32", "crs": "EPSG:32632", "transform": place}
    with rasterio.open(path, "w", driver="GTiff", tiled=True, compress="deflate", predictor=3, **shape) as file:
        file.write(heights.astype(np.float32), 1)


if __name__ == "__main__":
    main()
