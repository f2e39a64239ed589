"""The one reader of visit documents (HL7 CDA R2) for gateway, packer and analyses: a document becomes flat rows.

Codes are told apart by their systems' OIDs: ICD-10 2.16.840.1.113883.6.3 (WHO, also the Polish edition) and .6.90 (CM), ICD-9-CM .6.103
(diagnoses) and .6.104 (procedures), ICD-9-PL 2.16.840.1.113883.3.4424.11.2.6, which in Poland means procedures. What was negated,
only planned, or said of a relative, is none of the patient's. Times stay HL7 texts as written (YYYYMMDDHHMMSS, any precision).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from toolkit.core.errors import BadData

NAMESPACE = "urn:hl7-org:v3"
DIAGNOSES = ("2.16.840.1.113883.6.3", "2.16.840.1.113883.6.90", "2.16.840.1.113883.6.103")
PROCEDURES = ("2.16.840.1.113883.6.104", "2.16.840.1.113883.3.4424.11.2.6")
_AGE = ("30525-0", "21612-7", "397669002")  # age: LOINC two times, SNOMED CT
_NO_RESULTS = ("ASSERTION", "445518008", *_AGE)  # and the age at which something began
_ALLERGIES = ("2.16.840.1.113883.10.20.22.4.7", "2.16.840.1.113883.10.20.22.4.8", "2.16.840.1.113883.10.20.22.4.9")  # C-CDA R1.1, 5.4
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_YEARS = {"a": 1.0, "mo": 1 / 12, "wk": 7 / 365.25, "d": 1 / 365.25, "": 1.0}  # UCUM
_NUMBER = r"[+-]?\d+(?:[.,]\d+)?"
_ONE_NUMBER = re.compile(_NUMBER)
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*([^\d\s].*)?", re.DOTALL)
_RANGE = re.compile(rf"[\s(\[]*({_NUMBER})\s*(?:-|–|—|\.\.+|do|to)\s*({_NUMBER})(?![\d.,])")
_BOUND = re.compile(rf"[\s(\[]*(<=|>=|≤|≥|<|>|do|od)\s*({_NUMBER})(?![\d.,])", re.IGNORECASE)


@dataclass(frozen=True)
class VisitRow:
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


@dataclass(frozen=True)
class Diagnosis:
    """A code as written, its system's OID, and the code plain: upper case, without dot, dagger and asterisk (``I509``)."""

    code: str
    system: str
    plain: str


@dataclass(frozen=True)
class Procedure:
    """A code as written, its system's OID, when it was done."""

    code: str
    system: str
    time: str


@dataclass(frozen=True)
class Result:
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


@dataclass(frozen=True)
class VisitRows:
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
    others = frozenset(_others()(root))
    return VisitRows(_visit(root, place, others), *_codes(root, others), tuple(_results(root, others)))


def plain_code(code: str) -> str:
    """A diagnosis's code for comparing beginnings: ``i50.9`` and ``I50.9†`` are ``I509``."""
    return re.sub(r"[^0-9A-Z]", "", code.upper())


def parse_number(text: str) -> float | None:
    """A decimal number with a point or a comma; None when it is none."""
    text = text.strip()
    return float(text.replace(",", ".")) if _ONE_NUMBER.fullmatch(text) else None


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


def _visit(root: Any, place: str, others: frozenset[Any]) -> VisitRow:
    encounter = root.find(_path("componentOf", "encompassingEncounter"))
    visits = _extensions(encounter.findall(_path("id"))) if encounter is not None else []
    role = root.find(_path("recordTarget", "patientRole"))
    patients = _extensions(role.findall(_path("id"))) if role is not None else []
    if len(visits) != 1 or not patients:
        problem = "has no visit id" if not visits else "has several visit ids" if len(visits) > 1 else "has no patient id"
        raise BadData(place, problem, "send documents that hl7-send made")
    start, end = _period(encounter.find(_path("effectiveTime")))
    patient = role.find(_path("patient"))
    sex = _code(patient.find(_path("administrativeGenderCode"))) if patient is not None else ""
    birth = patient.find(_path("birthTime")) if patient is not None else None
    city = " ".join((role.findtext(_path("addr", "city")) or "").split())
    orders = _extensions(root.findall(_path("inFulfillmentOf", "order", "id")))
    return VisitRow(visits[0], patients[0], sex, _age(root, others, birth, start), city, start, end, _code(root.find(_path("code"))), tuple(orders))


def _codes(root: Any, others: frozenset[Any]) -> tuple[tuple[Diagnosis, ...], tuple[Procedure, ...]]:
    diagnoses, procedures = [], []
    for element in _coded()(root):
        if others and _within(element, others):
            continue
        code, system = element.get("code", "").strip(), element.get("codeSystem")
        if system in DIAGNOSES:
            diagnoses.append(Diagnosis(code, system, plain_code(code)))
        else:
            procedures.append(Procedure(code, system, _time_of(element)))
    return tuple(diagnoses), tuple(procedures)


