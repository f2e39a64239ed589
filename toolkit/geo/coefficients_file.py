"""Harmonic coefficients of panoramas in files: one ``.npy`` array, complex64, shape (3, B(B+1)/2), or many of them, (count, 3, B(B+1)/2).

The three are those of `toolkit.geo.sphere.Coefficients`: electric, magnetic, scalar; m-major, l fastest. An eighth of the sphere's size,
and what costs most in reading a sphere, its transform, is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from typing import BinaryIO

import numpy as np

from toolkit.core.arrays import read_header, read_values
from toolkit.core.errors import BadData, ToolError, UsageError
from toolkit.core.streams import open_input
from toolkit.geo.sphere import LARGEST_BANDWIDTH, Coefficients, analyse, low_degrees, read_sphere_values

FIELDS = ("electric", "magnetic", "scalar")  # as they follow one another in an array
_REMEDY = "make it again with cylmap --coefficients"
_PIECE_BYTES = 8 << 20  # of a file of many that are read at a time


def array_of(coefficients: Coefficients) -> np.ndarray:
    """As one array, complex64, shape (3, B(B+1)/2)."""
    return np.stack([getattr(coefficients, name) for name in FIELDS]).astype("<c8")


def coefficients_of(array: np.ndarray) -> Coefficients:
    """From one array of shape (3, B(B+1)/2)."""
    return Coefficients(_bandwidth(array.shape[1]), **dict(zip(FIELDS, array, strict=True)))


def read_panorama_sphere(stream: BinaryIO, place: str) -> np.ndarray | Coefficients:
    """Read a panorama's sphere, or its coefficients, whichever the file holds. Raises BadData for what is neither, or spoiled."""
    shape, dtype = read_header(stream, place, "fiuc")
    if dtype.kind != "c":
        return read_sphere_values(stream, shape, dtype, place)
    _check_shape(shape, place)
    if len(shape) == 3:
        raise BadData(place, f"holds the coefficients of {shape[0]} panoramas", "name it in a LIST of scc --batch")
    values = read_values(stream, shape, dtype, place)
    _check_values(values, place)
    return coefficients_of(values)


def bandwidth_of(panorama: np.ndarray | Coefficients) -> int:
    """Of a sphere or of coefficients."""
    return panorama.bandwidth if isinstance(panorama, Coefficients) else panorama.shape[0] // 2


def analysed(
    panorama: np.ndarray | Coefficients, bandwidth: int, scalar_transform: str = "ducc0", threads: int = 0, spin: str = "both"
) -> Coefficients:
    """The coefficients of a sphere, or those that are given, up to degree `bandwidth` - 1. Raises UsageError where there are fewer."""
    if not isinstance(panorama, Coefficients):
        return analyse(panorama, bandwidth, scalar_transform, threads, spin)
    if bandwidth > panorama.bandwidth:
        raise UsageError(f"bandwidth {bandwidth}", f"exceeds the coefficients' bandwidth {panorama.bandwidth}", "ask for less")
    return panorama.below(bandwidth)


def read_panoramas(path: str, bandwidth: int, scalar_transform: str = "ducc0", threads: int = 0) -> Iterator[tuple[list, np.ndarray]]:
    """The panoramas of one file of a list, some at a time: a name or an error for each, and the coefficients of those with a name.

    Yields coefficients complex64, shape (count, 3, B(B+1)/2), of degrees below `bandwidth`. A file of many names them FILE:0, FILE:1 and
    so on. Raises ToolError when the file cannot be read, or not to its end.
    """
    with open_input(path) as stream:
        shape, dtype = read_header(stream, path, "fiuc")
        if dtype.kind != "c":
            sphere = read_sphere_values(stream, shape, dtype, path)
            _check_bandwidth(len(sphere) // 2, bandwidth, path)
            yield [path], array_of(analyse(sphere, bandwidth, scalar_transform, threads))[None]
            return
        held = _check_shape(shape, path)
        _check_bandwidth(held, bandwidth, path)
        low = low_degrees(held, bandwidth)
        count = shape[0] if len(shape) == 3 else 1
        at_once = max(1, _PIECE_BYTES // (24 * len(low)))
        for first in range(0, count, at_once):
            number = min(at_once, count - first)
            values = read_values(stream, (number, *shape[-2:]), dtype, path)
            names: list[str | ToolError] = [f"{path}:{first + n}" if len(shape) == 3 else path for n in range(number)]
            for n, one in enumerate(values):
                try:
                    _check_values(one, str(names[n]))
                except BadData as error:
                    names[n] = error
            good = np.array([isinstance(name, str) for name in names])
            if not good.all():
                values = values[good]
            yield names, np.ascontiguousarray(values if held == bandwidth else values[..., low], np.complex64)


def _bandwidth(count: int) -> int:
    """B for B(B+1)/2 coefficients; 0 where there is none."""
    bandwidth = isqrt(2 * count)
    return bandwidth if bandwidth * (bandwidth + 1) // 2 == count and 2 <= bandwidth <= LARGEST_BANDWIDTH else 0


def _check_shape(shape: tuple[int, ...], place: str) -> int:
    """The bandwidth. Raises BadData for a shape that is not one of coefficients."""
    if len(shape) not in (2, 3) or shape[-2] != 3 or not _bandwidth(shape[-1]):
        raise BadData(place, f"holds complex numbers of shape {shape}, not (3, B(B+1)/2) or (count, 3, B(B+1)/2)", _REMEDY)
    return _bandwidth(shape[-1])


def _check_values(values: np.ndarray, place: str) -> None:
    # A sum of squares is finite if and only if all are, or nearly as large as numbers can be: one pass at memory's speed.
    flat = values.reshape(-1).view(values.real.dtype)
    power = float(np.dot(flat, flat))
    if not np.isfinite(power):
        raise BadData(place, "has a coefficient that is not a finite number", _REMEDY)
    if power == 0.0:
        raise BadData(place, "holds no edge at all", "render another place or a longer range")


def _check_bandwidth(held: int, wanted: int, place: str) -> None:
    if held < wanted:
        raise BadData(place, f"has the bandwidth {held}, and {wanted} is asked for", "ask for less with -b, or make it again with more")
