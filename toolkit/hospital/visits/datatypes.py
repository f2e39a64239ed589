"""The data types of HL7 v3 (Abstract Data Types R1), copied value by value: only what has the form of a code, time or number."""

from __future__ import annotations

import logging
import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from lxml import etree

from toolkit.hospital.visits.document import NAMESPACE, V3, first, point, texts
from toolkit.hospital.visits.profile import Profile
from toolkit.hospital.visits.results import NUMBER, Quantity, Range, known_unit, read_quantity, read_range

if TYPE_CHECKING:
    from toolkit.hospital.visits.persons import Persons

XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
NULL_FLAVORS = {"NI", "INV", "DER", "OTH", "NINF", "PINF", "UNC", "MSK", "NA", "UNK", "ASKU", "NAV", "NASK", "QS", "TRC"}
_CODE = re.compile(r"[A-Za-z0-9<>+-][A-Za-z0-9.+*†/_:^#<>-]{0,39}")
_VERSION = re.compile(r"[0-9A-Za-z.-]{1,16}")
_INTERPRETATION = re.compile(r"[A-Z<>+-]{1,4}")
# Systems whose codes have one form, so that a name can never stand in one (ICD-10: WHO volume 2; LOINC and SNOMED CT: their manuals).
_FORMS = {
    "2.16.840.1.113883.6.3": re.compile(r"[A-Z]\d[0-9A-Z](\.?[0-9A-Z-]{1,4})?[*+†]?"),
    "2.16.840.1.113883.6.90": re.compile(r"[A-Z]\d[0-9A-Z](\.?[0-9A-Z]{1,4})?"),
    "2.16.840.1.113883.6.1": re.compile(r"(L[A-Z])?\d{1,7}-\d"),
    "2.16.840.1.113883.6.96": re.compile(r"\d{6,18}"),
    "2.16.840.1.113883.3.4424.11.2.6": re.compile(r"[A-Z0-9]{1,3}(\.[0-9A-Z]{1,4}){0,3}"),
}
_SNOMED = "2.16.840.1.113883.6.96"
_TIME_TYPES = {"TS", "IVL_TS", "PIVL_TS", "EIVL_TS", "SXCM_TS"}
_CODE_TYPES = {"CD", "CE", "CV", "CO", "CS"}

logger = logging.getLogger(__name__)


