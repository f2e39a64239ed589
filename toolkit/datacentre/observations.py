"""Observations of visit documents: results with their reference ranges, and the ages that some of them tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from toolkit.datacentre.hl7 import child, named, period
from toolkit.datacentre.quantities import parse_number, parse_quantity, same_unit, write_range

_AGE = ("30525-0", "21612-7", "397669002")  # age: LOINC two times, SNOMED CT
NO_RESULTS = ("ASSERTION", "445518008", *_AGE, "")  # and the age at which something began
_YEARS = {"a": 1.0, "mo": 1 / 12, "wk": 7 / 365.25, "d": 1 / 365.25, "": 1.0}  # UCUM
_CODE, _VALUE, _TRANSLATION, _COMPONENT = map(named, ("code", "value", "translation", "component"))
_INTERPRETATION, _RANGES, _TIME = map(named, ("interpretationCode", "referenceRange", "effectiveTime"))
_LOW, _HIGH, _TEXT = map(named, ("low", "high", "text"))
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_NUMBERS = ("PQ", "REAL", "INT", "MO")
_SHORT = 100  # characters of a range's attributes; longer ones are not worth keeping
_Limits = tuple[float | None, float | None, bool, bool]
_Edge = tuple[str, str, bool]
_Range = tuple[_Limits, str]  # and the range in words
_NO_LIMITS: _Limits = (None, None, True, True)
UNLIMITED: _Range = (_NO_LIMITS, "")
NO_EDGE: _Edge = ("", "", True)
_new = tuple.__new__  # half the time of a named tuple's own


class Result(NamedTuple):
    """A measured value: what (code and system), when, the value and its unit, or the text where it is no number; low and high of the
    reference range and whether the range includes them; the interpretation code; the range as printed."""

    code: str
    system: str
    time: str
    value: float | None
    unit: str
    text: str
    low: float | None
    high: float | None
    low_inclusive: bool
    high_inclusive: bool
    interpretation: str
    printed: str


def observe(observation: Any, without: frozenset[Any], results: list[Result], ages: list[float]) -> None:
    """Add what an observation says by its values but those in `without`: results, or the patient's age in years.

    Most of the time that a document takes is spent here, so what nearly all results are, one number with one range, is read in place.
    """
    code: Any = None
    interpretation = time = None
    values, ranges = [], []
    for part in observation:
        tag = part.tag
        if tag == _VALUE:
            if not without or part not in without:
                values.append(part)
        elif tag == _CODE:
            code = part
        elif tag == _TIME:
            time = part
        elif tag == _INTERPRETATION:
            if interpretation is None:
                interpretation = part
        elif tag == _RANGES:
            ranges.append(part)
    if not values:
        return
    if code is None:
        return
    name = code.get("code")
    name, system = (name.strip(), code.get("codeSystem", "")) if name else _translated(code)
    if name in NO_RESULTS:
        ages.extend(_ages(values) if name in _AGE else ())
        return
    judged = interpretation.get("code", "").strip() if interpretation is not None else ""
    when = "" if time is None else time.get("value")
    if when is None:
        when = period(time)[0]
    for value in values:
        if value.get(_TYPE) == "PQ" and (number := parse_number(value.get("value", ""))) is not None:
            unit, text = value.get("unit", ""), ""
        else:
            number, unit, text, is_text = _measured(value)
            # A coded value is a finding or a diagnosis as often as a result: it is one where it was judged, or belongs to a group of tests.
            if number is None and not judged and not ranges and not (text and (is_text or observation.getparent().tag == _COMPONENT)):
                continue
        (low, high, from_it, to_it), printed = _limits(ranges, unit) if ranges else UNLIMITED
        results.append(_new(Result, (name, system, when, number, unit, text, low, high, from_it, to_it, judged, printed)))


def _ages(values: Iterable[Any]) -> Iterator[float]:
    for value in values:
        number = parse_number(value.get("value", ""))
        if number is not None and value.get("unit", "") in _YEARS:
            yield number * _YEARS[value.get("unit", "")]


def _translated(code: Any) -> tuple[str, str]:
    """The first translation of a code that says itself nothing, and its system."""
    for one in code.iterfind(_TRANSLATION) if code.get("code") is None else ():
        if one.get("code"):
            return one.get("code").strip(), one.get("codeSystem", "")
    return "", ""


def _limits(ranges: Iterable[Any], unit: str) -> _Range:
    """Low, high and which of them are included; and the ranges as a person reads them. Several that differ, by age or sex, decide nothing,
    nor does one in another unit than the value's, which then stands at least in words."""
    found: list[_Range] = []
    printed: list[str] = []
    for one in ranges:
        low = high = NO_EDGE
        for part in one.iter():
            tag = part.tag
            if tag == _VALUE:
                if part.text:
                    printed.append(part.text)
                if low is not high:  # of the value before
                    found.append(range_of(low, high, unit))
                    low = high = NO_EDGE
            elif tag == _LOW:
                low = part.get("value", ""), part.get("unit", ""), part.get("inclusive") != "false"
            elif tag == _HIGH:
                high = part.get("value", ""), part.get("unit", ""), part.get("inclusive") != "false"
            elif tag == _TEXT:
                printed.append("".join(part.itertext()))
        if low is not high:
            found.append(range_of(low, high, unit))
    if len(found) == 1 and not printed:
        return found[0]
    words = "; ".join(text for one in printed if (text := " ".join(one.split())))
    different = {limits for limits, _ in found if limits != _NO_LIMITS}
    if len(different) == 1:
        return different.pop(), words
    return _NO_LIMITS, words or ("" if different else "; ".join(text for _, text in found if text))


