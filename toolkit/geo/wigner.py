"""Sums of Wigner's functions over the degree, the costly part of a correlation over rotations.

With c^l_mn the products of two spheres' coefficients (`toolkit.geo.correlation`), S_mn(beta) = sum_l c^l_mn d^l_mn(beta), where d is
Wigner's function as in Varshalovich et al. 1988, 4.3. The sums are handed on as the Fourier coefficients of the raster of poses:
at the colatitude beta_r of row r, with m = 0 ... B - 1 and k = -N ... N,

    T_mkr = conj(i^m S_m,-k(beta_r)),    VCC(yaw, roll) = Re sum_m (2 - [m = 0]) sum_k T_mkr e^{i (m yaw + k roll)}
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from toolkit.geo.sphere import Coefficients

logger = logging.getLogger(__name__)

# Orders n whose share of the photograph's power is below this are left out: their sum changes a score by less than
# the square root of it, relative to the greatest possible score: 1e-12 for float64, 1e-7 for float32.
NEGLIGIBLE_POWER = {"float64": 1e-24, "float32": 1e-14}
# Nearer to a pole the recursion in float32 loses digits, 2e-3 of a sum's maximum at B = 1024: there it is done in float64.
_SINE_FOR_FLOAT32 = 0.2
# Coefficients and roots of so many bytes stay in a core's second cache while their products are made.
_TILE_BYTES = 350_000


@dataclass(frozen=True, eq=False)
class Products:
    """Coefficients of both spheres as the sum takes them: complex128, zero for l < m (l < n).

    `panorama`: shape (fields, B, B), [field, m, l], holds (-i)^m conj F_lm. `photo`: shape (fields, N + 1, B), [field, n, l], the P_ln,
    weighted.
    `orders` is N, the highest order of the photograph that matters: it is a cap about the pole, so high orders are empty.
    """

    bandwidth: int
    orders: int
    panorama: np.ndarray
    photo: np.ndarray

    @cache  # noqa: B019 (there are two precisions)
    def prepared(self, precision: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Both, and the roots, as the kernel takes them."""
        return _planes(self.panorama, precision), _planes(self.photo, precision), _roots(self.bandwidth, range(self.bandwidth))


def products(
    panorama: Coefficients, photo: Coefficients, *, spin: str = "2", scalar_weight: float = 1.0, precision: str = "float64"
) -> Products:
    """`spin` is ``0`` (strengths only), ``2`` (line fields) or ``both`` (line fields plus `scalar_weight` times strengths)."""
    fields = {
        "0": (("scalar", 1.0),),
        "2": (("electric", 1.0), ("magnetic", 1.0)),
        "both": (("electric", 1.0), ("magnetic", 1.0), ("scalar", scalar_weight)),
    }[spin]
    size = photo.bandwidth
    seen = np.stack([square(getattr(photo, name), size) * weight for name, weight in fields])
    power = (np.abs(seen) ** 2).sum(axis=(0, 2))
    beyond = np.cumsum(power[::-1])[::-1]
    orders = max(1, int(np.count_nonzero(beyond > NEGLIGIBLE_POWER[precision] * beyond[0])) - 1)
    # (-i)^m conj F: see T above
    turn = np.array([1, -1j, -1, 1j])[np.arange(size) % 4][:, None]
    world = np.stack([np.conj(square(getattr(panorama, name), size)) * turn for name, _ in fields])
    return Products(size, orders, world, np.ascontiguousarray(seen[:, : orders + 1]))


def square(values: np.ndarray, size: int) -> np.ndarray:
    """Coefficients in m-major order, l fastest, as an array [m, l], zero for l < m."""
    result = np.zeros((size, size), np.complex128)
    result[np.triu_indices(size)] = values
    return result


