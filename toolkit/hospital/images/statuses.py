"""What the status of a C-STORE means for an object (PS3.4 B.2.3, PS3.7 annex C)."""

from __future__ import annotations

from enum import Enum

from toolkit.hospital.images.messages import Answer

_WARNINGS = {0x0001, 0x0107, 0x0116}
_WORDS = {
    0x0107: "some attributes are unknown there",
    0x0110: "it could not be processed",
    0x0111: "another object has this UID there",
    0x0112: "there is no such object",
    0x0116: "a value is out of range",
    0x0119: "SOP class and instance do not belong together",
    0x0117: "its instance UID is malformed",
    0x0122: "its SOP class is not supported",
    0x0124: "we are not authorised",
    0x0131: "the transaction is known already",
    0x0210: "a message came twice",
    0x0211: "the receiver does not know this operation",
    0x0213: "the receiver has no resources",
    0xB000: "values were changed",
    0xB006: "elements were left out",
    0xB007: "it does not match its SOP class",
}
_RANGES = ((0xA700, 0xFF00, "the receiver is out of resources"), (0xA900, 0xFF00, "it does not match its SOP class"),
           (0xB000, 0xF000, "kept with a warning"), (0xC000, 0xF000, "the receiver cannot understand it"))  # fmt: skip


class Fate(Enum):
    """What became of an object that was sent."""

    STORED = "stored"
    WARNED = "warned"  # stored, though not quite as it was sent
    REFUSED = "refused"
    LATER = "later"


def fate(answer: Answer) -> Fate:
    """Whether it is stored there; a receiver without resources, or one that was told to cancel, may take it later."""
    status = answer.status
    if status == 0:
        return Fate.STORED
    if status in _WARNINGS or 0xB000 <= status < 0xC000:
        return Fate.WARNED
    return Fate.LATER if status & 0xFF00 == 0xA700 or status in (0x0213, 0xFE00) else Fate.REFUSED


def words(answer: Answer) -> str:
    """A status for a person, with the receiver's own comment."""
    known = _WORDS.get(answer.status)
    if known is None:
        known = next((text for start, mask, text in _RANGES if answer.status & mask == start), "it is refused")
    comment = f": {answer.comment}" if answer.comment else ""
    return f"{known} (0x{answer.status:04X}{comment})"
