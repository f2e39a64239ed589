"""One engine's correlation of two spheres over the whole raster of poses, in a process of its own, so that its memory can be told.

`_whole_block.py ENGINE COEFFICIENTS.npz SAMPLES.npy`: the file holds the strengths' coefficients as `panorama` and `photo`, complex128,
m-major. Prints a JSON object: `s`, seconds from coefficients in memory to the last score, when libraries have been loaded;
`mb`, by which the process grew at most meanwhile; `process_mb`, all of it. The scores at POSES random poses go to SAMPLES.npy. It runs
under the Python that the engine is installed for, so it imports nothing but the engine.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

POSES = 50_000
THREADS = 2


def poses(bandwidth: int) -> np.ndarray:
    """Cell numbers (POSES, 3) of pitch, yaw and roll, ascending in pitch."""
    cells = np.random.default_rng(1).integers(0, 2 * bandwidth, (POSES, 3))
    return cells[np.argsort(cells[:, 0], kind="stable")]


def ours(panorama: np.ndarray, photo: np.ndarray, bandwidth: int) -> Callable[[], np.ndarray]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from toolkit.geo.correlation import correlate, window
    from toolkit.geo.sphere import Coefficients

    def run(world: np.ndarray, seen: np.ndarray, size: int) -> np.ndarray:
        pitch, yaw, roll = poses(size).T
        starts = np.searchsorted(pitch, np.arange(2 * size + 1))
        samples = np.empty(POSES)
        spheres = [Coefficients(size, values, values, values) for values in (world, seen)]
        for row, scores in enumerate(correlate(*spheres, window(size), spin="0", precision="float64", threads=THREADS)):
            here = slice(starts[row], starts[row + 1])
            samples[here] = scores[yaw[here], roll[here]]
        return samples

    run(panorama[:36], photo[:36], 8)
    return lambda: run(panorama, photo, bandwidth)


def pysofft(panorama: np.ndarray, photo: np.ndarray, bandwidth: int, complex_fields: bool = False) -> Callable[[], np.ndarray]:
    """By its transform for real fields, about twice as fast as the one for complex fields, which is `pysofft_complex` here."""
    from pysofft import Soft, fftw, omp

    omp.set_num_threads(THREADS)

    def run() -> np.ndarray:
        soft = Soft(bandwidth, fftw_flags=fftw.flags.fftw_estimate)
        if complex_fields:
            block = soft.cross_correlation_ylm_cmplx(all_orders(panorama, bandwidth), all_orders(photo, bandwidth), use_mp=True)
        else:
            block = soft.cross_correlation_ylm_real(panorama, photo, use_mp=True)
        pitch, yaw, roll = poses(bandwidth).T
        size = 2 * bandwidth
        return block[-roll % size, (yaw + bandwidth // 2) % size, size - 1 - pitch].real

    return run


def pysofft_complex(panorama: np.ndarray, photo: np.ndarray, bandwidth: int) -> Callable[[], np.ndarray]:
    return pysofft(panorama, photo, bandwidth, complex_fields=True)


def all_orders(values: np.ndarray, bandwidth: int) -> np.ndarray:
    """The same real field's coefficients of all orders, at l (l + 1) + m."""
    m, degree = np.triu_indices(bandwidth)
    result = np.zeros(bandwidth**2, complex)
    result[degree * (degree + 1) - m] = (-1.0) ** m * np.conj(values)
    result[degree * (degree + 1) + m] = values
    return result


def totalconvolve(panorama: np.ndarray, photo: np.ndarray, bandwidth: int) -> Callable[[], np.ndarray]:
    import ducc0

    def run() -> np.ndarray:
        size, limit = 2 * bandwidth, bandwidth - 1
        interpolator = ducc0.totalconvolve.Interpolator(panorama[None], photo[None], False, limit, limit, epsilon=1e-10, nthreads=THREADS)
        step = np.pi / bandwidth
        alpha, gamma = np.meshgrid(np.pi / 2 - np.arange(size) * step, (np.arange(size) - bandwidth) * step, indexing="ij")
        pointing = np.stack([alpha, alpha % (2 * np.pi), gamma], 2).reshape(-1, 3)
        pitch, yaw, roll = poses(bandwidth).T
        starts = np.searchsorted(pitch, np.arange(size + 1))
        samples = np.empty(POSES)
        for row in range(size):
            pointing[:, 0] = np.pi - (row + 0.5) * step / 2
            scores = interpolator.interpol(pointing).reshape(size, size)
            here = slice(starts[row], starts[row + 1])
            samples[here] = scores[yaw[here], roll[here]]
        return samples

    return run


