"""What a visit's document (HL7 v3, CDA R2) is about: the visit, the patient, the requests for images."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from lxml import etree

from toolkit.core.errors import BadData
from toolkit.hospital.visits.profile import Profile, read_profile

NAMESPACE = "urn:hl7-org:v3"
V3 = f"{{{NAMESPACE}}}"
_TEXTS = etree.XPath("descendant::text()", smart_strings=False)
_IDS = etree.XPath("descendant-or-self::*/@ID", smart_strings=False)
# HL7 v3 TS: at least a year, down to fractions of a second; of the calendar and the clock, for other numbers are not times.
_TIME = re.compile(
    r"(18|19|20|21)[0-9][0-9]((0[1-9]|1[0-2])((0[1-9]|[12][0-9]|3[01])(([01][0-9]|2[0-4])([0-5][0-9]([0-5][0-9]|60)?)?)?)?)?(\.[0-9]{1,4})?([+-][01][0-9][0-5][0-9])?"
)


@dataclass(frozen=True)
class Visit:
    """The visit and its patient as the hospital names them: personal data, never sent."""

    visit_id: str
    visit_root: str
    patient_id: str
    patient_root: str
    accession_numbers: tuple[str, ...]
    start: str  # HL7 v3 TS, as in encompassingEncounter/effectiveTime; "" when unknown
    end: str


def read_visit(tree: etree._ElementTree, place: str, profile: Profile | None = None) -> Visit:
    """The visit that a document describes; which ids count is said by `profile`, by default the shipped one.

    Source: CDA R2 (POCD_HD000040), componentOf/encompassingEncounter, recordTarget/patientRole, inFulfillmentOf/order.

    Raises BadData when it is no CDA document, or when the id of the visit or of the patient is missing or ambiguous.
    """
    profile = profile or read_profile(None)
    root = tree.getroot()
    if root.tag != f"{V3}ClinicalDocument":
        raise BadData(place, "is not a CDA document (ClinicalDocument of urn:hl7-org:v3)", "name records of visits")
    roles = root.findall(f"{V3}recordTarget/{V3}patientRole")
    if len(roles) != 1:
        raise BadData(place, f"is about {len(roles)} patients (recordTarget)", "a visit's record is about one")
    encounters = root.findall(f"{V3}componentOf/{V3}encompassingEncounter")
    if len(encounters) > 1:
        raise BadData(place, f"has {len(encounters)} encompassing encounters", "a visit's record has one")
    if not encounters and profile.without_encounter == "refuse":
        raise BadData(
            place,
            "has no encompassing encounter (componentOf/encompassingEncounter), so no id of the visit",
            'for the document\'s own id instead say without_encounter = "document" in the profile; see visit-profile(5)',
        )
    visit_ids = identifiers(encounters[0] if encounters else root)
    visit_root, visit_id = _one(visit_ids, profile.visit_roots, (), place, "visit (componentOf/encompassingEncounter/id)")
    patient_root, patient_id = _one(
        identifiers(roles[0]), profile.patient_roots, profile.national_roots, place, "patient (recordTarget/patientRole/id)"
    )
    start, end = interval(encounters[0].find(f"{V3}effectiveTime") if encounters else None)
    return Visit(visit_id, visit_root, patient_id, patient_root, accession_numbers(root, profile), start, end)


def first(parent: etree._Element, name: str) -> etree._Element | None:
    """The first child of this name; several times faster than `find`, which is written in Python."""
    for child in parent.iterchildren(V3 + name):
        return child
    return None


def texts(parent: etree._Element) -> list[str]:
    """The pieces of text in `parent` in their order, without those of comments and processing instructions."""
    return cast("list[str]", _TEXTS(parent))  # several times faster than itertext


def ids(parent: etree._Element) -> list[str]:
    """The XML ids (ID) in `parent` and of itself."""
    return cast("list[str]", _IDS(parent))


def identifiers(parent: etree._Element) -> list[tuple[str, str]]:
    """The distinct ids (II) right below `parent` as (root, extension), without those that stand for nothing."""
    found = (
        ((e.get("root") or "").strip(), (e.get("extension") or "").strip()) for e in parent.findall(f"{V3}id") if not e.get("nullFlavor")
    )
    return list(dict.fromkeys(pair for pair in found if any(pair)))


def accession_numbers(root: etree._Element, profile: Profile) -> tuple[str, ...]:
    """Every accession number once, in the document's order: ids of orders, and ids under the roots that the profile names."""
    if profile.accession_roots:
        pairs = (((e.get("root") or "").strip(), e) for e in root.iter(f"{V3}id"))
        found = [e.get("extension") for name, e in pairs if name in profile.accession_roots]
    else:
        found = [e.get("extension") for e in root.findall(f"{V3}inFulfillmentOf/{V3}order/{V3}id") if not e.get("nullFlavor")]
    return tuple(dict.fromkeys(value.strip() for value in found if value and value.strip()))


def interval(time: etree._Element | None) -> tuple[str, str]:
    """The ends of a TS or IVL_TS; "" for an end that is missing or no time. A single moment is both."""
    if time is None:
        return "", ""
    if time.get("value"):
        moment = point(time)
        return moment, moment
    return point(first(time, "low")), point(first(time, "high"))


def point(time: etree._Element | None) -> str:
    """The value of a TS when it is well-formed, else ""."""
    value = (time.get("value") or "").strip() if time is not None else ""
    return value if is_time(value) else ""


def is_time(value: str) -> bool:
    """Whether `value` is a TS of HL7 v3."""
    return _TIME.fullmatch(value) is not None


def _one(ids: list[tuple[str, str]], preferred: tuple[str, ...], last: tuple[str, ...], place: str, what: str) -> tuple[str, str]:
    """The id that counts: of the first preferred root there is, else the only one, where national ids give way to the hospital's."""
    for wanted in preferred:
        ids = [pair for pair in ids if pair[0] == wanted] or ids
        if ids and ids[0][0] == wanted:
            break
    else:
        ids = [pair for pair in ids if pair[0] not in last] or ids
    if not ids:
        raise BadData(place, f"has no id of the {what}", "export it with one")
    if len(ids) > 1:
        raise BadData(place, f"has {len(ids)} ids of the {what}", "say in the profile which root counts; see visit-profile(5)")
    return ids[0]
