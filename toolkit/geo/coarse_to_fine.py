"""The best poses of a correlation without all of its cells: a coarse raster first, then only the neighbourhoods of what is good there.

Each level doubles the bandwidth: a cell of one is eight of the next. Around every pose that survives, the cells up to `REACH` away are
summed directly from `toolkit.geo.wigner`'s sums, for those pitches alone. Their local maxima are the same cells, scores and neighbours
as those of the whole raster, and the best of them survive into the next level or, at the last, are the result.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from toolkit.core.progress import progress
from toolkit.geo.block import Block
from toolkit.geo.candidates import Candidate, Maxima, apart, best_apart, block_maxima, goes_around
from toolkit.geo.correlation import Window, batches, correlate, window
from toolkit.geo.sphere import Coefficients
from toolkit.geo.wigner import Products, lanes_of_rows, products, wigner_sums

Limits = tuple[float, float] | None

# The first level has this bandwidth or up to twice as much. Of seven photographs of mountains the best pose of the search at 256 or 512
# was the best of the maxima at 128 each time; at 64 one had no maximum there, the others were among the best nine. The whole
# raster at 128 takes 0.1 s, less than the neighbourhoods of hundreds of maxima at 64 would.
FIRST_BANDWIDTH = 128
# How many maxima of the first level are looked at in the second, an eighth as many in each next one, besides those that would be listed.
# With 64 one to three of the ten best at 256 were lost, none of the first three; 256 lose half as many and take twice as long.
FIRST_SURVIVORS, LEAST_SURVIVORS = 64, 8
# Cells to each side: the pose below the coarse cell is right to about one fine cell, which wants its neighbours. 3 found no more.
REACH = 2
_MOST_ROUNDS = 16
_TURNED_BYTES = 32 << 20
_OFFSETS = np.arange(-REACH, REACH + 1)


@dataclass(frozen=True)
class Limit:
    """Which poses are searched: degrees, None is the whole axis, see `toolkit.geo.correlation.window`."""

    yaw: Limits = None
    pitch: Limits = None
    roll: Limits = None


def levels(bandwidth: int) -> list[int]:
    """The bandwidths of the search, ascending, the last one `bandwidth`; only that when it is less than twice `FIRST_BANDWIDTH`."""
    found = [bandwidth]
    while found[0] >= 2 * FIRST_BANDWIDTH:
        found.insert(0, (found[0] + 1) // 2)
    return found


def search(
    panorama: Coefficients,
    photo: Coefficients,
    limit: Limit,
    top: int = 10,
    separation: float = 3.0,
    *,
    spin: str = "2",
    scalar_weight: float = 1.0,
    precision: str = "float32",
    threads: int = 0,
) -> list[Candidate]:
    """The `top` best poses at the coefficients' bandwidth, `separation` degrees apart, as `rank_candidates` finds them in all cells.

    Options as for `toolkit.geo.correlation.correlate`. A pose is missed when it is no good, and nothing beside it, on a coarser level.
    Raises UsageError when no cell is within the limits.
    """
    bandwidths = levels(photo.bandwidth)
    last = window(photo.bandwidth, limit.yaw, limit.pitch, limit.roll)
    options = {"spin": spin, "scalar_weight": scalar_weight, "precision": precision}
    survivors: list[Candidate] = []
    with progress("coarse to fine", len(bandwidths), " levels") as bar:
        for number, bandwidth in enumerate(bandwidths):
            world, seen = (coefficients.below(bandwidth) for coefficients in (panorama, photo))
            cells = last if bandwidth == photo.bandwidth else _wider(bandwidth, limit)
            axes = Block(*cells.axes, iter(()))
            count = max(FIRST_SURVIVORS >> 3 * number, LEAST_SURVIVORS)
            if number == 0:
                slices = correlate(world, seen, cells, threads=threads, **options)  # type: ignore[arg-type]
                maxima = block_maxima(Block(*cells.axes, slices))
            else:
                factors = products(world, seen, **options)  # type: ignore[arg-type]
                maxima = maxima_around(
                    factors, cells, survivors, top if bandwidth == photo.bandwidth else 0, separation, precision, threads
                )
            if bandwidth != photo.bandwidth:
                survivors = _survivors(maxima, axes, count, top, separation)
            bar.update(1)
    return best_apart(maxima, axes, top, separation)


def maxima_around(
    factors: Products,
    cells: Window,
    survivors: list[Candidate],
    top: int = 0,
    separation: float = 0.0,
    precision: str = "float32",
    threads: int = 0,
) -> Maxima:
    """The local maxima of the raster `cells` near poses of a coarser one.

    Those at the rim of a neighbourhood may have higher cells beside them. Where one of the `top` best that are `separation` degrees apart
    is such a one, the cells around it are looked at too, and so on; with `top` 0 nothing is done about them and they are in the result.
    """
    axes = Block(*cells.axes, iter(()))
    centres = np.unique(np.array([_nearest(cells, one) for one in survivors]), axis=0)
    maxima, complete = Maxima(), np.empty(0, bool)
    visited = np.empty(0, np.int64)
    for _ in range(_MOST_ROUNDS):
        visited = np.union1d(visited, np.ravel_multi_index(tuple(centres.T), cells.shape))
        more, inner = _maxima_of(neighbourhoods(factors, cells, centres, precision, threads), cells, centres)
        # A cell found twice counts once, with all of its neighbours if they are known.
        found, around = np.concatenate([maxima.cells, more.cells]), np.concatenate([maxima.around, more.around])
        complete = np.concatenate([complete, inner])
        place = np.ravel_multi_index(tuple(found.T), cells.shape)
        order = np.flatnonzero(complete | ~np.isin(place, visited))
        order = order[np.argsort(~complete[order], kind="stable")]
        order = order[np.unique(place[order], return_index=True)[1]]
        maxima, complete = Maxima(found[order], around[order]), complete[order]
        if not top:
            return maxima
        best = np.array(apart(maxima, axes, top, separation), np.intp)
        centres = maxima.cells[best[~complete[best]]]
        if not len(centres):
            break
    kept = complete if complete.any() else slice(None)
    return Maxima(maxima.cells[kept], maxima.around[kept])


def neighbourhoods(factors: Products, cells: Window, centres: np.ndarray, precision: str = "float32", threads: int = 0) -> np.ndarray:
    """Scores of the cells up to `REACH` from each of `centres` (C, 3), places [pitch, yaw, roll] in `cells`; shape (C, 5, 5, 5).

    NaN outside the window. They are those of `toolkit.geo.correlation.correlate`.
    """
    from threadpoolctl import ThreadpoolController

    bandwidth, orders = factors.bandwidth, factors.orders
    kind = np.result_type(precision, np.complex64)
    (pitch, yaw, roll), inside = _places(cells, centres)
    scores = np.zeros((len(centres), *[len(_OFFSETS)] * 3), precision)
    rows, plan = _rows(cells, pitch[inside[0]], orders, precision)
    colatitude = np.radians(90.0 - window(bandwidth).axes[1][rows])
    spectrum = np.zeros((bandwidth, 2 * orders + 1, max(map(len, plan))), kind)
    block = max(1, min(bandwidth, _TURNED_BYTES // spectrum[0].nbytes))
    by_row = np.empty((spectrum.shape[2], block, spectrum.shape[1]), kind)
    roots = np.exp(1j * np.pi / bandwidth * np.arange(2 * bandwidth)).astype(kind)
    k = np.r_[0 : orders + 1, -orders:0]

    def turn(order: int) -> None:
        by_row[: len(some), order - m[0]] = spectrum[order, :, : len(some)].T

    def add(row: int, sums: np.ndarray) -> None:
        which, layer = np.nonzero(inside[0] & (cells.pitch[pitch] == row))
        if not len(which):  # an opposite that nobody wants
            return
        rolls, places = np.unique(roll[which], return_inverse=True)
        over_roll = sums[: len(m)] @ roots[np.outer(k, cells.roll[rolls]) % (2 * bandwidth)]
        yaws = roots[m * cells.yaw[yaw[which]][:, :, None] % (2 * bandwidth)] * np.where(m == 0, 1, 2).astype(precision)
        scores[which, layer] += (yaws @ over_roll.T[places.reshape(len(which), -1)].transpose(0, 2, 1)).real

    # The threads are ours: matrices so small are slower with more.
    with ThreadpoolController().limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        for some in plan:
            wigner_sums(factors, colatitude[some], spectrum, threads)
            for m in np.split(np.arange(bandwidth), range(block, bandwidth, block)):
                list(pool.map(turn, m))
                list(pool.map(add, rows[some], by_row))
    scores[~(inside[0][:, :, None, None] & inside[1][:, None, :, None] & inside[2][:, None, None, :])] = np.nan
    return scores


def _rows(cells: Window, wanted: np.ndarray, orders: int, precision: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Pitches of the whole raster that hold those `wanted`, places in `cells`, and which of them to compute together.

    The sums are made for whole lanes of rows. A lane of rows and their opposites costs about 1.5 of one without, full or not.
    """
    size, lane = cells.bandwidth, lanes_of_rows(precision)
    rows = np.unique(cells.pitch[wanted])
    south, north = rows[rows < size], rows[rows >= size]
    both = np.intersect1d(south, 2 * size - 1 - north)
    nearest = np.union1d(south, 2 * size - 1 - north)

    def cost(pairs: int, *single: int) -> float:
        return 1.5 * -(-pairs // lane) + sum(-(-count // lane) for count in single)

    ways = {
        cost(len(both), len(south) - len(both), len(north) - len(both)): (rows,),
        cost(len(nearest)): (np.union1d(nearest, 2 * size - 1 - nearest),),
        cost(0, len(south), len(north)): tuple(part for part in (south, north) if len(part)),
    }
    parts, plan, first = ways[min(ways)], [], 0
    for part in parts:
        # of yaw and roll there is one cell: no scores take memory there
        plan += [first + some for some in batches(Window(size, cells.yaw[:1], part, cells.roll[:1]), orders, precision)]
        first += len(part)
    return np.concatenate(parts), plan


def _places(cells: Window, centres: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For pitch, yaw and roll the places up to REACH from the centres, (C, 5), some valid place where outside, and which are inside."""
    places, inside = [], []
    for axis, ring in enumerate(_rings(cells)):
        size, place = cells.shape[axis], centres[:, axis, None] + _OFFSETS
        places.append(place % size if ring else np.clip(place, 0, size - 1))
        # On a ring smaller than a neighbourhood a cell would come twice, which does no harm.
        inside.append(np.ones_like(place, bool) if ring else (place >= 0) & (place < size))
    return places, inside


def _rings(cells: Window) -> tuple[bool, bool, bool]:
    """Which of pitch, yaw and roll close to a ring."""
    yaw, _, roll = cells.axes
    return False, goes_around(yaw), goes_around(roll)


def _maxima_of(scores: np.ndarray, cells: Window, centres: np.ndarray) -> tuple[Maxima, np.ndarray]:
    """The local maxima among neighbourhoods (C, 5, 5, 5), and of which all neighbours within the window are known."""
    padded = np.pad(scores, [(0, 0), *[(1, 1)] * 3], constant_values=np.nan)
    highest = np.where(np.isnan(padded), -np.inf, padded)
    for axis in (1, 2, 3):
        length = highest.shape[axis] - 2
        highest = np.max([highest.take(range(start, start + length), axis) for start in range(3)], axis=0)
    which, *offset = np.nonzero(scores >= highest)
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3), (1, 2, 3))[which, offset[0], offset[1], offset[2]]
    complete = np.ones(len(which), bool)
    found = np.empty((len(which), 3), np.int32)
    for axis, ring in enumerate(_rings(cells)):
        size, away = cells.shape[axis], _OFFSETS[offset[axis]]
        place = centres[which, axis] + away
        following = place + np.sign(away)
        complete &= (np.abs(away) < REACH) | (not ring) & ((following < 0) | (following >= size))
        found[:, axis] = place % size
    return Maxima(found, around), complete


def _nearest(cells: Window, pose: Candidate) -> tuple[int, int, int]:
    """The place of the cell in the window that is nearest to a pose, each angle by itself."""
    whole = 2 * cells.bandwidth
    pitch = round((pose.pitch + 90.0) * whole / 180.0 - 0.5) - int(cells.pitch[0])
    found = [min(max(pitch, 0), len(cells.pitch) - 1)]
    for numbers, angle in ((cells.yaw, pose.yaw), (cells.roll, pose.roll)):
        place = (round(angle * whole / 360.0) - int(numbers[0])) % whole
        if place >= len(numbers):
            place = len(numbers) - 1 if place - len(numbers) < whole - 1 - place else 0
        found.append(place)
    return found[0], found[1], found[2]


def _survivors(maxima: Maxima, axes: Block, count: int, top: int, separation: float) -> list[Candidate]:
    """The `count` best maxima, however close, and those that would be listed: the best may all be of one hill."""
    best = np.argsort(-maxima.around[:, 1, 1, 1], kind="stable")[:count]
    close = Maxima(maxima.cells[best], maxima.around[best])
    return best_apart(close, axes, count, 0.0) + best_apart(maxima, axes, top, separation)


def _wider(bandwidth: int, limit: Limit) -> Window:
    """The window with one coarse cell more at each side: what is just inside its limits may be outside at this level."""
    step = 180.0 / bandwidth
    yaw, pitch, roll = (
        None if interval is None else (interval[0] - step, interval[1] + step) for interval in (limit.yaw, limit.pitch, limit.roll)
    )
    return window(bandwidth, yaw, pitch, roll)
