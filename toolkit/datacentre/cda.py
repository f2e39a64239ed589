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

NAMESPACE = "urn:hl7-org:v3"
DIAGNOSES = ("2.16.840.1.113883.6.3", "2.16.840.1.113883.6.90", "2.16.840.1.113883.6.103")
PROCEDURES = ("2.16.840.1.113883.6.104", "2.16.840.1.113883.6.4", "2.16.840.1.113883.3.4424.11.2.6")
_AGE = ("30525-0", "21612-7", "397669002")  # age: LOINC two times, SNOMED CT
_NO_RESULTS = ("ASSERTION", "445518008", *_AGE)  # and the age at which something began
_ALLERGIES = ("2.16.840.1.113883.10.20.22.4.7", "2.16.840.1.113883.10.20.22.4.8", "2.16.840.1.113883.10.20.22.4.9")  # C-CDA R1.1, 5.4
_FAMILY = ("2.16.840.1.113883.10.20.22.4.45", "2.16.840.1.113883.10.20.22.4.46")  # C-CDA: family history organizer, observation
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_YEARS = {"a": 1.0, "mo": 1 / 12, "wk": 7 / 365.25, "d": 1 / 365.25, "": 1.0}  # UCUM
_NUMBER = r"[+-]?(?:\d{1,3}(?:[ \u00a0\u202f]\d{3})+|\d+)(?:[.,]\d+)?(?:[eE][+-]?\d{1,3})?"  # Polish: a space between thousands
_SPACES = re.compile(r"[ \u00a0\u202f]")
_NOT_PLAIN = re.compile(r"[^0-9A-Z]")
_ONE_NUMBER = re.compile(rf"\s*({_NUMBER})\s*")
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*([^\d\s].*)?", re.DOTALL)
_RANGE = re.compile(rf"[\s(\[]*({_NUMBER})\s*(?:-|–|—|\.\.+|do|to)\s*({_NUMBER})(?![\d.,])")
_BOUND = re.compile(rf"[\s(\[]*(<=|>=|≤|≥|<|>|do|od)\s*({_NUMBER})(?![\d.,])", re.IGNORECASE)


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
    root = tree.getroot() if hasattr(tree, "getroot") else tree
    if root.tag != _named("ClinicalDocument"):
        raise BadData(place, "is no ClinicalDocument of HL7 CDA", "send documents that hl7-send made")
    # most documents hold nothing of the kind: one quick look saves searching for the elements and asking for each one's ancestors
    others = frozenset(_others()(root)) if _any_others()(root) else frozenset()
    no_results = others | frozenset(_allergies()(root)) if _any_allergies()(root) else others
    ages: list[float] = []
    diagnoses: list[Diagnosis] = []
    procedures: list[Procedure] = []
    results: list[Result] = []
    for element in root.iter(_VALUE, _CODE, _TRANSLATION):
        code = element.get("code")
        kind = _KINDS.get(element.get("codeSystem")) if code else None
        if kind is not None and not (others and _within(element, others)):
            code = code.strip()
            if kind == "diagnosis":
                diagnoses.append(Diagnosis(code, element.get("codeSystem"), plain_code(code)))
            else:
                procedures.append(Procedure(code, element.get("codeSystem"), _time_of(element)))
        if element.tag == _VALUE:
            observation = element.getparent()
            if observation.tag == _OBSERVATION and not (no_results and _within(element, no_results)):
                _observe(observation, element, results, ages)
    return VisitRows(_visit(root, place, ages), tuple(diagnoses), tuple(procedures), tuple(results))


def plain_code(code: str) -> str:
    """A diagnosis's code for comparing beginnings: ``i50.9`` and ``I50.9†`` are ``I509``."""
    return _NOT_PLAIN.sub("", code.upper())


def parse_number(text: str) -> float | None:
    """A decimal number with a point or a comma, perhaps with spaces between thousands; None when it is none."""
    found = _ONE_NUMBER.fullmatch(text)
    if found is None:
        return None
    number = found[1].replace(",", ".")
    try:
        return float(number)
    except ValueError:
        return float(_SPACES.sub("", number))


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
        return (None, number, sign != "<") if sign in ("<", "<=", "≤", "do") else (number, None, sign != ">")
    return None, None, True


