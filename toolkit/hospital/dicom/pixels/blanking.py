"""Blanking rectangles of pixels.

In native pixel data these are runs of bytes, so that an object of any size streams; encapsulated data are reencoded (reencoding.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from toolkit.hospital.dicom.cleaning.quarantine import Quarantine, Reason
from toolkit.hospital.dicom.encoding.part10 import Part10
from toolkit.hospital.dicom.pixels.risk import PixelAttributes, Rectangle

if TYPE_CHECKING:
    import numpy as np

Edit = tuple[int, int, bytes]

_LONGEST = 1 << 20  # bytes of one edit; equal replacements are one object in memory
_NATIVE = frozenset(("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"))
_REMEDY = "have it converted to an uncompressed transfer syntax, or look at it by hand"


@dataclass(frozen=True)
class Blanked:
    """What blanking changes.

    `edits`: sorted, disjoint (start, end, new bytes) on the source's data; a sequence that makes each edit when it is asked for, so it
    may be long. `transfer_syntax`: that of the result. `changed`: other top-level attributes, tag -> (VR, raw value), or None to remove.
    """

    edits: Sequence[Edit]
    transfer_syntax: str
    changed: dict[int, tuple[str, bytes] | None]


class LazyEdits(Sequence[Edit]):
    """A sequence of `length` edits, the i-th of which is `at(i)`."""

    def __init__(self, length: int, at: Callable[[int], Edit]) -> None:
        self._length, self._at = length, at

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Edit: ...
    @overload
    def __getitem__(self, index: slice) -> list[Edit]: ...
    def __getitem__(self, index: int | slice) -> Edit | list[Edit]:
        if isinstance(index, slice):
            return [self._at(one) for one in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self._at(index % self._length)


def blank(source: Part10, a: PixelAttributes, rectangles: Sequence[Rectangle]) -> Blanked:
    """Make the pixels of `rectangles` black in every frame, and empty the bits in which embedded overlays lie (PS3.3 C.9.2.1.1, retired).

    Raises Quarantine (pixels-not-decodable) for what cannot be decoded, or is not of the size that its attributes tell.
    """
    stored = a.pixel_vr in ("OF", "OD") or 0 < a.bits_stored <= a.bits_allocated
    if min(a.rows, a.columns, a.frames, a.samples) < 1 or not stored:
        raise _refused("the attributes of its pixels are missing or contradict each other")
    undefined = source.data[a.pixel_start - 4 : a.pixel_start] == b"\xff\xff\xff\xff"
    if a.transfer_syntax in _NATIVE:
        if undefined:
            raise _refused("encapsulated pixel data in a transfer syntax that has none")
        return Blanked(_native(source, a, rectangles), a.transfer_syntax, {})
    if not undefined:
        raise _refused(f"pixel data that are not encapsulated in transfer syntax {a.transfer_syntax}")
    from toolkit.hospital.dicom.pixels.reencoding import reencode

    return reencode(source, a, rectangles)


def _refused(why: str) -> Quarantine:
    return Quarantine(Reason.PIXELS, why, _REMEDY)


def black(a: PixelAttributes, photometric: str) -> list[int]:
    """The stored value of each sample of a black pixel, as an unsigned number of `bits_allocated` bits (PS3.3 C.7.6.3.1.2).

    Of a palette it is the first entry, whatever its colour.
    """
    bits = a.bits_stored or a.bits_allocated
    shift = max(0, a.high_bit + 1 - bits) if a.high_bit >= 0 else 0
    mask = (1 << a.bits_allocated) - 1
    if a.samples == 1:
        value = 0
        if photometric == "MONOCHROME1":
            value = (1 << (bits - a.pixel_representation)) - 1
        elif photometric == "MONOCHROME2" and a.pixel_representation:
            value = -(1 << (bits - 1))
        return [value << shift & mask]
    if photometric.startswith("YBR") and a.samples == 3:
        luminance = 16 << bits >> 8 if "PARTIAL" in photometric else 0
        return [luminance << shift, 1 << (bits - 1) << shift, 1 << (bits - 1) << shift]
    return [0] * a.samples


def blank_array(frame: np.ndarray, a: PixelAttributes, photometric: str, rectangles: Iterable[Rectangle]) -> None:
    """Blank in place; `frame`: shape (rows, columns) or (rows, columns, samples), of `bits_allocated` bits."""
    import numpy as np

    values = np.array(black(a, photometric), dtype=f"u{frame.dtype.itemsize}").view(frame.dtype.newbyteorder("="))
    for left, top, right, bottom in rectangles:
        frame[top:bottom, left:right] = values if frame.ndim == 3 else values[0]


def _native(source: Part10, a: PixelAttributes, rectangles: Sequence[Rectangle]) -> Sequence[Edit]:
    if a.bits_allocated not in (1, 8, 16, 32, 64):
        raise _refused(f"{a.bits_allocated} bits allocated to a sample")
    length = a.pixel_end - a.pixel_start
    pixels = a.rows * a.columns
    swapped = a.big_endian and a.pixel_vr == "OW" and a.bits_allocated <= 8  # PS3.5 7.3: the bytes of each word
    if a.bits_allocated == 1:
        if a.samples != 1:
            raise _refused("a bitmap of several samples")
        return _bitmap(source, a, rectangles, swapped)
    size = a.bits_allocated // 8
    values = [value.to_bytes(size, "big" if a.big_endian else "little") for value in black(a, a.photometric)]
    frame_bytes = pixels * a.samples * size
    # Stretches of a frame that are alike: (offset, bytes of a unit, pixels of a unit, the black unit).
    if a.photometric.endswith("_422") and a.samples == 3 and length < frame_bytes * a.frames:
        if a.columns % 2 or a.planar:
            raise _refused("chrominance of half the columns in an image of odd width, or in planes")
        frame_bytes = pixels * 2 * size
        stretches = [(0, 4 * size, 2, values[0] + values[0] + values[1] + values[2])]
    elif a.planar and a.samples > 1:
        stretches = [(plane * pixels * size, size, 1, value) for plane, value in enumerate(values)]
    else:
        stretches = [(0, size * a.samples, 1, b"".join(values))]
    needed = frame_bytes * a.frames
    if length < needed:
        raise _refused(f"{length} bytes of pixel data, where its attributes tell {needed}")
    if a.embedded_overlays:
        return _emptied(source, a, rectangles, frame_bytes, swapped)
    runs = [run for stretch in stretches for run in _runs(stretch, a.columns, rectangles)]
    if swapped:
        return _swapped(source, a, runs, frame_bytes)
    tail = list(_zeros(a.pixel_start + needed, a.pixel_end))

    def at(index: int) -> Edit:
        frame, number = divmod(index, len(runs)) if runs else (a.frames, index)
        if frame >= a.frames:
            return tail[index - a.frames * len(runs)]
        start, end, new = runs[number]
        base = a.pixel_start + frame * frame_bytes
        return base + start, base + end, new

    return LazyEdits(a.frames * len(runs) + len(tail), at)


def _zeros(start: int, end: int) -> Iterator[Edit]:
    """What lies behind the last frame: a byte of padding, or pixels that no attribute tells of, which go."""
    if end - start > 1:
        zeros = bytes(_LONGEST)
        for first in range(start, end, _LONGEST):
            last = min(first + _LONGEST, end)
            yield first, last, zeros[: last - first]


def _rows(columns: int, rectangles: Iterable[Rectangle], unit: int = 1) -> list[tuple[int, int]]:
    """Disjoint runs of pixels of a frame, counted from its first, that cover the rectangles; widened to whole units of pixels."""
    areas = [(left // unit * unit, top, -(-right // unit) * unit, bottom) for left, top, right, bottom in rectangles]
    edges = sorted({y for area in areas for y in (area[1], area[3])})
    found: list[tuple[int, int]] = []
    for top, bottom in zip(edges, edges[1:], strict=False):
        spans: list[tuple[int, int]] = []
        for left, right in sorted((left, right) for left, first, right, last in areas if first <= top < last):
            if spans and left <= spans[-1][1]:
                spans[-1] = spans[-1][0], max(spans[-1][1], right)
            else:
                spans.append((left, right))
        for row in range(top, bottom):
            for left, right in spans:
                start, end = row * columns + left, row * columns + right
                if found and found[-1][1] == start:
                    found[-1] = found[-1][0], end
                else:
                    found.append((start, end))
    return found


def _runs(stretch: tuple[int, int, int, bytes], columns: int, rectangles: Iterable[Rectangle]) -> list[Edit]:
    """Edits within a frame; equal replacements are one object, and none is longer than _LONGEST."""
    offset, width, unit, pattern = stretch
    most = _LONGEST // width * width
    made: dict[int, bytes] = {}
    found = []
    for first, last in _rows(columns, rectangles, unit):
        start, end = offset + first // unit * width, offset + last // unit * width
        while start < end:
            size = min(most, end - start)
            if size not in made:
                made[size] = pattern * (size // width)
            found.append((start, start + size, made[size]))
            start += size
    return found


def _swapped(source: Part10, a: PixelAttributes, runs: list[Edit], frame_bytes: int) -> list[Edit]:
    """Edits for pixels of 8 bits in big-endian words, whose bytes stand in pairs the other way round."""
    if any(len(set(new)) > 1 for _, _, new in runs):
        raise _refused("colour differences of 8 bits in big-endian words")
    found: list[Edit] = []
    for frame in range(a.frames):
        for start, end, new in runs:
            first, last = start + frame * frame_bytes, end + frame * frame_bytes
            inner, outer = first + first % 2, last - last % 2
            if first % 2:
                found.append((a.pixel_start + first - 1, a.pixel_start + first, new[:1]))
            if inner < outer:
                found.append((a.pixel_start + inner, a.pixel_start + outer, new[: outer - inner]))
            if last % 2:
                found.append((a.pixel_start + last, a.pixel_start + last + 1, new[:1]))
    needed = frame_bytes * a.frames
    found.extend(_zeros(a.pixel_start + needed + needed % 2, a.pixel_end))
    return sorted(found)


def _bitmap(source: Part10, a: PixelAttributes, rectangles: Sequence[Rectangle], swapped: bool) -> list[Edit]:
    """Edits for one bit per pixel, the first in a byte's lowest bit, frame after frame without padding (PS3.5 8.1.1 and annex D.2)."""
    length, bits = a.pixel_end - a.pixel_start, a.rows * a.columns * a.frames
    if length * 8 < bits:
        raise _refused(f"{length} bytes of pixel data, where its attributes tell {-(-bits // 8)}")
    white_is_zero = black(a, a.photometric)[0]
    masks: dict[int, int] = {}  # byte -> bits that go
    whole: list[tuple[int, int]] = []
    rows = _rows(a.columns, rectangles)
    for frame in range(a.frames):
        for start, end in rows:
            first, last = start + frame * a.rows * a.columns, end + frame * a.rows * a.columns
            inner, outer = -(-first // 8), last // 8
            if first % 8:
                within = 0xFF if last >= inner * 8 else (1 << last % 8) - 1
                masks[first // 8] = masks.get(first // 8, 0) | 0xFF << first % 8 & within
            if last % 8 and outer >= inner:
                masks[outer] = masks.get(outer, 0) | (1 << last % 8) - 1
            if inner < outer:
                whole.append((inner, outer))
    found: list[Edit] = []
    for byte, mask in masks.items():
        position = a.pixel_start + (byte ^ 1 if swapped else byte)
        old = source.data[position]
        found.append((position, position + 1, bytes((old | mask if white_is_zero else old & ~mask,))))
    for start, end in whole:
        for begin, stop in [(byte ^ 1, (byte ^ 1) + 1) for byte in range(start, end)] if swapped else [(start, end)]:
            found.append((a.pixel_start + begin, a.pixel_start + stop, (b"\xff" if white_is_zero else b"\0") * (stop - begin)))
    found.extend(_zeros(a.pixel_start + -(-bits // 16) * 2, a.pixel_end))
    return sorted(found)


def _emptied(source: Part10, a: PixelAttributes, rectangles: Sequence[Rectangle], frame_bytes: int, swapped: bool) -> Sequence[Edit]:
    """One edit for each frame: the bits outside the stored ones are those of the sign, or 0."""
    if a.samples != 1 or swapped or a.bits_allocated > 32:
        raise _refused("overlays within pixels of colour, of big-endian words of two pixels, or of 64 bits")
    import numpy as np

    tail = list(_zeros(a.pixel_start + frame_bytes * a.frames, a.pixel_end))

    def at(index: int) -> Edit:
        if index >= a.frames:
            return tail[index - a.frames]
        start = a.pixel_start + index * frame_bytes
        dtype = np.dtype(f"u{a.bits_allocated // 8}").newbyteorder(">" if a.big_endian else "<")
        frame = stored_bits(np.frombuffer(b"".join(source.chunks(start, start + frame_bytes)), dtype), a).reshape(a.rows, a.columns)
        blank_array(frame, a, a.photometric, rectangles)
        return start, start + frame_bytes, frame.tobytes()

    return LazyEdits(a.frames + len(tail), at)


def stored_bits(frame: np.ndarray, a: PixelAttributes) -> np.ndarray:
    """The same values with nothing in the bits outside the stored ones: a copy of the same dtype and byte order."""
    size, high = frame.dtype.itemsize, a.high_bit if a.high_bit >= 0 else a.bits_stored - 1
    above, below = size * 8 - 1 - high, high + 1 - a.bits_stored
    if above < 0 or below < 0:
        raise _refused("the attributes of its pixels are missing or contradict each other")
    native = frame.astype(f"=u{size}").view(f"{'i' if a.pixel_representation else 'u'}{size}")
    kept = (native << above) >> (above + below) << below
    return kept.view(f"{frame.dtype.kind}{size}").astype(frame.dtype)
