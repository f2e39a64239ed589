"""Writing elements (PS3.5 section 7) and the file meta information (PS3.10 section 7.1)."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

# Identifies this software in the files that it writes (PS3.7 D.3.3.2).
IMPLEMENTATION_CLASS = b"2.25.327431345401750921086407212860890144785"
IMPLEMENTATION_VERSION = b"SCAPE_TOOLKIT"

# PS3.5 7.1.2: VRs whose length has 16 bits, and those where it has 32.
SHORT_VRS = frozenset("AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())  # noqa: SIM905
LONG_VRS = frozenset("OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # noqa: SIM905
_ITEM = {False: b"\xfe\xff\x00\xe0", True: b"\xff\xfe\xe0\x00"}


def padded(value: bytes, vr: str) -> bytes:
    """`value` with an even number of bytes (PS3.5 6.2)."""
    return value if len(value) % 2 == 0 else value + (b"\0" if vr in ("UI", "OB", "UN") else b" ")


def element(tag: int, vr: str, value: bytes, implicit: bool, big_endian: bool) -> bytes:
    """The encoded element; `value` is encoded and of even length."""
    order = ">" if big_endian else "<"
    if implicit:
        return Struct("<HHI").pack(tag >> 16, tag & 0xFFFF, len(value)) + value
    if vr in LONG_VRS:
        return Struct(order + "HH2sHI").pack(tag >> 16, tag & 0xFFFF, vr.encode(), 0, len(value)) + value
    return Struct(order + "HH2sH").pack(tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def item(content: bytes, big_endian: bool) -> bytes:
    """A sequence's item of defined length."""
    return _ITEM[big_endian] + Struct(">I" if big_endian else "<I").pack(len(content)) + content


@lru_cache(maxsize=256)
def _class_and_syntax(sop_class: bytes, transfer_syntax: str) -> tuple[bytes, bytes]:
    before = element(0x00020001, "OB", b"\x00\x01", False, False) + element(0x00020002, "UI", padded(sop_class, "UI"), False, False)
    after = (
        element(0x00020010, "UI", padded(transfer_syntax.encode(), "UI"), False, False)
        + element(0x00020012, "UI", padded(IMPLEMENTATION_CLASS, "UI"), False, False)
        + element(0x00020013, "SH", padded(IMPLEMENTATION_VERSION, "SH"), False, False)
    )
    return before, after


def meta_information(sop_class: bytes, sop_instance: bytes, transfer_syntax: str) -> bytes:
    """Preamble of zeros, prefix, and a group 0002 that does not say where the file comes from: no AE titles, nothing private."""
    before, after = _class_and_syntax(sop_class, transfer_syntax)
    group = before + element(0x00020003, "UI", padded(sop_instance, "UI"), False, False) + after
    return bytes(128) + b"DICM" + element(0x00020000, "UL", len(group).to_bytes(4, "little"), False, False) + group
