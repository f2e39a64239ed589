"""The sphere grid: line features on 2B x 2B cells, and their harmonic coefficients.

Grid of bandwidth B: row k is the colatitude theta_k = pi (2k+1) / (4B), column j the longitude phi_j = 2 pi j / (2B);
a cell reaches half a step to each side. World frame: theta from the zenith, phi from East towards North. Camera frame:
theta from the optical axis, phi from the image's downward axis towards its left. Each cell holds three densities per
steradian: strength rho, rho cos 2 psi, rho sin 2 psi, where psi is the tangent's angle from e_theta towards e_phi: a line
has a direction and no sense, so it is a field of spin 2 (Baboud, Cadik, Eisemann, Seidel, CVPR 2011, section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

import numpy as np

from toolkit.core.arrays import read_header, read_values
from toolkit.core.errors import BadData, UsageError
from toolkit.geo.segments import Segments

LARGEST_BANDWIDTH = 8192
_PIECES_AT_ONCE = 1 << 19  # bounds the memory of splatting at about 300 MB


def check_bandwidth(bandwidth: int) -> None:
    """Raises UsageError unless the bandwidth is one that can be used."""
    if not 3 <= bandwidth <= LARGEST_BANDWIDTH:  # degree 2 is the lowest of a field of spin 2
        raise UsageError(f"bandwidth {bandwidth}", "cannot be used", f"give a whole number from 3 to {LARGEST_BANDWIDTH}, such as 256")


def splat(segments: Segments, bandwidth: int) -> np.ndarray:
    """Spread arcs over the sphere grid; returns float32, shape (2B, 2B, 3): densities per steradian.

    Each arc is cut into pieces shorter than half a cell, so that none leaves holes where cells are small; each piece is
    shared bilinearly among the four cells around it, its direction carried into each cell's own frame by parallel
    transport. The sum of density times solid angle over the cells is the sum of strength times length over the arcs.
    """
    check_bandwidth(bandwidth)
    size = 2 * bandwidth
    parts = [_sum_cells(*_shares(*pieces, bandwidth)) for pieces in _batches(segments, np.pi / size / 2)]
    cells, sums = _sum_cells(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts], axis=1))
    sphere = np.zeros((size * size, 3), np.float32)
    sphere[cells] = (sums / cell_solid_angles(bandwidth)[cells // size]).T
    return sphere.reshape(size, size, 3)


def _sum_cells(index: np.ndarray, amounts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add up amounts (3, M) that fall on the same cell: the cells that got any (N,), and their sums (3, N). Lines are thin, so few do."""
    cells, where = np.unique(index, return_inverse=True)
    return cells, np.stack([np.bincount(where, amount, len(cells)) for amount in amounts])


def cell_solid_angles(bandwidth: int) -> np.ndarray:
    """Solid angle of one cell of each row, steradian, float64, shape (2B,)."""
    edges = np.cos(np.pi * np.arange(2 * bandwidth + 1) / (2 * bandwidth))
    return (edges[:-1] - edges[1:]) * np.pi / bandwidth


def read_sphere(stream: BinaryIO, place: str) -> np.ndarray:
    """Read a sphere ``.npy``; returns float32, shape (2B, 2B, 3).

    Raises BadData for another shape, for values that are not finite, for a negative strength and for a map without any edge.
    """
    return read_sphere_values(stream, *read_header(stream, place), place)


def read_sphere_values(stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype, place: str) -> np.ndarray:
    """The rest of `read_sphere`, where the header was read."""
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] != 3 or shape[0] % 2 or not 0 < shape[0] <= 2 * LARGEST_BANDWIDTH:
        raise BadData(place, f"holds an array of shape {shape}, not (2B, 2B, 3)", "make it with cylmap or projmap")
    sphere = read_values(stream, shape, dtype, place).astype(np.float32, copy=False)
    if not np.isfinite(sphere).all():
        row, column, _ = np.argwhere(~np.isfinite(sphere))[0]
        raise BadData(place, f"is not a finite number at row {row}, column {column}", "make it again with cylmap or projmap")
    if sphere[..., 0].min() < 0:
        raise BadData(place, "has a negative strength", "make it again with cylmap or projmap")
    if not sphere.any():
        raise BadData(place, "holds no edge at all", "try other parameters of edges, or another picture")
    return sphere


