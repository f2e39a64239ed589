"""projmap as a whole process, B = 64 to 1024, against the bar of 0.5 s: one JSON line for each bandwidth.

The edges are those of a synthetic skyline with ridges in a photo of 1500 x 1000 pixels, about as many as a real photo has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from toolkit.geo.edges import EdgeParameters, Edges  # noqa: E402
from toolkit.geo.edges_file import write_edges  # noqa: E402

BAR = 0.5
ROUNDS = 5


def main() -> None:
    edges = skylines()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.edges.tif"
        with open(path, "wb") as stream:
            write_edges(edges, stream)
        for bandwidth in (64, 128, 256, 512, 1024):
            command = [sys.executable, str(ROOT / "bin" / "projmap"), str(path), "--hfov", "52", "-b", str(bandwidth)]
            seconds = sorted(run(command) for _ in range(ROUNDS))
            line = {
                "benchmark": "projmap",
                "bandwidth": bandwidth,
                "points": int(edges.x.size),
                "ours_s": round(seconds[ROUNDS // 2], 3),
                "fastest_s": round(seconds[0], 3),
                "bar_s": BAR,
                "ratio": round(seconds[ROUNDS // 2] / BAR, 3),
                "load_average": os.getloadavg()[0],
            }
            print(json.dumps(line), flush=True)


def run(command: list[str]) -> float:
    """Seconds of wall time; the array goes down a pipe, as to scc."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - began


def skylines() -> Edges:
    """Five wavy lines across the photo, one point for each column."""
    x = np.tile(np.arange(1500.0), 5)
    line = np.repeat(np.arange(5), 1500)
    y = 250 + 90 * line + 40 * np.sin(x / 90 + line) + 6 * np.sin(x / 11)
    slope = 40 / 90 * np.cos(x / 90 + line) + 6 / 11 * np.cos(x / 11)
    columns = (values.astype(np.float32) for values in (x, y, np.arctan(slope), 2.0 / (1 + line), np.hypot(1.0, slope), line == 0))
    return Edges(1500, 1000, *columns, line.astype(np.int32), parameters=EdgeParameters(working_size=1500))


if __name__ == "__main__":
    main()
