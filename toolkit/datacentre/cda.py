"""The one reader of visit documents (HL7 CDA R2) for gateway, packer and analyses: a document becomes flat rows.

Codes are told apart by their systems' OIDs, wherever they stand: as code, as value, or as a translation of either. ICD-10
2.16.840.1.113883.6.3 (WHO, also the Polish edition), .6.90 (CM) and ICD-9-CM .6.103 are diagnoses. ICD-9-CM .6.104, ICD-10-PCS .6.4 and
ICD-9-PL 2.16.840.1.113883.3.4424.11.2.6 are procedures; in Poland that one numbers laboratory tests too, so a test with a
value is both a procedure and a result. What was negated, only planned, cancelled, or said of a relative, is none of the patient's. Times
stay HL7 texts as written (YYYYMMDDHHMMSS, any precision).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from toolkit.core.errors import BadData
from toolkit.datacentre.quantities import parse_number, parse_printed, parse_quantity, parse_range, same_unit, write_range

__all__ = ["parse_number", "parse_printed", "parse_quantity", "parse_range", "rows", "same_unit"]

NAMESPACE = "urn:hl7-org:v3"
DIAGNOSES = ("2.16.840.1.113883.6.3", "2.16.840.1.113883.6.90", "2.16.840.1.113883.6.103")
PROCEDURES = ("2.16.840.1.113883.6.104", "2.16.840.1.113883.6.4", "2.16.840.1.113883.3.4424.11.2.6")
_AGE = ("30525-0", "21612-7", "397669002")  # age: LOINC two times, SNOMED CT
_NO_RESULTS = ("ASSERTION", "445518008", *_AGE)  # and the age at which something began
_ALLERGIES = ("2.16.840.1.113883.10.20.22.4.7", "2.16.840.1.113883.10.20.22.4.8", "2.16.840.1.113883.10.20.22.4.9")  # C-CDA R1.1, 5.4
_FAMILY = ("2.16.840.1.113883.10.20.22.4.45", "2.16.840.1.113883.10.20.22.4.46")  # C-CDA: family history organizer, observation
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_YEARS = {"a": 1.0, "mo": 1 / 12, "wk": 7 / 365.25, "d": 1 / 365.25, "": 1.0}  # UCUM
_NOT_PLAIN = re.compile(r"[^0-9A-Z]")


class VisitRow(NamedTuple):
    """A visit: pseudonyms of visit and patient, sex (F, M, UN or a nullFlavor), age at its start in years (None: unknown), city, start and
    end, the document's type (code of ClinicalDocument) and the accession tokens of its images."""

    mdc_visit: str
    patient: str
    sex: str
    age: float | None
    city: str
    start: str
    end: str
    kind: str
    accessions: tuple[str, ...]


class Diagnosis(NamedTuple):
    """A code as written, its system's OID, and the code plain: upper case, without dot, dagger and asterisk (``I509``)."""

    code: str
    system: str
    plain: str


class Procedure(NamedTuple):
    """A code as written, its system's OID, when it was done."""

    code: str
    system: str
    time: str


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


class VisitRows(NamedTuple):
    """All rows of one document, in the document's order; the packer adds which message it was and when it was received."""

    visit: VisitRow
    diagnoses: tuple[Diagnosis, ...]
    procedures: tuple[Procedure, ...]
    results: tuple[Result, ...]
    message_id: str = ""
    received: str = ""


def rows(tree: Any, place: str = "document") -> VisitRows:
    """The rows of a document (an lxml tree or its root). Raises BadData, naming `place`, when it is no ClinicalDocument or has not exactly
    one visit id and at least one patient id."""
    root = root_of(tree, place)
    items = read_items(root, excluded(root))
    visit = _visit(root, place, items.ages)
    return VisitRows(visit, tuple(items.diagnoses), tuple(items.procedures), tuple(items.results))


