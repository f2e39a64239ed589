"""A visit's document written anew from what the profile allows: nothing is copied because nobody forbade it.

The result is a CDA R2 document in UTF-8: sex, age at the visit, city, dates of the visit, codes, results with their ranges, and
tokens in the place of ids. Its narrative text is made from the codes. The same document, key and profile give the same bytes.
Source: HL7 Clinical Document Architecture R2 (POCD_HD000040).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING

from toolkit.core.keys import Key
from toolkit.hospital.dicom.cleaning.pseudonyms import Pseudonyms
from toolkit.hospital.visits.datatypes import NULL_FLAVORS, Attributes, DataTypes, attributes, write_quantity, write_range
from toolkit.hospital.visits.document import V3, Visit, first, identifiers, interval, point, read_visit, texts
from toolkit.hospital.visits.narrative import Tables
from toolkit.hospital.visits.persons import Persons, age_in_years
from toolkit.hospital.visits.profile import Profile
from toolkit.hospital.visits.readable import Statement, narrative
from toolkit.hospital.visits.results import read_quantity, read_range
from toolkit.hospital.visits.writing import attribute, label, text

if TYPE_CHECKING:
    from lxml import etree

# Whose ids these are: random UUIDs as OIDs (ITU-T X.667), made once for this program and never changed: tokens are found by them.
VISIT_ROOT = "2.25.233310861474942203253798664670429598675"
PATIENT_ROOT = "2.25.204458787454734122991416577679683986530"
ACCESSION_ROOT = "2.25.318258083266858245723055219358062272601"
AGE_CODE = "30525-0"  # LOINC: Age; HL7 value set LOINCObservationActContextAgeDefinitionCode (2.16.840.1.113883.11.79)
_LOINC = "2.16.840.1.113883.6.1"
_DEMOGRAPHICS = "45970-1"  # LOINC: Demographics, the section of HL7's quality measures (HQMF) that holds the age
_START = """<?xml version='1.0' encoding='UTF-8'?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">"""
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
_ACT = ' classCode="ACT"'
_CITY = re.compile(r"[^\W\d_]+([ .'-]{1,2}[^\W\d_]+){0,4}")
_BEFORE_VALUE = ("templateId", "id", "code", "statusCode", "effectiveTime", "priorityCode")
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


_Parts = list[tuple[int, str, str]]  # of children: the place in the profile's order, the name, what is written


