"""Encoded attributes (PS3.5 section 7): where each stands, and the same in another transfer syntax.

VRs are written or left out and numbers turned round; lengths stay of the kind that they were, defined or undefined.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from struct import Struct
from struct import error as StructError
from typing import NamedTuple, Protocol

from toolkit.hospital.dicom.encoding.dictionary import dictionary_vr

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD

_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_WORD = dict.fromkeys(b"US SS OW AT".split(), 2) | dict.fromkeys(b"UL SL FL OF OL".split(), 4) | dict.fromkeys(b"FD OD OV SV UV".split(), 8)
_DEEPEST = 100


class Encoding(NamedTuple):
    """How elements are written."""

    implicit: bool
    big_endian: bool


class Bytes(Protocol):
    """What the walk needs of the data: a length, and slices that are bytes."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class FileBytes:
    """A file's bytes by its descriptor: pages of a mapped file that were touched would count as memory."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, end, _ = part.indices(self._size)
        return os.pread(self._descriptor, max(0, end - start), start)


EXPLICIT_LITTLE, IMPLICIT_LITTLE = Encoding(False, False), Encoding(True, False)


class Head(NamedTuple):
    """What stands before a value: tag, VR (empty in implicit VR and for items), length, offset of the value."""

    tag: int
    vr: bytes
    length: int
    value: int


_tag = {False: Struct("<HH"), True: Struct(">HH")}
_u16 = {False: Struct("<H"), True: Struct(">H")}
_u32 = {False: Struct("<I"), True: Struct(">I")}


def read_head(data: Bytes, position: int, encoding: Encoding) -> Head:
    """The head of the element or item at `position`. Raises ValueError where there is none."""
    big, head = encoding.big_endian, data[position : position + 12]
    try:
        group, element = _tag[big].unpack_from(head)
        if encoding.implicit or group == 0xFFFE:
            return Head(group << 16 | element, b"", _u32[big].unpack_from(head, 4)[0], position + 8)
        vr = head[4:6]
        if vr in _LONG:
            return Head(group << 16 | element, vr, _u32[big].unpack_from(head, 8)[0], position + 12)
        if vr not in _SHORT:
            raise ValueError(f"({group:04X},{element:04X}): its VR is none of PS3.5")
        return Head(group << 16 | element, vr, _u16[big].unpack_from(head, 6)[0], position + 8)
    except StructError:
        raise ValueError("the attributes end within an element") from None


def write_head(tag: int, vr: bytes, length: int, encoding: Encoding) -> bytes:
    """The head of an element of `length` bytes; a VR too short for that length becomes UN (PS3.5 6.2.2). Items have no VR."""
    big = encoding.big_endian
    head = _tag[big].pack(tag >> 16, tag & 0xFFFF)
    if encoding.implicit or not vr:
        return head + _u32[big].pack(length)
    if vr not in _LONG:
        if length <= 0xFFFF:
            return head + vr + _u16[big].pack(length)
        vr = b"UN"
    return head + vr + b"\0\0" + _u32[big].pack(length)


def after(data: Bytes, head: Head, encoding: Encoding, depth: int = 0) -> int:
    """The offset behind the element that starts with `head`, its items and delimiters included. Raises ValueError when it does not end."""
    if head.length != UNDEFINED:
        if head.value + head.length > len(data):
            raise ValueError(f"({head.tag >> 16:04X},{head.tag & 0xFFFF:04X}): its value is cut short")
        return head.value + head.length
    if depth > _DEEPEST:
        raise ValueError(f"sequences are nested more than {_DEEPEST} deep")
    if head.vr == b"UN":
        encoding = IMPLICIT_LITTLE
    position = head.value
    closing = ITEM_END if head.tag == ITEM else SEQUENCE_END
    while True:
        inner = read_head(data, position, encoding)
        if inner.tag == closing:
            return inner.value
        if (inner.tag == ITEM) == (head.tag == ITEM):  # items stand in sequences, elements in items
            raise ValueError("items and sequences are not nested as PS3.5 7.5 says")
        position = after(data, inner, encoding, depth + 1)


def elements(data: Bytes, encoding: Encoding, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int]]:
    """(tag, start, end) of each element of one level, in the order of the data. Raises ValueError where they are broken."""
    position, end = start, len(data) if end is None else end
    while position < end:
        head = read_head(data, position, encoding)
        if head.tag >> 16 == 0xFFFE:
            raise ValueError("a delimiter stands where an attribute should")
        behind = after(data, head, encoding)
        yield head.tag, position, behind
        position = behind
    if position > end:
        raise ValueError("an element is longer than what it stands in")


def items(data: Bytes, start: int, end: int, encoding: Encoding) -> list[tuple[int, int]]:
    """(start, end) of the content of each item of the sequence whose value lies from `start` to `end`. Raises ValueError."""
    found, position = [], start
    while position < end:
        head = read_head(data, position, encoding)
        if head.tag == SEQUENCE_END:
            break
        if head.tag != ITEM:
            raise ValueError("something other than an item stands in a sequence")
        position = after(data, head, encoding)
        found.append((head.value, position - 8 if head.length == UNDEFINED else position))
    if position > end:
        raise ValueError("an item is longer than its sequence")
    return found


def transcode(data: bytes, source: Encoding, target: Encoding) -> bytes:
    """The elements `data`, encoded as `source`, encoded as `target`; back again they are the same bytes.

    VRs come from the dictionary of PS3.6 when `source` leaves them out; what it does not know becomes UN.
    Raises ValueError when the elements are broken.
    """
    return data if source == target else _level(data, 0, len(data), source, target, 0)


def _level(data: bytes, start: int, end: int, source: Encoding, target: Encoding, depth: int) -> bytes:
    if depth > _DEEPEST:
        raise ValueError(f"sequences are nested more than {_DEEPEST} deep")
    parts = []
    for tag, begin, behind in elements(data, source, start, end):
        head = read_head(data, begin, source)
        vr = head.vr or (dictionary_vr(tag) or "UN").encode()
        if vr == b"SQ":
            value, length = _sequence(data, head, behind, source, target, depth), head.length
            length = UNDEFINED if head.length == UNDEFINED else len(value)
        else:
            if head.length == UNDEFINED and vr != b"UN" and source.big_endian != target.big_endian:
                raise ValueError("encapsulated data cannot be turned round")
            value, length = data[head.value : behind], head.length
            if source.big_endian != target.big_endian:
                value = _turned(value, _WORD.get(vr, 1))
        parts += [write_head(tag, vr, length, target), value]
    return b"".join(parts)


def _sequence(data: bytes, head: Head, end: int, source: Encoding, target: Encoding, depth: int) -> bytes:
    parts = []
    for begin, stop in items(data, head.value, end, source):
        content = _level(data, begin, stop, source, target, depth + 1)
        undefined = _u32[source.big_endian].unpack_from(data, begin - 4)[0] == UNDEFINED
        parts += [write_head(ITEM, b"", UNDEFINED if undefined else len(content), target), content]
        if undefined:
            parts.append(write_head(ITEM_END, b"", 0, target))
    if head.length == UNDEFINED:
        parts.append(write_head(SEQUENCE_END, b"", 0, target))
    return b"".join(parts)


def _turned(value: bytes, width: int) -> bytes:
    """The same numbers in the other byte order; a rest that is no whole number stays."""
    if width == 1:
        return value
    whole = len(value) // width * width
    turned = bytearray(value)
    for place in range(width):
        turned[place:whole:width] = value[width - 1 - place : whole : width]
    return bytes(turned)
