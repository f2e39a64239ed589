"""Which objects may carry names and dates in their pixels, and which pixels must go.

No tag tells with certainty that there is no text in an image: BurnedInAnnotation (0028,0301) is often missing, and often wrong.
So the risk is judged by the kind of object (PS3.3 C.8.6 secondary capture, C.8.5.6 ultrasound, C.7.6.1.1.2 image type); only a rule says
that an object of such a kind is clean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from toolkit.hospital.dicom.cleaning.quarantine import Quarantine, Reason
from toolkit.hospital.dicom.encoding.part10 import Part10
from toolkit.hospital.dicom.encoding.transcoding import Encoding, elements, items, read_head
from toolkit.hospital.dicom.pixels.pixel_rules import Facts, PixelRule, PixelRules, Rectangle, read_pixel_rules

__all__ = [
    "JUDGED", "WANTED", "PixelAttributes", "PixelRules", "Rectangle", "assess", "attributes", "judged_by", "kinds_of", "outside",
    "read_pixel_rules",
]  # fmt: skip

# Top-level attributes and the field of PixelAttributes that each fills: text, then whole numbers (US, or IS for frames).
_TEXTS = {
    0x00080008: "image_type", 0x00080016: "sop_class", 0x00080060: "modality", 0x00080064: "conversion_type",
    0x00080070: "manufacturer", 0x0008103E: "series_description", 0x00081090: "model", 0x00181016: "capture_manufacturer",
    0x00181018: "capture_model", 0x00181020: "software", 0x00280004: "photometric", 0x00280301: "burned_in_annotation",
}  # fmt: skip
_NUMBERS = {
    0x00280002: "samples", 0x00280006: "planar", 0x00280008: "frames", 0x00280010: "rows", 0x00280011: "columns",
    0x00280100: "bits_allocated", 0x00280101: "bits_stored", 0x00280102: "high_bit", 0x00280103: "pixel_representation",
}  # fmt: skip
_FRAMES, _REGIONS = 0x00280008, 0x00186011
_OVERLAY_BIT_POSITIONS = tuple(group << 16 | 0x0102 for group in range(0x6000, 0x6020, 2))
_DOCUMENTS, _EXTENDED_OFFSETS = 0x00420011, 0x7FE00001
_PIXELS = (0x7FE00010, 0x7FE00008, 0x7FE00009)  # integers, floats, doubles

# Whose values are judged; of the others that are wanted only the presence matters.
JUDGED = (*_TEXTS, *_NUMBERS, _REGIONS, *_OVERLAY_BIT_POSITIONS)
WANTED = frozenset((*JUDGED, _DOCUMENTS, _EXTENDED_OFFSETS, *_PIXELS))


@dataclass(slots=True)
class PixelAttributes:
    """What an object's top level says of its pixels.

    `ultrasound_regions`: x0, y0, x1, y1 of the items of (0018,6011), in pixels, the last included (PS3.3 C.8.5.5.1.1 to .4).
    `embedded_overlays`: an overlay plane (60xx,0102) has a bit position other than 0 and lies in the high bits of the pixels.
    `encapsulated_document`: (0042,0011) is present. `extended_offsets`: (7FE0,0001) is present.
    `pixel_element`, `pixel_start`, `pixel_end`: offsets of the tag, the value and the end (behind the sequence delimiter, if any) of
    (7FE0,0010), (7FE0,0008) or (7FE0,0009) in the source's data; -1 without pixels. `pixel_vr`: its VR as written.
    """

    sop_class: str = ""
    modality: str = ""
    manufacturer: str = ""
    model: str = ""
    software: str = ""
    image_type: str = ""
    conversion_type: str = ""
    burned_in_annotation: str = ""
    series_description: str = ""
    capture_manufacturer: str = ""
    capture_model: str = ""
    photometric: str = ""
    rows: int = 0
    columns: int = 0
    frames: int = 1
    samples: int = 1
    planar: int = 0
    bits_allocated: int = 0
    bits_stored: int = 0
    high_bit: int = -1
    pixel_representation: int = 0
    ultrasound_regions: list[tuple[int, int, int, int]] = field(default_factory=list)
    embedded_overlays: bool = False
    encapsulated_document: bool = False
    extended_offsets: bool = False
    transfer_syntax: str = ""
    big_endian: bool = False
    pixel_element: int = -1
    pixel_start: int = -1
    pixel_end: int = -1
    pixel_vr: str = "OW"


Places = Mapping[int, tuple[int, int]]  # tag -> offsets of the start and the end of its value in the source's data


def judged_by(source: Part10, places: Places) -> tuple[object, ...]:
    """What `attributes` depends on but for the pixels' place: objects with equal ones are judged alike."""
    data = source.data
    present = tuple(tag in places for tag in (_DOCUMENTS, *_PIXELS))
    return (source.transfer_syntax, present, *[(tag, data[places[tag][0] : places[tag][1]]) for tag in JUDGED if tag in places])