def _visit(root: Any, place: str, ages: list[float]) -> VisitRow:
    encounter = root.find(_path("componentOf", "encompassingEncounter"))
    visits = _extensions(encounter.findall(_path("id"))) if encounter is not None else []
    role = root.find(_path("recordTarget", "patientRole"))
    patients = _extensions(role.findall(_path("id"))) if role is not None else []
    if len(visits) != 1 or not patients:
        problem = "has no visit id" if not visits else "has several visit ids" if len(visits) > 1 else "has no patient id"
        raise BadData(place, problem, "send documents that hl7-send made")
    start, end = _period(encounter.find(_TIME))
    patient = role.find(_path("patient"))
    sex = _code_or_null(patient.find(_path("administrativeGenderCode"))) if patient is not None else ""
    birth = patient.find(_path("birthTime")) if patient is not None else None
    age = ages[0] if ages else _age_at(birth.get("value", "") if birth is not None else "", start)
    city = " ".join((role.findtext(_path("addr", "city")) or "").split())
    orders = _extensions(root.findall(_path("inFulfillmentOf", "order", "id")))
    return VisitRow(visits[0], patients[0], sex, age, city, start, end, _code_or_null(root.find(_CODE)), tuple(orders))


def _observe(observation: Any, value: Any, results: list[Result], ages: list[float]) -> None:
    """Add what an observation says by `value`, one of its values: a result, or the patient's age."""
    code = interpretation = time = None
    ranges = []
    for child in observation:
        tag = child.tag
        if tag == _CODE:
            code = child
        elif tag == _INTERPRETATION and interpretation is None:
            interpretation = child
        elif tag == _RANGES:
            ranges.append(child)
        elif tag == _TIME:
            time = child
    name, system = _name(code)
    if name in _AGE:
        number = parse_number(value.get("value", ""))
        if number is not None and value.get("unit", "") in _YEARS:
            ages.append(number * _YEARS[value.get("unit", "")])
        return
    if not name or name in _NO_RESULTS:
        return
    judged = (interpretation.get("code") or "").strip() if interpretation is not None else ""
    number, unit, text, is_text = _measured(value)
    # A coded value is a finding or a diagnosis as often as a result: it is one where it was judged, or belongs to a group of tests.
    if number is None and not judged and not ranges and not (text and (is_text or observation.getparent().tag == _COMPONENT)):
        return
    low, high, low_inclusive, high_inclusive, printed = _limits(ranges)
    when = _period(time)[0]
    results.append(Result(name, system, when, number, unit, text, low, high, low_inclusive, high_inclusive, judged, printed))


def _name(code: Any) -> tuple[str, str]:
    """The code of what was observed and its system; its first translation's where it has none itself."""
    if code is None:
        return "", ""
    for one in (code, *code.iterfind(_TRANSLATION)) if code.get("code") is None else (code,):
        if one.get("code"):
            return one.get("code").strip(), one.get("codeSystem", "")
    return "", ""


def _limits(ranges: Iterable[Any]) -> tuple[float | None, float | None, bool, bool, str]:
    """Low, high, which of them are included, and the ranges as a person reads them. Several that differ, by age or sex, decide nothing."""
    found: set[tuple[float | None, float | None, bool, bool]] = set()
    printed: list[str] = []
    for one in ranges:
        low = high = None
        for part in one.iter(_VALUE, _LOW, _HIGH, _TEXT):
            tag = part.tag
            if tag == _LOW:
                low = part
            elif tag == _HIGH:
                high = part
            elif tag == _TEXT:
                printed.append("".join(part.itertext()))
            else:
                if part.text:
                    printed.append(part.text)
                if low is not None or high is not None:  # of the value before
                    _add_limits(low, high, found)
                    low = high = None
        if low is not None or high is not None:
            _add_limits(low, high, found)
    words = "; ".join(text for one in printed if (text := " ".join(one.split()))) if printed else ""
    return (*found.pop(), words) if len(found) == 1 else (None, None, True, True, words)


def _add_limits(low: Any, high: Any, found: set[tuple[float | None, float | None, bool, bool]]) -> None:
    (least, from_it), (most, to_it) = _edge(low), _edge(high)
    if least is not None or most is not None:
        found.add((least, most, from_it, to_it))


def _edge(element: Any) -> tuple[float | None, bool]:
    """The number of a range's edge and whether the range includes it."""
    return (None, True) if element is None else (parse_number(element.get("value", "")), element.get("inclusive") != "false")


def _measured(value: Any) -> tuple[float | None, str, str, bool]:
    """Number, unit, the text where it is no number, and whether it was written as a text. ``< 5`` is a text, not a number."""
    kind = (value.get(_TYPE) or "").rpartition(":")[2]
    if kind in ("PQ", "REAL", "INT", "MO") or (not kind and value.get("value")):
        number = parse_number(value.get("value", ""))
        return number, value.get("unit", ""), "" if number is not None else value.get("value", ""), False
    if kind.startswith("IVL"):
        return None, *_interval(value), True
    text = " ".join("".join(value.itertext()).split())
    if kind in ("ST", "ED"):
        number, unit = parse_quantity(text)
        return number, unit, text if number is None else "", True
    return None, "", value.get("code") or text, False


