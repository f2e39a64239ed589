"""The Fourier sums of the correlation against direct sums, however they are done."""

import itertools
import logging
from pathlib import Path

import numpy as np
import pyfftw
import pytest

from toolkit.geo import fourier_fftw
from toolkit.geo.fourier import Fourier, cheapest_ways, spectrum_bytes

WAYS = list(itertools.product(("fft", "matrix"), repeat=2))
KINDS = [pytest.param("ducc0", ways, id="-".join(ways)) for ways in WAYS] + [pytest.param("pyfftw", ("fft", "fft"), id="pyfftw")]
EXACT = {"float64": 1e-14, "float32": 1e-6}


@pytest.fixture(autouse=True)
def wisdom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where FFTW's wisdom is kept during a test, which begins with none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pyfftw.forget_wisdom()
    return tmp_path / "scape-toolkit" / "fftw" / "wisdom"


def sums(bandwidth: int, orders: int, rows: int) -> np.ndarray:
    random = np.random.default_rng(bandwidth)
    return random.normal(size=(bandwidth, 2 * orders + 1, rows)) + 1j * random.normal(size=(bandwidth, 2 * orders + 1, rows))


def directly(spectrum: np.ndarray, yaw: np.ndarray, roll: np.ndarray) -> np.ndarray:
    bandwidth, width, _ = spectrum.shape
    m, k = np.arange(bandwidth), np.r_[0 : width // 2 + 1, -(width // 2) : 0]
    over_yaw = np.where(m == 0, 1, 2) * np.exp(1j * np.pi / bandwidth * np.outer(yaw, m))
    over_roll = np.exp(1j * np.pi / bandwidth * np.outer(roll, k))
    return np.einsum("ym,mkr,jk->ryj", over_yaw, spectrum, over_roll, optimize=True).real


def scores_of(transform: Fourier, spectrum: np.ndarray, precision: str = "float64") -> np.ndarray:
    rows = transform(spectrum.astype(np.result_type(np.dtype(precision), np.complex64)))
    return np.array([scores.copy() for scores in rows])


def check(scores: np.ndarray, expected: np.ndarray, precision: str) -> None:
    assert scores.shape == expected.shape
    assert scores.dtype == precision
    assert scores.flags.c_contiguous
    assert np.abs(scores - expected).max() < EXACT[precision] * max(1.0, np.abs(expected).max()) * 10


def windows(bandwidth: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    whole = np.arange(2 * bandwidth), np.arange(-bandwidth, bandwidth)
    return {
        "whole": whole,
        "roll about zero": (whole[0], np.arange(-2, 3)),
        "roll aside": (whole[0], np.arange(1, bandwidth)),
        "roll beyond 180 degrees": (whole[0], np.arange(bandwidth - 2, bandwidth + 2)),
        "yaw": (np.arange(2, bandwidth), whole[1]),
        "yaw across north": (np.arange(2 * bandwidth - 2, 2 * bandwidth + 3), whole[1]),
        "whole yaw from the south": (np.arange(bandwidth, 3 * bandwidth), whole[1]),
        "both": (np.arange(1, 4), np.arange(-2, 0)),
        "one pose": (np.array([2 * bandwidth + 1]), np.array([-1])),
    }


@pytest.mark.parametrize("kind", windows(4))
@pytest.mark.parametrize(("library", "ways"), KINDS)
def test_scores_are_the_direct_sums(library, kind, ways):
    for (bandwidth, orders), precision in itertools.product([(3, 2), (4, 1), (9, 8), (16, 7)], EXACT):
        yaw, roll = windows(bandwidth)[kind]
        transform = Fourier(bandwidth, orders, yaw, roll, 3, precision, 2, ways=ways, transform=library)
        spectrum = sums(bandwidth, orders, 5)
        for rows in (5, 3, 2, 5):
            check(scores_of(transform, spectrum[..., :rows], precision), directly(spectrum, yaw, roll)[:rows], precision)


@pytest.mark.parametrize("threads", [0, 1, 3, 8])
@pytest.mark.parametrize(("library", "ways"), KINDS)
def test_several_tiles_and_threads_give_the_same_scores(library, ways, threads, monkeypatch):
    monkeypatch.setattr("toolkit.geo.fourier.TILE_BYTES", 20_000)
    monkeypatch.setattr("toolkit.geo.fourier.COLUMNS", 7)
    yaw, roll = np.arange(40), np.arange(-20, 20)
    transform = Fourier(20, 11, yaw, roll, 6, "float64", threads, ways=ways, transform=library)
    spectrum = sums(20, 11, 6)
    for _ in range(2):
        check(scores_of(transform, spectrum), directly(spectrum, yaw, roll), "float64")


@pytest.mark.parametrize("precision", EXACT)
def test_both_ways_agree_at_a_high_bandwidth(precision):
    bandwidth, orders = 1000, 590
    yaw, roll = np.arange(1990, 2010), np.arange(-83, 80)
    spectrum = sums(bandwidth, orders, 1)
    scores = []
    for ways in (("fft", "fft"), ("matrix", "matrix")):
        transform = Fourier(bandwidth, orders, yaw, roll, 1, precision, ways=ways)
        scores.append(scores_of(transform, spectrum, precision))
    limit = 1e-13 if precision == "float64" else 1e-5
    assert np.abs(scores[0] - scores[1]).max() < limit * np.abs(scores[0]).max()


def test_narrow_windows_take_the_matrix_and_wide_ones_the_transform():
    for bandwidth, precision in itertools.product((256, 512, 2048), EXACT):
        orders = int(0.6 * bandwidth)
        assert cheapest_ways(bandwidth, orders, 2 * bandwidth, 2 * bandwidth, precision) == ("fft", "fft")
        assert cheapest_ways(bandwidth, orders, 5, 5, precision) == ("matrix", "matrix")


@pytest.mark.parametrize("ways", WAYS, ids="-".join)
def test_the_memory_is_told_beforehand(ways, monkeypatch):
    import tracemalloc

    monkeypatch.setattr("toolkit.geo.fourier.cheapest_ways", lambda *_: ways)
    yaw, roll = np.arange(400), np.arange(-20, 21) if ways[1] == "matrix" else np.arange(-200, 200)
    tracemalloc.start()
    try:
        transform = Fourier(200, 120, yaw, roll, 24, "float64", 2)
        for _ in transform(np.zeros((200, 241, 24), np.complex128)):
            pass
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    told = spectrum_bytes(200, 120, len(yaw), len(roll), 24, "float64", 2)
    assert taken <= told < 1.5 * taken


def scores_by_fftw() -> None:
    """Two sizes, so that plans are made, and right scores."""
    for bandwidth in (8, 24):
        yaw, roll = windows(bandwidth)["whole"]
        transform = Fourier(bandwidth, 5, yaw, roll, 3, "float64", 1, ways=("fft", "fft"), transform="pyfftw")
        spectrum = sums(bandwidth, 5, 3)
        check(scores_of(transform, spectrum), directly(spectrum, yaw, roll), "float64")


def test_wisdom_is_kept_for_the_next_process(wisdom):
    nothing = pyfftw.export_wisdom()
    scores_by_fftw()
    learnt = pyfftw.export_wisdom()
    assert learnt != nothing
    assert wisdom.read_bytes() == b"\0".join(learnt)
    assert [path.name for path in wisdom.parent.iterdir()] == ["wisdom"]
    pyfftw.forget_wisdom()
    assert pyfftw.export_wisdom() == nothing
    before = wisdom.stat().st_mtime_ns
    scores_by_fftw()
    assert sorted(pyfftw.export_wisdom()[0].split(b"\n")) == sorted(learnt[0].split(b"\n"))
    assert wisdom.stat().st_mtime_ns == before, "nothing new was learnt"


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0", b"no wisdom", b"\xff" * 1000, b"(fftw-2.1 fftw_wisdom #x1 #x2 #x3 #x4\n)\n\0\0", b"(fftw-3.3.5 fftw_wisdom #x3c273403"],
    ids=["empty", "three empty parts", "other text", "bytes", "another FFTW's", "cut off"],
)
def test_broken_and_foreign_wisdom_is_replaced(content, wisdom, caplog):
    caplog.set_level(logging.INFO, "toolkit")
    wisdom.parent.mkdir(parents=True)
    wisdom.write_bytes(content)
    scores_by_fftw()
    assert f"{wisdom} holds no wisdom for this FFTW" in caplog.text
    assert wisdom.read_bytes() == b"\0".join(pyfftw.export_wisdom())


def test_a_cache_that_cannot_be_written_is_no_trouble(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "toolkit")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    scores_by_fftw()
    assert "wisdom is not kept" in caplog.text
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_without_a_home_no_wisdom_is_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    assert fourier_fftw.wisdom_file() == ""
    scores_by_fftw()
    assert list(tmp_path.iterdir()) == []


def test_planning_is_bounded(monkeypatch):
    monkeypatch.setattr(fourier_fftw, "PLANNING_SECONDS", 0.0)
    flags = []
    plan = pyfftw.FFTW
    monkeypatch.setattr(pyfftw, "FFTW", lambda *arrays, **options: flags.append(options["flags"][0]) or plan(*arrays, **options))
    scores_by_fftw()
    assert set(flags) == {"FFTW_ESTIMATE"}