def root_of(tree: Any, place: str) -> Any:
    """The root of a document (an lxml tree or its root). Raises BadData, naming `place`, when it is no ClinicalDocument."""
    root = tree.getroot() if hasattr(tree, "getroot") else tree
    if root.tag != _named("ClinicalDocument"):
        raise BadData(place, "is no ClinicalDocument of HL7 CDA", "send documents that hl7-send made")
    return root


class Items(NamedTuple):
    """What a part of a document says, in its order; ages in years."""

    diagnoses: list[Diagnosis]
    procedures: list[Procedure]
    results: list[Result]
    ages: list[float]


class Excluded(NamedTuple):
    """The codes and values of a document that are none of the patient's, and those that are at least no results."""

    others: frozenset[Any]
    no_results: frozenset[Any]


def excluded(root: Any) -> Excluded:
    """What was negated, only planned, cancelled, or said of another person; what tells of allergies."""
    others, allergies = _others()(root), []
    for element in root.iter(_STATUS, _SUBJECT, _TEMPLATE):
        tag = element.tag
        if tag == _STATUS:
            if element.get("code") in _CANCELLED:
                others.append(element.getparent())
        elif tag == _SUBJECT or element.get("root") in _FAMILY:
            others.append(element.getparent())
        elif element.get("root") in _ALLERGIES:
            allergies.append(element.getparent())
    none = frozenset(one for act in others for one in act.iter(_VALUE, _CODE, _TRANSLATION))
    return Excluded(none, none.union(one for act in allergies for one in act.iter(_VALUE)) if allergies else none)


def read_items(part: Any, without: Excluded) -> Items:
    """The codes and results in `part`, a document's root or an element below."""
    items = Items([], [], [], [])
    diagnoses, procedures, results, ages = items
    others, no_results = without
    for element in part.iter(_VALUE, _CODE, _TRANSLATION):
        code = element.get("code")
        if code:
            system = element.get("codeSystem")
            kind = _KINDS.get(system)
            if kind is not None and element not in others:
                code = code.strip()
                if kind == "diagnosis":
                    diagnoses.append(Diagnosis(code, system, plain_code(code)))
                else:
                    procedures.append(Procedure(code, system, _time_of(element)))
        if element.tag == _VALUE:
            observation = element.getparent()
            if observation.tag == _OBSERVATION and element not in no_results:
                _observe(observation, element, results, ages)
    return items


def plain_code(code: str) -> str:
    """A diagnosis's code for comparing beginnings: ``i50.9`` and ``I50.9†`` are ``I509``."""
    return _NOT_PLAIN.sub("", code.upper())


def _visit(root: Any, place: str, ages: list[float]) -> VisitRow:
    encounter, role = encompassing(root), child(root, "recordTarget", "patientRole")
    visits = _extensions(encounter.iterchildren(_ID)) if encounter is not None else []
    patients = _extensions(role.iterchildren(_ID)) if role is not None else []
    if len(visits) != 1 or not patients:
        problem = "has no visit id" if not visits else "has several visit ids" if len(visits) > 1 else "has no patient id"
        raise BadData(place, problem, "send documents that hl7-send made")
    start, end = period(child(encounter, "effectiveTime"))
    return visit_row(root, role, visits[0], patients[0], start, end, ages)


def visit_row(root: Any, role: Any, visit: str, patient: str, start: str, end: str, ages: list[float]) -> VisitRow:
    """The row of a visit of the person in `role` (patientRole); `ages` that the document states come before the time of birth."""
    person = child(role, "patient")
    sex = _code_or_null(child(person, "administrativeGenderCode")) if person is not None else ""
    age = ages[0] if ages else age_at(birth_of(role), start)
    city = " ".join((role.findtext(_path("addr", "city")) or "").split())
    orders = _extensions(root.iterfind(_path("inFulfillmentOf", "order", "id")))
    return VisitRow(visit, patient, sex, age, city, start, end, _code_or_null(child(root, "code")), tuple(orders))


def encompassing(root: Any) -> Any:
    """The encounter that the document as a whole is about, or None."""
    return child(root, "componentOf", "encompassingEncounter")