def _interval(value: Any) -> tuple[str, str]:
    """Unit and text of a value that lies between edges, or beyond the only one."""
    low, high = value.find(_LOW), value.find(_HIGH)
    (least, from_it), (most, to_it) = _edge(low), _edge(high)
    unit = next((one.get("unit") for one in (low, high) if one is not None and one.get("unit")), "")
    if least is not None and most is not None:
        return unit, f"{low.get('value')} - {high.get('value')}"
    if most is not None:
        return unit, f"{'<=' if to_it else '<'} {high.get('value')}"
    return unit, f"{'>=' if from_it else '>'} {low.get('value')}" if least is not None else ""


def _age_at(born: str, start: str) -> float | None:
    """In years, from the time of birth as precisely as both are known."""
    born, begun = _digits(born), _digits(start)
    if len(born) < 4 or len(begun) < 4:
        return None
    length = min(8, len(born) // 2 * 2, len(begun) // 2 * 2)
    years = int(begun[:4]) - int(born[:4]) - (begun[4:length] < born[4:length])
    return float(years) if years >= 0 else None


def _within(element: Any, subtrees: frozenset[Any]) -> bool:
    return element in subtrees or any(parent in subtrees for parent in element.iterancestors())


def _time_of(element: Any) -> str:
    """When the act was done that the code belongs to."""
    for parent in element.iterancestors():
        if (time := parent.find(_TIME)) is not None:
            return _period(time)[0]
        if parent.get("classCode") is not None:
            return ""
    return ""


def _period(time: Any) -> tuple[str, str]:
    if time is None:
        return "", ""
    only = time.get("value")
    if only is not None:
        return only, ""
    low, high = time.find(_LOW), time.find(_HIGH)
    return (low.get("value", "") if low is not None else ""), (high.get("value", "") if high is not None else "")


def _extensions(identifiers: Iterable[Any]) -> list[str]:
    """What tells the ids apart: the extension, or the root of an id that has none (HL7 data type II); each once."""
    return list(dict.fromkeys(text for one in identifiers if (text := one.get("extension") or one.get("root") or "")))


def _code_or_null(element: Any) -> str:
    """A code, or the reason why there is none (HL7 nullFlavor)."""
    return "" if element is None else (element.get("code") or element.get("nullFlavor") or "").strip()


def _digits(time: str) -> str:
    found = re.match(r"\d*", time)
    return found[0] if found else ""


def _named(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


@cache
def _path(*names: str) -> str:
    return "/".join(map(_named, names))


_CODE, _VALUE, _TRANSLATION, _OBSERVATION, _COMPONENT = map(_named, ("code", "value", "translation", "observation", "component"))
_INTERPRETATION, _RANGES, _RANGE_OF, _TIME = map(_named, ("interpretationCode", "referenceRange", "observationRange", "effectiveTime"))
_LOW, _HIGH, _TEXT = map(_named, ("low", "high", "text"))
_KINDS = {**dict.fromkeys(DIAGNOSES, "diagnosis"), **dict.fromkeys(PROCEDURES, "procedure")}


def _xpath(expression: str) -> Any:
    from lxml import etree

    return etree.XPath(expression, namespaces={"v": NAMESPACE})


@cache
def _any_others() -> Any:
    """Whether `_others` could find anything."""
    return _xpath(
        "boolean(//@negationInd[.='true'] or //@moodCode[.!='EVN'] or //v:subject"
        f" or //v:statusCode[@code='cancelled' or @code='nullified'] or //v:templateId[{_roots(_FAMILY)}])"
    )


@cache
def _others() -> Any:
    """What is none of the patient's: negated, only planned, cancelled, or said of another person."""
    return _xpath(
        "//v:*[@negationInd='true' or (@classCode and @moodCode and @moodCode!='EVN') or v:subject"
        f" or v:statusCode[@code='cancelled' or @code='nullified'] or v:templateId[{_roots(_FAMILY)}]]"
    )


@cache
def _any_allergies() -> Any:
    return _xpath(f"boolean(//v:templateId[{_roots(_ALLERGIES)}])")


@cache
def _allergies() -> Any:
    return _xpath(f"//v:templateId[{_roots(_ALLERGIES)}]/..")


def _roots(roots: Iterable[str]) -> str:
    return " or ".join(f"@root='{root}'" for root in roots)
