"""The Fourier sums of 16 pitches: ours by default, ours with FFTW, and both libraries' plain calls, interleaved; medians of 5 rounds.

Whole blocks, and the window of a camera that is held nearly level (roll within 15 degrees), of a photograph 60 degrees wide. The plain
calls transform whole axes and cut the window out. Planning by FFTW is done before.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import ducc0
import numpy as np
import scipy.fft

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from toolkit.geo.correlation import Window, window
from toolkit.geo.fourier import Fourier, spectrum_bytes

ROUNDS = 5
ROWS = 16
ORDERS = 0.586  # of the bandwidth, that a photograph 60 degrees wide fills
LIMITS = {"float64": 1e-13, "float32": 1e-5}
# The part of the command's time that is left beside the Wigner sums, seconds for all pitches of a window.
BARS = {("whole", 512, "float64"): 6.0, ("camera", 256, "float64"): 0.15, ("camera", 256, "float32"): 0.15}


def main() -> None:
    for bandwidth in (64, 128, 256, 512):
        for name, cells in (("whole", window(bandwidth)), ("camera", window(bandwidth, pitch=(-30, 30), roll=(-15, 15)))):
            for precision in ("float64", "float32"):
                compare(name, cells, precision)
    compare("camera", window(2048, pitch=(-30, 30), roll=(-15, 15)), "float32", peers=False)


def compare(name: str, cells: Window, precision: str, peers: bool = True) -> None:
    bandwidth, orders = cells.bandwidth, int(ORDERS * cells.bandwidth)
    transforms = {
        f"transform={transform}": Fourier(bandwidth, orders, cells.yaw, cells.roll, ROWS, precision, transform=transform)
        for transform in (("ducc0", "pyfftw") if peers else ("ducc0",))
    }
    spectrum = noise(bandwidth, orders, precision)
    runs: dict[str, Callable[[], np.ndarray]] = {}
    for label, transform in transforms.items():
        runs[label] = lambda transform=transform: np.array([scores.copy() for scores in transform(spectrum)])
    if peers:
        padded = np.zeros((bandwidth + 1, 2 * bandwidth, ROWS), spectrum.dtype)
        padded[:-1, : orders + 1], padded[:-1, -orders:] = spectrum[:, : orders + 1], spectrum[:, -orders:]
        runs["ducc0.fft"] = lambda: plainly_by_ducc0(padded, cells)
        runs["scipy.fft"] = lambda: plainly_by_scipy(padded, cells)
    results = {label: run() for label, run in runs.items()}
    ours = results["transform=ducc0"]
    for label, result in results.items():
        error = float(np.abs(result - ours).max() / np.abs(ours).max())
        assert error < LIMITS[precision], f"{label} differs by {error}"
    seconds: dict[str, list[float]] = {label: [] for label in runs}
    for _ in range(ROUNDS):
        for label, run in runs.items():
            begin = time.perf_counter()
            run()
            seconds[label].append(time.perf_counter() - begin)
    middle = {label: statistics.median(taken) for label, taken in seconds.items()}
    line = {
        "benchmark": f"fourier {name} B={bandwidth} {precision}, {ROWS} rows",
        "ours_s": round(middle.pop("transform=ducc0"), 5),
        "ways": "yaw {}, roll {}".format(*transforms["transform=ducc0"].ways),
        "ours_mb": round(spectrum_bytes(bandwidth, orders, len(cells.yaw), len(cells.roll), ROWS, precision) / 1e6, 1),
        "rows_in_all": len(cells.pitch),
        "load_average": os.getloadavg()[0],
    }
    bar = BARS.get((name, bandwidth, precision))
    if bar is not None:
        line["bar_s"] = round(bar * ROWS / len(cells.pitch), 5)
    print(json.dumps(line), flush=True)
    for label, taken in middle.items():
        figures = {"peer": label.replace("transform=pyfftw", "ours with pyfftw"), "peer_s": round(taken, 5)}
        ratio = {"ratio": round(line["ours_s"] / taken, 3)}
        print(json.dumps({key: line[key] for key in ("benchmark", "ours_s", "load_average")} | figures | ratio), flush=True)


def noise(bandwidth: int, orders: int, precision: str) -> np.ndarray:
    random = np.random.default_rng(bandwidth)
    parts = random.standard_normal((bandwidth, 2 * orders + 1, ROWS, 2), np.float32).astype(precision)
    return parts.view(np.result_type(parts.dtype, np.complex64))[..., 0]


def plainly_by_ducc0(spectrum: np.ndarray, cells: Window) -> np.ndarray:
    size = 2 * cells.bandwidth
    values = ducc0.fft.c2c(spectrum, axes=(1,), forward=False, nthreads=0)[:, cells.roll % size]
    return cut(ducc0.fft.c2r(values, axes=(0,), lastsize=size, forward=False, nthreads=0), cells)


def plainly_by_scipy(spectrum: np.ndarray, cells: Window) -> np.ndarray:
    size, workers = 2 * cells.bandwidth, len(os.sched_getaffinity(0))
    values = scipy.fft.ifft(spectrum, axis=1, norm="forward", workers=workers)[:, cells.roll % size]
    return cut(scipy.fft.irfft(values, size, axis=0, norm="forward", workers=workers), cells)


def cut(values: np.ndarray, cells: Window) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(values[cells.yaw % (2 * cells.bandwidth)], 2, 0))


if __name__ == "__main__":
    main()