class _Rebuilding:
    """One document. Methods return what is written; "" where an element would be empty."""

    def __init__(self, tree: etree._ElementTree, key: Key, profile: Profile, place: str) -> None:
        self.source, self.profile = tree.getroot(), profile
        self.visit = read_visit(tree, place, profile)
        self.mdc_visit = key.seal("visit", f"{self.visit.visit_root}|{self.visit.visit_id}")
        self.mdc_patient = key.seal("patient", f"{self.visit.patient_root}|{self.visit.patient_id}")
        self.pseudonyms = _pseudonyms(key)
        self.dropped: Counter[str] = Counter()
        self.role = self.source.find(f"{V3}recordTarget/{V3}patientRole")
        self.patient = first(self.role, "patient") if self.role is not None else None
        self.persons = Persons(self.source, self.patient)
        moment = self.visit.start or self.visit.end or point(first(self.source, "effectiveTime"))
        self.moment, self.age = moment, age_in_years(self.persons.birth, moment)
        self.persons.newborn = bool(moment) and moment[:8] == self.persons.birth[:8]
        sex = first(self.patient, "administrativeGenderCode") if self.patient is not None else None
        self.sex = (sex.get("code") or "") if sex is not None else ""
        self.types = DataTypes(profile, self.persons, self.dropped, place, self.age, self.sex)
        self.tables: Tables | None = None
        self.statement = Statement()
        self.lines: list[str] = []  # of the narrative text, in the order of the document

    def run(self) -> Rebuilt:
        parts = [_START, *self._header(), "<component><structuredBody>", self._age()]
        for component in self.source.findall(f"{V3}component/{V3}structuredBody/{V3}component"):
            parts.append(self._element(component, "component"))
            self.lines.clear()
        if self.source.find(f"{V3}component/{V3}nonXMLBody") is not None:
            self.dropped["component/nonXMLBody"] += 1
        parts.append("</structuredBody></component></ClinicalDocument>")
        return Rebuilt("".join(parts).encode(), self.visit, self.mdc_visit, self.mdc_patient, self.dropped)

    def _header(self) -> list[str]:
        parts = []
        realm = first(self.source, "realmCode")
        if realm is not None and re.fullmatch(r"[A-Z]{2}", realm.get("code") or ""):
            parts.append(f'<realmCode code="{realm.get("code")}"/>')
        parts.append('<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>')
        parts += [self.types.write(template, "templateId").xml for template in self.source.findall(f"{V3}templateId")]
        own = "|".join(next(iter(identifiers(self.source)), (self.visit.visit_root, self.visit.visit_id)))
        parts.append(f'<id root="{self.pseudonyms.uid(f"document {own}")}"/>')
        parts.append(self._code(self.source, "code", required=True))
        parts.append(self.types.time(first(self.source, "effectiveTime"), "effectiveTime").xml)
        parts.append(self._code(self.source, "confidentialityCode", required=True))
        language = first(self.source, "languageCode")
        if language is not None and re.fullmatch(r"[a-z]{2}(-[A-Z]{2})?", language.get("code") or ""):
            parts.append(f'<languageCode code="{language.get("code")}"/>')
        parts.append(self._patient())
        parts.append('<author><time nullFlavor="MSK"/><assignedAuthor><id nullFlavor="MSK"/></assignedAuthor></author>')
        parts.append(
            '<custodian><assignedCustodian><representedCustodianOrganization><id nullFlavor="MSK"/>'
            "</representedCustodianOrganization></assignedCustodian></custodian>"
        )
        for number in self.visit.accession_numbers:
            order = f'<order classCode="ACT" moodCode="RQO">{self._accession(number)}</order>'
            parts.append(f"<inFulfillmentOf>{order}</inFulfillmentOf>")
        for service in self.source.findall(f"{V3}documentationOf/{V3}serviceEvent"):
            time = first(service, "effectiveTime")
            event = self._code(service, "code") + (self.types.time(time, "effectiveTime").xml if time is not None else "")
            parts.append(_whole("documentationOf", "", _whole("serviceEvent", _ACT, event)))
        parts.append(f"<componentOf><encompassingEncounter>{self._encounter()}</encompassingEncounter></componentOf>")
        kept = {
            "realmCode", "typeId", "templateId", "id", "code", "effectiveTime", "confidentialityCode", "languageCode", "recordTarget",
            "inFulfillmentOf", "documentationOf", "componentOf", "component",
        }  # fmt: skip
        self._count(self.source, kept, "ClinicalDocument")
        return parts

    def _patient(self) -> str:
        city = self.role.find(f"{V3}addr/{V3}city") if self.role is not None else None
        name, address = " ".join((city.text or "").split()) if city is not None else "", ""
        if self.profile.city and name and _CITY.fullmatch(name) and not self.persons.mentioned(name):
            address = f"<addr><city>{text(name)}</city></addr>"
        elif name:
            self.dropped["addr/city"] += 1
        year = self.persons.birth[:4] if self.profile.birth == "year" else ""
        sex = self._code(self.patient, "administrativeGenderCode", required=True)
        birth = f'<birthTime value="{year}"/>' if year else '<birthTime nullFlavor="MSK"/>'
        self._count(self.role, {"patient", "addr"}, "patientRole")
        self._count(self.patient, {"administrativeGenderCode"}, "patient")
        return (
            f'<recordTarget><patientRole><id root="{PATIENT_ROOT}" extension="{self.mdc_patient}"/>{address}'
            f"<patient>{sex}{birth}</patient></patientRole></recordTarget>"
        )

    def _encounter(self) -> str:
        identifier = f'<id root="{VISIT_ROOT}" extension="{self.mdc_visit}"/>'
        source = self.source.find(f"{V3}componentOf/{V3}encompassingEncounter")
        if source is None:
            return f'{identifier}<effectiveTime nullFlavor="NI"/>'
        ends = zip(("low", "high"), interval(first(source, "effectiveTime")), strict=True)
        time = "".join(f'<{name} value="{value}"/>' if value else f'<{name} nullFlavor="NI"/>' for name, value in ends)
        code, disposition = self._code(source, "code"), self._code(source, "dischargeDispositionCode")
        self._count(source, {"id", "code", "effectiveTime", "dischargeDispositionCode"}, "encompassingEncounter")
        return f"{identifier}{code}<effectiveTime>{time}</effectiveTime>{disposition}"

    def _age(self) -> str:
        known = f'value="{self.age}" unit="a"' if self.age is not None else 'nullFlavor="UNK"'
        time = f'value="{self.moment}"' if self.moment else 'nullFlavor="NI"'
        shown = narrative([AGE_CODE + (f": {self.age} a" if self.age is not None else "")])
        return (
            f'<component><section><code code="{_DEMOGRAPHICS}" codeSystem="{_LOINC}"/>{shown}<entry>'
            f'<observation classCode="OBS" moodCode="EVN"><code code="{AGE_CODE}" codeSystem="{_LOINC}"/><statusCode code="completed"/>'
            f'<effectiveTime {time}/><value xsi:type="PQ" {known}/></observation></entry></section></component>'
        )

    def _code(self, source: etree._Element | None, name: str, required: bool = False) -> str:
        found = first(source, name) if source is not None else None
        if found is not None:
            return self.types.code(found, name).xml
        return f'<{name} nullFlavor="NI"/>' if required else ""

    def _element(self, source: etree._Element, name: str) -> str:
        """A structural element with those of its children that the profile names, in its order; not at all when it would be empty."""
        if name in _CLASSES:
            return self._statement(source, name)
        if name == "section":
            return self._section(source)
        if name == "participant" and source.get("typeCode") != "CSM":
            self.dropped["participant"] += 1
            return ""
        parts = self._children(source, name)
        if name == "observationRange":
            self._printed_range(source, parts)
        if not parts:
            return ""
        written, given, flavor = _structural(attributes(source))
        if name == "entryRelationship" and "typeCode" not in given:
            written += ' typeCode="COMP"'
        return _whole(name, written + flavor, _joined(parts))

    def _children(self, source: etree._Element, name: str, own: list[str] | None = None) -> _Parts:
        """What is written of the children that the profile names, in its order; the lines of entries are added to `own`."""
        plan, write, last, ordered = self.profile.plans[name], self.types.write, 0, True
        parts: _Parts = []
        for child in source:
            planned = plan.get(child.tag)
            if planned is None:
                self.dropped[_path(name, child.tag)] += 1
                continue
            place, local, is_data = planned
            if not is_data:
                start = len(self.lines)
                xml = self._element(child, local)
                if own is not None and local == "entry":
                    own += self.lines[start:]
            elif local == "id":
                xml = self._id(source, child)
            else:
                written = write(child, local)
                xml = written.xml
                if local == "code":
                    self.statement.name(name, written.shown)
                elif local == "value":
                    self.statement.say(written, name == "observationRange")
            if xml:
                if place < last:
                    ordered = False
                last = place
                parts.append((place, local, xml))
        if not ordered:
            parts.sort(key=itemgetter(0))
        return parts

    def _section(self, source: etree._Element) -> str:
        """A section and a narrative text of its own entries."""
        outer, self.tables = self.tables, Tables(source, self.profile)
        own: list[str] = []
        parts = self._children(source, "section", own)
        self.tables = outer
        if not parts:
            return ""
        if shown := narrative(own):
            parts.insert(next(at for at, part in enumerate(parts) if part[1] in ("entry", "component")), (0, "text", shown))
        written, _, flavor = _structural(attributes(source))
        return _whole("section", written + flavor, _joined(parts))

    def _statement(self, source: etree._Element, name: str) -> str:
        """An act, observation and so on, with what CDA R2 requires and the source lacks."""
        outer, mine, at = self.statement, Statement(), len(self.lines)
        self.statement = mine
        self.lines.append("")  # its line comes before those of the statements inside it
        parts = self._children(source, name)
        if parts:
            if mine.code is None and name in ("act", "observation"):
                _insert(parts, ("templateId", "id"), "code", '<code nullFlavor="MSK"/>')
            if name == "observation":
                if self.tables is not None and not (mine.values and parts[-1][1] == "referenceRange"):
                    self._printed(source, parts, mine)
            elif name == "organizer" and not any(part[1] == "statusCode" for part in parts):
                _insert(parts, ("templateId", "id", "code"), "statusCode", '<statusCode nullFlavor="NI"/>')
            self.lines[at] = mine.line(name == "substanceAdministration")
        self.statement = outer
        if not parts:
            return ""
        written, given, flavor = _structural(attributes(source))
        if "classCode" not in given:
            written += f' classCode="{_CLASSES[name]}"'
        if "moodCode" not in given:
            written += ' moodCode="EVN"'
        return _whole(name, written + flavor, _joined(parts))

    def _id(self, parent: etree._Element, source: etree._Element) -> str:
        """Accession numbers as tokens, UIDs of images as the de-identified images carry them; other ids are left out."""
        root, extension = (source.get("root") or "").strip(), (source.get("extension") or "").strip()
        if extension:
            if root in self.profile.accession_roots:
                return self._accession(extension)
        elif root:
            code = first(parent, "code")
            if parent.get("classCode") == "DGIMG" or code is not None and code.get("code") in _CATALOGUE:
                return f'<id root="{self.pseudonyms.uid(root)}"/>'
        self.dropped["id"] += 1
        return ""

    def _accession(self, number: str) -> str:
        return f'<id root="{ACCESSION_ROOT}" extension="{self.pseudonyms.token("accession", number)}"/>'

    def _printed(self, source: etree._Element, parts: _Parts, statement: Statement) -> None:
        """The value and range that stand only in the narrative table."""
        printed_range, printed_value = self.tables.row(source) if self.tables is not None else ("", "")
        kept = self.profile.elements["observation"]
        wanted = bool(printed_value) and "value" in kept and not statement.values
        value = read_quantity(printed_value, self.profile.units) if wanted else None
        if value is not None and not self.persons.is_number(value.value):
            written = write_quantity(value)
            statement.say(written, False)
            _insert(parts, _BEFORE_VALUE, "value", written.xml)
        if printed_range and "referenceRange" in kept and statement.number and not any(part[1] == "referenceRange" for part in parts):
            found = read_range(printed_range, self.age, self.sex, self.profile.units)
            if found is None or self.persons.ends_in(found):
                self.dropped["section/text//td (range)"] += 1
                return
            written = write_range(found)
            statement.say(written, True)
            whole = f"<referenceRange><observationRange>{written.xml}</observationRange></referenceRange>"
            parts.append((0, "referenceRange", whole))

    def _printed_range(self, source: etree._Element, parts: _Parts) -> None:
        """The range that an observationRange says in words alone."""
        if any(part[1] == "value" for part in parts) or (printed := first(source, "text")) is None:
            return
        found = read_range(" ".join("".join(texts(printed)).split()), self.age, self.sex, self.profile.units)
        if found is not None and not self.persons.ends_in(found):
            written = write_range(found)
            self.statement.say(written, True)
            parts.append((0, "value", written.xml))

    def _count(self, source: etree._Element | None, kept: set[str], name: str) -> None:
        for child in source if source is not None else ():
            if (local := label(child.tag)) not in kept:
                self.dropped[f"{name}/{local}"] += 1


