"""XML written as text: the elements of a rebuilt document and how its narrative text shows them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from toolkit.hospital.visits.document import V3

# Canonical XML 1.0, 2.3: what attributes and texts must not hold as it is.
_ATTRIBUTE = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"})
_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})


class Written(NamedTuple):
    """An element as it is written, and what else is to be known of it."""

    xml: str
    shown: str  # in the narrative text; "" for nothing
    number: bool  # whether it holds a number, a moment or further elements: what a printed range can belong to
    masked: bool = False  # of codes: whether the code was left out


def attribute(name: str, value: str) -> str:
    """An attribute with the space before it."""
    return f' {name}="{value.translate(_ATTRIBUTE)}"'


def text(content: str) -> str:
    """Text between tags."""
    return content.translate(_TEXT)


def label(tag: object) -> str:
    """What a left-out node is by its tag, for counting; names that are not CDA's are not repeated, for they could say something."""
    return _named(tag) if isinstance(tag, str) else "comment()" if getattr(tag, "__name__", "") == "Comment" else "processing-instruction()"


@lru_cache(maxsize=1024)
def _named(tag: str) -> str:
    if not tag.startswith(V3):
        return "(another namespace)"
    local = tag[len(V3) :]
    return local if re.fullmatch(r"[a-z][A-Za-z]{1,30}", local) else "(unknown)"
