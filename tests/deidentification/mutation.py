"""Real files spoilt as transport, disks, careless converters and attackers spoil them; the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

VRS = [b"AE", b"CS", b"DA", b"DS", b"IS", b"LO", b"LT", b"OB", b"OW", b"PN", b"SH", b"SQ", b"ST", b"TM", b"UI", b"UL", b"UN", b"US", b"UT"]
LENGTHS = [0, 1, 2, 7, 0x7FFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]
MARKERS = [b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"\xff\xfe\xe0\x00", b"\xfc\xff\xfc\xff"]
TAGS = [(0x0008, 0x0005), (0x0008, 0x0018), (0x0010, 0x0010), (0x0010, 0x0020), (0x0040, 0x0275), (0x0009, 0x0010), (0x7FE0, 0x0010)]


def mutated(data: bytes, others: Sequence[bytes], seed: int) -> bytes:
    """`data` with one to six faults; `others` give pieces to splice in."""
    chance = random.Random(seed)
    spoilt = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        if len(spoilt) < 8:
            break
        # Headers matter more than pixels: most faults hit the first part.
        end = len(spoilt) if chance.random() < 0.3 else min(len(spoilt), chance.choice((200, 1000, 4000)))
        at = chance.randrange(max(1, end - 4))
        fault = chance.randrange(11)
        if fault == 0:
            spoilt[at] ^= 1 << chance.randrange(8)
        elif fault == 1:
            spoilt[at] = chance.randrange(256)
        elif fault == 2:
            del spoilt[at:]
        elif fault == 3:
            del spoilt[at : at + chance.choice((1, 2, 4, 8, 100))]
        elif fault == 4:
            piece = bytes(spoilt[at : at + chance.choice((1, 8, 60, 500))])
            spoilt[at:at] = piece
        elif fault == 5:
            other = chance.choice(others)
            begin = chance.randrange(max(1, len(other) - 8))
            spoilt[at:at] = other[begin : begin + chance.choice((4, 30, 300))]
        elif fault == 6:
            found = _element_near(spoilt, at)
            spoilt[found + 4 : found + 6] = chance.choice([*VRS, b"ZZ"])
        elif fault == 7:
            found = _element_near(spoilt, at)
            spoilt[found + 6 : found + 8] = (chance.choice(LENGTHS) & 0xFFFF).to_bytes(2, "little")
        elif fault == 8:
            found = _element_near(spoilt, at)
            spoilt[found + 8 : found + 12] = chance.choice(LENGTHS).to_bytes(4, "little")
        elif fault == 9:
            spoilt[at:at] = chance.choice(MARKERS) + chance.choice(LENGTHS).to_bytes(4, "little")
        else:
            found = _element_near(spoilt, at)
            spoilt[found : found + 4] = b"".join(part.to_bytes(2, "little") for part in chance.choice(TAGS))
    return bytes(spoilt)


def _element_near(data: bytearray, at: int) -> int:
    """Where an explicit element seems to start at or after `at`; `at` when none does."""
    for position in range(at, min(at + 200, len(data) - 8)):
        if data[position + 4 : position + 6] in VRS and data[position + 1] < 0x80:
            return position
    return at
