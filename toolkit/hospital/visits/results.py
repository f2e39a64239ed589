"""Printed results made structured: ``7,8 g/dl``, ``12,0 - 16,0``, ``< 130 mg/dL``, ranges by age and sex.

Only what is recognised whole comes out, so that no free text passes as a result. Units are UCUM's atoms and the usual spellings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

# Laboratories print at most 8 digits before the point, and powers beyond; telephone numbers have 9, a PESEL 11.
NUMBER = re.compile(r"[-+]?[0-9]{1,8}(\.[0-9]{1,10})?([eE][-+]?[0-9]{1,2})?")
_N = r"[-+]?[0-9]{1,3}(?: [0-9]{3})+(?:[.,][0-9]{1,10})?|[-+]?[0-9]{1,10}(?:[.,][0-9]{1,10})?"  # 250 000 as well
_MOST_DIGITS = 8  # the same for printed ones, with those behind the point
_UNIT = r"(?P<unit>(?:(?<=\s)[0-9]|[^\s\d]).{0,30}?)?"
_VALUE = re.compile(rf"(?P<sign><=|>=|<|>|≤|≥)?\s*(?P<n>{_N})\s*{_UNIT}")
_BETWEEN = re.compile(rf"[\[(]?\s*(?P<low>{_N})\s*(?:-|–|—|÷|\.\.|;|do|to)\s*(?P<high>{_N})\s*[\])]?\s*{_UNIT}")
_ONE_SIDED = re.compile(rf"(?P<sign><=|>=|<|>|≤|≥|do|poniżej|powyżej|od|up to|below|above)\s*(?P<n>{_N})\s*{_UNIT}", re.IGNORECASE)
_LOW_SIGNS = {">": False, ">=": True, "≥": True, "od": True, "powyżej": False, "above": False}
_HIGH_SIGNS = {"<": False, "<=": True, "≤": True, "do": True, "up to": True, "poniżej": False, "below": False}
_YEARS = r"(?:lat|lata|rż\.?|r\.ż\.?|roku życia|years?|yrs?|y\.?o\.?|yo)"
_BAND = re.compile(
    rf"(?:(?P<sex>kobiety|kobieta|mężczyźni|mężczyzna|women|woman|female|men|man|male|[kmf])\b\.?\s*,?\s*)?"
    rf"(?:(?P<child>dzieci|children)\s*|(?P<adult>dorośli|adults)\s*)?"
    rf"(?:(?:wiek|age)\s*)?(?:(?:(?P<from>[0-9]{{1,3}})\s*[-–]\s*(?P<to>[0-9]{{1,3}})|(?P<sign><=|>=|<|>|≤|≥|do|od|poniżej|powyżej)\s*(?P<edge>[0-9]{{1,3}}))\s*{_YEARS})?"
    r"\s*[:=]\s*(?P<range>.+)",
    re.IGNORECASE,
)
_WOMEN = ("k", "f", "w")
_PREFIXES = "(?:da|d|c|m|u|µ|μ|n|p|f|k|M|G|h)?"
_BASE = (
    "g|l|L|m|mol|mole|Eq|eq|val|osm|osmol|U|IU|iu|j|J|kat|Pa|bar|s|V|Hz|W|cal|K|N|A|Cel|Bq|Gy|Sv|C|"
    r"\[IU\]|\[iU\]|\[arb'U\]|\[arb\]|m\[Hg\]|mHg|\[pH\]|\[lb_av\]|\[oz_av\]|\[in_i\]|\[ft_i\]|\[degF\]|\[CFU\]|\[APL'U\]|\[GPL'U\]|\[MPL'U\]|jm|jm\."
)
_OTHER = (
    r"%|‰|°C|°F|10\*-?[0-9]{1,2}|10\^-?[0-9]{1,2}|10e[0-9]{1,2}|1|min|h|d|wk|mo|a|hr|day|tys|mln|fl|pg|ratio|cells|komórek|HPF|LPF|hpf|lpf|"
    r"wpw|wpm|dl|ul|mm|lb|lbs|oz|in|kg|beats|bpm|tab|mmHg|\[HPF\]|\[LPF\]|1\.73 ?m2?|x10\^-?[0-9]{1,2}"
)
_KNOWN_ATOM = re.compile(rf"(?:{_PREFIXES}(?:{_BASE})|{_OTHER})(?:-?[0-9])?|100|24 ?h")
_ANNOTATION = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True)
class Range:
    """From `low` to `high` (decimal numbers with a point, "" for an open end), each inclusive or not; unit "" when not printed."""

    low: str = ""
    high: str = ""
    low_inclusive: bool = True
    high_inclusive: bool = True
    unit: str = ""


@dataclass(frozen=True)
class Quantity:
    """A number as printed, with a decimal point; its comparison sign (``<``, ``>=``) or ""; its unit or ""."""

    value: str
    unit: str = ""
    sign: str = ""


@lru_cache(maxsize=4096)
def known_unit(unit: str, more: frozenset[str] = frozenset()) -> str | None:
    """`unit` without its annotations when each of its atoms is known, else None; ``{INR}`` alone becomes ``1``."""
    if unit in more:
        return unit
    bare = _ANNOTATION.sub("", unit).strip().rstrip("/").removeprefix("x ")
    if not bare:
        return "1" if unit.strip() else ""
    if len(bare) > 30 or bare[0] in "*·×^":
        return None
    atoms = re.split(r"[/*·×]|\.(?!73)|\s+", re.sub(r"10\*(-?[0-9])", r"10^\1", bare.lstrip("/")))
    return bare if all(_KNOWN_ATOM.fullmatch(atom) or atom in more for atom in atoms if atom) and any(atoms) else None


@lru_cache(maxsize=4096)
def read_quantity(text: str, units: frozenset[str] = frozenset()) -> Quantity | None:
    """The result that `text` is as a whole (decimal comma or point), or None."""
    match = _VALUE.fullmatch(_spaced(text))
    if match is None or sum(map(str.isdigit, match["n"])) > _MOST_DIGITS:
        return None
    unit = known_unit(match["unit"] or "", units)
    return None if unit is None else Quantity(_number(match["n"]), unit, {"≤": "<=", "≥": ">="}.get(match["sign"], match["sign"] or ""))


@lru_cache(maxsize=4096)
def read_range(text: str, age: int | None = None, sex: str = "", units: frozenset[str] = frozenset()) -> Range | None:
    """The reference range that `text` is as a whole, or None.

    Where several are printed (``K: 12,0 - 16,0; M: 14,0 - 18,0``, ``0-14 lat: 11,0 - 14,5``) it is the only one that holds for
    this age (completed years) and sex (F, M); None when several or none hold, or one depends on what is unknown.
    """
    text = _spaced(text)
    found = _simple_range(text, units)
    if found is not None:
        return found
    fitting: list[Range] = []
    for part in re.split(r";|\n|\|", text):
        if not part.strip():
            continue
        match = _BAND.fullmatch(part.strip())
        banded = _simple_range(match["range"].strip().rstrip(","), units) if match is not None else None
        if match is None or banded is None:
            return None
        holds = _holds(match, age, sex)
        if holds is None:
            return None
        if holds:
            fitting.append(banded)
    return fitting[0] if len(fitting) == 1 else None


def _holds(band: re.Match[str], age: int | None, sex: str) -> bool | None:
    """Whether the band is for this patient; None when that depends on what is not known."""
    if band["sex"]:
        if sex not in ("F", "M"):
            return None
        if ("F" if band["sex"].casefold().startswith(_WOMEN) else "M") != sex:
            return False
    if not (band["from"] or band["edge"] or band["child"] or band["adult"]):
        return True
    if age is None:
        return None
    if band["child"] and age >= 18 or band["adult"] and age < 18:
        return False
    if band["from"]:
        return int(band["from"]) <= age <= int(band["to"])
    if not band["edge"]:
        return True
    edge, sign = int(band["edge"]), band["sign"].casefold()
    if sign in _LOW_SIGNS:
        return age >= edge if _LOW_SIGNS[sign] else age > edge
    return age <= edge if _HIGH_SIGNS[sign] else age < edge


def _simple_range(text: str, units: frozenset[str]) -> Range | None:
    text = re.sub(r"\s*\((?:calc|obliczone)\.?\)$", "", text)
    match = _BETWEEN.fullmatch(text)
    if match is not None:
        found = Range(_number(match["low"]), _number(match["high"]))
        if float(found.low) > float(found.high):
            return None
    else:
        match = _ONE_SIDED.fullmatch(text)
        if match is None:
            return None
        sign, number = match["sign"].casefold(), _number(match["n"])
        if sign in _LOW_SIGNS:
            found = Range(low=number, low_inclusive=_LOW_SIGNS[sign])
        else:
            found = Range(high=number, high_inclusive=_HIGH_SIGNS[sign])
    unit = known_unit(match["unit"] or "", units)
    if any(sum(map(str.isdigit, end)) > _MOST_DIGITS for end in (found.low, found.high)):
        return None
    return None if unit is None else replace(found, unit=unit)


def _number(text: str) -> str:
    return text.replace(" ", "").replace(",", ".").lstrip("+")


def _spaced(text: str) -> str:
    """One ordinary space between words: printed tables are full of other ones."""
    return (
        " ".join(text.split(" "))
        if text.isascii() and "  " not in text and "\n" not in text and "\t" not in text
        else " ".join(text.split())
    )