@dataclass(frozen=True)
class Coefficients:
    """Harmonic coefficients for l, m < B, m >= 0, each complex128, shape (B(B+1)/2,), l fastest within m (m-major).

    `electric`, `magnetic`: of the spin-2 field (E and B in the sense of Zaldarriaga & Seljak 1997). `scalar`: of the strength. What was
    not analysed is empty.
    """

    bandwidth: int
    scalar: np.ndarray
    electric: np.ndarray
    magnetic: np.ndarray

    def below(self, bandwidth: int) -> Coefficients:
        """Those with l < `bandwidth`."""
        low = low_degrees(self.bandwidth, bandwidth)
        return Coefficients(bandwidth, *(values[low] if len(values) else values for values in (self.scalar, self.electric, self.magnetic)))


def analyse(
    sphere: np.ndarray, bandwidth: int, scalar_transform: str = "ducc0", threads: int = 0, spin: str = "both"
) -> Coefficients:
    """Harmonic analysis of a sphere grid, shape (2B', 2B', 3), up to degree `bandwidth` - 1 < B'.

    `scalar_transform` names the library for the strength: ``ducc0`` or ``pyshtools``; the spin-2 part is ducc0's. With `spin` ``0`` or
    ``2`` only the strength or only the line field is analysed, and the other has no coefficients.
    The rows are those of Fejer's first rule, exact for fields of that band limit.
    """
    import ducc0

    own_bandwidth = sphere.shape[0] // 2
    if bandwidth > own_bandwidth:
        raise UsageError(
            f"bandwidth {bandwidth}", f"exceeds the input's bandwidth {own_bandwidth}", "ask for less, or make the spheres larger"
        )
    low = low_degrees(own_bandwidth, bandwidth)
    limits = {"lmax": own_bandwidth - 1, "mmax": bandwidth - 1, "geometry": "F1", "nthreads": threads}
    scalar = electric = magnetic = np.empty(0, np.complex128)
    if spin != "2":
        strength = _band_limited(sphere[..., 0], threads)
        if scalar_transform == "pyshtools":
            scalar = _scalar_by_pyshtools(strength, bandwidth)
        else:
            scalar = ducc0.sht.analysis_2d(map=strength[None], spin=0, **limits)[0, low]
    if spin != "0":
        field = np.stack([_band_limited(sphere[..., channel], threads) for channel in (1, 2)])
        electric, magnetic = ducc0.sht.analysis_2d(map=field, spin=2, **limits)[:, low]
    return Coefficients(bandwidth, scalar, electric, magnetic)


@lru_cache(4)
def low_degrees(held: int, wanted: int) -> np.ndarray:
    """Where, among coefficients with l < held, or at least those of m < wanted, those with l < wanted are. Asking a library for those
    alone folds the rest into them."""
    starts = np.cumsum([0, *range(held, held - wanted, -1)])
    return np.concatenate([np.arange(starts[m], starts[m] + wanted - m) for m in range(wanted)])


