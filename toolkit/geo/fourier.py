"""The Fourier sums of a correlation over rotations: from `toolkit.geo.wigner`'s sums to the scores of a window of poses.

With T_mkr the sums at row r, m = 0 ... B - 1 and k = -N ... N, a score is

    Re sum_m (2 - [m = 0]) e^{i m yaw} sum_k T_mkr e^{i k roll}

The inner sum is a complex transform over k, the outer one a transform of Hermitian coefficients over m. Where the window holds all cells
of an axis, or many, that axis takes a fast Fourier transform; where it holds few, a product with a matrix of cosines and sines is
cheaper. That matrix is folded: about the middle of the window the sum of the terms k and -k is even and their difference odd, so half of
the cells and half of the terms do, and real matrices.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ducc0
import numpy as np
from threadpoolctl import ThreadpoolController

TILE_BYTES = 1 << 20  # what a thread transforms at a time: as much as the second cache of a core holds
COLUMNS = 128  # of rolls, that a thread transforms over yaw at a time
ROWS = {"float32": 16, "float64": 8}  # of a spectrum, that are transformed together, two cache lines: more take memory and no less time

# Nanoseconds that a core takes (AMD EPYC of 2022, ducc0 0.42, OpenBLAS 0.3.30; only their ratios matter): a transform over S points for
# each S log2 S; the matrix for each of its terms, and for each term and cell of the window.
COSTS = {
    "float64": {"yaw": (0.21, 3.0, 0.048), "roll": (0.33, 5.5, 0.11)},
    "float32": {"yaw": (0.13, 1.8, 0.025), "roll": (0.25, 3.0, 0.055)},
}


def cheapest_ways(bandwidth: int, orders: int, yaw: int, roll: int, precision: str) -> tuple[str, str]:
    """How to sum over m for that many cells of yaw, and over k for those of roll: ``fft`` or ``matrix``."""

    def cheapest(axis: str, terms: int, cells: int) -> str:
        transform, term, product = COSTS[precision][axis]
        return "matrix" if terms * (term + product * cells) < transform * 2 * bandwidth * np.log2(2 * bandwidth) else "fft"

    return cheapest("yaw", bandwidth, yaw), cheapest("roll", orders, roll)


def spectrum_bytes(bandwidth: int, orders: int, yaw: int, roll: int, rows: int, precision: str, threads: int = 0) -> int:
    """The most memory that a spectrum of `rows` rows takes, with a `Fourier` for `ROWS` of them at a time and for `yaw` and `roll`
    cells, those numbers, in its calls too: bytes."""
    real = np.dtype(precision).itemsize
    kept = 2 * bandwidth * (2 * orders + 1) * rows
    rows = min(rows, ROWS[precision])
    kept += 2 * rows * (bandwidth + 1) * _padded(roll) + rows * yaw * roll
    over_yaw, over_roll = cheapest_ways(bandwidth, orders, yaw, roll, precision)
    kept += (2 * bandwidth * (yaw + 1) if over_yaw == "matrix" else 0) + (2 * orders * (roll + 1) if over_roll == "matrix" else 0)
    lines = _lines(bandwidth, orders, roll, over_roll)
    tile = 2 * _block(bandwidth, lines, rows, 2 * real) * rows * lines
    width = min(roll, COLUMNS)
    columns = _block(rows, 2 * bandwidth, width, real) * width * (2 * bandwidth if over_yaw == "fft" else 4 * bandwidth + yaw + 1)
    return (kept + (threads or _cores()) * max(tile, columns)) * real + (1 << 18)


class Fourier:
    """The sums over m and k for up to `rows` pitches at once, as many as `ROWS` at most, with tables made once.

    `yaw` and `roll` are consecutive cell numbers (`toolkit.geo.correlation.Window`), taken modulo 2B; `precision` is ``float32`` or
    ``float64``; `threads` is 0 for one on each core. `ways` chooses how to sum over yaw and over roll, ``fft`` or ``matrix``; by default
    the cheaper one for each. `transform` is the library of the fast transforms, ``ducc0`` or ``pyfftw``.
    """

    def __init__(
        self,
        bandwidth: int,
        orders: int,
        yaw: np.ndarray,
        roll: np.ndarray,
        rows: int,
        precision: str,
        threads: int = 0,
        *,
        ways: tuple[str, str] | None = None,
        transform: str = "ducc0",
    ) -> None:
        self.bandwidth, self.orders, self.threads = bandwidth, orders, threads or _cores()
        self.ways = ways or cheapest_ways(bandwidth, orders, len(yaw), len(roll), precision)
        self._transforms = _transforms(transform)
        real = np.dtype(precision)
        kind = np.result_type(real, np.complex64)
        size, rows = 2 * bandwidth, min(rows, ROWS[precision])
        self._middle = np.empty((rows, bandwidth + 1, _padded(len(roll))), kind)[:, :, : len(roll)]
        self._scores = np.empty((rows, len(yaw), len(roll)), real)
        # All cells of roll stay in the order of the transform until the sum over yaw, which puts each column where it belongs.
        self._whole = self.ways[1] == "fft" and len(roll) == size
        self._lines = _lines(bandwidth, orders, len(roll), self.ways[1])
        self._roll, self._yaw = _pieces(roll, size), _pieces(yaw, size)
        if self.ways[0] == "matrix":
            self._yaw_tables = _tables(yaw, size, np.arange(bandwidth), real)
            weights = np.where(np.arange(bandwidth) == 0, 1, 2).astype(real)
            self._yaw_tables = (self._yaw_tables[0] * weights, self._yaw_tables[1] * weights, self._yaw_tables[2])
        if self.ways[1] == "matrix":
            self._roll_tables = _tables(roll, size, np.arange(1, orders + 1), real)

    def __call__(self, spectrum: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the scores of each row, shape (yaw, roll), valid until the next one is asked for.

        `spectrum` is what `toolkit.geo.wigner.wigner_sums` makes: complex, shape (B, 2N + 1, rows), of that precision; it stays.
        """
        for first in range(0, spectrum.shape[2], len(self._scores)):
            yield from self._scores_of(spectrum[:, :, first : first + len(self._scores)])
        self._transforms.keep()

    def _scores_of(self, spectrum: np.ndarray) -> np.ndarray:
        rows = spectrum.shape[2]
        self._middle[:rows, self.bandwidth] = 0  # the order B, which a transform may have spoilt
        over_roll = self._roll_by_matrix if self.ways[1] == "matrix" else self._roll_by_fft
        over_yaw = self._yaw_by_matrix if self.ways[0] == "matrix" else self._yaw_by_fft
        with _libraries().limit(limits=1, user_api="blas"):  # of numpy's products: the threads are ours
            block = _block(self.bandwidth, self._lines, rows, spectrum.itemsize)
            orders = [slice(first, min(first + block, self.bandwidth)) for first in range(0, self.bandwidth, block)]
            self._in_threads(lambda shared: over_roll(spectrum, block, shared), orders)
            self._in_threads(over_yaw, [(some, *columns) for columns in self._columns() for some in self._rows(rows)])
        return self._scores[:rows]

    def _in_threads(self, work: Callable[[Iterator], None], tasks: Sequence) -> None:
        """Call `work` in this thread and others, no more than tasks; all take their tasks from the same iterator."""
        shared, others = iter(tasks), min(self.threads, len(tasks)) - 1
        if others < 1:
            work(shared)
            return
        with ThreadPoolExecutor(others) as pool:
            running = [pool.submit(work, shared) for _ in range(others)]
            work(shared)
            for one in running:
                one.result()

    def _rows(self, rows: int) -> list[slice]:
        """So many rows that their columns fill a tile."""
        step = _block(rows, 2 * self.bandwidth, min(self._middle.shape[2], COLUMNS), self._scores.itemsize)
        return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]

    def _columns(self) -> list[tuple[slice, slice]]:
        """Columns of the middle, and where they belong in the scores."""
        count = self._middle.shape[2]
        found = []
        for source, destination in self._roll if self._whole else [(slice(0, count), slice(0, count))]:
            for first in range(source.start, source.stop, COLUMNS):
                last, shift = min(first + COLUMNS, source.stop), destination.start - source.start
                found.append((slice(first, last), slice(first + shift, last + shift)))
        return found

    def _roll_by_fft(self, spectrum: np.ndarray, block: int, blocks: Iterator[slice]) -> None:
        size, orders, rows = 2 * self.bandwidth, self.orders, spectrum.shape[2]
        tile = np.zeros((block, size, rows), spectrum.dtype)
        target = self._middle[:rows].transpose(1, 2, 0)
        for some in blocks:
            part = tile[: some.stop - some.start]
            part[:, : orders + 1] = spectrum[some, : orders + 1]
            part[:, size - orders :] = spectrum[some, orders + 1 :]
            if self._whole:
                self._transforms.over_roll(part, target[some])
                continue
            part[:, orders + 1 : size - orders] = 0
            self._transforms.over_roll(part, part)
            for source, destination in self._roll:
                target[some, destination] = part[:, source]

    def _roll_by_matrix(self, spectrum: np.ndarray, block: int, blocks: Iterator[slice]) -> None:
        cosines, sines, turn = self._roll_tables
        half, count = len(cosines), self._middle.shape[2]
        kind, real, orders, rows = spectrum.dtype, cosines.dtype, self.orders, spectrum.shape[2]
        folded, even, odd = (np.empty((block, length, rows), kind) for length in (orders, half, half))
        target = self._middle[:rows].transpose(1, 2, 0)
        for some in blocks:
            number = some.stop - some.start
            terms, x, y = folded[:number], even[:number], odd[:number]
            positive, negative = spectrum[some, 1 : orders + 1], spectrum[some, :orders:-1]
            if turn is not None:
                positive, negative = positive * turn[:, None], negative * turn.conj()[:, None]
            np.add(positive, negative, out=terms)
            np.matmul(cosines, terms.view(real), out=x.view(real))
            np.subtract(positive, negative, out=terms)
            np.matmul(sines, terms.view(real), out=y.view(real))
            x += spectrum[some, :1]
            np.multiply(y, 1j, out=y)
            np.add(x, y, out=target[some, count - half :])
            np.subtract(x, y, out=target[some, :half][:, ::-1])

    def _yaw_by_fft(self, tasks: Iterator[tuple[slice, slice, slice]]) -> None:
        size = 2 * self.bandwidth
        whole = self._yaw == [(slice(0, size), slice(0, size))]
        for rows, source, destination in tasks:
            target, terms = self._scores[rows, :, destination], self._middle[rows, :, source]
            values = target if whole else np.empty((len(terms), size, terms.shape[2]), target.dtype)
            self._transforms.over_yaw(terms, values)
            if not whole:
                for cells, place in self._yaw:
                    target[:, place] = values[:, cells]

    def _yaw_by_matrix(self, tasks: Iterator[tuple[slice, slice, slice]]) -> None:
        cosines, sines, turn = self._yaw_tables
        half, count = len(cosines), self._scores.shape[1]
        for rows, source, destination in tasks:
            terms = self._middle[rows, : self.bandwidth, source]
            if turn is not None:
                terms = terms * turn[:, None]
            even = np.matmul(cosines, np.ascontiguousarray(terms.real))
            odd = np.matmul(sines, np.ascontiguousarray(terms.imag))
            target = self._scores[rows, :, destination]
            np.subtract(even, odd, out=target[:, count - half :])
            np.add(even, odd, out=target[:, :half][:, ::-1])


