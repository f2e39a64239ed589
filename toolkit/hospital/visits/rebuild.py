"""A visit's document written anew from what the profile allows: nothing is copied because nobody forbade it.

The result is a CDA R2 document in UTF-8: sex, age at the visit, city, dates of the visit, codes, results with their ranges, and
tokens in the place of ids. Its narrative text is made from the codes. The same document, key and profile give the same bytes.
Source: HL7 Clinical Document Architecture R2 (POCD_HD000040).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from lxml import etree

from toolkit.core.keys import Key
from toolkit.hospital.dicom.cleaning.pseudonyms import Pseudonyms
from toolkit.hospital.visits.datatypes import NULL_FLAVORS, DataTypes, label, write_quantity, write_range
from toolkit.hospital.visits.document import V3, Visit, first, identifiers, interval, point, read_visit, texts
from toolkit.hospital.visits.narrative import Tables
from toolkit.hospital.visits.persons import Persons, age_in_years
from toolkit.hospital.visits.profile import CODES, QUANTITIES, Profile
from toolkit.hospital.visits.readable import write_text
from toolkit.hospital.visits.results import read_quantity, read_range

# Whose ids these are: UUIDs as OIDs (ITU-T X.667), made once for this program.
VISIT_ROOT = "2.25.213044186379207424938167342219867265717"
PATIENT_ROOT = "2.25.131905720853466371294720466102218573269"
ACCESSION_ROOT = "2.25.302614975180832740951623304416093721835"
AGE_CODE = "30525-0"  # LOINC: Age
_LOINC = "2.16.840.1.113883.6.1"
_DEMOGRAPHICS = "45970-1"  # LOINC: the section that holds the age
_NAMESPACES = {None: "urn:hl7-org:v3", "xsi": "http://www.w3.org/2001/XMLSchema-instance"}
_TEMPLATES = ("2.16.840.1.113883.10.", "2.16.840.1.113883.3.4424.13.10.", "2.16.840.1.113883.3.88.11.", "1.3.6.1.4.1.19376.")
_OID = re.compile(r"[0-2](\.(0|[1-9]\d*)){1,30}")
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,3}(\.\d{1,3})*")
_CLASSES = {
    "act": "ACT", "encounter": "ENC", "observation": "OBS", "organizer": "CLUSTER", "procedure": "PROC",
    "substanceAdministration": "SBADM", "supply": "SPLY",
}  # fmt: skip
_ATTRIBUTES = {
    "classCode": re.compile(
        r"ACT|ACCM|BATTERY|CLUSTER|CONS|COND|CNTRCT|CTTEVENT|DGIMG|DOCSECT|ENC|INC|INFRM|MANU|MMAT|OBS|PCPR|PROC|REG|"
        r"ROIBND|ROIOVL|SBADM|SPCOBS|SPEC|SPLY"
    ),
    "moodCode": re.compile(r"EVN|INT|APT|ARQ|DEF|GOL|PRMS|PRP|RQO|EVN\.CRT"),
    "typeCode": re.compile(r"CAUS|COMP|CSM|DRIV|GEVL|MFST|REFR|REFV|RSON|SAS|SPRT|SUBJ|XCRPT|SPC"),
    "negationInd": re.compile(r"true|false"),
    "inversionInd": re.compile(r"true|false"),
}  # fmt: skip
_STATUS = re.compile(r"active|aborted|cancelled|completed|held|new|normal|nullified|obsolete|suspended")
_CATALOGUE = {"113014": "study", "113015": "series"}  # DICOM PS3.20: acts whose id is a UID


@dataclass(frozen=True)
class Rebuilt:
    """What may leave: the document and the sealed ids; and what only the hospital knows: the visit."""

    document: bytes
    visit: Visit
    mdc_visit: str
    mdc_patient: str
    dropped: Counter[str]  # how often something was left out, by where it stood; never its content


def rebuild(tree: etree._ElementTree, key: Key, profile: Profile, place: str) -> Rebuilt:
    """The document that may leave the hospital, from the parsed `tree`; `place` is for messages.

    Raises BadData when the visit or the patient cannot be told. Values of unknown types are left out with a warning.
    """
    return _Rebuilding(tree, key, profile, place).run()


class _Rebuilding:
    def __init__(self, tree: etree._ElementTree, key: Key, profile: Profile, place: str) -> None:
        self.source, self.profile = tree.getroot(), profile
        self.visit = read_visit(tree, place, profile)
        self.mdc_visit = key.seal("visit", f"{self.visit.visit_root}|{self.visit.visit_id}")
        self.mdc_patient = key.seal("patient", f"{self.visit.patient_root}|{self.visit.patient_id}")
        self.pseudonyms = Pseudonyms(key)
        self.dropped: Counter[str] = Counter()
        role = self.source.find(f"{V3}recordTarget/{V3}patientRole")
        patient = role.find(f"{V3}patient") if role is not None else None
        self.role = role if role is not None else etree.Element("none")
        self.patient = patient if patient is not None else etree.Element("none")
        self.persons = Persons(self.source, self.patient)
        self.types = DataTypes(profile, self.persons, self.dropped, place)
        moment = self.visit.start or self.visit.end or point(first(self.source, "effectiveTime"))
        self.moment, self.age = moment, age_in_years(self.persons.birth, moment)
        self.persons.newborn = bool(moment) and moment[:8] == self.persons.birth[:8]
        sex = self.patient.find(f"{V3}administrativeGenderCode")
        self.sex = (sex.get("code") or "") if sex is not None else ""
        self.tables: Tables | None = None

    def run(self) -> Rebuilt:
        root = etree.Element(f"{V3}ClinicalDocument", nsmap=_NAMESPACES)  # type: ignore[arg-type]
        self._header(root)
        body = etree.SubElement(etree.SubElement(root, f"{V3}component"), f"{V3}structuredBody")
        self._age(body)
        for component in self.source.findall(f"{V3}component/{V3}structuredBody/{V3}component"):
            self._element(component, body, "component")
        if self.source.find(f"{V3}component/{V3}nonXMLBody") is not None:
            self.dropped["component/nonXMLBody"] += 1
        document = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
        return Rebuilt(document, self.visit, self.mdc_visit, self.mdc_patient, self.dropped)

    def _header(self, root: etree._Element) -> None:
        realm = first(self.source, "realmCode")
        if realm is not None and re.fullmatch(r"[A-Z]{2}", realm.get("code") or ""):
            etree.SubElement(root, f"{V3}realmCode", {"code": str(realm.get("code"))})
        etree.SubElement(root, f"{V3}typeId", {"root": "2.16.840.1.113883.1.3", "extension": "POCD_HD000040"})
        for template in self.source.findall(f"{V3}templateId"):
            self._template(template, root)
        own = "|".join(next(iter(identifiers(self.source)), (self.visit.visit_root, self.visit.visit_id)))
        etree.SubElement(root, f"{V3}id", {"root": self.pseudonyms.uid(f"document {own}")})
        self._code(self.source, root, "code", required=True)
        self.types.time(first(self.source, "effectiveTime"), root, "effectiveTime")
        self._code(self.source, root, "confidentialityCode", required=True)
        language = first(self.source, "languageCode")
        if language is not None and re.fullmatch(r"[a-z]{2}(-[A-Z]{2})?", language.get("code") or ""):
            etree.SubElement(root, f"{V3}languageCode", {"code": str(language.get("code"))})
        self._patient(root)
        author = etree.SubElement(root, f"{V3}author")
        etree.SubElement(author, f"{V3}time", {"nullFlavor": "MSK"})
        etree.SubElement(etree.SubElement(author, f"{V3}assignedAuthor"), f"{V3}id", {"nullFlavor": "MSK"})
        custodian = etree.SubElement(etree.SubElement(root, f"{V3}custodian"), f"{V3}assignedCustodian")
        etree.SubElement(etree.SubElement(custodian, f"{V3}representedCustodianOrganization"), f"{V3}id", {"nullFlavor": "MSK"})
        for number in self.visit.accession_numbers:
            order = etree.SubElement(etree.SubElement(root, f"{V3}inFulfillmentOf"), f"{V3}order", {"classCode": "ACT", "moodCode": "RQO"})
            etree.SubElement(order, f"{V3}id", {"root": ACCESSION_ROOT, "extension": self.pseudonyms.token("accession", number)})
        for service in self.source.findall(f"{V3}documentationOf/{V3}serviceEvent"):
            event = etree.SubElement(etree.SubElement(root, f"{V3}documentationOf"), f"{V3}serviceEvent", {"classCode": "ACT"})
            self._code(service, event, "code")
            if (time := service.find(f"{V3}effectiveTime")) is not None:
                self.types.time(time, event, "effectiveTime")
        self._encounter(root)
        kept = {
            "realmCode", "typeId", "templateId", "id", "code", "effectiveTime", "confidentialityCode", "languageCode", "recordTarget",
            "inFulfillmentOf", "documentationOf", "componentOf", "component",
        }  # fmt: skip
        self._count(self.source, kept, "ClinicalDocument")

    def _patient(self, root: etree._Element) -> None:
        role = etree.SubElement(etree.SubElement(root, f"{V3}recordTarget"), f"{V3}patientRole")
        etree.SubElement(role, f"{V3}id", {"root": PATIENT_ROOT, "extension": self.mdc_patient})
        city = self.role.find(f"{V3}addr/{V3}city")
        name = " ".join((city.text or "").split()) if city is not None else ""
        if self.profile.city and name and re.fullmatch(r"[^\W\d_]+([ .'-]{1,2}[^\W\d_]+){0,4}", name) and not self.persons.mentioned(name):
            etree.SubElement(etree.SubElement(role, f"{V3}addr"), f"{V3}city").text = name
        elif name:
            self.dropped["addr/city"] += 1
        patient = etree.SubElement(role, f"{V3}patient")
        self._code(self.patient, patient, "administrativeGenderCode", required=True)
        year = self.persons.birth[:4] if self.profile.birth == "year" else ""
        etree.SubElement(patient, f"{V3}birthTime", {"value": year} if year else {"nullFlavor": "MSK"})
        self._count(self.role, {"patient", "addr"}, "patientRole")
        self._count(self.patient, {"administrativeGenderCode"}, "patient")

    def _encounter(self, root: etree._Element) -> None:
        out = etree.SubElement(etree.SubElement(root, f"{V3}componentOf"), f"{V3}encompassingEncounter")
        etree.SubElement(out, f"{V3}id", {"root": VISIT_ROOT, "extension": self.mdc_visit})
        source = self.source.find(f"{V3}componentOf/{V3}encompassingEncounter")
        if source is None:
            etree.SubElement(out, f"{V3}effectiveTime", {"nullFlavor": "NI"})
            return
        self._code(source, out, "code")
        time = etree.SubElement(out, f"{V3}effectiveTime")
        written = first(source, "effectiveTime")
        for name, value in zip(("low", "high"), interval(written), strict=True):
            etree.SubElement(time, V3 + name, {"value": value} if value else {"nullFlavor": "NI"})
        self._code(source, out, "dischargeDispositionCode")
        self._count(source, {"id", "code", "effectiveTime", "dischargeDispositionCode"}, "encompassingEncounter")

    def _age(self, body: etree._Element) -> None:
        section = etree.SubElement(etree.SubElement(body, f"{V3}component"), f"{V3}section")
        etree.SubElement(section, f"{V3}code", {"code": _DEMOGRAPHICS, "codeSystem": _LOINC})
        observation = etree.SubElement(etree.SubElement(section, f"{V3}entry"), f"{V3}observation", {"classCode": "OBS", "moodCode": "EVN"})
        etree.SubElement(observation, f"{V3}code", {"code": AGE_CODE, "codeSystem": _LOINC})
        etree.SubElement(observation, f"{V3}statusCode", {"code": "completed"})
        etree.SubElement(observation, f"{V3}effectiveTime", {"value": self.moment} if self.moment else {"nullFlavor": "NI"})
        known = {"value": str(self.age), "unit": "a"} if self.age is not None else {"nullFlavor": "UNK"}
        etree.SubElement(observation, f"{V3}value", {"{http://www.w3.org/2001/XMLSchema-instance}type": "PQ", **known})
        write_text(section)

    def _code(self, source: etree._Element, parent: etree._Element, name: str, required: bool = False) -> None:
        found = first(source, name)
        if found is not None:
            self.types.code(found, parent, name)
        elif required:
            etree.SubElement(parent, V3 + name, {"nullFlavor": "NI"})

    def _element(self, source: etree._Element, parent: etree._Element, name: str) -> None:
        """A structural element with those of its children that the profile names, in its order; not at all when it would be empty."""
        allowed = self.profile.elements[name]
        if name == "participant" and source.get("typeCode") != "CSM":
            self.dropped["participant"] += 1
            return
        out = etree.SubElement(parent, V3 + name)
        for attribute, value in sorted((str(name), str(value)) for name, value in source.items()):
            pattern = _ATTRIBUTES.get(attribute)
            if pattern is not None and pattern.fullmatch(value):
                out.set(attribute, value)
        outer = self.tables
        if name == "section":
            self.tables = Tables(source, self.profile)
        children: dict[str, list[etree._Element]] = {}
        for child in source:
            local = label(child)
            if local in allowed:
                children.setdefault(local, []).append(child)
            else:
                self.dropped[f"{name}/{local}"] += 1
        for wanted in allowed:
            for child in children.get(wanted, ()):
                self._child(source, child, out, wanted)
        self._complete(source, out, name)
        if name == "section":
            self.tables = outer
            write_text(out)
        if len(out) == 0:
            parent.remove(out)

    def _child(self, parent: etree._Element, source: etree._Element, out: etree._Element, name: str) -> None:
        if name in CODES:
            self.types.code(source, out, name)
        elif name == "value":
            self.types.value(source, out, self.age, self.sex)
        elif name == "effectiveTime":
            self.types.time(source, out, name)
        elif name == "statusCode":
            code = source.get("code") or ""
            etree.SubElement(out, V3 + name, {"code": code} if _STATUS.fullmatch(code) else {"nullFlavor": "NI"})
        elif name in QUANTITIES:
            self.types.quantity(source, out, name)
        elif name == "templateId":
            self._template(source, out)
        elif name == "id":
            self._id(parent, source, out)
        else:
            self._element(source, out, name)

    def _template(self, source: etree._Element, out: etree._Element) -> None:
        root, version = source.get("root") or "", source.get("extension") or ""
        if not root.startswith(_TEMPLATES) or not _OID.fullmatch(root):
            self.dropped["templateId"] += 1
            return
        etree.SubElement(out, f"{V3}templateId", {"root": root, **({"extension": version} if _VERSION.fullmatch(version) else {})})

    def _id(self, parent: etree._Element, source: etree._Element, out: etree._Element) -> None:
        """Accession numbers as tokens, UIDs of images as the de-identified images carry them; other ids are left out."""
        root, extension = (source.get("root") or "").strip(), (source.get("extension") or "").strip()
        code = first(parent, "code")
        image = parent.get("classCode") == "DGIMG" or code is not None and code.get("code") in _CATALOGUE
        if root in self.profile.accession_roots and extension:
            etree.SubElement(out, f"{V3}id", {"root": ACCESSION_ROOT, "extension": self.pseudonyms.token("accession", extension)})
        elif image and root and not extension:
            etree.SubElement(out, f"{V3}id", {"root": self.pseudonyms.uid(root)})
        else:
            self.dropped["id"] += 1

    def _complete(self, source: etree._Element, out: etree._Element, name: str) -> None:
        """What CDA R2 requires and the source lacks, and what a result's printed row adds."""
        if name in _CLASSES and len(out):
            if out.get("classCode") is None:
                out.set("classCode", _CLASSES[name])
            if out.get("moodCode") is None:
                out.set("moodCode", "EVN")
            if name in ("act", "observation") and first(out, "code") is None:
                out.insert(_after(out, ("templateId", "id")), etree.Element(f"{V3}code", nullFlavor="MSK"))
            if name == "organizer" and first(out, "statusCode") is None:
                out.insert(_after(out, ("templateId", "id", "code")), etree.Element(f"{V3}statusCode", nullFlavor="NI"))
            if name == "observation":
                self._printed(source, out)
        elif name == "entryRelationship" and out.get("typeCode") is None:
            out.set("typeCode", "COMP")
        elif name == "observationRange" and first(out, "value") is None and (text := first(source, "text")) is not None:
            found = read_range(" ".join("".join(texts(text)).split()), self.age, self.sex, self.profile.units)
            if found is not None:
                write_range(out, found)
        flavor = source.get("nullFlavor")
        if flavor is not None and flavor in NULL_FLAVORS and len(out):
            out.set("nullFlavor", flavor)

    def _printed(self, source: etree._Element, out: etree._Element) -> None:
        """The value and range that stand only in the narrative table."""
        if self.tables is None or (first(out, "value") is not None and first(out, "referenceRange") is not None):
            return
        printed_range, printed_value = self.tables.row(source)
        if printed_value and first(out, "value") is None and (value := read_quantity(printed_value, self.profile.units)) is not None:
            holder = etree.Element("holder")
            write_quantity(holder, value)
            out.insert(_after(out, ("templateId", "id", "code", "statusCode", "effectiveTime", "priorityCode")), holder[0])
        has_number = any(value.get("value") or len(value) for value in out.iterchildren(f"{V3}value"))
        if printed_range and has_number and first(out, "referenceRange") is None:
            found = read_range(printed_range, self.age, self.sex, self.profile.units)
            if found is not None:
                write_range(etree.SubElement(etree.SubElement(out, f"{V3}referenceRange"), f"{V3}observationRange"), found)
            else:
                self.dropped["section/text//td (range)"] += 1

    def _count(self, source: etree._Element, kept: set[str], name: str) -> None:
        for child in source:
            if (local := label(child)) not in kept:
                self.dropped[f"{name}/{local}"] += 1


def _after(out: etree._Element, names: tuple[str, ...]) -> int:
    """The place behind the last of these children."""
    places = [place for place, child in enumerate(out) if child.tag[len(V3) :] in names]
    return places[-1] + 1 if places else 0
