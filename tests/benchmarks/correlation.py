"""The correlation and the commands around it: against their bars, against other libraries, and against what the processor can do.

Whole blocks of poses beside pysofft (in build/pysofft, which `make bench-correlation` makes: it is compiled with gfortran and FFTW),
ducc0.totalconvolve, and Fourier series with pyshtools' functions of a quarter turn: the same coefficients, float64, two threads, each
engine in processes of its own, in turns; `largest_difference` of its scores from ours, relative to the greatest. Memory there is
`ours_mb` and `peer_mb`, by which a process grew after its libraries were loaded, and `..._process_mb` of the process. Then `scc` as a
whole command, of which nothing is kept; multiply-adds a second in the Wigner sums (`share` of the peak, measured in the same run); and
what the first use on a machine takes. What takes longer than a minute in all is left out unless BENCH_WHOLE is set.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]

from _mountains import noise, ridges, save, seen_from, synthetic_panorama  # noqa: E402

from toolkit.geo.correlation import batches, window  # noqa: E402
from toolkit.geo.panorama_file import write_panorama  # noqa: E402
from toolkit.geo.sphere import analyse, splat  # noqa: E402
from toolkit.geo.wigner import products, wigner_sums  # noqa: E402

WHOLE = bool(os.environ.get("BENCH_WHOLE"))
SCC = str(ROOT / "bin" / "scc")
CAMERA = ["--pitch", "-30:30", "--roll", "-15:15"]
PYSOFFT = ROOT / "build" / "pysofft" / "bin" / "python"
# name: (interpreter, bandwidths in a quick run, bandwidths in a whole run)
PEERS: dict[str, tuple[Path, tuple[int, ...], tuple[int, ...]]] = {
    "pysofft": (PYSOFFT, (128,), (128, 256)),
    "pysofft_complex": (PYSOFFT, (), (128, 256)),
    "totalconvolve": (Path(sys.executable), (64,), (128,)),
    "pyshtools": (Path(sys.executable), (64,), (128,)),
}


def main() -> None:
    against_libraries()
    share_of_the_peak()
    first_use()
    commands()


def against_libraries() -> None:
    mountains = ridges()
    for bandwidth in (64, 128, 256):
        peers = [name for name, (python, quick, whole) in PEERS.items() if bandwidth in (whole if WHOLE else quick) and python.exists()]
        if not peers:
            continue
        world = analyse(splat(mountains, bandwidth), bandwidth)
        for kind, seen in (("photo", analyse(splat(seen_from(mountains), bandwidth), bandwidth)), ("whole sphere", noise(bandwidth))):
            measured: dict[str, list[dict[str, float]]] = {name: [] for name in ("ours", *peers)}
            with tempfile.TemporaryDirectory() as folder:
                np.savez(f"{folder}/coefficients.npz", panorama=world.scalar, photo=seen.scalar)
                for _ in range(3):
                    for name, results in measured.items():
                        python = PEERS[name][0] if name in PEERS else sys.executable
                        results.append(block(str(python), name, folder))
                samples = {name: np.load(f"{folder}/{name}.npy") for name in measured}
            ours = middle(measured["ours"])
            for name in peers:
                peer = middle(measured[name])
                line = {"benchmark": f"block B={bandwidth} {kind}"} | {f"ours_{key}": value for key, value in ours.items()}
                line |= {"peer": name} | {f"peer_{key}": value for key, value in peer.items()} | {"ratio": ours["s"] / peer["s"]}
                if name.startswith("pysofft"):
                    line |= {"bar_ratio": 1 / 8}
                if name == "pysofft_complex":
                    line |= {"bar_mb": peer["mb"] / 20}
                difference = np.abs(samples[name] - samples["ours"]).max() / np.abs(samples["ours"]).max()
                say(line | {"largest_difference": float(difference)})


def block(python: str, engine: str, folder: str) -> dict[str, float]:
    command = [python, str(HERE / "_whole_block.py"), engine, f"{folder}/coefficients.npz", f"{folder}/{engine}.npy"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def middle(results: list[dict[str, float]]) -> dict[str, float]:
    return {key: sorted(result[key] for result in results)[len(results) // 2] for key in results[0]}


def share_of_the_peak() -> None:
    """All Wigner sums of a block, between measurements of the peak."""
    mountains = ridges()
    for bandwidth, kind, limits in ((256, "whole sphere", {}), (512, "camera", {"pitch": (-30, 30), "roll": (-15, 15)})):
        world = analyse(splat(mountains, bandwidth), bandwidth)
        seen = analyse(splat(seen_from(mountains), bandwidth), bandwidth) if limits else noise(bandwidth)
        cells = window(bandwidth, **limits)
        for precision, number in (("float64", "double"), ("float32", "float")):
            factors = products(world, seen, precision=precision)
            plan = [np.radians(90.0 - cells.axes[1][rows]) for rows in batches(cells, factors.orders, precision)]
            kind_of_sum = np.complex128 if precision == "float64" else np.complex64
            out = np.zeros((bandwidth, 2 * factors.orders + 1, max(map(len, plan))), kind_of_sum)
            wigner_sums(factors, plan[0], out, 2)
            peaks, rates, seconds = [peak(number)], [], []
            for _ in range(5):
                began = time.perf_counter()
                done = sum(wigner_sums(factors, colatitude, out, 2) for colatitude in plan)
                seconds.append(time.perf_counter() - began)
                rates.append(done / seconds[-1] / 1e9)
                peaks.append(peak(number))
            line = {"benchmark": f"Wigner sums B={bandwidth} {kind} {precision}", "ours_s": sorted(seconds)[2], "rows": out.shape[2]}
            line |= {"billions_a_second": sorted(rates)[2], "peak_billions_a_second": max(peaks), "share": sorted(rates)[2] / max(peaks)}
            say(line | ({"bar_share": 0.5} if precision == "float64" else {}))


def peak(number: str) -> float:
    """Billions of multiply-adds a second on two threads: the better of 256 and 512 bits wide vectors."""
    best = 0.0
    source = HERE / "_multiply_add_peak.c"
    for size in (32, 64):
        program = ROOT / "build" / f"multiply_add_peak_{number}_{size}"
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            options = ["-O3", "-march=native", "-ffp-contract=fast", "-pthread", f"-DPEAK_BYTES={size}", f"-DNUMBER={number}"]
            program.parent.mkdir(exist_ok=True)
            subprocess.run(["gcc", *options, str(source), "-o", str(program)], check=True)
        answer = subprocess.run([str(program), "2"], stdout=subprocess.PIPE, check=True, text=True).stdout
        best = max(best, float(answer.split()[0]))
    return best


def first_use() -> None:
    """scc where numba has compiled nothing yet; then again."""
    with tempfile.TemporaryDirectory() as folder:
        mountains = ridges()
        paths = [save(Path(folder) / name, segments, 16) for name, segments in (("f.npy", mountains), ("g.npy", seen_from(mountains)))]
        environment = os.environ | {"NUMBA_CACHE_DIR": f"{folder}/cache"}
        times: dict[str, list[float]] = {"first": [], "later": []}
        for start in times:
            for precision in ("float32", "float64"):
                began = time.perf_counter()
                command = [SCC, *paths, "--precision", precision, "-o", os.devnull]
                told = subprocess.run(command, env=environment, stderr=subprocess.PIPE, check=True, text=True).stderr
                times[start].append(time.perf_counter() - began)
                if ("compiled" in told) != (start == "first" and precision == "float32"):
                    sys.exit(f"scc, {start} start, {precision}, says on standard error: {told or 'nothing'}")
        say({"benchmark": "scc compiling, both precisions", "ours_s": sum(times["first"]) - sum(times["later"]), "bar_s": 20.0})
        say({"benchmark": "scc B=16 later start", "ours_s": max(times["later"]), "bar_s": 1.0})


def commands() -> None:
    mountains = ridges()
    # bandwidth, options, seconds, MB, how often, in a quick run
    cases: list[tuple[int, list[str], float | None, float | None, int, bool]] = [
        (128, [], None, None, 3, True),
        (256, CAMERA, 1.0, None, 5, True),
        (512, CAMERA, 6.0, None, 3, True),
        (512, [], 25.0, 1000.0, 3, False),
        (512, ["--precision", "float64"], None, None, 1, False),
        (1024, CAMERA, 60.0, None, 2, False),
        (2048, CAMERA, 900.0, 4000.0, 1, False),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for bandwidth, options, seconds, memory, times, quick in cases:
            if quick or WHOLE:
                named = (("f.npy", mountains), ("g.npy", seen_from(mountains)))
                spheres = [save(Path(folder) / name, segments, bandwidth) for name, segments in named]
                measured = [run([SCC, *spheres, *options]) for _ in range(times)]
                bars = {"bar_s": seconds, "bar_mb": memory}
                say({"benchmark": f"scc B={bandwidth} {' '.join(options) or 'whole'}"} | prefixed(middle(measured)) | bars)
        panorama = Path(folder) / "view.tif"
        with open(panorama, "wb") as stream:
            write_panorama(synthetic_panorama(), stream)
        for bandwidth in (256, 1024):
            measured = [run([str(ROOT / "bin" / "cylmap"), str(panorama), "-b", str(bandwidth)]) for _ in range(5)]
            say({"benchmark": f"cylmap B={bandwidth}"} | prefixed(middle(measured)) | {"bar_s": 0.6})


def prefixed(result: dict[str, float]) -> dict[str, float]:
    return {f"ours_{key}": value for key, value in result.items()}


def run(command: list[str]) -> dict[str, float]:
    return json.loads(subprocess.run([sys.executable, str(HERE / "_measured.py"), *command], stdout=subprocess.PIPE, check=True).stdout)


def say(line: dict[str, Any]) -> None:
    rounded = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in line.items() if value is not None}
    print(json.dumps(rounded | {"load_average": round(os.getloadavg()[0], 2)}), flush=True)


if __name__ == "__main__":
    main()