def wigner_sums(factors: Products, colatitude: np.ndarray, out: np.ndarray, threads: int = 0) -> int:
    """Put T_mkr into out[m, k mod W, r] for each `colatitude` (R,), radians in (0, pi).

    `out` is complex64 or complex128, which chooses the precision, of shape (at least B, W, at least R) with W >= 2N + 1; other
    elements are left as they are. Rows at beta and pi - beta in one call share most of the work, rows that are neighbours in both are
    stored sooner, and the work is done for `lanes_of_rows` of them at once. `threads`: 0 for one on each core. Returns the number of
    multiply-adds done.
    """
    from toolkit.geo.wigner_kernel import sums_of_orders

    colatitude = np.asarray(colatitude, np.float64)
    inner = np.sin(colatitude) >= _SINE_FOR_FLOAT32 if out.dtype == np.complex64 else np.zeros(len(colatitude), bool)
    kinds = [
        _lanes(colatitude, np.flatnonzero(chosen), kind)
        for kind, chosen in (("float32", inner), ("float64", ~inner))
        if chosen.any()
    ]
    threads = threads or len(os.sched_getaffinity(0))
    _tell_of_compiling()
    tile = max(1, min(8, _TILE_BYTES // (80 * factors.bandwidth)))
    firsts = range(0, factors.bandwidth, tile)
    counts = np.zeros((len(firsts), 2), np.int64)

    def work(first: int) -> None:
        for kind in kinds:
            sums_of_orders(
                first, min(first + tile, factors.bandwidth), tile, -1, factors.orders, *factors.prepared(kind.precision),
                kind.half, kind.groups, kind.rows, kind.scaling, kind.room(tile, factors.bandwidth), out, counts[first // tile],
            )  # fmt: skip

    for kind in kinds:
        factors.prepared(kind.precision)  # once, not in each thread
    threads = min(threads or len(os.sched_getaffinity(0)), len(firsts))
    if threads == 1:
        for first in firsts:
            work(first)
    else:
        pool = ThreadPoolExecutor(threads)
        try:
            list(pool.map(work, firsts))  # many short tasks: an interrupt waits for those that run
        finally:
            pool.shutdown(cancel_futures=True)
    return int(counts[:, 0].sum())


def wigner_d(m: int, n: int, colatitude: np.ndarray, bandwidth: int, precision: str = "float64") -> np.ndarray:
    """Wigner's d^l_mn for l < `bandwidth` at each `colatitude` (R,), radians in (0, pi), by the recursion of the sums: shape (B, R)."""
    from toolkit.geo.wigner_kernel import PADDING, sums_of_orders

    high, low = max(abs(m), abs(n)), min(abs(m), abs(n))
    if abs(m) >= abs(n):
        sign, column = ((-1) ** (m - n), -n) if m < 0 else (1, n)
    else:
        sign, column = (1, -m) if n < 0 else ((-1) ** (m - n), m)
    rows = _lanes(np.asarray(colatitude, np.float64), np.arange(len(colatitude)), precision)
    # of these only the pages that are touched take memory
    world, seen = (np.zeros((1, 2, size, bandwidth + PADDING), precision) for size in (high + 1, low + 1))
    out = np.zeros((high + 1, 2 * high + 1, len(colatitude)), np.complex128 if precision == "float64" else np.complex64)
    roots, counts, room = _roots(bandwidth, (low, high)), np.zeros(2, np.int64), rows.room(high + 1, bandwidth)
    result = np.zeros((bandwidth, len(colatitude)))
    for degree in range(high, bandwidth):
        world[0, 0, high], seen[0, 0, low] = 0.0, 0.0
        world[0, 0, high, degree] = seen[0, 0, low, degree] = 1.0
        sums_of_orders(
            high, high + 1, high + 1, low, low, world, seen, roots, rows.half, rows.groups, rows.rows, rows.scaling, room, out, counts
        )
        # T_high,-low holds the sum of d_high,low, and T_high,low (-1)^low times that of d_high,-low
        values = out[high, -low].real if column == low else out[high, low].real * (-1) ** low
        result[degree] = sign * values
    return result


def lanes_of_rows(precision: str) -> int:
    """How many rows, on one side of the equator, are worked on at once."""
    from toolkit.geo.vectors import lanes

    return lanes(precision)


def load_kernel(precision: str) -> None:
    """Begin to load the compiled part, which takes some tenths of a second; half of it is done by a thread beside what the caller does."""
    import gc
    from threading import Thread

    def load() -> None:
        try:
            _smallest_sum(precision, 1.0)
        finally:
            gc.enable()

    gc.disable()  # modules and compiled code stay; looking through them for garbage takes a tenth of the time, of compiling too
    _tell_of_compiling()  # loads numba not in the thread: see toolkit.geo.vectors
    Thread(target=load).start()


def compile_kernel() -> None:
    """Compile all that any use needs, where it was not compiled before on this machine."""
    from toolkit.geo.maxima import compile_search

    for precision in ("float32", "float64"):
        for colatitude in (0.1, 1.0):
            _smallest_sum(precision, colatitude)
    compile_search()


def _smallest_sum(precision: str, colatitude: float) -> None:
    unit, out = np.ones((1, 1, 1), np.complex128), np.empty((1, 1, 1), np.complex64 if precision == "float32" else np.complex128)
    wigner_sums(Products(1, 0, unit, unit), np.array([colatitude]), out, 1)


@cache
def _tell_of_compiling() -> None:
    """Once on each machine; numba keeps what it compiled beside the source or in the user's cache directory."""
    from toolkit.geo.wigner_kernel import sums_of_orders

    kept = sums_of_orders.stats.cache_path
    if not (kept and any(Path(kept).glob("wigner_kernel.sums_of_orders-*.nbi"))):
        logger.warning("the correlation is being compiled for this machine, once: it takes some seconds")


def _planes(values: np.ndarray, precision: str) -> np.ndarray:
    """Complex (F, n, l) as real (F, 2, n, l), with zeros behind."""
    from toolkit.geo.wigner_kernel import PADDING

    planes = np.zeros((len(values), 2, values.shape[1], values.shape[2] + PADDING), precision)
    planes[:, 0, :, :-PADDING] = values.real
    planes[:, 1, :, :-PADDING] = values.imag
    return planes


def _roots(size: int, orders: Iterable[int]) -> np.ndarray:
    """sqrt((l^2 - m^2) / l) and its inverse (0 for 0), [m, l] for the given m, with zeros behind."""
    from toolkit.geo.wigner_kernel import PADDING

    degree = np.arange(size, dtype=np.float64)
    roots = np.zeros((2, max(orders) + 1, size + PADDING))
    for m in orders:
        root, inverse = roots[:, m, :size]
        np.sqrt(np.maximum(degree**2 - float(m) ** 2, 0.0) / np.maximum(degree, 1.0), out=root)
        np.divide(1.0, root, out=inverse, where=root > 0)
    return roots


@dataclass(frozen=True)
class _Lanes:
    """Rows as the kernel takes them, see `toolkit.geo.wigner_kernel.sums_of_orders`."""

    half: np.ndarray
    groups: np.ndarray
    rows: np.ndarray
    scaling: np.ndarray
    precision: str

    def room(self, orders: int, bandwidth: int) -> tuple[np.ndarray, ...]:
        from toolkit.geo.wigner_kernel import room

        return room(orders, bandwidth, self.half.shape[1], self.half.shape[1] // len(self.groups), self.precision)


def _lanes(colatitude: np.ndarray, chosen: np.ndarray, precision: str) -> _Lanes:
    """Pair the chosen rows at beta and pi - beta, and put those of one sort (both, north only, south only) into groups."""
    from toolkit.geo.vectors import lanes

    width = lanes(precision)
    pairs: list[list[float]] = []  # the angle from the nearer pole, the north row, the south row
    for angle, south, row in sorted((min(colatitude[row], np.pi - colatitude[row]), colatitude[row] > np.pi / 2, row) for row in chosen):
        if not (pairs and pairs[-1][1 + south] < 0 and angle - pairs[-1][0] < 1e-14):
            pairs.append([angle, -1, -1])
        pairs[-1][1 + south] = row
    together: dict[tuple[bool, bool], list[list[float]]] = {}
    for pair in pairs:
        together.setdefault((pair[1] >= 0, pair[2] >= 0), []).append(pair)
    entries, groups = [], []
    for (north, south), members in together.items():
        members.sort(key=lambda pair: pair[1] if north else pair[2])
        for first in range(0, len(members), width):
            some = np.array(members[first : first + width])
            full = len(some) == width
            groups.append((north, south, *(full and (np.diff(some[:, side]) == 1).all() for side in (1, 2))))
            entries += [some, np.tile([some[-1, 0], -1, -1], (width - len(some), 1))]
    angle, *rows = np.concatenate(entries).T
    sine, cosine = np.sin(angle / 2), np.cos(angle / 2)
    half = np.stack([np.log2(sine * cosine), cosine / sine, sine, sine**2])
    scaling = [64.0, -40.0] if precision == "float32" else [512.0, -70.0]
    return _Lanes(half, np.array(groups, np.int64), np.array(rows).astype(np.int64), np.array(scaling), precision)
