"""What a correlation will take before it is started: time, memory, and room for its block.

Time comes from counting: the multiply-adds of the Wigner sum at each pitch, and the Fourier sums; and from how fast this machine just did
a few of both, by the very code that will run. Memory is that of the arrays which live at the same time.
"""

from __future__ import annotations

import io
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from toolkit.core.errors import UsageError
from toolkit.core.limits import free_disk, free_memory, kilobytes
from toolkit.core.streams import stream_name
from toolkit.geo.block import write_block
from toolkit.geo.coefficients_file import bandwidth_of
from toolkit.geo.correlation import Window, batches
from toolkit.geo.fourier import Fourier, spectrum_bytes
from toolkit.geo.sphere import Coefficients, analyse
from toolkit.geo.wigner import Products, lanes_of_rows, wigner_sums

# By how many times the cube root of B sin(delta) the orders of a cap of radius delta reach beyond B sin(delta) before their power is
# negligible in `toolkit.geo.wigner.NEGLIGIBLE_POWER`'s sense; measured on photographs' edges, B = 32 ... 1024: 1.4 to 2.3, 4.7 to 5.6.
_BEYOND = {"float32": 2.3, "float64": 5.6}
# Left of a turning point a function falls as Airy's does: so many times (l/2)^(1/3) before it, it reaches the kernel's least value that
# counts, 2^-40 or 2^-70: 2/3 x^(3/2) = 40 ln 2 or 70 ln 2.
_EARLY = {"float32": 12.0, "float64": 17.4}
_PROBE = 192  # bandwidth of the Wigner sums that are timed, at most: some 50 ms
_GRID = 48  # orders m and n at which multiply-adds are counted: their number varies smoothly with both
# Measured (ru_maxrss), bytes: the interpreter, libraries and compiled code; for each square of a sphere's bandwidth its own densities, and
# what the analysis of the larger one takes; for each coefficient of both, [m, l] and [n, l], also as products and as the kernel's tables.
_PROGRAM = 170e6
_SPHERE, _ANALYSIS = 48.0, 370.0
_CORRELATION = 130.0
_RESERVED, _RESERVED_BY_THREAD = 300e6, 140e6  # address space beyond what is resident
_VARIES = 4e6  # by which two runs of the same command differ: what a remedy names fits the next time too


@dataclass(frozen=True)
class Work:
    """A correlation that is to be done: what its costs depend on.

    `inputs` are the bandwidths of both spheres, `orders` is N of `toolkit.geo.wigner.Products`; `cap` is the sine of the photograph's
    radius, from which N follows at other bandwidths.
    """

    cells: Window
    inputs: tuple[int, int]
    orders: int
    precision: str
    threads: int
    transform: str = "ducc0"
    cap: float = 1.0

    def at(self, bandwidth: int) -> Work:
        """The same at another bandwidth, in about the same window."""
        scale = bandwidth / self.cells.bandwidth
        axes = (_scaled(axis, scale) for axis in (self.cells.yaw, self.cells.pitch, self.cells.roll))
        return replace(self, cells=Window(bandwidth, *axes), orders=orders_of(self.cap, bandwidth, self.precision))

    @property
    def block_bytes(self) -> int:
        """The size of the block, exactly."""
        head = io.BytesIO()
        write_block(head, *self.cells.axes, (), self.precision)
        pitch, yaw, roll = self.cells.shape
        return len(head.getvalue()) + pitch * yaw * roll * np.dtype(self.precision).itemsize

    @property
    def batches(self) -> list[np.ndarray]:
        """The pitches that are computed together."""
        return batches(self.cells, self.orders, self.precision)

    @property
    def memory(self) -> int:
        """The greatest resident memory of a process that does it, bytes, approximately."""
        cells, inputs = self.cells, [bandwidth**2 for bandwidth in self.inputs]
        analysis = _SPHERE * sum(inputs) + _ANALYSIS * max(inputs)
        correlation = _CORRELATION * cells.bandwidth * (cells.bandwidth + self.orders) + self._kept_bytes()
        # Where a few orders less, for which N is too uncertain, let more pitches be computed together, it is those that count.
        correlation += max(replace(self, orders=max(1, round(self.orders * part)))._sums_bytes() for part in (1.0, 0.95))
        return round(_PROGRAM + max(analysis, correlation))

    def _sums_bytes(self) -> int:
        cells, rows = self.cells, max(map(len, self.batches))
        return spectrum_bytes(cells.bandwidth, self.orders, len(cells.yaw), len(cells.roll), rows, self.precision, self.threads)

    def _kept_bytes(self) -> int:
        """Scores of pitches that wait until those before them are done."""
        waiting, most, following = set(), 0, 0
        for rows in self.batches:
            waiting |= set(rows)
            while following in waiting:
                waiting.remove(following)
                following += 1
            most = max(most, len(waiting))
        return most * len(self.cells.yaw) * len(self.cells.roll) * np.dtype(self.precision).itemsize

    def multiply_adds(self, rows: np.ndarray | None = None) -> float:
        """Of the Wigner sums for a batch of pitches, by their place in the window, or for all batches; about."""
        if rows is None:
            return sum(self.multiply_adds(some) for some in self.batches)
        size, at_once = self.cells.bandwidth, lanes_of_rows(self.precision)
        # A pitch and its opposite share their functions. What is worked on at once goes as far as its pitch nearest to the horizon needs.
        heights, count = np.unique(np.abs(self.cells.axes[1][rows]).round(9), return_counts=True)
        groups = [(height, number) for number in (1, 2) for height in heights[count == number][::at_once]]
        beta, number = (np.array(values)[:, None, None] for values in zip(*groups, strict=True))
        beta = np.radians(90.0 - beta)
        m = (np.arange(_GRID) + 0.5)[:, None] * size / _GRID
        n = (np.arange(2 * _GRID) + 0.5) * (self.orders + 0.5) / _GRID - self.orders - 0.5
        turning = np.sqrt(np.maximum(m**2 + n**2 - 2 * m * n * np.cos(beta), 0)) / np.sin(beta)
        steps = np.where((abs(n) <= m) & (turning < size + max(100, size / 100)), size - m + 4, 0)  # in blocks of eight degrees
        early = np.clip(turning - _EARLY[self.precision] * np.cbrt(turning / 2) - m, 0, size - m)
        # Two for each step of the recursion, and two for each sum that it serves: that of (m, n), and of (n, m) where m is an order too.
        sums = np.where(m <= self.orders, 4, 2) * number
        cost = 2 * steps + sums * np.maximum(steps - early, 0)
        return float(cost.sum()) * at_once * size / _GRID * (2 * self.orders + 1) / (2 * _GRID)