def birth_of(role: Any) -> str:
    """The time of birth, as written; "" when it is not told."""
    time = child(role, "patient", "birthTime")
    return time.get("value", "") if time is not None else ""


def child(parent: Any, *names: str) -> Any:
    """The first child of a name, its first child of the next name, and so on; None where there is none. Much faster than `find`."""
    for name in names:
        parent = next(parent.iterchildren(_named(name)), None)
        if parent is None:
            return None
    return parent


def _observe(observation: Any, value: Any, results: list[Result], ages: list[float]) -> None:
    """Add what an observation says by `value`, one of its values: a result, or the patient's age."""
    code = interpretation = time = None
    ranges = []
    for child in observation:
        tag = child.tag
        if tag == _CODE:
            code = child
        elif tag == _TIME:
            time = child
        elif tag == _INTERPRETATION:
            if interpretation is None:
                interpretation = child
        elif tag == _RANGES:
            ranges.append(child)
    name, system = _name(code)
    if name in _NO_RESULTS or not name:
        if name in _AGE:
            number = parse_number(value.get("value", ""))
            if number is not None and value.get("unit", "") in _YEARS:
                ages.append(number * _YEARS[value.get("unit", "")])
        return
    judged = interpretation.get("code", "").strip() if interpretation is not None else ""
    number, unit, text, is_text = _measured(value)
    # A coded value is a finding or a diagnosis as often as a result: it is one where it was judged, or belongs to a group of tests.
    if number is None and not judged and not ranges and not (text and (is_text or observation.getparent().tag == _COMPONENT)):
        return
    when = period(time)[0]
    low, high, low_inclusive, high_inclusive, printed = _limits(ranges, unit) if ranges else _NO_LIMITS
    results.append(Result(name, system, when, number, unit, text, low, high, low_inclusive, high_inclusive, judged, printed))


def _name(code: Any) -> tuple[str, str]:
    """The code of what was observed and its system; its first translation's where it has none itself."""
    if code is None:
        return "", ""
    own = code.get("code")
    if own:
        return own.strip(), code.get("codeSystem", "")
    for one in code.iterfind(_TRANSLATION) if own is None else ():
        if one.get("code"):
            return one.get("code").strip(), one.get("codeSystem", "")
    return "", ""


def _limits(ranges: Iterable[Any], unit: str) -> _Limits:
    """Low, high, which of them are included, and the ranges as a person reads them. Several that differ, by age or sex, decide nothing,
    nor does one in another unit than the value's; it stands at least in words."""
    found: set[tuple[float | None, float | None, bool, bool]] = set()
    printed: list[str] = []
    foreign: list[str] = []
    for one in ranges:
        low = high = None
        for part in one.iter():
            tag = part.tag
            if tag == _LOW:
                low = part
            elif tag == _HIGH:
                high = part
            elif tag == _VALUE:
                if part.text:
                    printed.append(part.text)
                if low is not None or high is not None:  # of the value before
                    _add_limits(low, high, unit, found, foreign)
                    low = high = None
            elif tag == _TEXT:
                printed.append("".join(part.itertext()))
        if low is not None or high is not None:
            _add_limits(low, high, unit, found, foreign)
    words = "; ".join(text for one in printed if (text := " ".join(one.split()))) if printed else ""
    if len(found) == 1:
        return (*found.pop(), words)
    return None, None, True, True, words or ("; ".join(foreign) if not found else "")


def _add_limits(low: Any, high: Any, unit: str, found: set[tuple[float | None, float | None, bool, bool]], foreign: list[str]) -> None:
    (least, from_it, least_unit), (most, to_it, most_unit) = _edge(low), _edge(high)
    if least is None and most is None:
        return
    if (least_unit == unit or same_unit(least_unit, unit)) and (most_unit == unit or same_unit(most_unit, unit)):
        found.add((least, most, from_it, to_it))
        return
    first = low.get("value", "").strip() if least is not None else ""
    last = high.get("value", "").strip() if most is not None else ""
    if first and last and least_unit != most_unit:
        first += f" {least_unit}"
    foreign.append(f"{write_range(first, last, from_it, to_it)} {most_unit or least_unit}")


