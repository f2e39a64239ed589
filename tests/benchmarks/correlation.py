"""scc and cylmap as whole processes against their bars, and the correlation against ducc0's own interpolator, in one run.

The lines are those of a synthetic range of mountains around the eye and of a photograph 60 degrees wide that looks at it.
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

from toolkit.core.arrays import write_array  # noqa: E402
from toolkit.geo.correlation import correlate, window  # noqa: E402
from toolkit.geo.panorama import Contours, Panorama  # noqa: E402
from toolkit.geo.panorama_file import write_panorama  # noqa: E402
from toolkit.geo.pose import rotation_matrix  # noqa: E402
from toolkit.geo.segments import Segments  # noqa: E402
from toolkit.geo.sphere import analyse, splat  # noqa: E402

ROUNDS = 5
WINDOW = ["--pitch", "-30:30", "--roll", "-15:15"]
POSE = (77.0, -6.0, 2.0)


def main() -> None:
    world = ridges()
    with tempfile.TemporaryDirectory() as folder:
        for bandwidth, options, seconds, memory in ((128, [], 4.0, 300.0), (256, WINDOW, 8.0, None), (256, [], None, None)):
            paths = [save(Path(folder) / name, segments, bandwidth) for name, segments in (("f.npy", world), ("g.npy", seen_from(world)))]
            measured = [run([str(ROOT / "bin" / "scc"), *paths, *options]) for _ in range(ROUNDS if seconds else 1)]
            report(f"scc B={bandwidth} {' '.join(options) or 'whole'}", measured, bar_s=seconds, bar_mb=memory)
        panorama = Path(folder) / "view.tif"
        with open(panorama, "wb") as stream:
            write_panorama(synthetic_panorama(), stream)
        for bandwidth in (256, 1024):
            measured = [run([str(ROOT / "bin" / "cylmap"), str(panorama), "-b", str(bandwidth)]) for _ in range(ROUNDS)]
            report(f"cylmap B={bandwidth}", measured, bar_s=0.6)
    against_totalconvolve(world, 96)


def against_totalconvolve(world: Segments, bandwidth: int) -> None:
    """The same raster of poses from the same coefficients, two threads each, interleaved."""
    import ducc0

    panorama, photo = (analyse(splat(segments, bandwidth), bandwidth) for segments in (world, seen_from(world)))
    cells = window(bandwidth)
    sky, beam = (np.stack([c.electric, c.magnetic]) for c in (panorama, photo))
    yaw, pitch, roll = (np.radians(axis) for axis in cells.axes)
    limit = bandwidth - 1

    def ours() -> np.ndarray:
        return np.stack([scores.copy() for scores in correlate(panorama, photo, cells, threads=2)])

    def theirs() -> np.ndarray:
        interpolator = ducc0.totalconvolve.Interpolator(sky, beam, False, limit, limit, epsilon=1e-6, nthreads=2)
        block = np.empty(cells.shape)
        alpha, gamma = np.meshgrid((np.pi / 2 - yaw) % (2 * np.pi), roll, indexing="ij")
        for row, angle in zip(block, np.pi / 2 - pitch, strict=True):
            row[:] = interpolator.interpol(np.stack([np.full(alpha.size, angle), alpha.ravel(), gamma.ravel()], 1)).reshape(alpha.shape)
        return block

    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(3):
        for name, work in (("ours", ours), ("peer", theirs)):
            began = time.perf_counter()
            result = work()
            seconds[name].append(time.perf_counter() - began)
            if name == "ours":
                expected = result
    error = float(np.abs(result - expected).max() / np.abs(expected).max())
    middle = {name: sorted(values)[1] for name, values in seconds.items()}
    line = {
        "benchmark": f"correlation B={bandwidth} whole", "ours_s": middle["ours"], "peer": "ducc0.totalconvolve", "peer_s": middle["peer"],
        "ratio": middle["ours"] / middle["peer"], "largest_difference": error, "load_average": os.getloadavg()[0],
    }  # fmt: skip
    print(json.dumps(line), flush=True)


def report(name: str, measured: list[tuple[float, float]], bar_s: float | None, bar_mb: float | None = None) -> None:
    seconds, memory = (sorted(values)[len(values) // 2] for values in zip(*measured, strict=True))
    line = {"benchmark": name, "ours_s": round(seconds, 3), "ours_mb": round(memory, 1), "load_average": os.getloadavg()[0]}
    line |= {key: value for key, value in (("bar_s", bar_s), ("bar_mb", bar_mb)) if value is not None}
    print(json.dumps(line), flush=True)


def run(command: list[str]) -> tuple[float, float]:
    """Seconds of wall time and MB of memory at the peak; what it writes is read and dropped."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    while process.stdout.read(1 << 20):
        pass
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - began, usage.ru_maxrss / 1024.0


def save(path: Path, segments: Segments, bandwidth: int) -> str:
    with open(path, "wb") as stream:
        write_array(stream, splat(segments, bandwidth))
    return str(path)


def ridges(columns: int = 4096, lines: int = 8) -> Segments:
    """Wavy lines all around, the lower the nearer: about what a panorama holds."""
    azimuth = 2 * np.pi * np.arange(columns) / columns
    random = np.random.default_rng(5)
    starts, ends = [], []
    for line in range(lines):
        waves = sum(random.normal() / n * np.sin(n * azimuth + random.uniform(0, 6)) for n in range(3, 120))
        up = np.radians(3.0 - 2.5 * line + 2.0 * waves)
        points = np.stack([np.sin(azimuth) * np.cos(up), np.cos(azimuth) * np.cos(up), np.sin(up)], 1)
        starts.append(points)
        ends.append(np.roll(points, -1, axis=0))
    return Segments(np.concatenate(starts), np.concatenate(ends), np.repeat(1.0 / (1 + np.arange(lines)), columns))


def seen_from(world: Segments) -> Segments:
    to_camera = rotation_matrix(*POSE)
    start, end = world.start @ to_camera, world.end @ to_camera
    ahead = start[:, 2] > np.cos(np.radians(30.0))
    return Segments(start[ahead], end[ahead], world.strength[ahead])


def synthetic_panorama() -> Panorama:
    """The ridges as a panorama file, with a distance image of the usual size."""
    world = ridges()
    column = np.arange(len(world.strength)) % 4096
    order = np.lexsort((world.start[:, 2], column))
    near = (2000.0 / (5 + np.degrees(world.start[:, 2]).max() - np.degrees(world.start[:, 2]))).astype(np.float32) * 10
    contours = Contours(
        column[order].astype(np.int32), np.degrees(np.arcsin(world.start[order, 2])).astype(np.float32), near[order], 3 * near[order]
    )
    distance = np.random.default_rng(1).uniform(100, 1e5, (1024, 4096)).astype(np.float32)
    return Panorama(46.0, 8.0, 2000.0, (-45.0, 45.0), "angle", 4096, 1024, distance, contours, {})


if __name__ == "__main__":
    main()