def pyshtools(panorama: np.ndarray, photo: np.ndarray, bandwidth: int) -> Callable[[], np.ndarray]:
    """Wigner's functions as Fourier series in the pitch, from pyshtools' of a quarter turn (Wandelt and Gorski, Phys. Rev. D 63, 2001)."""
    import scipy.fft
    from pyshtools.rotate import djpi2

    def run() -> np.ndarray:
        quarter = djpi2(bandwidth - 1)
        world, seen = (np.zeros((bandwidth, bandwidth), complex) for _ in range(2))
        for square, values in ((world, panorama), (seen, photo)):
            square[np.triu_indices(bandwidth)] = values
        size = 2 * bandwidth
        series = np.zeros((bandwidth, size - 1, bandwidth), complex)  # [m, n + B - 1, k]
        for degree in range(bandwidth):
            order, n = np.arange(degree + 1), np.arange(-degree, degree + 1)
            signs = (-1.0) ** (order[:, None] + order)
            half = quarter[: degree + 1, : degree + 1, degree] * signs  # [k, m]
            photo_n = np.where(n < 0, (-1.0) ** n * np.conj(seen[np.abs(n), degree]), seen[np.abs(n), degree])
            half_n = half[:, np.abs(n)].T * np.where(n[:, None] < 0, (-1.0) ** (degree + n[:, None] + order + n[:, None]), 1.0)
            left, right = half.T * world[: degree + 1, degree, None], half_n * np.conj(photo_n)[:, None]
            series[: degree + 1, bandwidth - 1 - degree : bandwidth + degree, : degree + 1] += left[:, None] * right[None]
        n, k = np.arange(1 - bandwidth, bandwidth), np.arange(bandwidth)
        beta = np.pi - (np.arange(size) + 0.5) * np.pi / size
        waves = np.exp(-1j * np.outer(k, beta))
        mirrored = np.where(k[:, None] == 0, 0, np.conj(waves))
        pitch, yaw, roll = poses(bandwidth).T
        spectrum = np.zeros((bandwidth + 1, size, size), complex)
        for row in range(bandwidth):
            odd = (row + n) % 2 == 1
            sums = np.where(odd[:, None], series[row] @ (waves - mirrored), series[row] @ (waves + mirrored))
            spectrum[row, -n] = np.conj(1j ** (2 * row - n)[:, None] * sums)  # i^m times i^(m - n)
        block = scipy.fft.ifft(spectrum, axis=1, workers=THREADS, overwrite_x=True)
        block = scipy.fft.irfft(block, size, axis=0, workers=THREADS) * size**2
        return block[yaw, (roll - bandwidth) % size, pitch]

    return run


def megabytes(name: str) -> float:
    """Of this process, from proc(5): ``VmRSS``, the memory held now, or ``VmHWM``, that at the peak."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024 / 1e6


def main(engine: str, coefficients: str, samples: str) -> None:
    with np.load(coefficients) as file:
        panorama, photo = file["panorama"], file["photo"]
    bandwidth = int(np.sqrt(2 * len(panorama)))
    engines = {function.__name__: function for function in (ours, pysofft, pysofft_complex, totalconvolve, pyshtools)}
    run = engines[engine](panorama, photo, bandwidth)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
    before = megabytes("VmRSS")
    began = time.perf_counter()
    values = run()
    seconds = time.perf_counter() - began
    peak = megabytes("VmHWM")
    np.save(samples, values)
    print(json.dumps({"s": seconds, "mb": peak - before, "process_mb": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
