"""What is foretold of a correlation against what it takes, and that what does not fit is refused."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.unit.geo.signals import cap_of_arcs, rotated
from toolkit.geo.block import write_block
from toolkit.geo.correlation import correlate, window
from toolkit.geo.pose import rotation_matrix
from toolkit.geo.prediction import Work, cap_of, in_words, measure, orders_of, plan
from toolkit.geo.sphere import analyse, splat
from toolkit.geo.wigner import Products, products, wigner_sums

CAMERA = {"pitch": (-30, 30), "roll": (-15, 15)}
SCC = str(ROOT / "bin/scc")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with f.npy and g.npy, spheres of bandwidth 128."""
    directory = tmp_path_factory.mktemp("spheres")
    photo = cap_of_arcs()
    np.save(directory / "f.npy", splat(rotated(photo, rotation_matrix(77, -13, 7)), 128))
    np.save(directory / "g.npy", splat(photo, 128))
    correlating(directory, "-b", "8", "-o", "/dev/null").check_returncode()  # compiles where that was not done yet, which takes memory
    return directory


def correlating(place: Path, *options: str, limit: str = "", **more: object) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", f'{limit}exec "$0" "$@"', SCC, str(place / "f.npy"), str(place / "g.npy"), "--jobs", "1", *options]
    return subprocess.run(command, text=True, stderr=subprocess.PIPE, timeout=60, **more)  # type: ignore[call-overload]


@pytest.mark.parametrize("limits", [{}, CAMERA, {"yaw": (300, 420), "pitch": (0, 20)}])
def test_the_block_has_the_bytes_that_were_foretold(limits: dict[str, tuple[float, float]]) -> None:
    sphere = splat(cap_of_arcs(), 16)
    cells, coefficients = window(16, **limits), analyse(sphere, 16)
    stream = io.BytesIO()
    write_block(stream, *cells.axes, correlate(coefficients, coefficients, cells))
    assert plan(cells, sphere, sphere, "float32").block_bytes == len(stream.getvalue())


@pytest.mark.parametrize("bandwidth", [64, 128])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_orders_of_a_cap_are_known_from_its_radius(bandwidth: int, precision: str) -> None:
    sphere = splat(cap_of_arcs(), bandwidth)
    coefficients = analyse(sphere, bandwidth)
    found = products(coefficients, coefficients, precision=precision).orders
    assert orders_of(cap_of(sphere), bandwidth, precision) == pytest.approx(found, rel=0.15)


@pytest.mark.parametrize("limits", [{}, CAMERA, {"pitch": (-10, 40)}, {"pitch": (0, 5)}])
def test_multiply_adds_are_those_that_the_kernel_counts(limits: dict[str, tuple[float, float]]) -> None:
    size, orders = 128, 70
    work = Work(window(size, **limits), (size, size), orders, "float64", 1)
    random = np.random.default_rng(0)
    factors = Products(size, orders, *(random.normal(size=(1, count, size)) + 0j for count in (size, orders + 1)))
    beta = np.radians(90.0 - work.cells.axes[1])
    done = sum(wigner_sums(factors, beta[rows], np.empty((size, 2 * orders + 1, len(rows)), complex)) for rows in work.batches)
    assert work.multiply_adds() == pytest.approx(done, rel=0.2)


def test_every_stage_is_timed() -> None:
    """Not how exactly: other tests share this machine."""
    seconds = measure(Work(window(64, **CAMERA), (64, 128), 35, "float32", 1, cap=0.45))
    assert min(seconds.analysis, seconds.wigner, seconds.fourier) > 0
    assert seconds.total == pytest.approx(seconds.analysis + seconds.wigner + seconds.fourier)


def test_the_work_grows_with_the_third_power_of_the_bandwidth_and_the_pitches() -> None:
    work = Work(window(128), (128, 128), 70, "float32", 1, cap=0.45)
    assert 8 < work.at(256).multiply_adds() / work.multiply_adds() < 20
    camera = Work(window(128, **CAMERA), (128, 128), 70, "float32", 1, cap=0.45)
    assert [len(axis) for axis in (camera.at(256).cells.pitch, camera.at(256).cells.roll)] == [172, 42]
    assert camera.at(256).cells.pitch.tolist() == list(range(256 - 86, 256 + 86))


@pytest.mark.parametrize("options", [[], ["--pitch", "-30:30", "--roll", "-15:15"]])
def test_memory_is_what_was_foretold(place: Path, options: list[str]) -> None:
    limits = CAMERA if options else {}
    sphere = np.load(place / "g.npy")
    foretold = plan(window(128, **limits), sphere, sphere, "float32", 1).memory
    # The peak of a child begins with its parent's memory: so a small process starts it.
    parent = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); print(resource.getrusage(-1).ru_maxrss)"
    command = [SCC, place / "f.npy", place / "g.npy", "--jobs", "1", *options, "-o", "/dev/null"]
    taken = int(subprocess.run([sys.executable, "-c", parent, *command], capture_output=True, check=True).stdout) * 1024
    assert 0.7 * foretold < taken < 1.2 * foretold


