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
from typing import BinaryIO

import numpy as np

from toolkit.core.arrays import read_array
from toolkit.core.errors import BadData, UsageError
from toolkit.geo.segments import Segments

LARGEST_BANDWIDTH = 8192
_PIECES_AT_ONCE = 1 << 20  # bounds the memory of splatting at about 300 MB


def check_bandwidth(bandwidth: int) -> None:
    """Raises UsageError unless the bandwidth is one that can be used."""
    if not 2 <= bandwidth <= LARGEST_BANDWIDTH:
        raise UsageError(f"bandwidth {bandwidth}", "cannot be used", f"give a whole number from 2 to {LARGEST_BANDWIDTH}, such as 256")


def splat(segments: Segments, bandwidth: int) -> np.ndarray:
    """Spread arcs over the sphere grid; returns float32, shape (2B, 2B, 3): densities per steradian.

    Each arc is cut into pieces shorter than half a cell, so that none leaves holes where cells are small; each piece is
    shared bilinearly among the four cells around it, its direction carried into each cell's own frame by parallel
    transport. The sum of density times solid angle over the cells is the sum of strength times length over the arcs.
    """
    check_bandwidth(bandwidth)
    size = 2 * bandwidth
    sums = np.zeros((3, size * size))
    for point, tangent, amount in _batches(segments, np.pi / size / 2):
        for index, weights in _shares(point, tangent, amount, bandwidth):
            for channel in range(3):
                sums[channel] += np.bincount(index, weights[channel], size * size)
    solid_angle = cell_solid_angles(bandwidth)[:, None]
    sphere = np.empty((size, size, 3), np.float32)
    for channel in range(3):
        np.divide(sums[channel].reshape(size, size), solid_angle, out=sphere[:, :, channel], casting="same_kind")
    return sphere


def cell_solid_angles(bandwidth: int) -> np.ndarray:
    """Solid angle of one cell of each row, steradian, float64, shape (2B,)."""
    edges = np.cos(np.pi * np.arange(2 * bandwidth + 1) / (2 * bandwidth))
    return (edges[:-1] - edges[1:]) * np.pi / bandwidth


def read_sphere(stream: BinaryIO, place: str) -> np.ndarray:
    """Read a sphere ``.npy``; returns float32, shape (2B, 2B, 3).

    Raises BadData for another shape, for values that are not finite, for a negative strength and for a map without any edge.
    """
    sphere = read_array(stream, place, most_values=3 * (2 * LARGEST_BANDWIDTH) ** 2)
    if sphere.ndim != 3 or sphere.shape[0] != sphere.shape[1] or sphere.shape[2] != 3 or sphere.shape[0] % 2 or not sphere.size:
        raise BadData(place, f"holds an array of shape {sphere.shape}, not (2B, 2B, 3)", "make it with cylmap or projmap")
    sphere = sphere.astype(np.float32, copy=False)
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

    `electric`, `magnetic`: of the spin-2 field (E and B in the sense of Zaldarriaga & Seljak 1997). `scalar`: of the strength.
    """

    bandwidth: int
    scalar: np.ndarray
    electric: np.ndarray
    magnetic: np.ndarray


def analyse(sphere: np.ndarray, bandwidth: int, scalar_transform: str = "ducc0", threads: int = 0) -> Coefficients:
    """Harmonic analysis of a sphere grid, shape (2B', 2B', 3), up to degree `bandwidth` - 1 < B'.

    `scalar_transform` names the library for the strength: ``ducc0`` or ``pyshtools``; the spin-2 part is ducc0's.
    The rows are those of Fejer's first rule, exact for fields of that band limit.
    """
    import ducc0

    own_bandwidth = sphere.shape[0] // 2
    if bandwidth > own_bandwidth:
        raise UsageError(
            f"bandwidth {bandwidth}", f"exceeds the input's bandwidth {own_bandwidth}", "ask for less, or make the spheres larger"
        )
    limits = {"lmax": own_bandwidth - 1, "mmax": bandwidth - 1, "geometry": "F1", "nthreads": threads}
    strength, *field = (_band_limited(sphere[..., channel]) for channel in range(3))
    if scalar_transform == "pyshtools":
        scalar = _scalar_by_pyshtools(strength, bandwidth)[None]
    else:
        scalar = _low_degrees(ducc0.sht.analysis_2d(map=strength[None], spin=0, **limits), own_bandwidth, bandwidth)
    electric, magnetic = _low_degrees(ducc0.sht.analysis_2d(map=np.stack(field), spin=2, **limits), own_bandwidth, bandwidth)
    return Coefficients(bandwidth, scalar[0], electric, magnetic)


def _low_degrees(alm: np.ndarray, held: int, wanted: int) -> np.ndarray:
    """Of coefficients with l < held and m < wanted those with l < wanted. (Asking the library for fewer degrees only would fold the rest into them.)"""
    starts = np.cumsum([0, *range(held, held - wanted, -1)])
    return np.concatenate([alm[:, starts[m] : starts[m] + wanted - m] for m in range(wanted)], axis=1)


def _band_limited(grid: np.ndarray, shift: float = 0.0) -> np.ndarray:
    """The grid, float64, without frequencies of B and above along the meridians: thin lines hold them, and the quadrature of
    any library would fold them into the low degrees. `shift` moves the rows by that many steps on the way."""
    size = grid.shape[0]
    meridians = np.concatenate([grid, np.roll(grid, size // 2, axis=1)[::-1]]).astype(np.float64)  # once around, through both poles
    spectrum = np.fft.rfft(meridians, axis=0)
    spectrum[size // 2 :] = 0.0
    spectrum *= np.exp(1j * np.pi * shift * np.arange(size + 1) / size)[:, None]
    return np.ascontiguousarray(np.fft.irfft(spectrum, 2 * size, axis=0)[:size])


def _scalar_by_pyshtools(strength: np.ndarray, bandwidth: int) -> np.ndarray:
    """The same coefficients by SHTOOLS' own Driscoll-Healy transform (never its ducc0 backend, which would prove nothing)."""
    from pyshtools.backends import shtools

    rows_from_the_pole = _band_limited(strength, shift=-0.5)
    cosines, sines = shtools.SHExpandDH(rows_from_the_pole, norm=4, csphase=-1, lmax_calc=bandwidth - 1)
    complete = (cosines - 1j * sines) / np.sqrt(2.0)
    complete[:, 0] = cosines[:, 0]
    return np.concatenate([complete[order:, order] for order in range(bandwidth)])