def _results(root: Any, others: frozenset[Any]) -> Iterable[Result]:
    refused = others | frozenset(_allergies()(root))
    for value in _values()(root):
        parts: dict[str, list[Any]] = {}
        for child in value.getparent():
            parts.setdefault(child.tag, []).append(child)
        code = parts.get(_CODE, [None])[0]
        if code is None or not _code(code) or code.get("code") in _NO_RESULTS or (refused and _within(value, refused)):
            continue
        interpretation = _code(parts.get(_INTERPRETATION, [None])[0])
        ranges = parts.get(_RANGES, [])
        number, unit, text = _measured(value)
        if number is None and not interpretation and not ranges:
            continue
        time = _period(parts.get(_TIME, [None])[0])[0]
        yield Result(_code(code), code.get("codeSystem", ""), time, number, unit, text, *_limits(ranges), interpretation, _printed(ranges))


def _limits(ranges: Iterable[Any]) -> tuple[float | None, float | None, bool, bool]:
    """Low, high and which of them are included. Several ranges that differ, by age or sex, decide nothing."""
    found: set[tuple[float | None, float | None, bool, bool]] = set()
    for one in ranges:
        for value in one.iterfind(_path("observationRange", "value")):
            low, high = _edge(value.find(_path("low"))), _edge(value.find(_path("high")))
            if (low[0], high[0]) != (None, None):
                found.add((low[0], high[0], low[1], high[1]))
    return found.pop() if len(found) == 1 else (None, None, True, True)


def _printed(ranges: Iterable[Any]) -> str:
    """The ranges as a person reads them."""
    texts = (" ".join(" ".join(one.itertext()).split()) for one in ranges)
    return "; ".join(text for text in texts if text)


def _edge(element: Any) -> tuple[float | None, bool]:
    """The number of a range's edge and whether the range includes it."""
    return (None, True) if element is None else (parse_number(element.get("value", "")), element.get("inclusive") != "false")


def _measured(value: Any) -> tuple[float | None, str, str]:
    """Number, unit, and the text where it is no number."""
    kind = (value.get(_TYPE) or "").rpartition(":")[2]
    if kind in ("PQ", "REAL", "INT", "MO") or (not kind and value.get("value")):
        number = parse_number(value.get("value", ""))
        return number, value.get("unit", ""), "" if number is not None else value.get("value", value.get("nullFlavor", ""))
    text = " ".join("".join(value.itertext()).split())
    if kind in ("ST", "ED"):
        number, unit = parse_quantity(text)
        return number, unit, text if number is None else ""
    return None, "", value.get("code") or text or value.get("nullFlavor", "")


def _age(root: Any, others: frozenset[Any], birth: Any, start: str) -> float | None:
    """In years at the visit's start: from an observation of the age, else from the time of birth as precisely as both are known."""
    for value in _ages()(root):
        number = parse_number(value.get("value", ""))
        if number is not None and value.get("unit", "") in _YEARS and not _within(value, others):
            return number * _YEARS[value.get("unit", "")]
    born, begun = _digits(birth.get("value", "") if birth is not None else ""), _digits(start)
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
        if (time := parent.find(_path("effectiveTime"))) is not None:
            return _period(time)[0]
        if parent.get("classCode") is not None:
            return ""
    return ""


def _period(time: Any) -> tuple[str, str]:
    if time is None:
        return "", ""
    low, high = time.find(_path("low")), time.find(_path("high"))
    only = time.get("value", "")
    return (low.get("value", "") if low is not None else only), (high.get("value", "") if high is not None else "")


def _extensions(identifiers: Iterable[Any]) -> list[str]:
    """What tells the ids apart: the extension, or the root of an id that has none (HL7 data type II); each once."""
    return list(dict.fromkeys(text for one in identifiers if (text := one.get("extension") or one.get("root") or "")))


def _code(element: Any) -> str:
    return "" if element is None else (element.get("code") or element.get("nullFlavor") or "").strip()


def _digits(time: str) -> str:
    found = re.match(r"\d*", time)
    return found[0] if found else ""


def _named(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


@cache
def _path(*names: str) -> str:
    return "/".join(map(_named, names))


_CODE, _INTERPRETATION, _RANGES, _TIME = map(_named, ("code", "interpretationCode", "referenceRange", "effectiveTime"))


def _xpath(expression: str) -> Any:
    from lxml import etree

    return etree.XPath(expression, namespaces={"v": NAMESPACE})


@cache
def _others() -> Any:
    """What is none of the patient's: negated, only planned, or said of another person."""
    return _xpath("//v:*[@negationInd='true' or (@classCode and @moodCode and @moodCode!='EVN') or v:subject]")


@cache
def _allergies() -> Any:
    roots = " or ".join(f"@root='{root}'" for root in _ALLERGIES)
    return _xpath(f"//v:templateId[{roots}]/..")


@cache
def _coded() -> Any:
    systems = " or ".join(f"@codeSystem='{system}'" for system in DIAGNOSES + PROCEDURES)
    return _xpath(f"//v:*[@code][{systems}][self::v:value or self::v:code or self::v:translation]")


@cache
def _values() -> Any:
    return _xpath("//v:observation/v:value")


@cache
def _ages() -> Any:
    codes = " or ".join(f"@code='{code}'" for code in _AGE)
    return _xpath(f"//v:observation[v:code[{codes}]]/v:value")
