"""One photograph against many panoramas: the best poses of each, over the same window.

With Q_lm the coefficients of the photograph rotated by the pitch and the roll of a sample of the window (`toolkit.geo.correlation`),

    VCC(yaw) = Re sum_{m>=0} (2 - [m = 0]) e^{i m yaw} sum_{l>=m} (-i)^m conj(F_lm) Q_lm

The Q are computed once. Then for each order m the sum over l of all samples and many panoramas is one product of matrices, and that
over m a real Fourier transform.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from toolkit.geo.block import Block
from toolkit.geo.candidates import Candidate, rank_candidates, ranked, refined
from toolkit.geo.coefficients_file import coefficients_of
from toolkit.geo.correlation import Window, correlate
from toolkit.geo.sphere import Coefficients
from toolkit.geo.wigner import Products, products, wigner_sums

_TABLE_BYTES = 384 << 20  # of the rotated photographs that are held at once
_PANORAMA_BYTES = 192 << 20  # of the panoramas, and their maxima, gone through together when the table does not hold the whole window
_TOGETHER = 32  # panoramas in a product
_SCORE_BYTES = 8 << 20  # of a thread's sums and scores


class Batch:
    """A photograph, prepared to be correlated with any number of panoramas over the same window.

    `spin` and `scalar_weight` as in `toolkit.geo.correlation.correlate`, `top` and `separation` as in
    `toolkit.geo.candidates.rank_candidates`, `threads`: 0 for one on each core. The arithmetic is float32, and memory is bounded
    whatever the window: what exceeds a table of 384 MB is computed again for every `at_once` panoramas.
    """

    def __init__(
        self,
        photo: Coefficients,
        cells: Window,
        *,
        spin: str = "2",
        scalar_weight: float = 1.0,
        top: int = 10,
        separation: float = 3.0,
        threads: int = 0,
    ) -> None:
        self.photo, self.cells, self.spin, self.scalar_weight = photo, cells, spin, scalar_weight
        self.top, self.separation, self.threads = top, separation, threads or len(os.sched_getaffinity(0))
        self._fields = {"0": slice(2, 3), "2": slice(0, 2), "both": slice(0, 3)}[spin]
        size = cells.bandwidth
        count = size * (size + 1) // 2
        most = max(1, _TABLE_BYTES // (8 * len(cells.roll) * (self._fields.stop - self._fields.start) * count))
        inner = len(cells.pitch) if most >= len(cells.pitch) else max(1, most - 2)
        self._blocks = [(first, min(first + inner, len(cells.pitch))) for first in range(0, len(cells.pitch), inner)]
        self._tables: list[np.ndarray] | None = None
        self._factors = products(photo, photo, spin=spin, scalar_weight=scalar_weight, precision="float32")
        self._rows = max(1, _SCORE_BYTES // (16 * (size + 1) * len(cells.roll) * _TOGETHER))
        whole = len(self._blocks) == 1
        self.at_once = 4 * self.threads * _TOGETHER if whole else max(1, _PANORAMA_BYTES // (24 * count + 120 * _most_maxima(top)))

    def best_poses(self, panoramas: np.ndarray) -> Iterator[list[Candidate]]:
        """The best poses of each, best first: panoramas complex64, shape (count, 3, B(B+1)/2), see
        `toolkit.geo.coefficients_file`.

        `count` should be `at_once` or a few times as much where there are so many.
        """
        if self._tables is None and 4 * len(panoramas) < self.cells.bandwidth:  # preparing would take longer than each by itself
            yield from map(self._alone, panoramas)
            return
        parts = [slice(first, first + _TOGETHER) for first in range(0, len(panoramas), _TOGETHER)]
        found = [_Maxima(min(_TOGETHER, len(panoramas) - part.start), self.top) for part in parts]
        pool = ThreadPoolExecutor(self.threads)
        try:
            with _one_thread_in_products():
                for inner in self._blocks:
                    tables = self._prepared(*inner)
                    for one in [pool.submit(self._search, tables, inner, panoramas[p], m) for p, m in zip(parts, found, strict=True)]:
                        one.result()
                poses = list(pool.map(self._poses, found))
        finally:
            pool.shutdown(cancel_futures=True)  # an interrupt waits for those that run
        for panorama, some in zip(panoramas, itertools.chain.from_iterable(poses), strict=True):
            yield self._alone(panorama) if some is None else some

    def _alone(self, panorama: np.ndarray) -> list[Candidate]:
        world = coefficients_of(panorama)
        slices = correlate(
            world, self.photo, self.cells, spin=self.spin, scalar_weight=self.scalar_weight, threads=self.threads
        )
        return rank_candidates(Block(*self.cells.axes, slices), self.top, self.separation)[0]

    def _prepared(self, first: int, last: int) -> list[np.ndarray]:
        """The tables of these pitches and of one beside them on each side, where the window has it."""
        if self._tables is None:
            outer = slice(max(first - 1, 0), min(last + 1, len(self.cells.pitch)))
            tables = rotated(self._factors, self.cells, outer, self.threads)
            if len(self._blocks) > 1:
                return tables
            self._tables = tables
        return self._tables

    def _search(self, tables: list[np.ndarray], pitches: tuple[int, int], panoramas: np.ndarray, maxima: _Maxima) -> None:
        """Correlate with some panoramas over some pitches, a few at a time, and keep the maxima."""
        from toolkit.geo.maxima import add_maxima

        cells, (following, last) = self.cells, pitches
        yaws, rolls, ring = len(cells.yaw), len(cells.roll), 2 * cells.bandwidth
        turned = np.ascontiguousarray(panoramas[:, self._fields].transpose(1, 2, 0))
        start, held = max(following - 1, 0), len(tables[0]) // rolls
        before = np.empty((len(panoramas), 0, rolls, yaws), np.float32)
        for first in range(0, held, self._rows):
            part = [table[first * rolls : (first + self._rows) * rolls] for table in tables]
            scores = self._scores(part, turned).reshape(len(panoramas), -1, rolls, ring)
            if yaws < ring:
                scores = scores.take(cells.yaw % ring, axis=-1)
            ends = first + scores.shape[1]
            scores = np.concatenate([before, scores], axis=1) if before.shape[1] else scores
            lowest = start + ends - scores.shape[1]
            # A pitch is searched when the next one is there.
            beyond = min(last, start + ends - (ends < held))
            inner = np.array([following - lowest, beyond - lowest])
            code = following * yaws * rolls
            for number, one in enumerate(scores):
                add_maxima(
                    one, inner, code, yaws == ring, rolls == ring,
                    maxima.state[number], maxima.values[number], maxima.codes[number], maxima.around[number],
                )  # fmt: skip
            following = max(following, beyond)
            before = scores[:, -2:]

    def _scores(self, tables: list[np.ndarray], panoramas: np.ndarray) -> np.ndarray:
        """Scores (count, samples, yaw) of coefficients (fields, B(B+1)/2, count)."""
        from ducc0.fft import c2r

        size, samples, count = self.cells.bandwidth, len(tables[0]), panoramas.shape[2]
        sums = np.zeros((size + 1, samples, count), np.complex64)
        start = 0
        for m, table in enumerate(tables):
            some = np.ascontiguousarray(panoramas[:, start : start + size - m]).reshape(-1, count)
            np.matmul(table, some, out=sums[m])
            start += size - m
        scores = np.empty((count, samples, 2 * size), np.float32)
        c2r(sums, axes=(0,), lastsize=2 * size, forward=True, out=scores.transpose(2, 1, 0), nthreads=1)
        return scores

    def _poses(self, maxima: _Maxima) -> list[list[Candidate] | None]:
        """Of each panorama; None where maxima were dropped that are needed."""
        from toolkit.geo.maxima import suppress

        yaw, pitch, roll = self.cells.axes
        block = Block(yaw, pitch, roll, iter(()))
        chosen = np.empty(self.top, np.int64)
        codes, around, counts = [], [], []
        for number, (count, dropped) in enumerate(maxima.state):
            best_first = np.lexsort((maxima.codes[number, :count], -maxima.values[number, :count]))
            found = suppress(best_first, maxima.codes[number], yaw, pitch, roll, self.top, self.separation, chosen)
            counts.append(-1 if dropped and found < self.top else found)
            codes.append(maxima.codes[number, chosen[:found]])
            around.append(maxima.around[number, chosen[:found]])
        cells = np.stack(np.unravel_index(np.concatenate(codes), (len(pitch), len(yaw), len(roll))), 1)
        entries = iter(refined(block, cells, np.concatenate(around).reshape(-1, 3, 3, 3)))
        poses = [ranked([next(entries) for _ in some]) for some in codes]
        return [None if count < 0 else some for count, some in zip(counts, poses, strict=True)]


def rotated(factors: Products, cells: Window, pitches: slice, threads: int) -> list[np.ndarray]:
    """The photograph's coefficients i^m conj(Q_lm) under each of those pitches and all rolls of the window.

    For each order m an array, complex64, shape (samples, fields * (B - m)), pitch by pitch, field by field.
    """
    size, orders = factors.bandwidth, factors.orders
    colatitude = np.radians(90.0 - cells.axes[1][pitches])
    fields, rolls = len(factors.photo), len(cells.roll)
    tables = [np.zeros((len(colatitude), rolls, fields, size - m), np.complex64) for m in range(size)]
    order = np.r_[0 : orders + 1, -orders:0]
    turn = np.exp(1j * np.outer(order, np.radians(cells.axes[2])))
    phase = np.array([1, 1j, -1, -1j], np.complex64)[np.arange(size) % 4][:, None, None]
    unit = np.zeros((1, size, size), np.complex128)
    for degree in range(size):
        # The sums with coefficients of one for this degree alone are, but for phases, Wigner's functions.
        highest = min(orders, degree)
        unit[:] = 0
        unit[0, : degree + 1, degree] = 1
        sums = np.zeros((degree + 1, 2 * highest + 1, len(colatitude)), np.complex64)
        part = unit[:, : degree + 1, : degree + 1]
        wigner_sums(Products(degree + 1, highest, part, part[:, : highest + 1]), colatitude, sums, threads)
        seen = np.conj(factors.photo[:, : highest + 1, degree])
        both = np.concatenate([seen, np.conj(seen[:, :0:-1])], axis=1)  # the orders 0 ... N, then -N ... -1
        used = np.r_[0 : highest + 1, 2 * orders + 1 - highest : 2 * orders + 1]
        factor = np.conj(both.T[:, :, None] * turn[used][:, None, :]).reshape(len(used), -1).astype(np.complex64)
        values = (np.conj(sums) * phase[: degree + 1]).transpose(0, 2, 1) @ factor
        for m in range(degree + 1):
            tables[m][..., degree - m] = values[m].reshape(len(colatitude), fields, rolls).transpose(0, 2, 1)
    return [table.reshape(len(colatitude) * rolls, -1) for table in tables]


@dataclass(frozen=True, init=False)
class _Maxima:
    """The maxima kept for each of some panoramas, see `toolkit.geo.maxima.add_maxima`."""

    state: np.ndarray
    values: np.ndarray
    codes: np.ndarray
    around: np.ndarray

    def __init__(self, count: int, top: int) -> None:
        most = _most_maxima(top)
        object.__setattr__(self, "state", np.zeros((count, 2), np.int64))
        object.__setattr__(self, "values", np.empty((count, most), np.float32))
        object.__setattr__(self, "codes", np.empty((count, most), np.int64))
        object.__setattr__(self, "around", np.empty((count, most, 27), np.float32))


def _most_maxima(top: int) -> int:
    """Of one panorama that are kept: few of them are so close to a better one that they are not listed."""
    return 1024 + 64 * top


def _one_thread_in_products():  # type: ignore[no-untyped-def]
    """While this lasts numpy's matrix products take one thread each: the threads are ours."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().limit(limits=1, user_api="blas")