def test_a_limit_of_memory_is_kept_and_the_way_out_is_one(place: Path) -> None:
    """A limit that is refused, 10 MB below one that is not, and the bandwidth that is named for it."""
    size, enough = 500, 1100
    while enough - size > 10:
        middle = (size + enough) // 2
        done = correlating(place, "-o", "/dev/null", limit=f"ulimit -v {middle}000; ")
        assert done.returncode in (0, 2), done.stderr
        size, enough = (size, middle) if done.returncode == 0 else (middle, enough)
    refused = correlating(place, "-o", "/dev/null", limit=f"ulimit -v {size}000; ")
    told = re.fullmatch(
        r"scc: memory: does not suffice: the correlation takes [\d.]+ MB, ulimit -v leaves [\d.]+ MB; ask for --bandwidth (\d+) or less\n",
        refused.stderr,
    )
    assert told, refused.stderr
    correlating(place, "-b", told[1], "-o", "/dev/null", limit=f"ulimit -v {size}000; ").check_returncode()
    assert int(told[1]) >= 32


@pytest.mark.skipif(os.geteuid() != 0 and os.environ.get("CI") != "true", reason="needs root to mount a small file system")
def test_a_disk_that_is_too_small_is_left_as_it_was(place: Path, tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "small", tmp_path], capture_output=True).returncode:
        pytest.skip("only root mounts a small disk")
    try:
        block = tmp_path / "block.npy"
        block.write_bytes(b"older")
        room = os.statvfs(tmp_path)
        refused = correlating(place, "-o", str(block))
        assert refused.returncode == 2 and block.read_bytes() == b"older" and os.listdir(tmp_path) == ["block.npy"]
        has = in_words(room.f_bavail * room.f_frsize)
        told = re.fullmatch(
            rf"scc: {block}: has too little room: the block takes 67.1 MB, the disk leaves {has}; "
            r"ask for --bandwidth (\d+) or less or a smaller window, or pipe it to rank-candidates\n",
            refused.stderr,
        )
        assert told, refused.stderr
        with open(tmp_path / "redirected.npy", "wb") as stream:
            again = correlating(place, stdout=stream)
        assert again.returncode == 2 and again.stderr.startswith("scc: standard output: has too little room")
        correlating(place, "-b", told[1], "-o", str(block)).check_returncode()
        assert 0.9 * 4e6 < block.stat().st_size < 4.2e6
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_explained_and_then_computed(place: Path, tmp_path: Path) -> None:
    done = correlating(place, "-q", "--explain", "--pitch", "-30:30", "--roll", "-15:15", "-o", str(tmp_path / "block.npy"))
    assert done.returncode == 0
    size = (tmp_path / "block.npy").stat().st_size
    lines = dict(line.split(maxsplit=1) for line in done.stderr.splitlines())
    assert list(lines) == ["yaw", "pitch", "roll", "window", "orders", "block", "time", "memory", "disk"]
    assert lines["pitch"] == "-29.8828 to 29.8828 degrees, 86 cells of 0.7031"
    assert lines["window"] == "462,336 of 16,777,216 cells, 2.76 %"
    assert lines["block"] == f"{in_words(size)}, float32"
    assert lines["disk"].startswith(f"{in_words(size)} for {tmp_path}/block.npy; the disk leaves ")
    parts = ", ".join(rf"{name} [\d.e-]+ s" for name in ("analysis", "Wigner sums", "Fourier sums"))
    assert re.fullmatch(rf"about [\d.e-]+ s and what writing takes: {parts}; 1 thread", lines["time"])


def test_on_a_terminal_it_is_only_explained(place: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        done = correlating(place, "-q", "--explain", stdout=theirs)
        assert done.returncode == 0 and done.stderr.startswith("yaw      0 to 358.594 degrees, 256 cells of 1.406\n")
        refused = correlating(place, stdout=theirs)
        assert refused.returncode == 2
        os.set_blocking(ours, False)
        with pytest.raises(BlockingIOError):
            os.read(ours, 1)
    finally:
        os.close(ours)
        os.close(theirs)


def test_sizes_in_words() -> None:
    assert [in_words(size) for size in (0, 512, 15_099_000, 999_600_000, 4.3e9)] == ["0 bytes", "512 bytes", "15.1 MB", "1 GB", "4.3 GB"]
