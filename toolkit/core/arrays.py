"""Arrays in streams: plain ``.npy`` (NumPy format 1.0), several after one another, read and written piece by piece."""

from __future__ import annotations

import math
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from toolkit.core.errors import BadData, UsageError


def write_header(stream: BinaryIO, shape: tuple[int, ...], dtype: str) -> None:
    """Write the header of a C-ordered array whose values follow; `dtype` in NumPy's notation, such as ``<f4``.

    Raises UsageError when the stream is a terminal.
    """
    if stream.isatty():
        raise UsageError("standard output", "is a terminal and an array is no text", "redirect it to a file or a pipe")
    npy.write_array_header_1_0(stream, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape})


def write_array(stream: BinaryIO, array: np.ndarray) -> None:
    """Write one whole array."""
    write_header(stream, array.shape, array.dtype.str)
    stream.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def read_header(stream: BinaryIO, place: str, kinds: str = "fiu") -> tuple[tuple[int, ...], np.dtype]:
    """Read the header of the next array; returns (shape, dtype) of a C-ordered array of numbers of these `kinds`, by default real ones.

    Raises BadData when the stream ends or does not continue with such an array; `place` names it in the message.
    """
    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = read(stream)
    except OSError:
        raise
    except Exception as error:  # numpy parses the header as Python text and lets through whatever that raises
        raise BadData(place, "holds no .npy array where one should begin", "was it cut short, or made by another program?") from error
    if fortran_order or dtype.hasobject or dtype.kind not in kinds:
        raise BadData(place, f"holds an array of {dtype} that cannot be used", f"give {'' if 'c' in kinds else 'real '}numbers in C order")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize >= 1 << 47:  # more than a process can address
        raise BadData(place, f"announces an array of shape {shape}", "that cannot be meant")
    return shape, dtype


def read_values(stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype, place: str) -> np.ndarray:
    """Read the next ``prod(shape)`` values of an array whose header was read. Raises BadData when the stream ends before."""
    values = np.empty(shape, dtype)
    wanted = values.reshape(-1).view(np.uint8).data
    got = 0
    while got < len(wanted):
        piece = stream.readinto(wanted[got:])  # type: ignore[attr-defined]
        if not piece:
            missing = f"ends {len(wanted) - got} bytes too early in an array of shape {shape}"
            raise BadData(place, missing, "make it again, the writer was cut short")
        got += piece
    return values


def read_array(stream: BinaryIO, place: str, most_values: int = 1 << 31) -> np.ndarray:
    """Read one whole array. Raises BadData when it is cut short, not an array, or larger than `most_values`."""
    shape, dtype = read_header(stream, place)
    if math.prod(shape) > most_values:
        raise BadData(place, f"announces an array of shape {shape}", "that is too large to be meant")
    return read_values(stream, shape, dtype, place)
