"""The orientation-aware correlation of two spheres over rotations, computed and written slice by slice.

With F the panorama's line field and P the photograph's, both of spin 2, and g the photograph's rotation (`toolkit.geo.pose`),

    VCC(g) = Re Int F conj(g.P) = sum_lmn [E^F_lm conj(E^P_ln) + B^F_lm conj(B^P_ln)] conj(D^l_mn(g))

(Baboud, Cadik, Eisemann, Seidel, CVPR 2011, equation 3, in real-field E and B coefficients). The strengths' own correlation,
a field of spin 0, can be added with a weight in the same sum. Sums over l are spin-n Legendre transforms, those over m and n
Fourier transforms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from toolkit.core.errors import UsageError
from toolkit.geo.fourier import Fourier, spectrum_bytes
from toolkit.geo.sphere import Coefficients
from toolkit.geo.wigner import lanes_of_rows, products, wigner_sums

# Pitches whose sums are made together: the more, the less is done again for each, which hardly matters at 64. Their memory is this for
# B = 256 and grows as the block does, within limits.
_MOST_ROWS, _WORK_BYTES, _LEAST_WORK_BYTES, _MOST_WORK_BYTES = 64, 80 * 10**6, 16 * 10**6, 768 * 10**6


@dataclass(frozen=True)
class Window:
    """The cells of the pose raster to compute: indices into the three axes of `whole_axes`, each ascending in angle."""

    bandwidth: int
    yaw: np.ndarray
    pitch: np.ndarray
    roll: np.ndarray

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Yaw, pitch and roll of the cells, degrees, float64; an interval across north or across 180 goes on beyond 360 or 180."""
        step = 180.0 / self.bandwidth
        return self.yaw * step, -90.0 + (self.pitch + 0.5) * step / 2.0, self.roll * step

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of cells (pitch, yaw, roll)."""
        return len(self.pitch), len(self.yaw), len(self.roll)


def window(
    bandwidth: int,
    yaw: tuple[float, float] | None = None,
    pitch: tuple[float, float] | None = None,
    roll: tuple[float, float] | None = None,
) -> Window:
    """The cells whose centres lie in the given closed intervals, degrees; None means the whole axis.

    Whole axes: yaw 0 up to 360 and roll -180 up to 180 in steps of 180/B, pitch at the 2B half steps of 90/B between -90 and 90.
    Raises UsageError when no cell is left.
    """
    step = 180.0 / bandwidth
    return Window(
        bandwidth,
        _around("yaw", yaw, step, (0, 2 * bandwidth)),
        np.arange(2 * bandwidth) if pitch is None else _within("pitch", pitch, step / 2.0, -90.0 + step / 4.0, 0, 2 * bandwidth - 1),
        _around("roll", roll, step, (-bandwidth, bandwidth)),
    )


def _around(name: str, interval: tuple[float, float] | None, step: float, whole: tuple[int, int]) -> np.ndarray:
    if interval is None or interval[1] - interval[0] >= 360.0 - 1e-9:
        return np.arange(*whole)
    return _within(name, interval, step)


def _within(
    name: str, interval: tuple[float, float], step: float, start: float = 0.0, least: float = -np.inf, most: float = np.inf
) -> np.ndarray:
    """The indices i, of `least` to `most`, whose start + i step lies in the interval."""
    first = max(least, np.ceil((interval[0] - start) / step - 1e-9))
    last = min(most, np.floor((interval[1] - start) / step + 1e-9))
    if last < first:
        raise UsageError(
            f"{name} {interval[0]:g}:{interval[1]:g}", f"holds no cell of {step:g} degrees", "widen it, or raise the bandwidth"
        )
    return np.arange(int(first), int(last) + 1)


def correlate(
    panorama: Coefficients,
    photo: Coefficients,
    cells: Window,
    *,
    spin: str = "2",
    scalar_weight: float = 1.0,
    precision: str = "float32",
    threads: int = 0,
    transform: str = "ducc0",
) -> Iterator[np.ndarray]:
    """Yield VCC for each pitch of `cells`, ascending: shape (yaw, roll), of `precision`, valid until the next one is asked for.

    `spin` is ``0`` (strengths only), ``2`` (line fields) or ``both`` (line fields plus `scalar_weight` times strengths). `precision` is
    ``float32`` (scores are right to 2e-5 of the greatest) or ``float64`` (1e-11). `transform` is the library of the Fourier transforms,
    ``ducc0`` or ``pyfftw``. Memory is O(B^2) whatever the window.
    """
    factors = products(panorama, photo, spin=spin, scalar_weight=scalar_weight, precision=precision)
    plan = batches(cells, factors.orders, precision)
    rows_at_most = max(map(len, plan))
    kind = np.result_type(np.dtype(precision), np.complex64)
    spectrum = np.zeros((cells.bandwidth, 2 * factors.orders + 1, rows_at_most), kind)
    fourier = Fourier(cells.bandwidth, factors.orders, cells.yaw, cells.roll, rows_at_most, precision, threads, transform=transform)
    colatitude = np.radians(90.0 - cells.axes[1])
    kept: dict[int, np.ndarray] = {}
    following = 0
    for rows in plan:
        wigner_sums(factors, colatitude[rows], spectrum, threads)
        for row, scores in zip(rows, fourier(spectrum[:, :, : len(rows)]), strict=True):
            if row == following:
                yield scores
                following += 1
            else:
                kept[row] = scores.copy()
        while following in kept:
            yield kept.pop(following)
            following += 1


def batches(cells: Window, orders: int, precision: str) -> list[np.ndarray]:
    """Which pitches of the window, by their place in it, are computed together, in the order in which they are first wanted.

    A pitch shares work with its opposite, and the opposite's scores are kept until their turn comes, if all that are kept are
    few beside what else is in memory.
    """
    size, lane = cells.bandwidth, lanes_of_rows(precision)
    opposite = np.searchsorted(cells.pitch, 2 * size - 1 - cells.pitch)
    south = cells.pitch < size
    paired = np.flatnonzero(south & np.isin(2 * size - 1 - cells.pitch, cells.pitch))
    work = min(max(_WORK_BYTES * size**3 // 256**3, _LEAST_WORK_BYTES), _MOST_WORK_BYTES)
    if len(paired) * len(cells.yaw) * len(cells.roll) * np.dtype(precision).itemsize > work // 8:
        paired = paired[:0]
    single = np.ones(len(cells.pitch), bool)
    single[paired], single[opposite[paired]] = False, False

    def parts(rows: np.ndarray, sides: int) -> list[np.ndarray]:
        """Cut rows into equal parts of whole lanes, as large as memory allows."""
        most = _MOST_ROWS
        while most > lane and spectrum_bytes(size, orders, len(cells.yaw), len(cells.roll), sides * most, precision) > work:
            most -= lane
        count = -(-len(rows) // most)
        part = -(-len(rows) // max(count, 1) // lane) * lane
        return [rows[first : first + part] for first in range(0, len(rows), part or 1)]

    plan = [np.sort([*some, *opposite[some]]) for some in parts(paired, 2)]
    plan += parts(np.flatnonzero(single & south), 1) + parts(np.flatnonzero(single & ~south), 1)
    return sorted(plan, key=lambda rows: int(rows[0]))