def attributes(source: Part10, places: Places) -> PixelAttributes:
    """What the object's top level says, from the places of its WANTED attributes."""
    data, order = source.data, "big" if source.big_endian else "little"
    found = PixelAttributes(transfer_syntax=source.transfer_syntax, big_endian=source.big_endian)

    def number(tag: int, default: int) -> int:
        start, end = places.get(tag, (0, 0))
        raw = data[start:end] if end - start == 4 else data[start : min(end, start + 2)]
        return int.from_bytes(raw, order) if len(raw) >= 2 else default  # type: ignore[arg-type]

    for tag, name in _TEXTS.items():
        if tag in places:
            values = data[slice(*places[tag])].decode("latin-1").strip(" \0").split("\\")
            setattr(found, name, "\\".join(value.strip() for value in values))
    for tag, name in _NUMBERS.items():
        if tag in places and tag != _FRAMES:
            setattr(found, name, number(tag, getattr(found, name)))
    if _FRAMES in places:
        text = data[slice(*places[_FRAMES])].strip(b" \0")
        found.frames = max(1, int(text)) if text.isdigit() else 1 if not text else -1
    if _REGIONS in places:
        found.ultrasound_regions = _regions(source, *places[_REGIONS])
    found.embedded_overlays = any(number(tag, 0) for tag in _OVERLAY_BIT_POSITIONS if tag in places)
    found.encapsulated_document = _DOCUMENTS in places
    found.extended_offsets = _EXTENDED_OFFSETS in places
    for tag in _PIXELS:
        if tag in places:
            found.pixel_start, found.pixel_end = places[tag]
            found.pixel_element = found.pixel_start - (8 if source.implicit else 12)
            found.pixel_vr = "OW" if source.implicit else data[found.pixel_element + 4 : found.pixel_element + 6].decode("latin-1")
            break
    return found


def _regions(source: Part10, start: int, end: int) -> list[tuple[int, int, int, int]]:
    """The corners in each item of (0018,6011); [] when one item lacks them or cannot be read, because then nothing tells what to keep."""
    data, encoding, order = source.data, Encoding(source.implicit, source.big_endian), "big" if source.big_endian else "little"
    found = []
    try:
        for first, last in items(data, start, end, encoding):
            corners = {}
            for tag, at, behind in elements(data, encoding, first, last):
                value = data[read_head(data, at, encoding).value : behind]
                if len(value) == 4:
                    corners[tag] = int.from_bytes(value, order)  # type: ignore[arg-type]
            found.append(tuple(corners[0x00180000 | element] for element in (0x6018, 0x601A, 0x601C, 0x601E)))
    except (KeyError, ValueError):
        return []
    return found  # type: ignore[return-value]


_STORAGE = "1.2.840.10008.5.1.4.1.1."

# PS3.4 B.5 and the retired classes of PS3.6 table A-1.
_ULTRASOUND = frozenset(_STORAGE + name for name in ("3", "3.1", "6", "6.1", "6.2", "6.3"))
_CAPTURE = frozenset([_STORAGE + name for name in ("7", "7.1", "7.2", "7.3", "7.4")] + ["1.2.840.10008.5.1.1.29", "1.2.840.10008.5.1.1.30"])
_DOCUMENT = _STORAGE + "104."
_VISIBLE_LIGHT = _STORAGE + "77.1."
_DOSE_GRID = _STORAGE + "481.2"

