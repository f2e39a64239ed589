"""scc --batch as a whole process: one photograph of 60 degrees against 5,000 panoramas, B = 64, pitch +-30, roll +-15. One JSON line.

The coefficients are in one file. `start_s` is the same command with one panorama: the interpreter, the libraries, the photograph's
rotations; the panoramas a second are those of the rest, and `ours_s`, against the bar, holds both. `files_s`: each in a file of its own.
`processor_s`: of both cores together, which a busy machine hardly changes.
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

from tests.unit.geo.signals import cap_of_arcs, rotated  # noqa: E402
from toolkit.geo.coefficients_file import array_of  # noqa: E402
from toolkit.geo.pose import rotation_matrix  # noqa: E402
from toolkit.geo.sphere import analyse, splat  # noqa: E402

BANDWIDTH, PANORAMAS, BAR, ROUNDS = 64, 5000, 5.0, 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        np.save(place / "photo.npy", splat(cap_of_arcs(spread=0.22), BANDWIDTH))
        many = panoramas()
        np.save(place / "one.npy", many[0])
        np.save(place / "many.npy", many)
        names = [str(place / f"{number}.npy") for number in range(PANORAMAS)]
        for name, one in zip(names, many, strict=True):
            np.save(name, one)
        lists = {"start": [str(place / "one.npy")], "ours": [str(place / "many.npy")], "files": names}
        for name, lines in lists.items():
            (place / name).write_text("".join(line + "\n" for line in lines))
        seconds: dict[str, list[float]]
        seconds, processor = ({name: [] for name in lists} for _ in range(2))
        run(place, "start")  # compiles, where that is still to be done
        for _ in range(ROUNDS):
            for name in lists:
                before = os.times()
                seconds[name].append(run(place, name))
                after = os.times()
                processor[name].append(after.children_user + after.children_system - before.children_user - before.children_system)
        start, ours, files = (float(np.median(seconds[name])) for name in lists)
        line = {
            "benchmark": "scc --batch",
            "bandwidth": BANDWIDTH,
            "panoramas": PANORAMAS,
            "ours_s": round(ours, 3),
            "fastest_s": round(min(seconds["ours"]), 3),
            "files_s": round(files, 3),
            "start_s": round(start, 3),
            "processor_s": round(min(processor["ours"]), 3),
            "panoramas_per_second": round((PANORAMAS - 1) / (ours - start)),
            "bar_s": BAR,
            "ratio": round(ours / BAR, 3),
            "cores": len(os.sched_getaffinity(0)),
            "load_average": os.getloadavg()[0],
        }
        print(json.dumps(line), flush=True)


def run(place: Path, name: str) -> float:
    """Seconds of wall time."""
    command = [sys.executable, str(ROOT / "bin" / "scc"), "--batch", str(place / name), str(place / "photo.npy")]
    began = time.perf_counter()
    with open(place / "poses.jsonl", "wb") as poses:
        subprocess.run([*command, "--pitch", "-30:30", "--roll", "-15:15"], stdout=poses, check=True)
    return time.perf_counter() - began


def panoramas() -> np.ndarray:
    """Different ones: sums of two of a few drawings, each turned about the zenith by any angle."""
    random = np.random.default_rng(0)
    drawings = [
        array_of(analyse(splat(rotated(cap_of_arcs(seed, 2000, 0.6), rotation_matrix(90.0, 5.0, 0.0)), BANDWIDTH), BANDWIDTH))
        for seed in range(4)
    ]
    orders = np.repeat(np.arange(BANDWIDTH), np.arange(BANDWIDTH, 0, -1))
    turns = np.exp(1j * random.uniform(0, 2 * np.pi, (PANORAMAS, 2, 1, 1)) * orders).astype(np.complex64)
    chosen = random.integers(0, len(drawings), (PANORAMAS, 2))
    return np.stack([drawings[a] * turn[0] + drawings[b] * turn[1] for (a, b), turn in zip(chosen, turns, strict=True)])


if __name__ == "__main__":
    main()
