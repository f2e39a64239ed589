"""From where a walk found an object's attributes to what they say of its pixels."""

from __future__ import annotations

from toolkit.hospital.dicom.part10 import Part10
from toolkit.hospital.dicom.pixels import NUMBERS, TEXTS, PixelAttributes
from toolkit.hospital.dicom.transcoding import Encoding, elements, items, read_head

_REGIONS, _DOCUMENT, _OFFSETS = 0x00186011, 0x00420011, 0x7FE00001
_PIXELS = (0x7FE00010, 0x7FE00008, 0x7FE00009)
_OVERLAY_BITS = tuple(0x60000102 | group << 16 for group in range(0, 0x20, 2))
_CORNERS = (0x00186018, 0x0018601A, 0x0018601C, 0x0018601E)  # PS3.3 C.8.5.5.1.1: x0, y0, x1, y1

JUDGED = (*TEXTS, *NUMBERS, _REGIONS, *_OVERLAY_BITS)  # by their values
WANTED = frozenset((*JUDGED, _DOCUMENT, _OFFSETS, *_PIXELS))


def judged_values(source: Part10, values: dict[int, tuple[int, int]]) -> tuple[bytes | bool, ...]:
    """Everything that the judgement of the pixels depends on: equal for the objects of a series."""
    data = source.data
    found = [data[slice(*values[tag])] if tag in values else b"" for tag in JUDGED]
    return (source.transfer_syntax.encode(), _DOCUMENT in values, _OFFSETS in values, any(tag in values for tag in _PIXELS), *found)


def pixel_attributes(source: Part10, values: dict[int, tuple[int, int]]) -> PixelAttributes:
    """What the top level of `source` says of its pixels; `values` are the offsets of the values of WANTED attributes that are there."""
    data = source.data
    order = "big" if source.big_endian else "little"
    facts = PixelAttributes(transfer_syntax=source.transfer_syntax, big_endian=source.big_endian)
    for tag, name in TEXTS.items():
        if tag in values:
            setattr(facts, name, data[slice(*values[tag])].strip(b"\0 ").decode("latin-1"))
    for tag, name in NUMBERS.items():
        if tag in values:
            raw = data[slice(*values[tag])]
            number = _number(raw) if tag == 0x00280008 else int.from_bytes(raw[:2], order) if len(raw) >= 2 else None  # type: ignore[arg-type]
            if number is not None:
                setattr(facts, name, number)
    facts.encapsulated_document = _DOCUMENT in values
    facts.extended_offsets = _OFFSETS in values
    facts.embedded_overlays = any(int.from_bytes(data[slice(*values[tag])][:2], order) for tag in _OVERLAY_BITS if tag in values)  # type: ignore[arg-type]
    for tag in _PIXELS:
        if tag in values:
            start, end = values[tag]
            head = 8 if source.implicit else 12
            facts.pixel_element, facts.pixel_start, facts.pixel_end = start - head, start, end
            if not source.implicit:
                facts.pixel_vr = data[start - 8 : start - 6].decode("latin-1")
            break
    if _REGIONS in values:
        facts.ultrasound_regions = _regions(source, *values[_REGIONS])
    return facts


def _number(raw: bytes) -> int | None:
    try:
        return int(raw.strip(b"\0 "))
    except ValueError:
        return None


def _regions(source: Part10, start: int, end: int) -> list[tuple[int, int, int, int]]:
    """The corners of Sequence of Ultrasound Regions' items; none when an item lacks one, because then nothing can be said of the others either."""
    data, encoding = source.data, Encoding(source.implicit, source.big_endian)
    order = "big" if source.big_endian else "little"
    found = []
    for item_start, item_end in items(data, start, end, encoding):
        corners = {}
        for tag, at, stop in elements(data, encoding, item_start, item_end):
            if tag in _CORNERS:
                corners[tag] = int.from_bytes(data[read_head(data, at, encoding).value : stop][:4], order)  # type: ignore[arg-type]
        if len(corners) < len(_CORNERS):
            return []
        found.append(tuple(corners[tag] for tag in _CORNERS))
    return found  # type: ignore[return-value]
