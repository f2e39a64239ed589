"""Elements of HL7 v3 documents, and the times in them."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

NAMESPACE = "urn:hl7-org:v3"
_DIGITS = re.compile(r"\d*")


@cache
def named(name: str) -> str:
    """A name as lxml has it."""
    return f"{{{NAMESPACE}}}{name}"


@cache
def path(*names: str) -> str:
    """A way down through elements of these names, for `find`."""
    return "/".join(map(named, names))


def child(parent: Any, *names: str) -> Any:
    """The first child of a name, its first child of the next name, and so on; None where there is none. Much faster than `find`."""
    for name in names:
        parent = next(parent.iterchildren(named(name)), None)
        if parent is None:
            return None
    return parent


def period(time: Any) -> tuple[str, str]:
    """Start and end that an effectiveTime tells, as written; a single moment is a start."""
    if time is None:
        return "", ""
    only = time.get("value")
    if only is not None:
        return only, ""
    low, high = child(time, "low"), child(time, "high")
    return (low.get("value", "") if low is not None else ""), (high.get("value", "") if high is not None else "")


def digits(time: str) -> str:
    """The digits that a time begins with."""
    found = _DIGITS.match(time)
    return found[0] if found else ""
