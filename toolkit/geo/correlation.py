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
from toolkit.geo.sphere import Coefficients

# Orders n whose share of the photograph's power is below this are left out: their sum changes a score by less than
# the square root of it, relative to the greatest possible score, which is what float32 resolves.
_NEGLIGIBLE_POWER = 1e-14
_BLOCK_BYTES = 64 << 20  # of Legendre sums kept at a time


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
    panorama: Coefficients, photo: Coefficients, cells: Window, *, spin: str = "2", scalar_weight: float = 1.0, threads: int = 0
) -> Iterator[np.ndarray]:
    """Yield VCC for each pitch of `cells`, ascending: float32, shape (yaw, roll), valid until the next one is asked for.

    `spin` is ``0`` (strengths only), ``2`` (line fields) or ``both`` (line fields plus `scalar_weight` times strengths).
    Memory is O(B^2) whatever the window.
    """
    pairs = _field_pairs(panorama, photo, spin, scalar_weight)
    orders = _orders(photo, pairs)
    transform = _Fourier(cells, orders)
    block = max(1, _BLOCK_BYTES // (cells.bandwidth * (2 * orders + 1) * 16))
    colatitude = np.radians(90.0 - cells.axes[1])
    for first in range(0, len(colatitude), block):
        sums = _sums_over_degree(pairs, photo.bandwidth, orders, colatitude[first : first + block], threads)
        for slice_sums in sums:
            yield transform(slice_sums)


def _field_pairs(panorama: Coefficients, photo: Coefficients, spin: str, scalar_weight: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of coefficients whose products are summed; the photograph's as a square array [l, n], both scaled for `_sums_over_degree`."""
    fields = {
        "0": (("scalar", 1.0),),
        "2": (("electric", 1.0), ("magnetic", 1.0)),
        "both": (("electric", 1.0), ("magnetic", 1.0), ("scalar", scalar_weight)),
    }[spin]
    size = photo.bandwidth
    degree, order = _degrees_and_orders(size)
    pairs = []
    for name, weight in fields:
        square = np.zeros((size, size), np.complex128)
        # Dividing by sqrt((2l+1)/4 pi) turns spin-weighted harmonics into Wigner's d (Goldberg et al. 1967, equation 3.9).
        square[degree, order] = getattr(photo, name) * weight / np.sqrt((2 * degree + 1) / (4 * np.pi))
        pairs.append((getattr(panorama, name), square))
    return pairs


def _degrees_and_orders(size: int) -> tuple[np.ndarray, np.ndarray]:
    degree = np.concatenate([np.arange(order, size) for order in range(size)])
    return degree, np.repeat(np.arange(size), np.arange(size, 0, -1))


def _orders(photo: Coefficients, pairs: list[tuple[np.ndarray, np.ndarray]]) -> int:
    """The highest order n that matters: the photograph is a cap about the pole, so high orders are empty."""
    power = sum((np.abs(square) ** 2).sum(axis=0) for _, square in pairs)
    beyond = np.cumsum(power[::-1])[::-1]
    return max(1, int(np.count_nonzero(beyond > _NEGLIGIBLE_POWER * beyond[0])) - 1)


def _sums_over_degree(
    pairs: list[tuple[np.ndarray, np.ndarray]], size: int, orders: int, colatitude: np.ndarray, threads: int
) -> np.ndarray:
    """S_mn(beta) = sum_l c^l_mn d^l_mn(beta): complex128, shape (beta, m, 2 orders + 1), n = 0, 1, ... orders, -orders, ... -1.

    ducc0's Legendre transform of spin n gives the sums for n and -n together, from their half sum and half difference.
    """
    import ducc0

    degree, _ = _degrees_and_orders(size)
    sums = np.empty((len(colatitude), size, 2 * orders + 1), np.complex128)
    limits = {"lmax": size - 1, "theta": colatitude, "nthreads": threads}
    for n in range(orders + 1):
        positive = sum(f * np.conj(square[:, n])[degree] for f, square in pairs)
        if n == 0:
            sums[:, :, 0] = ducc0.sht.alm2leg(alm=positive[None], spin=0, **limits)[0]
            continue
        # P_l,-n = (-1)^n conj P_ln; ducc0's harmonics of spin +n and -n are -(-1)^n d_m,-n and -d_m,n (times sqrt((2l+1)/4 pi)).
        negative = -sum(f * square[:, n][degree] for f, square in pairs)
        positive = -positive
        legendre = ducc0.sht.alm2leg(alm=np.stack([positive + negative, 1j * (positive - negative)]), spin=n, **limits)
        sums[:, :, n] = (legendre[0] - 1j * legendre[1]) / 2
        sums[:, :, -n] = (legendre[0] + 1j * legendre[1]) / 2
    return sums


class _Fourier:
    """The sums over m and n for one pitch, planned once: (B, 2 orders + 1) complex to float32 (yaw, roll)."""

    def __init__(self, cells: Window, orders: int) -> None:
        import pyfftw

        size, self.cells, self.orders = cells.bandwidth, cells, orders
        roll = np.radians(cells.axes[2])
        n = np.concatenate([np.arange(orders + 1), np.arange(-orders, 0)])
        # A narrow band of rolls is cheaper as a matrix product than as a transform of all 2B of them.
        self.by_matrix = len(roll) * (2 * orders + 1) < 2 * size * (32 + 2 * orders)
        self.roll_phases = np.exp(1j * np.outer(n, roll)).astype(np.complex64)
        columns = len(roll) if self.by_matrix else 2 * size
        self.spectrum = pyfftw.zeros_aligned((size + 1, columns), np.complex64)
        self.values = pyfftw.empty_aligned((2 * size, columns), np.float32)
        self.plan = pyfftw.FFTW(
            self.spectrum,
            self.values,
            axes=(0,) if self.by_matrix else (1, 0),
            direction="FFTW_BACKWARD",
            flags=("FFTW_MEASURE", "FFTW_DESTROY_INPUT"),
            threads=1,  # a slice takes milliseconds, and so does waking FFTW's threads: with two it was 2 to 18 times slower
            planning_timelimit=2.0,
        )
        # alpha = 90 degrees - yaw: e^{i m alpha} = i^m e^{-i m yaw}; the transform has e^{+i m yaw}, so it is given conjugates.
        self.turn = np.array([1, 1j, -1, -1j], np.complex64)[np.arange(size) % 4][:, None]

    def __call__(self, sums: np.ndarray) -> np.ndarray:
        size, orders = self.cells.bandwidth, self.orders
        turned = (sums * self.turn).astype(np.complex64)
        self.spectrum[:] = 0
        if self.by_matrix:
            np.conj(turned @ self.roll_phases, out=self.spectrum[:size])
        else:  # conjugating in n as well turns e^{i n roll} into e^{-i n roll}: the column of n takes that of -n
            np.conj(turned[:, : orders + 1], out=turned[:, : orders + 1])
            np.conj(turned[:, orders + 1 :], out=turned[:, orders + 1 :])
            self.spectrum[:size, 0] = turned[:, 0]
            self.spectrum[:size, 2 * size - orders :] = turned[:, orders:0:-1]
            self.spectrum[:size, 1 : orders + 1] = turned[:, :orders:-1]
        self.plan.execute()
        if self.by_matrix:
            return self.values[self.cells.yaw % (2 * size)]
        return self.values[np.ix_(self.cells.yaw % (2 * size), self.cells.roll % (2 * size))]