class DataTypes:
    """Copies data types below an element of the new document and counts what is left out, by path, never by value."""

    def __init__(self, profile: Profile, persons: Persons, dropped: Counter[str], place: str) -> None:
        self.profile, self.persons, self.dropped, self.place = profile, persons, dropped, place
        self._systems: dict[str, bool] = {}

    def code(self, source: etree._Element, parent: etree._Element, name: str, as_type: str = "") -> etree._Element:
        """A CD and its kin: code, coding system, version, qualifiers, translations; MSK where its code may not stay."""
        out = etree.SubElement(parent, V3 + name)
        if as_type:
            out.set(XSI_TYPE, as_type)
        code, system = source.get("code"), (source.get("codeSystem") or "").strip()
        if code is not None and self._is_code(code.strip(), system, name):
            out.set("code", code.strip())
            if system:
                out.set("codeSystem", system)
            version = source.get("codeSystemVersion")
            if version and _VERSION.fullmatch(version):
                out.set("codeSystemVersion", version)
            shown = source.get("displayName")
            if shown and self.profile.keeps_display_name(system) and not self.persons.mentioned(shown):
                out.set("displayName", shown)
            elif shown:
                self.dropped[f"{name}/@displayName"] += 1
        else:
            if code is not None:
                self.dropped[f"{name}/@code"] += 1
            flavor = source.get("nullFlavor")
            out.set("nullFlavor", flavor if flavor in NULL_FLAVORS and code is None else "MSK")
        if len(source):
            self._code_children(source, out, name)
        return out

    def _code_children(self, source: etree._Element, out: etree._Element, name: str) -> None:
        for child in source.iterchildren(f"{V3}qualifier"):
            self._qualifier(child, out)
        for child in source:
            if child.tag == f"{V3}translation":
                translation = self.code(child, out, "translation")
                if translation.get("nullFlavor"):
                    out.remove(translation)
            elif isinstance(child.tag, str) and child.tag != f"{V3}qualifier":
                self.dropped[f"{name}/{label(child)}"] += 1

    def _qualifier(self, source: etree._Element, parent: etree._Element) -> None:
        out = etree.SubElement(parent, f"{V3}qualifier")
        for name in ("name", "value"):
            child = first(source, name)
            copied = self.code(child, out, name) if child is not None else None
            if copied is None or copied.get("nullFlavor"):
                self.dropped["qualifier"] += 1
                parent.remove(out)
                return

    def _is_code(self, code: str, system: str, name: str) -> bool:
        if not system:
            return name == "interpretationCode" and bool(_INTERPRETATION.fullmatch(code))
        if (kept := self._systems.get(system)) is None:
            kept = self._systems[system] = self.profile.keeps_system(system) and bool(re.fullmatch(r"[0-9.]{3,64}", system))
        if not kept:
            return False
        if not _FORMS.get(system, _CODE).fullmatch(code) or self.persons.is_value(code):
            return False
        return system == _SNOMED or not is_pesel(code)

    def time(self, source: etree._Element | None, parent: etree._Element, name: str) -> etree._Element:
        """A TS, IVL_TS or PIVL_TS: moments, ends, period. The birth date is masked wherever it stands."""
        out = etree.SubElement(parent, V3 + name)
        if source is None:
            out.set("nullFlavor", "NI")
            return out
        declared = self.declared_type(source)
        if declared in _TIME_TYPES - {"EIVL_TS", "SXCM_TS"}:
            out.set(XSI_TYPE, declared)
        if source.get("operator") in ("I", "E", "A", "H", "P"):
            out.set("operator", str(source.get("operator")))
        kept = self._moment(source, out)
        for part in () if len(source) == 0 else ("low", "center", "high"):
            child = first(source, part)
            if child is not None:
                kept = self._moment(child, etree.SubElement(out, V3 + part), end=True) or kept
        if declared == "PIVL_TS" and (period := first(source, "period")) is not None:
            kept = self.quantity(period, out, "period") or kept
        if not kept and len(out) == 0 and not out.get("nullFlavor"):
            out.set("nullFlavor", "NI")
        return out

    def _moment(self, source: etree._Element, out: etree._Element, end: bool = False) -> bool:
        moment = point(source)
        if moment and not self.persons.born_on(moment):
            out.set("value", moment)
            if source.get("inclusive") in ("true", "false"):
                out.set("inclusive", str(source.get("inclusive")))
            return True
        if source.get("value"):
            self.dropped[f"{label(source)}/@value"] += 1
            out.set("nullFlavor", "MSK")
        elif source.get("nullFlavor") in NULL_FLAVORS:
            out.set("nullFlavor", str(source.get("nullFlavor")))
        elif end:
            out.set("nullFlavor", "NI")
        return False

    def quantity(self, source: etree._Element, parent: etree._Element, name: str, as_type: str = "") -> bool:
        """A PQ, INT or REAL; False when it holds no number, where nothing but a nullFlavor is written."""
        out = etree.SubElement(parent, V3 + name)
        if as_type:
            out.set(XSI_TYPE, as_type)
        return self._number(source, out)

    def _number(self, source: etree._Element, out: etree._Element) -> bool:
        value = (source.get("value") or "").strip().replace(",", ".")
        if NUMBER.fullmatch(value) and not (len(value) > 5 and self.persons.is_value(value)):
            out.set("value", value)
            self._unit(source.get("unit"), out)
            if source.get("inclusive") in ("true", "false"):
                out.set("inclusive", str(source.get("inclusive")))
            return True
        if value:
            self.dropped[f"{label(source)}/@value"] += 1
        flavor = source.get("nullFlavor")
        out.set("nullFlavor", flavor if flavor in NULL_FLAVORS and not value else "MSK" if value else "NI")
        return False

    def _unit(self, unit: str | None, out: etree._Element) -> None:
        if not unit:
            return
        known = known_unit(unit, self.profile.units)
        if known is None:
            # Without any unit the number would claim to have none (UCUM's 1).
            self.dropped["@unit"] += 1
            known = "{unknown}"
        if known:
            out.set("unit", known)

    def value(self, source: etree._Element, parent: etree._Element, age: int | None, sex: str) -> None:
        """A result (ANY) by its xsi:type; text only when it is a number, a range or one of the profile's words."""
        declared = self.declared_type(source)
        if not declared:
            declared = "CD" if source.get("code") else "PQ" if source.get("value") else ""
        if declared in _CODE_TYPES:
            self.code(source, parent, "value", declared)
        elif declared in ("PQ", "INT", "REAL", "MO"):
            self.quantity(source, parent, "value", declared)
        elif declared in ("IVL_PQ", "IVL_INT", "IVL_REAL"):
            self.interval(source, parent, declared)
        elif declared in _TIME_TYPES:
            out = self.time(source, parent, "value")
            out.set(XSI_TYPE, declared if declared in ("TS", "IVL_TS") else "TS")
        elif declared == "BL" and source.get("value") in ("true", "false"):
            etree.SubElement(parent, f"{V3}value", {XSI_TYPE: "BL", "value": str(source.get("value"))})
        elif declared in ("RTO", "RTO_PQ_PQ"):
            out = etree.SubElement(parent, f"{V3}value", {XSI_TYPE: "RTO_PQ_PQ"})
            for part in ("numerator", "denominator"):
                child = first(source, part)
                self.quantity(child if child is not None else etree.Element("none"), out, part)
        elif declared in ("ST", "ED", "SC"):
            self.printed(" ".join("".join(texts(source)).split()), parent, age, sex)
        else:
            if declared:
                logger.warning("%s: line %s: a value of the unknown type %s is left out", self.place, source.sourceline, _shown(declared))
            self.dropped["value"] += 1
            etree.SubElement(parent, f"{V3}value", {XSI_TYPE: "ST", "nullFlavor": "MSK"})

    def printed(self, text: str, parent: etree._Element, age: int | None, sex: str) -> None:
        """A result that was text, as what it is."""
        found = read_quantity(text, self.profile.units)
        between = read_range(text, age, sex, self.profile.units) if found is None else None
        if found is not None:
            write_quantity(parent, found)
        elif between is not None:
            write_range(parent, between)
        elif text.casefold() in self.profile.words:
            etree.SubElement(parent, f"{V3}value", {XSI_TYPE: "ST"}).text = text.casefold()
        else:
            self.dropped["value/text()"] += 1
            etree.SubElement(parent, f"{V3}value", {XSI_TYPE: "ST", "nullFlavor": "MSK"})

    def interval(self, source: etree._Element, parent: etree._Element, declared: str) -> None:
        out = etree.SubElement(parent, f"{V3}value", {XSI_TYPE: declared})
        kept = False
        for part in ("low", "high"):
            child = first(source, part)
            if child is not None:
                kept = self._number(child, etree.SubElement(out, V3 + part)) or kept
        if not kept and len(out) == 0:
            kept = self._number(source, out)

    def declared_type(self, source: etree._Element) -> str:
        """The local name of its xsi:type; with its prefix where that is another vocabulary's, such as extPL:…"""
        declared = (source.get(XSI_TYPE) or "").strip()
        prefix, _, local = declared.rpartition(":")
        return declared if prefix and source.nsmap.get(prefix) != NAMESPACE else local


