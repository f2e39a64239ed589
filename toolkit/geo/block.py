"""The correlation stream: four ``.npy`` arrays one after another, written and read one pitch at a time.

``yaw``, ``pitch``, ``roll``: the axes in degrees, float64; then the scores, float32 or float64, shape (pitch, yaw, roll), C order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from toolkit.core.arrays import read_array, read_header, read_values, write_array, write_header
from toolkit.core.errors import BadData


@dataclass(frozen=True)
class Block:
    """Axes in degrees, ascending, float64, and an iterator over the pitches' scores: float32, shape (yaw, roll)."""

    yaw: np.ndarray
    pitch: np.ndarray
    roll: np.ndarray
    slices: Iterator[np.ndarray]

    @property
    def bandwidth(self) -> int | None:
        """That of scc's raster, with cells of 180 / bandwidth degrees in yaw and roll, half of it in pitch; None for a single cell."""
        for axis, whole in ((self.yaw, 180.0), (self.roll, 180.0), (self.pitch, 90.0)):
            if len(axis) > 1:
                return round(whole / float(axis[1] - axis[0]))
        return None


def write_block(
    stream: BinaryIO, yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray, slices: Iterable[np.ndarray], precision: str = "float32"
) -> None:
    """Write axes and scores; `slices` yields one array (yaw, roll) for each pitch, ascending. `precision` is that of the scores."""
    for axis in (yaw, pitch, roll):
        write_array(stream, np.asarray(axis, "<f8"))
    kind = np.dtype(precision).newbyteorder("<")
    write_header(stream, (len(pitch), len(yaw), len(roll)), kind.str)
    for scores in slices:
        stream.write(np.ascontiguousarray(scores, kind).data)


def read_block(stream: BinaryIO, place: str) -> Block:
    """Read the axes and prepare to read the scores; `place` names the stream in messages.

    Raises BadData here for axes that do not fit the scores, and from the iterator for a stream cut short or a score that is no number.
    """
    axes = [read_array(stream, place, most_values=1 << 24) for _ in range(3)]
    for name, axis in zip(("yaw", "pitch", "roll"), axes, strict=True):
        if axis.ndim != 1 or not len(axis) or not np.isfinite(axis).all() or (np.diff(axis) <= 0).any():
            raise BadData(place, f"has a {name} axis that is not a list of ascending angles", "make it with scc")
    yaw, pitch, roll = axes
    shape, dtype = read_header(stream, place)
    if shape != (len(pitch), len(yaw), len(roll)) or dtype.kind != "f":
        raise BadData(place, f"holds scores of shape {shape}, not {(len(pitch), len(yaw), len(roll))}", "make it with scc")
    return Block(yaw, pitch, roll, _slices(stream, shape, dtype, place))


def _slices(stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype, place: str) -> Iterator[np.ndarray]:
    for number in range(shape[0]):
        scores = read_values(stream, shape[1:], dtype, place)
        if not np.isfinite(scores).all():
            raise BadData(place, f"has a score that is not a finite number in pitch slice {number}", "make it again with scc")
        yield scores