def _edge(element: Any) -> tuple[float | None, bool, str]:
    """The number of a range's edge, whether the range includes it, and its unit."""
    if element is None:
        return None, True, ""
    return parse_number(element.get("value", "")), element.get("inclusive") != "false", element.get("unit", "")


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
    low, high = child(value, "low"), child(value, "high")
    (least, from_it, least_unit), (most, to_it, most_unit) = _edge(low), _edge(high)
    first, last = low.get("value") if least is not None else "", high.get("value") if most is not None else ""
    return least_unit or most_unit, write_range(first, last, from_it, to_it)


def age_at(born: str, start: str) -> float | None:
    """An age in years, from the time of birth as precisely as both are known."""
    born, begun = digits(born), digits(start)
    if len(born) < 4 or len(begun) < 4:
        return None
    length = min(8, len(born) // 2 * 2, len(begun) // 2 * 2)
    years = int(begun[:4]) - int(born[:4]) - (begun[4:length] < born[4:length])
    return float(years) if years >= 0 else None


def _time_of(element: Any) -> str:
    """When the act was done that the code belongs to."""
    for parent in element.iterancestors():
        if (time := child(parent, "effectiveTime")) is not None:
            return period(time)[0]
        if parent.get("classCode") is not None:
            return ""
    return ""


def period(time: Any) -> tuple[str, str]:
    """Start and end that an effectiveTime tells, as written; a single moment is a start."""
    if time is None:
        return "", ""
    only = time.get("value")
    if only is not None:
        return only, ""
    low, high = child(time, "low"), child(time, "high")
    return (low.get("value", "") if low is not None else ""), (high.get("value", "") if high is not None else "")


def _extensions(identifiers: Iterable[Any]) -> list[str]:
    """What tells the ids apart: the extension, or the root of an id that has none (HL7 data type II); each once."""
    return list(dict.fromkeys(text for one in identifiers if (text := one.get("extension") or one.get("root") or "")))


def _code_or_null(element: Any) -> str:
    """A code, or the reason why there is none (HL7 nullFlavor)."""
    return "" if element is None else (element.get("code") or element.get("nullFlavor") or "").strip()


def digits(time: str) -> str:
    """The digits that a time begins with."""
    found = re.match(r"\d*", time)
    return found[0] if found else ""


@cache
def _named(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


@cache
def _path(*names: str) -> str:
    return "/".join(map(_named, names))


_CODE, _VALUE, _TRANSLATION, _OBSERVATION, _COMPONENT = map(_named, ("code", "value", "translation", "observation", "component"))
_INTERPRETATION, _RANGES, _TIME = map(_named, ("interpretationCode", "referenceRange", "effectiveTime"))
_LOW, _HIGH, _TEXT = map(_named, ("low", "high", "text"))
_STATUS, _SUBJECT, _TEMPLATE, _ID = map(_named, ("statusCode", "subject", "templateId", "id"))
_CANCELLED = ("cancelled", "nullified")
_NUMBERS = ("PQ", "REAL", "INT", "MO")
_Limits = tuple[float | None, float | None, bool, bool, str]
_NO_LIMITS: _Limits = (None, None, True, True, "")
_KINDS = {**dict.fromkeys(DIAGNOSES, "diagnosis"), **dict.fromkeys(PROCEDURES, "procedure")}


def _xpath(expression: str) -> Any:
    from lxml import etree

    return etree.XPath(expression, namespaces={"v": NAMESPACE})


@cache
def _others() -> Any:
    """Acts that were negated or are only planned."""
    return _xpath("//@negationInd[.='true']/parent::v:* | //@moodCode[.!='EVN']/parent::v:*[@classCode]")