def _batches(segments: Segments, longest: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Cut arcs into equal pieces no longer than `longest` radians: yields mid-points (M, 3), tangents (M, 3), strength times length (M,)."""
    chord = segments.end - segments.start
    length = 2.0 * np.arcsin(np.clip(np.linalg.norm(chord, axis=1) / 2.0, 0.0, 1.0))
    pieces = np.maximum(np.ceil(length / longest), 1).astype(np.int64)
    bounds = np.searchsorted(np.cumsum(pieces), np.arange(0, pieces.sum() + _PIECES_AT_ONCE, _PIECES_AT_ONCE), side="left")
    for first, last in zip(bounds[:-1], np.maximum(bounds[1:], bounds[:-1] + 1), strict=True):
        count = pieces[first:last]
        which = np.repeat(np.arange(first, min(last, len(pieces))), count)
        within = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        fraction = (within + 0.5) / pieces[which]
        middle = segments.start[which] + fraction[:, None] * chord[which]
        middle /= np.linalg.norm(middle, axis=1)[:, None]
        yield middle, chord[which], (segments.strength * length / pieces)[which]


def _shares(point: np.ndarray, tangent: np.ndarray, amount: np.ndarray, bandwidth: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The four cells around each point: yields flat cell indices (M,) and the three channels' amounts (3, M)."""
    size = 2 * bandwidth
    horizontal = np.hypot(point[:, 0], point[:, 1])
    theta, phi = np.arctan2(horizontal, point[:, 2]), np.arctan2(point[:, 1], point[:, 0])
    cos_phi, sin_phi = np.cos(phi), np.sin(phi)
    along_theta = point[:, 2] * (cos_phi * tangent[:, 0] + sin_phi * tangent[:, 1]) - horizontal * tangent[:, 2]
    along_phi = cos_phi * tangent[:, 1] - sin_phi * tangent[:, 0]
    doubled = 2.0 * np.arctan2(along_phi, along_theta)
    row, column = theta * size / np.pi - 0.5, phi * size / (2.0 * np.pi)
    row_below, column_below = np.floor(row), np.floor(column)
    for row_step in (0, 1):
        for column_step in (0, 1):
            r, c = (row_below + row_step).astype(np.int64), (column_below + column_step).astype(np.int64)
            share = amount * np.abs(1 - row_step - (row - row_below)) * np.abs(1 - column_step - (column - column_below))
            # Parallel transport along the parallel: the frame turns by cos theta per unit of longitude.
            angle = doubled + 2.0 * (phi - c * (2.0 * np.pi / size)) * point[:, 2]
            beyond = (r < 0) | (r >= size)  # over a pole: the same ring, half a turn around
            r = np.where(r < 0, 0, np.where(r >= size, size - 1, r))
            c = (c + np.where(beyond, bandwidth, 0)) % size
            yield r * size + c, np.stack([share, share * np.cos(angle), share * np.sin(angle)])