def _band_limited(grid: np.ndarray, threads: int, shift: float = 0.0) -> np.ndarray:
    """The grid, float64, without frequencies of B and above along the meridians: thin lines hold them, and the quadrature of
    any library would fold them into the low degrees. `shift` moves the rows by that many steps on the way."""
    from ducc0.fft import c2r, r2c

    size = grid.shape[0]
    meridians = np.empty((2 * size, size))  # once around, through both poles
    meridians[:size], meridians[size:] = grid, np.roll(grid, size // 2, axis=1)[::-1]
    spectrum = r2c(meridians, axes=(0,), nthreads=threads)
    spectrum[size // 2 :] = 0.0
    if shift:
        spectrum *= np.exp(1j * np.pi * shift * np.arange(size + 1) / size)[:, None]
    return c2r(spectrum, axes=(0,), lastsize=2 * size, forward=False, inorm=2, out=meridians, nthreads=threads)[:size]


def _scalar_by_pyshtools(strength: np.ndarray, bandwidth: int) -> np.ndarray:
    """The same coefficients by SHTOOLS' own Driscoll-Healy transform (never its ducc0 backend, which would prove nothing)."""
    from pyshtools.backends import shtools

    rows_from_the_pole = _band_limited(strength, 0, shift=-0.5)
    cosines, sines = shtools.SHExpandDH(rows_from_the_pole, norm=4, csphase=-1, lmax_calc=bandwidth - 1)
    complete = (cosines - 1j * sines) / np.sqrt(2.0)
    complete[:, 0] = cosines[:, 0]
    return np.concatenate([complete[order:, order] for order in range(bandwidth)])


def _batches(segments: Segments, longest: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Cut arcs into equal pieces no longer than `longest` radians: yields middles (M, 3), tangents (M, 3), strength times length (M,)."""
    chord = segments.end - segments.start
    length = 2.0 * np.arcsin(np.clip(np.linalg.norm(chord, axis=1) / 2.0, 0.0, 1.0))
    pieces = np.maximum(np.ceil(length / longest), 1).astype(np.int64)
    if not len(pieces):
        yield segments.start, chord, length
        return
    bounds = np.searchsorted(np.cumsum(pieces), np.arange(0, pieces.sum() + _PIECES_AT_ONCE, _PIECES_AT_ONCE), side="left")
    for first, last in zip(bounds[:-1], np.maximum(bounds[1:], bounds[:-1] + 1), strict=True):
        count = pieces[first:last]
        which = np.repeat(np.arange(first, min(last, len(pieces))), count)
        within = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        fraction = (within + 0.5) / pieces[which]
        middle = segments.start[which] + fraction[:, None] * chord[which]
        middle /= np.linalg.norm(middle, axis=1)[:, None]
        yield middle, chord[which], (segments.strength * length / pieces)[which]


def _shares(point: np.ndarray, tangent: np.ndarray, amount: np.ndarray, bandwidth: int) -> tuple[np.ndarray, np.ndarray]:
    """The four cells around each of M points: flat cell indices (4 M,) and the three channels' amounts (3, 4 M)."""
    size = 2 * bandwidth
    horizontal = np.hypot(point[:, 0], point[:, 1])
    theta, phi = np.arctan2(horizontal, point[:, 2]), np.arctan2(point[:, 1], point[:, 0])
    cos_phi, sin_phi = np.cos(phi), np.sin(phi)
    along_theta = point[:, 2] * (cos_phi * tangent[:, 0] + sin_phi * tangent[:, 1]) - horizontal * tangent[:, 2]
    along_phi = cos_phi * tangent[:, 1] - sin_phi * tangent[:, 0]
    doubled = 2.0 * np.arctan2(along_phi, along_theta)
    row, column = theta * size / np.pi - 0.5, phi * size / (2.0 * np.pi)
    rows = np.floor(row) + np.array([0, 0, 1, 1])[:, None]
    columns = np.floor(column) + np.array([0, 1, 0, 1])[:, None]
    share = amount * (1.0 - np.abs(row - rows)) * (1.0 - np.abs(column - columns))
    # Parallel transport along the parallel: the frame turns by cos theta per unit of longitude.
    angle = doubled + 2.0 * (phi - columns * (2.0 * np.pi / size)) * point[:, 2]
    beyond = (rows < 0) | (rows >= size)  # over a pole: the same ring, half a turn around
    columns = (columns + np.where(beyond, bandwidth, 0)) % size
    index = (np.clip(rows, 0, size - 1) * size + columns).astype(np.int64)
    return index.ravel(), np.stack([share, share * np.cos(angle), share * np.sin(angle)]).reshape(3, -1)