# Written by the acquiring modality or computed from it, with text in attributes and overlays. A class that is in no list here is a risk.
_PLAIN = frozenset(
    _STORAGE + name
    for name in (
        "1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1",  # computed and digital radiography, mammography, intra-oral
        "2", "2.1", "2.2", "4", "4.1", "4.3", "4.4", "5", "20", "128", "128.1", "130",  # CT, MR, nuclear medicine, PET
        "12.1", "12.1.1", "12.2", "12.2.1", "12.3", "13.1.1", "13.1.2", "13.1.3", "13.1.4", "13.1.5",  # angiography, tomosynthesis
        "14.1", "14.2", "77.1.5.4", "77.1.5.7", "77.1.5.8",  # optical coherence tomography
        "30", "66.4", "66.7", "66.8", "481.1", "481.2",  # parametric maps, segmentations, radiotherapy images and doses
    )
)  # fmt: skip
_COLOUR = frozenset(_STORAGE + name for name in ("4.3", "66.7", "66.8", "30"))

# Conversion types of PS3.3 C.8.6.1: video, drawing, scanned document, scanned image, synthetic image, workstation.
_CAPTURED_FROM = frozenset(("DV", "DRW", "SD", "SI", "SYN", "WSD"))
_CAPTURE_MODALITIES = frozenset(("DOC", "FILM", "HC", "OT", "SC"))
_ULTRASOUND_MODALITIES = frozenset(("BMUS", "EC", "IVUS", "US"))
_SCREEN = ("SCREEN", "SAVE", "CAPTUR", "REPORT", "PROTOCOL", "DEMOGRAPHIC", "VXTL")
_SCREEN_SERIES = ("SCREEN SAVE", "SCREENSAVE", "SCREEN CAPTURE", "SCREENSHOT", "PATIENT PROTOCOL")
_DOSE_SERIES = ("DOSE REPORT", "DOSE INFO", "DOSE RECORD", "DOSE SUMMARY")

_NO_KINDS: frozenset[str] = frozenset()
_VIDEO = "1.2.840.10008.1.2.4.10"  # .100 to .108: MPEG-2, MPEG-4, HEVC


def kinds_of(a: PixelAttributes) -> frozenset[str]:
    """The kinds of risk that the object belongs to, in the words of pixel-rules(5); empty for plain CT, MR, PET and the like."""
    if a.encapsulated_document or a.sop_class.startswith(_DOCUMENT):
        return frozenset(("document",))
    if a.pixel_element < 0:
        return _NO_KINDS
    found = []
    image_type, conversion = a.image_type.upper(), a.conversion_type.upper()
    series, modality = a.series_description.upper(), a.modality.upper()
    if a.sop_class in _ULTRASOUND or modality in _ULTRASOUND_MODALITIES:
        found.append("ultrasound")
    captured = conversion in _CAPTURED_FROM or a.capture_manufacturer or a.capture_model
    if captured or a.sop_class in _CAPTURE or modality in _CAPTURE_MODALITIES:
        found.append("secondary-capture")
    if conversion == "DF" or modality == "FILM":
        found.append("film")
    plain = a.sop_class in _PLAIN
    if a.sop_class.startswith(_VISIBLE_LIGHT) and not plain:
        found.append("visible-light")
    if any(word in image_type for word in _SCREEN) or any(word in series for word in _SCREEN_SERIES):
        found.append("screen-save")
    if a.sop_class != _DOSE_GRID and ("DOSE" in image_type or any(word in series for word in _DOSE_SERIES)):
        found.append("dose-report")
    if plain and (image_type.split("\\")[1:2] == ["SECONDARY"] or (a.samples == 3 and a.sop_class not in _COLOUR)):
        found.append("derived")
    if not plain and not found:
        found.append("unknown-class")
    if a.burned_in_annotation.upper() == "YES":
        found.append("marked")
    return frozenset(found) if found else _NO_KINDS