def _scaled(axis: np.ndarray, scale: float) -> np.ndarray:
    count = max(1, round(len(axis) * scale))
    return round((axis[0] + axis[-1] + 1) * scale / 2 - count / 2) + np.arange(count)


@dataclass(frozen=True)
class Seconds:
    """What each stage will take on this machine, about; without writing, which a disk or a reader limits."""

    analysis: float
    wigner: float
    fourier: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.analysis + self.wigner + self.fourier


def cap_of(photo: np.ndarray) -> float:
    """The sine of the radius of the cap around the pole in which a photograph's lines lie, on a sphere of shape (2B, 2B, 3); at most 1."""
    rows = np.flatnonzero(photo.any(axis=(1, 2)))
    radius = np.pi * (rows[-1] + 1) / photo.shape[0] if len(rows) else 0.0
    return float(np.sin(min(radius, np.pi / 2)))


def orders_of(cap: float, bandwidth: int, precision: str) -> int:
    """N of a photograph whose lines lie in a cap, about."""
    reach = bandwidth * cap
    return int(max(1, min(bandwidth - 1, np.ceil(reach + _BEYOND[precision] * np.cbrt(reach)))))


def plan(
    cells: Window, panorama: np.ndarray | Coefficients, photo: np.ndarray, precision: str, threads: int = 0, transform: str = "ducc0"
) -> Work:
    """The correlation of two spheres, or of a panorama's coefficients, as `toolkit.geo.correlation.correlate` is asked for it;
    `threads`: 0 for one on each core."""
    inputs = (bandwidth_of(panorama), photo.shape[0] // 2)
    cores = threads or len(os.sched_getaffinity(0))
    cap = cap_of(photo)
    return Work(cells, inputs, orders_of(cap, cells.bandwidth, precision), precision, cores, transform, cap)


def measure(work: Work) -> Seconds:
    """Do a little of it, and conclude from that."""
    random = np.random.default_rng(0)
    cells = work.cells
    rows = max(work.batches, key=work.multiply_adds)
    beta = np.radians(90.0 - cells.axes[1][rows])

    # The same pitches at a low bandwidth.
    size = min(cells.bandwidth, _PROBE)
    pitch = (np.degrees(np.pi - beta) * size - 45.0) / 90.0
    small = replace(work.at(size), cells=Window(size, cells.yaw[:1], pitch, cells.roll[:1]))
    panorama, photo = (random.normal(size=(2, count, size)) + 0j for count in (size, small.orders + 1))
    factors = Products(size, small.orders, panorama, photo)
    out = np.empty((size, 2 * small.orders + 1, len(rows)), np.result_type(np.dtype(work.precision), np.complex64))
    wigner_sums(factors, beta[:1], out, work.threads)  # loads the compiled code, or compiles it
    sums = _seconds(lambda: wigner_sums(factors, beta, out, work.threads))
    share = work.multiply_adds() / small.multiply_adds(np.arange(len(rows)))

    some = min(len(rows), 16)
    fourier = Fourier(
        cells.bandwidth, work.orders, cells.yaw, cells.roll, some, work.precision, work.threads, transform=work.transform
    )
    spectrum = np.zeros((cells.bandwidth, 2 * work.orders + 1, some), out.dtype)
    deque(fourier(spectrum), 0)  # the first one plans, and asks the system for memory
    once = _seconds(lambda: deque(fourier(spectrum), 0))

    sphere = random.random((256, 256, 3), np.float32)
    analysis = _seconds(lambda: analyse(sphere, 128, threads=work.threads))
    return Seconds(
        sum(analysis * (bandwidth / 128.0) ** 2 for bandwidth in work.inputs), sums * share, once * len(cells.pitch) / some
    )


def _seconds(call: Callable[[], object]) -> float:
    """What a call takes: the median of up to five, as another process may come in between; fewer where they take long."""
    found: list[float] = []
    while len(found) < 5 and sum(found) < 0.2:
        begin = time.perf_counter()
        call()
        found.append(time.perf_counter() - begin)
    return median(found)


def check_room(work: Work, output: str) -> None:
    """Raise UsageError when the block does not fit where `output` lies, or the work does not fit the memory; `-` is standard output."""
    disk = free_disk(output)
    if disk is not None and work.block_bytes > disk[0]:
        smaller = _largest(work, lambda other: other.block_bytes <= disk[0])
        place = "standard output" if output == "-" else output
        problem = f"has too little room: the block takes {in_words(work.block_bytes)}, {disk[1]} leaves {in_words(disk[0])}"
        raise UsageError(place, problem, f"ask for {smaller or 'a lower bandwidth'} or a smaller window, or pipe it to rank-candidates")
    memory, has = free_memory(_reserved(work)), kilobytes("/proc/self/status", "VmRSS") or 0
    if memory is None:
        return
    needed = round(_PROGRAM)  # where that is too much, libraries could not be loaded either, of which `work.memory` needs some
    if needed - has <= memory[0]:
        needed = work.memory
    if needed - has > memory[0]:
        smaller = _largest(work, lambda other: other.memory - has <= memory[0] - _VARIES) if needed > _PROGRAM else ""
        problem = f"does not suffice: the correlation takes {in_words(needed - has)}, {memory[1]} leaves {in_words(memory[0])}"
        remedy = f"ask for {smaller}" if smaller else "run it where there is more, or make smaller spheres (-b of cylmap and projmap)"
        raise UsageError("memory", problem, remedy)


def _reserved(work: Work) -> int:
    return round(_RESERVED + work.threads * _RESERVED_BY_THREAD)


def _largest(work: Work, fits: Callable[[Work], bool]) -> str:
    """The greatest bandwidth that fits, as an option; nothing where none does."""
    least, most = 1, work.cells.bandwidth
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if fits(work.at(middle)) else (least, middle)
    return f"--bandwidth {least} or less" if least > 1 else ""


def predict(work: Work, output: str) -> list[str]:
    """Lines for the user: the raster, the window, and what it will take of time, memory and the disk of `output`."""
    seconds = measure(work)
    pitch, yaw, roll = work.cells.shape
    whole, cells = (2 * work.cells.bandwidth) ** 3, pitch * yaw * roll
    axes = zip(("yaw", "pitch", "roll"), work.cells.axes, (1.0, 0.5, 1.0), strict=True)
    step = 180.0 / work.cells.bandwidth
    memory, disk = free_memory(_reserved(work)), free_disk(output)
    lines = []
    for name, axis, half in axes:
        lines.append(f"{name:9}{axis[0]:.6g} to {axis[-1]:.6g} degrees, {_count(len(axis), 'cell')} of {step * half:.4g}")
    lines += [
        f"window   {cells:,} of {whole:,} cells, {100 * cells / whole:.3g} %",
        f"orders   m to {work.cells.bandwidth - 1}, n to about {work.orders}",
        f"block    {in_words(work.block_bytes)}, {work.precision}",
        f"time     about {_time(seconds.total)} and what writing takes: analysis {_time(seconds.analysis)}, "
        f"Wigner sums {_time(seconds.wigner)}, Fourier sums {_time(seconds.fourier)}; {_count(work.threads, 'thread')}",
        f"memory   about {in_words(work.memory)}" + (f"; {memory[1]} leaves {in_words(memory[0])}" if memory else ""),
    ]
    if disk:
        lines.append(f"disk     {in_words(work.block_bytes)} for {stream_name(output)}; {disk[1]} leaves {in_words(disk[0])}")
    return lines


def in_words(size: float) -> str:
    """A number of bytes with three digits: 512 bytes, 15.1 MB."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            return f"{size:.3g} {unit}"
        size /= 1000.0
    raise AssertionError


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}" + ("s" if number != 1 else "")