def range_of(first: _Edge, last: _Edge, unit: str) -> _Range:
    """A range between two edges, or beyond one; in words when it is in another unit than the value's `unit`."""
    if len(first[0]) + len(first[1]) + len(last[0]) + len(last[1]) > _SHORT:
        return _between(first, last, unit)
    return _kept_between(first, last, unit)


def _between(first: _Edge, last: _Edge, unit: str) -> _Range:
    (written, least_unit, from_it), (most_written, most_unit, to_it) = first, last
    least, most = parse_number(written), parse_number(most_written)
    if least is None and most is None:
        return _NO_LIMITS, ""
    if same_unit(least_unit, unit) and same_unit(most_unit, unit):
        return (least, most, from_it, to_it), ""
    begin, end = written.strip() if least is not None else "", most_written.strip() if most is not None else ""
    if begin and end and least_unit != most_unit:
        begin += f" {least_unit}"
    return _NO_LIMITS, f"{write_range(begin, end, from_it, to_it)} {most_unit or least_unit}"


_kept_between = lru_cache(maxsize=4096)(_between)  # a laboratory has some hundred ranges


def _measured(value: Any) -> tuple[float | None, str, str, bool]:
    """Number, unit, the text where it is no number, and whether it was written as a text. ``< 5`` is a text, not a number."""
    kind = value.get(_TYPE, "")
    if ":" in kind:
        kind = kind.rpartition(":")[2]
    written = value.get("value", "")
    if kind in _NUMBERS or (not kind and written):
        number = parse_number(written)
        return number, value.get("unit", ""), "" if number is not None else written, False
    if kind.startswith("IVL"):
        return None, *_interval(value), True
    text = " ".join("".join(value.itertext()).split())
    if kind in ("ST", "ED"):
        number, unit = parse_quantity(text)
        return number, unit, text if number is None else "", True
    return None, "", value.get("code") or text, False


def _interval(value: Any) -> tuple[str, str]:
    """Unit and text of a value that lies between edges, or beyond the only one."""
    edges = [
        one for one in (child(value, "low"), child(value, "high")) if one is not None and parse_number(one.get("value", "")) is not None
    ]
    low, high = (next((one for one in edges if one.tag == tag), None) for tag in (_LOW, _HIGH))
    first, last = ("" if one is None else one.get("value") for one in (low, high))
    from_it, to_it = (one is None or one.get("inclusive") != "false" for one in (low, high))
    return next((one.get("unit") for one in edges if one.get("unit")), ""), write_range(first, last, from_it, to_it)