class _Ducc0:
    """The transforms by ducc0, which needs no plans; `toolkit.geo.fourier_fftw.Transforms` tells what they do."""

    def over_roll(self, values: np.ndarray, out: np.ndarray) -> None:
        ducc0.fft.c2c(values, axes=(1,), forward=False, out=out, nthreads=1)

    def over_yaw(self, values: np.ndarray, out: np.ndarray) -> None:
        ducc0.fft.c2r(values, axes=(1,), lastsize=out.shape[1], forward=False, out=out, nthreads=1)

    def keep(self) -> None:
        """Nothing was learnt."""


def _transforms(library: str) -> Any:
    if library == "ducc0":
        return _Ducc0()
    from toolkit.geo.fourier_fftw import Transforms

    return Transforms()


@functools.cache
def _libraries() -> ThreadpoolController:
    """What to ask for numpy's BLAS, which is looked for once."""
    return ThreadpoolController()


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def _lines(bandwidth: int, orders: int, roll: int, way: str) -> int:
    """Numbers that the sum over k needs room for, for each m and row: a transform's points, or terms and both results."""
    return 2 * bandwidth if way == "fft" else 3 * orders + roll + 1


def _block(most: int, length: int, width: int, itemsize: int) -> int:
    """How many planes of `length` times `width` numbers a thread takes at a time, up to `most`."""
    return max(1, min(most, TILE_BYTES // (length * width * itemsize)))


def _padded(columns: int) -> int:
    """A length of lines that is an odd number of cache lines: powers of two would put all rows of a column in the same few lines."""
    return (columns + 7) // 8 * 8 + (8 if (columns + 7) // 8 % 2 == 0 else 0)


def _pieces(cells: np.ndarray, size: int) -> list[tuple[slice, slice]]:
    """Consecutive cell numbers as slices of an axis of `size` cells that is closed to a ring, each with its place in the window."""
    first, count = int(cells[0]) % size, len(cells)
    before = min(count, size - first)
    pieces = [(slice(first, first + before), slice(0, before))]
    return pieces + ([(slice(0, count - before), slice(before, count))] if before < count else [])


def _tables(cells: np.ndarray, size: int, order: np.ndarray, real: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Cosines and sines of order times angle, for the angles from the middle of the window to its end, and the turn to that middle.

    Shapes (half of the cells, orders), twice, and (orders,); the turn is None when the middle is at zero.
    """
    twice = int(cells[0]) + int(cells[-1])  # the middle of an even number of cells is between two
    offsets = np.arange((len(cells) + 1) % 2, len(cells), 2)
    # Twice the order times the cell, modulo the ring: exact in integers, where a product of large numbers would lose digits.
    angles = (np.outer(offsets, order) % (2 * size)) * (np.pi / size)
    turn = np.exp(1j * np.pi / size * (twice * order % (2 * size))).astype(np.result_type(real, np.complex64))
    return np.cos(angles).astype(real), np.sin(angles).astype(real), None if twice % (2 * size) == 0 else turn