def _whole(name: str, written: str, content: str) -> str:
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


@lru_cache(maxsize=4096)
def _path(name: str, tag: object) -> str:
    return f"{name}/{label(tag)}"


def _joined(parts: _Parts) -> str:
    return "".join([written for _, _, written in parts])


def _insert(parts: _Parts, names: tuple[str, ...], name: str, written: str) -> None:
    """Behind the last of the children `names`."""
    parts.insert(max((at + 1 for at, part in enumerate(parts) if part[1] in names), default=0), (0, name, written))


@lru_cache(maxsize=4096)
def _structural(found: Attributes) -> tuple[str, frozenset[str], str]:
    """The attributes of a structural element to be written, their names, and its nullFlavor, which comes last."""
    kept = sorted((name, value) for name, value in found if name in _ATTRIBUTES and _ATTRIBUTES[name].fullmatch(value))
    flavor = dict(found).get("nullFlavor")
    written = "".join([attribute(name, value) for name, value in kept])
    return written, frozenset(name for name, _ in kept), attribute("nullFlavor", flavor) if flavor in NULL_FLAVORS else ""


@lru_cache(maxsize=8)
def _pseudonyms(key: Key) -> Pseudonyms:
    """Made once for a key: deriving takes longer than a small document."""
    return Pseudonyms(key)