def write_quantity(parent: etree._Element, found: Quantity) -> None:
    """A number as PQ; one with a comparison sign (``<5``) as the interval that it is."""
    if found.sign:
        low = found.sign in (">", ">=")
        inclusive = found.sign.endswith("=")
        write_range(
            parent, Range(found.value, "", inclusive, True, found.unit) if low else Range("", found.value, True, inclusive, found.unit)
        )
        return
    out = etree.SubElement(parent, f"{V3}value", {XSI_TYPE: "PQ", "value": found.value})
    if found.unit:
        out.set("unit", found.unit)


def write_range(parent: etree._Element, found: Range) -> None:
    """A range as IVL_PQ; ends that are not part of it say so."""
    out = etree.SubElement(parent, f"{V3}value", {XSI_TYPE: "IVL_PQ"})
    for name, value, inclusive in (("low", found.low, found.low_inclusive), ("high", found.high, found.high_inclusive)):
        if value:
            end = etree.SubElement(out, V3 + name, {"value": value})
            if found.unit:
                end.set("unit", found.unit)
            if not inclusive:
                end.set("inclusive", "false")


def label(node: etree._Element) -> str:
    """What a left-out node is, for counting; names that are not CDA's are not repeated, for they could say something."""
    tag = node.tag
    if not isinstance(tag, str):
        return "comment()" if tag is etree.Comment else "processing-instruction()"
    return _named(tag)


@lru_cache(maxsize=1024)
def _named(tag: str) -> str:
    if not tag.startswith(V3):
        return "(another namespace)"
    local = tag[len(V3) :]
    return local if re.fullmatch(r"[a-z][A-Za-z]{1,30}", local) else "(unknown)"


def is_pesel(text: str) -> bool:
    """Whether `text` is a number of the Polish register PESEL: 11 digits, the last of which checks the others."""
    if len(text) != 11 or not (text.isascii() and text.isdigit()):
        return False
    return sum(int(digit) * weight for digit, weight in zip(text, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), strict=True)) % 10 == 0


def _shown(declared: str) -> str:
    """The name of a type for a message, unless it is anything but a name."""
    return declared if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,20}:?[A-Za-z0-9_]{0,40}", declared) else "(unreadable)"
