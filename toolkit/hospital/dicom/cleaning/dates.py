"""Dates moved by a patient's number of days (PS3.15 E.3.6, Retain Longitudinal Temporal Information with Modified Dates)."""

import re
from datetime import date
from functools import lru_cache

# The old form with points (ACR-NEMA, still allowed to be read by PS3.5 6.2) and the ISO form that some writers use are understood and come
# out legal.
_DATE = re.compile(rb"(\d{4})([-.]?)(\d\d)\2(\d\d)")
_DATETIME = re.compile(
    rb"(\d{4})(?:(0[1-9]|1[0-2])(?:(0[1-9]|[12]\d|3[01])"
    rb"((?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?)?)?)?"
    rb"((?:[+-](?:0\d|1[0-4])(?:00|15|30|45))?)"
)
_LAST = date.max.toordinal()


@lru_cache(4096)  # the objects of a series repeat their dates
def shift(raw: bytes, vr: str, days: int) -> bytes | None:
    """Move every date of a raw DA or DT value by `days` (may be negative); hours, fractions and UTC offsets stay as they are.

    Several values, ranges (``A-B``, ``-B``, ``A-``) and empty values are kept as such. A DT of a year or a month only is moved from its
    middle and keeps its precision. TM holds no date and is returned unchanged. The result is legal for the VR (PS3.5 6.2) and padded to an
    even length. None when the value is not of dates, when a moved date leaves the years 1 to 9999, and for every other VR: the caller then
    empties or removes the attribute.
    """
    if vr == "TM":
        return raw
    if vr == "DA":
        moved = [_shift_range(value.strip(b" \0"), _DATE, days) for value in raw.split(b"\\")]
    elif vr == "DT":
        moved = [_shift_range(value.strip(b" \0"), _DATETIME, days) for value in raw.split(b"\\")]
    else:
        return None
    values = [value for value in moved if value is not None]
    if len(values) < len(moved):
        return None
    joined = b"\\".join(values)
    return joined + b" " * (len(joined) % 2)


def _shift_range(value: bytes, pattern: re.Pattern[bytes], days: int) -> bytes | None:
    """One value or range. A hyphen that can be read as a UTC offset is one."""
    if not value:
        return value
    if match := pattern.fullmatch(value):
        return _shift_one(match, days)
    for hyphen in (place for place, byte in enumerate(value) if byte == 0x2D):
        ends = [value[:hyphen].strip(b" "), value[hyphen + 1 :].strip(b" ")]
        matches = [pattern.fullmatch(end) for end in ends if end]
        if matches and all(matches):
            moved = [_shift_one(match, days) for match in matches if match]
            if None in moved:
                return None
            first = (moved.pop(0) or b"") if ends[0] else b""
            return first + b"-" + ((moved.pop(0) or b"") if ends[1] else b"")
    return None


def _shift_one(match: re.Match[bytes], days: int) -> bytes | None:
    if match.re is _DATE:
        day = _moved(int(match[1]), int(match[3]), int(match[4]), days)
        return None if day is None else b"%04d%02d%02d" % (day.year, day.month, day.day)
    year, month, day_of_month, clock, offset = match.groups()
    day = _moved(int(year), int(month or 7), int(day_of_month or (15 if month else 1)), days)
    if day is None:
        return None
    text = b"%04d" % day.year
    if month:
        text += b"%02d" % day.month
    if day_of_month:
        text += b"%02d" % day.day
    return text + (clock or b"") + offset


def _moved(year: int, month: int, day: int, days: int) -> date | None:
    try:
        ordinal = date(year, month, day).toordinal() + days
    except ValueError:
        return None
    return date.fromordinal(ordinal) if 1 <= ordinal <= _LAST else None
