"""Values that stand for nobody: what PS3.15 E.3.1 calls a dummy (code D), valid for its VR and for the attributes whose values are
enumerated.
"""

from functools import lru_cache

_UNITS = (b"PIXEL", b"DISPLAY", b"MATRIX")
# Values that an attribute may only have by PS3.3. One of them that is there already says nothing about the patient and is kept, because
# other attributes depend on it (what a content item holds, what a graphic is made of); anything else becomes the first one.
_ENUMERATED: dict[int, tuple[bytes, ...]] = {
    0x00080105: (b"DCMR",),  # MappingResource
    0x00102203: (b"UNALTERED", b"ALTERED"),  # PatientSexNeutered
    0x001021A0: (b"UNKNOWN", b"YES", b"NO"),  # SmokingStatus
    0x0040A010: (  # RelationshipType
        *(b"CONTAINS", b"HAS PROPERTIES", b"HAS OBS CONTEXT", b"HAS ACQ CONTEXT", b"INFERRED FROM", b"SELECTED FROM", b"HAS CONCEPT MOD"),
    ),
    0x0040A040: (  # ValueType
        *(b"TEXT", b"NUM", b"CODE", b"DATETIME", b"DATE", b"TIME", b"UIDREF", b"PNAME", b"COMPOSITE", b"IMAGE", b"WAVEFORM"),
        *(b"SCOORD", b"SCOORD3D", b"TCOORD", b"CONTAINER", b"TABLE"),
    ),
    0x0040A050: (b"SEPARATE", b"CONTINUOUS"),  # ContinuityOfContent
    0x0040A130: (b"POINT", b"MULTIPOINT", b"SEGMENT", b"MULTISEGMENT", b"BEGIN", b"END"),  # TemporalRangeType
    0x0040A491: (b"PARTIAL", b"COMPLETE"),  # CompletionFlag
    0x0040A493: (b"UNVERIFIED", b"VERIFIED"),  # VerificationFlag
    0x00700003: _UNITS,  # BoundingBoxAnnotationUnits
    0x00700004: _UNITS,  # AnchorPointAnnotationUnits
    0x00700005: _UNITS,  # GraphicAnnotationUnits
    0x00700012: (b"LEFT", b"RIGHT", b"CENTER"),  # BoundingBoxTextHorizontalJustification
    0x00700015: (b"N", b"Y"),  # AnchorPointVisibility
    0x00700023: (b"POINT", b"POLYLINE", b"INTERPOLATED", b"CIRCLE", b"ELLIPSE", b"MULTIPOINT", b"MULTILINE"),  # GraphicType
    0x00700024: (b"N", b"Y"),  # GraphicFilled
    0x04000565: (b"COERCE", b"CORRECT"),  # ReasonForTheAttributeModification
}
# Values of one attribute that its VR's dummy would not be legal for.
_VALUES: dict[int, bytes] = {
    0x00080100: b"ANON",  # CodeValue
    0x00080102: b"99ANON",  # CodingSchemeDesignator: a private scheme's name begins with 99 (PS3.16 8.2)
    0x00080104: b"Anonymous",  # CodeMeaning
    0x00080119: b"ANON",  # LongCodeValue
    0x00080120: b"urn:oid:2.25.0",  # URNCodeValue
    0x00081160: b"1",  # ReferencedFrameNumber counts from 1
    0x00100040: b"O",  # PatientSex
}
# Numbers that say how many points or dimensions the neighbouring attributes have, or which of their samples are meant.
_STRUCTURE = frozenset({0x00700020, 0x00700021, 0x0040A0B0, 0x0040A132})
_TEXTS: dict[str, bytes] = {
    "AE": b"ANONYMOUS",
    "AS": b"000Y",
    "CS": b"ANONYMOUS",
    "DA": b"19000101",
    "DT": b"19000101000000",
    "LO": b"Anonymous",
    "LT": b"Anonymous",
    "PN": b"Anonymous",
    "SH": b"Anonymous",
    "ST": b"Anonymous",
    "TM": b"000000",
    "UC": b"Anonymous",
    "UI": b"2.25.0",
    "UR": b"urn:oid:2.25.0",
    "UT": b"Anonymous",
}
_SIZES = (
    dict.fromkeys(("OB", "OW", "SS", "UN", "US"), 2)
    | dict.fromkeys(("AT", "FL", "OF", "OL", "SL", "UL"), 4)
    | dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8)
)


@lru_cache(1024)
def _text(vr: str, tag: int, raw: bytes) -> bytes:
    stripped = raw.strip(b" \0")
    if tag in _ENUMERATED:
        value = stripped if stripped in _ENUMERATED[tag] else _ENUMERATED[tag][0]
    elif vr in ("DS", "IS"):
        value = b"\\".join([_VALUES.get(tag, b"0")] * (stripped.count(b"\\") + 1))
    else:
        value = _VALUES.get(tag, _TEXTS.get(vr, b"Anonymous"))
    return value + (b"\0" if vr == "UI" else b" ") * (len(value) % 2)


def dummy(vr: str, tag: int, raw: bytes, big_endian: bool) -> bytes:
    """A value, padded to an even length, that is legal for the VR (PS3.5 6.2) and does not depend on the patient.

    Dates are 1900-01-01, times midnight, ages ``000Y``, texts and names ``Anonymous``, UIDs ``2.25.0``. Numbers are zeros, as many as
    `raw` has; byte strings
    (OB, OW, OF, OD, OL, OV, UN) are zeros of `raw`'s length, because other attributes give their sizes, and two zero bytes where `raw` is
    empty. PatientSex is ``O``; attributes with enumerated values keep one of them. An SQ is empty. `big_endian` is the byte order of the
    numbers.
    """
    if vr == "SQ":
        return b""
    if vr in _SIZES:
        if tag == 0x001021C0:  # PregnancyStatus: 4 is unknown
            return b"\0\4" if big_endian else b"\4\0"
        if tag == 0x0040DB73:  # ReferencedContentItemIdentifier: the positions in a tree count from 1 (PS3.3 C.17.3)
            return (b"\0\0\0\1" if big_endian else b"\1\0\0\0") * max(1, len(raw) // 4)
        size = _SIZES[vr]
        if tag in _STRUCTURE and raw and len(raw) % size == 0:
            return raw
        return bytes(max(size, -(-len(raw) // size) * size))
    return _text(vr, tag, raw if vr in ("CS", "DS", "IS") else b"")