def assess(a: PixelAttributes, rules: PixelRules, clean: bool) -> list[Rectangle]:
    """The pixels of every frame that must be blanked; [] when the object's pixels may leave as they are.

    `clean`: pixels may be changed. Raises Quarantine (encapsulated-document, burned-in-risk) for what may carry text and cannot be cleaned,
    or may not.
    """
    kinds = kinds_of(a)
    if not kinds and a.pixel_element < 0:
        return []
    regions = _trusted_regions(a)
    decision = rules.decide(
        Facts(
            kinds, a.sop_class, a.modality.upper(), a.manufacturer, a.model, a.software, a.series_description, a.image_type.upper(),
            a.conversion_type.upper(), a.burned_in_annotation.upper(), a.photometric, a.rows, a.columns, a.bits_stored, a.samples,
            bool(regions),
        )
    )  # fmt: skip
    rule = decision.rule
    if rule is None:
        if not kinds:
            return []
        raise _no_rule(a, kinds)
    if rule.action == "pass":
        return []
    if "document" in kinds:
        raise _no_rule(a, kinds)
    if rule.action == "quarantine":
        remedy = "look at it by hand, or write a rule that comes first, see pixel-rules(5)"
        raise Quarantine(Reason.BURNED_IN, f'{_named(kinds)}, which the pixel rule "{rule.name}" holds back', remedy)
    rectangles = _rectangles(a, rule, decision.also, regions)
    if not rectangles:
        size = f"{a.columns} x {a.rows} pixels"
        raise Quarantine(Reason.BURNED_IN, f'the pixel rule "{rule.name}" leaves nothing to blank in {size}', "correct the rule")
    if not clean:
        raise Quarantine(Reason.BURNED_IN, f"{_named(kinds)} with text in its pixels", f'use --clean-pixels: rule "{rule.name}" blanks it')
    if a.transfer_syntax.startswith(_VIDEO):
        remedy = "convert it to single frames first"
        raise Quarantine(Reason.BURNED_IN, f"{_named(kinds)} as video, whose frames cannot be blanked without loss", remedy)
    return rectangles


def _rectangles(a: PixelAttributes, rule: PixelRule, also: PixelRule | None, regions: list[Rectangle]) -> list[Rectangle]:
    if rule.action == "blank":
        return rule.place(a.columns, a.rows)
    return outside(regions, a.columns, a.rows) + (also.place(a.columns, a.rows) if also else [])


def _named(kinds: Iterable[str]) -> str:
    return "an object of kind " + ", ".join(sorted(kinds)) if kinds else "an object"


def _no_rule(a: PixelAttributes, kinds: frozenset[str]) -> Quarantine:
    if "document" in kinds:
        return Quarantine(Reason.ENCAPSULATED_DOCUMENT, "an encapsulated document, which cannot be cleaned", "look at it by hand")
    return Quarantine(
        Reason.BURNED_IN,
        f"{_named(kinds)} of {a.columns} x {a.rows} pixels may have text in its pixels, and no pixel rule knows it",
        "write a rule, see pixel-rules(5), and name its file with --pixel-rules",
    )


def _trusted_regions(a: PixelAttributes) -> list[Rectangle]:
    """The regions of an ultrasound image, or [] when they do not tell the image from what surrounds it.

    Not trusted: one that does not lie in the image, or that begins in the first fiftieth of the rows, where the banner is: it covers the
    whole screen.
    """
    found = []
    for x0, y0, x1, y1 in a.ultrasound_regions:
        if not (0 <= x0 <= x1 <= a.columns and a.rows / 50 <= y0 <= y1 <= a.rows):  # <=: some devices write the first pixel outside
            return []
        found.append(Rectangle(x0, y0, min(x1 + 1, a.columns), min(y1 + 1, a.rows)))
    return found


def outside(kept: Iterable[Rectangle], columns: int, rows: int) -> list[Rectangle]:
    """Disjoint rectangles that cover exactly the pixels of the image that lie in none of `kept`, from top to bottom."""
    areas = list(kept)
    edges = sorted({0, rows, *(y for area in areas for y in (area.top, area.bottom) if 0 < y < rows)})
    found: list[Rectangle] = []
    for top, bottom in zip(edges, edges[1:], strict=False):
        position = 0
        for area in sorted(area for area in areas if area.top <= top < area.bottom):
            if area.left > position:
                found.append(Rectangle(position, top, min(area.left, columns), bottom))
            position = max(position, area.right)
        if position < columns:
            found.append(Rectangle(position, top, columns, bottom))
    return found
