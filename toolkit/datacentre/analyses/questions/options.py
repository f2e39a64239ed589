"""Options that several questions have, and how what is given is read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from toolkit.core.errors import UsageError
from toolkit.datacentre.analyses.questions import Option

_ICD_10 = re.compile(r"[A-Z][0-9][0-9A-Z](\.?[0-9A-Z]{1,4})?")


def _codes(given: Sequence[str]) -> list[list[str]]:
    """Series of codes for comparing beginnings: ``I50,I11.0`` is one."""
    from toolkit.datacentre.cda import plain_code

    series = []
    for one in given:
        codes = [code.strip() for code in one.split(",")]
        for code in codes:
            if not _ICD_10.fullmatch(code.upper().rstrip("†*")):
                raise UsageError("--icd10", f"{code!r} is no ICD-10 code", "write a letter, a digit, and what follows: I50, I50.9, C4A")
        series.append(sorted({plain_code(code) for code in codes}))
        if series[-1] in series[:-1]:
            raise UsageError("--icd10", f"{one} is there twice", "leave one out")
    return series


def edges(text: str) -> list[float]:
    """Rising ages in years."""
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = []
    if not found or sorted(set(found)) != found or not found[0] >= 0 or not found[-1] < 1000:
        raise UsageError("--edges", f"{text!r} is no list of rising ages", "write years with commas between: 0,18,30,65")
    return [int(one) if one.is_integer() else one for one in found]


def periods(text: str) -> int | str:
    """The number of equal parts, or the unit of the calendar."""
    if text in ("month", "quarter", "year"):
        return text
    if text.isdecimal() and 1 <= int(text) <= 1000:
        return int(text)
    raise UsageError("--periods", f"{text!r} is no division of a period", "write month, quarter, year, or a number up to 1000")


_HELP = "A code and all that begin with it; several in one are counted together."
ICD10 = Option("icd10", "CODE[,CODE]...", _HELP, _codes, multiple=True)
