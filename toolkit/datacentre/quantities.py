"""Numbers, quantities, reference ranges and units as laboratories print them: decimal commas, ``12,0 - 16,0 g/dl``, ``1 250 /ul``."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_NUMBER = r"[+-]?(?:\d{1,3}(?:[ \u00a0\u202f]\d{3})+|\d+)(?:[.,]\d+)?(?:[eE][+-]?\d{1,3})?"  # Polish: a space between thousands
_BETWEEN = r"(?:-|–|—|\.\.+|do|to)"
_LEAST = {">": False, ">=": True, "≥": True, "od": True}  # whether the range includes its edge
_MOST = {"<": False, "<=": True, "≤": True, "do": True}
_SIGN = r"<=|>=|≤|≥|<|>|do|od"
_UNIT = r"[^\W\d_][^\s;]*|[%‰/°][^\s;]*"  # right behind a range's first number
_SPACES = re.compile(r"[ \u00a0\u202f]")
_ONE_NUMBER = re.compile(rf"\s*({_NUMBER})\s*")
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*([^\d\s].*)?", re.DOTALL)
_RANGE = re.compile(rf"[\s(\[]*({_NUMBER})\s*{_BETWEEN}\s*({_NUMBER})(?![\d.,])")
_BOUND = re.compile(rf"[\s(\[]*({_SIGN})\s*({_NUMBER})(?![\d.,])", re.IGNORECASE)
_PRINTED = re.compile(rf"[\s(\[]*({_NUMBER})\s*((?!do\b|to\b)(?:{_UNIT}))?\s*{_BETWEEN}\s*({_NUMBER})(?![.,]\d)([^\d.,].*)?", re.DOTALL)
_PRINTED_BOUND = re.compile(rf"[\s(\[]*({_SIGN})\s*({_NUMBER})(?![.,]\d)([^\d.,].*)?", re.DOTALL | re.IGNORECASE)
_ANOTHER = re.compile(rf"[<>≤≥=:]|(?<![\d.,]){_NUMBER}\s*{_BETWEEN}\s*{_NUMBER}|\b(?:do|od)\s+\d")  # in what follows a range
_SHORT = 24  # characters; a document may hold a number as long as itself, which is not to be kept
_LONGEST = 200  # characters of a printed range


class PrintedRange(NamedTuple):
    """Low, high, which of them are included, and the unit; low and high None where the text says none that holds alone."""

    low: float | None
    high: float | None
    low_inclusive: bool
    high_inclusive: bool
    unit: str


_UNDECIDED = PrintedRange(None, None, True, True, "")


def parse_number(text: str) -> float | None:
    """A decimal number with a point or a comma, perhaps with spaces between thousands; None when it is none."""
    return _kept_number(text) if len(text) <= _SHORT else _number(text)


def parse_quantity(text: str) -> tuple[float | None, str]:
    """Number and unit of a text such as ``7,8 g/dl``; None and nothing when it is no quantity."""
    found = _QUANTITY.fullmatch(text)
    return (parse_number(found[1]), (found[2] or "").strip()) if found else (None, "")


def parse_range(text: str) -> tuple[float | None, float | None, bool]:
    """Low, high and whether both are included, of a printed range: ``12,0 - 16,0``, ``< 5``, ``>= 60``, ``do 41``."""
    if found := _RANGE.match(text):
        low, high = parse_number(found[1]), parse_number(found[2])
        return (low, high, True) if low is not None and high is not None and low <= high else (None, None, True)
    if found := _BOUND.match(text):
        number, sign = parse_number(found[2]), found[1].lower()
        return (None, number, _MOST[sign]) if sign in _MOST else (number, None, _LEAST[sign])
    return None, None, True


@lru_cache(maxsize=4096)
def parse_printed(text: str) -> PrintedRange:
    """The range of a result's column ``printed``, with the unit behind it: ``12,0 - 16,0 g/dl``, ``< 5 mg/l``, ``(3.5–5.1)``.

    Nothing is decided where the text holds several that differ (bands of age or sex), or a word before the numbers: they may hold
    for others than this patient.
    """
    if len(text) > _LONGEST:
        return _UNDECIDED
    found = [_one_printed(part) for part in text.split(";") if part.strip()]
    first = next((one for one in found if one.unit), found[0]) if found else _UNDECIDED
    return first if all(one[:4] == first[:4] and same_unit(one.unit, first.unit) for one in found) else _UNDECIDED


def same_unit(one: str, other: str) -> bool:
    """Whether two units are spelled alike but for case, spaces and the sign for micro; one that is not said is any."""
    return one == other or not one or not other or _spelling(one) == _spelling(other)


def write_range(low: str, high: str, low_inclusive: bool, high_inclusive: bool) -> str:
    """A range as it is printed, from its edges as they are written: ``12 - 16``, ``< 5``, ``>= 60``; an edge may be empty."""
    if low and high:
        return f"{low} - {high}"
    return f"{'>=' if low_inclusive else '>'} {low}" if low else f"{'<=' if high_inclusive else '<'} {high}" if high else ""


def _one_printed(text: str) -> PrintedRange:
    if found := _PRINTED.fullmatch(text):
        low, high, before, unit = parse_number(found[1]), parse_number(found[3]), found[2] or "", _unit(found[4])
        if unit is None or low is None or high is None or low > high or not same_unit(before, unit):
            return _UNDECIDED
        return PrintedRange(low, high, True, True, unit or before)
    if found := _PRINTED_BOUND.fullmatch(text):
        number, sign, unit = parse_number(found[2]), found[1].lower(), _unit(found[3])
        if unit is None or number is None:
            return _UNDECIDED
        return (
            PrintedRange(None, number, True, _MOST[sign], unit) if sign in _MOST else PrintedRange(number, None, _LEAST[sign], True, unit)
        )
    return _UNDECIDED


def _unit(rest: str | None) -> str | None:
    """The unit in what follows a range; None when another range follows."""
    rest = rest or ""
    return None if _ANOTHER.search(rest) else rest.strip(" \t\n\u00a0\u202f()[],.")


@lru_cache(maxsize=4096)
def _spelling(unit: str) -> str:
    return "".join(unit.casefold().split()).replace("μ", "u")  # both signs for micro are this one in lower case


def _number(text: str) -> float | None:
    found = _ONE_NUMBER.fullmatch(text)
    if found is None:
        return None
    number = found[1].replace(",", ".")
    try:
        return float(number)
    except ValueError:
        return float(_SPACES.sub("", number))


_kept_number = lru_cache(maxsize=1 << 16)(_number)  # laboratories print the same numbers again and again
