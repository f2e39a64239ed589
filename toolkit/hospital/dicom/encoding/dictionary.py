"""The data dictionary of PS3.6: tags, VRs and keywords, from our own table, so that pydicom need not be imported."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "data"

_TAG = re.compile(r"\(?([0-9a-fA-F]{4}),?([0-9a-fA-F]{4})\)?")


def dictionary_vr(tag: int) -> str | None:
    """The VR of `tag`, of "US or SS" the first; None when PS3.6 does not have it (private tags). Repeating groups (50xx, 60xx ...) are
    known."""
    entry = _entries().get(tag) or _repeating(tag)
    return entry[0] if entry else None


def keyword_of(tag: int) -> str:
    """The keyword of `tag`, empty when it has none."""
    entry = _entries().get(tag) or _repeating(tag)
    return entry[1] if entry else ""


def tag_of(word: str) -> int | None:
    """The tag that a person means by ``PatientID``, ``(0010,0020)``, ``0010,0020`` or ``00100020``; None when there is none such."""
    match = _TAG.fullmatch(word)
    return int(match[1] + match[2], 16) if match else _keywords().get(word)


def spelt(tag: int) -> str:
    """``(0010,0020)``"""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def standard_tags() -> list[int]:
    """All tags of PS3.6 but those of repeating groups, in order."""
    return list(_entries())


@cache
def _lines() -> list[tuple[str, str, str]]:
    text = (DATA / "dicom_dictionary.txt").read_text(encoding="ascii")
    return [(tag, vr, keyword) for tag, vr, keyword in map(str.split, text.splitlines())]


@cache
def _entries() -> dict[int, tuple[str, str]]:
    return {int(tag, 16): (vr, keyword) for tag, vr, keyword in _lines() if "x" not in tag}


@cache
def _keywords() -> dict[str, int]:
    return {keyword: tag for tag, (_, keyword) in _entries().items()}


@cache
def _masks() -> list[tuple[int, int, tuple[str, str]]]:
    return [(*mask_of(tag), (vr, keyword)) for tag, vr, keyword in _lines() if "x" in tag]


def _repeating(tag: int) -> tuple[str, str] | None:
    if tag & 0x10000:  # odd groups are private, whatever a mask says
        return None
    return next((entry for mask, bits, entry in _masks() if tag & mask == bits), None)


def mask_of(pattern: str) -> tuple[int, int]:
    """(mask, bits) of a pattern of eight digits where x is any digit: a tag fits when ``tag & mask == bits``."""
    mask = "".join("0" if digit in "xX" else "f" for digit in pattern)
    return int(mask, 16), int(pattern.replace("x", "0").replace("X", "0"), 16)
