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
from toolkit.datacentre.as_sent import Sent, read_as_sent
from toolkit.datacentre.hl7 import NAMESPACE, child, digits, named, path, period
from toolkit.datacentre.observations import Result, observe
from toolkit.datacentre.quantities import parse_number, parse_printed, parse_quantity, parse_range, same_unit

__all__ = [
    "Diagnosis", "Procedure", "Result", "VisitRow", "VisitRows", "parse_number", "parse_printed", "parse_quantity", "parse_range",
    "plain_code", "rows", "same_unit",
]  # fmt: skip

DIAGNOSES = ("2.16.840.1.113883.6.3", "2.16.840.1.113883.6.90", "2.16.840.1.113883.6.103")
PROCEDURES = ("2.16.840.1.113883.6.104", "2.16.840.1.113883.6.4", "2.16.840.1.113883.3.4424.11.2.6")
_ALLERGIES = ("2.16.840.1.113883.10.20.22.4.7", "2.16.840.1.113883.10.20.22.4.8", "2.16.840.1.113883.10.20.22.4.9")  # C-CDA R1.1, 5.4
_FAMILY = ("2.16.840.1.113883.10.20.22.4.45", "2.16.840.1.113883.10.20.22.4.46")  # C-CDA: family history organizer, observation
_CODE, _VALUE, _TRANSLATION, _OBSERVATION = map(named, ("code", "value", "translation", "observation"))
_STATUS, _SUBJECT, _TEMPLATE, _ID = map(named, ("statusCode", "subject", "templateId", "id"))
_CANCELLED = ("cancelled", "nullified")
_KINDS = {**dict.fromkeys(DIAGNOSES, "diagnosis"), **dict.fromkeys(PROCEDURES, "procedure")}
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


class VisitRows(NamedTuple):
    """All rows of one document, in the document's order; the packer adds which message it was and when it was received."""

    visit: VisitRow
    diagnoses: tuple[Diagnosis, ...]
    procedures: tuple[Procedure, ...]
    results: tuple[Result, ...]
    message_id: str = ""
    received: str = ""


def rows(tree: Any, place: str = "document", body: bytes = b"") -> VisitRows:
    """The rows of a document (an lxml tree or its root). With the `body` that the tree was parsed from this is faster.

    Raises BadData, naming `place`, when it is no ClinicalDocument or has not exactly one visit id and at least one patient id.
    """
    root = root_of(tree, place)
    sent = read_as_sent(body)
    items = read_items(root, excluded(root, sent), sent)
    visit = _visit(root, place, items.ages)
    return VisitRows(visit, tuple(items.diagnoses), tuple(items.procedures), tuple(items.results))


def root_of(tree: Any, place: str) -> Any:
    """The root of a document (an lxml tree or its root). Raises BadData, naming `place`, when it is no ClinicalDocument."""
    root = tree.getroot() if hasattr(tree, "getroot") else tree
    if root.tag != named("ClinicalDocument"):
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


_NOTHING = Excluded(frozenset(), frozenset())


def excluded(root: Any, sent: Sent | None = None) -> Excluded:
    """What was negated, only planned, cancelled, or said of another person; what tells of allergies. With what is known from its text."""
    if sent is not None and sent.plain:
        return _NOTHING
    others = _others()(root)
    others += [element.getparent() for element in root.iter(_STATUS) if element.get("code") in _CANCELLED]
    allergies = []
    for element in root.iter(_SUBJECT, _TEMPLATE):
        if element.tag == _SUBJECT or element.get("root") in _FAMILY:
            others.append(element.getparent())
        elif element.get("root") in _ALLERGIES:
            allergies.append(element.getparent())
    none = frozenset(one for act in others for one in act.iter(_VALUE, _CODE, _TRANSLATION))
    return Excluded(none, none.union(one for act in allergies for one in act.iter(_VALUE)) if allergies else none)


def read_items(part: Any, without: Excluded, sent: Sent | None = None) -> Items:
    """The codes and results in `part`, a document's root, with what is known from its text, or an element below."""
    items = Items([], [], [], [])
    diagnoses, procedures, results, ages = items
    others, no_results = without
    for element in part.iter(_VALUE, _CODE, _TRANSLATION):
        system = element.get("codeSystem")
        if system in _KINDS and element not in others and (code := element.get("code", "")):
            code = code.strip()
            if _KINDS[system] == "diagnosis":
                diagnoses.append(Diagnosis(code, system, plain_code(code)))
            else:
                procedures.append(Procedure(code, system, _time_of(element)))
    observations = list(part.iter(_OBSERVATION))
    whole = sent is not None and not no_results and len(sent.results) == len(observations)
    known = sent.results if sent is not None and whole else [None] * len(observations)
    for observation, result in zip(observations, known, strict=True):
        if result is not None:
            results.append(result)
        else:
            observe(observation, no_results, results, ages)
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
    city = " ".join((role.findtext(path("addr", "city")) or "").split())
    orders = _extensions(root.iterfind(path("inFulfillmentOf", "order", "id")))
    return VisitRow(visit, patient, sex, age, city, start, end, _code_or_null(child(root, "code")), tuple(orders))


def encompassing(root: Any) -> Any:
    """The encounter that the document as a whole is about, or None."""
    return child(root, "componentOf", "encompassingEncounter")


def birth_of(role: Any) -> str:
    """The time of birth, as written; "" when it is not told."""
    time = child(role, "patient", "birthTime")
    return time.get("value", "") if time is not None else ""


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


def _extensions(identifiers: Iterable[Any]) -> list[str]:
    """What tells the ids apart: the extension, or the root of an id that has none (HL7 data type II); each once."""
    return list(dict.fromkeys(text for one in identifiers if (text := one.get("extension") or one.get("root") or "")))


def _code_or_null(element: Any) -> str:
    """A code, or the reason why there is none (HL7 nullFlavor)."""
    return "" if element is None else (element.get("code") or element.get("nullFlavor") or "").strip()


def _xpath(expression: str) -> Any:
    from lxml import etree

    return etree.XPath(expression, namespaces={"v": NAMESPACE})


@cache
def _others() -> Any:
    """Acts that were negated or are only planned."""
    return _xpath("//@negationInd[.='true']/parent::v:* | //@moodCode[.!='EVN']/parent::v:*[@classCode]")
