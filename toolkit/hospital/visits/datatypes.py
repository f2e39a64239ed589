"""The data types of HL7 v3 (Abstract Data Types R1), written value by value: only what has the form of a code, time or number.

Everything is read from the attributes of one element, and documents say the same again and again: what depends on the attributes
alone is worked out once and remembered; what depends on the people in a document is asked every time.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from toolkit.hospital.visits.codes import is_code, is_pesel
from toolkit.hospital.visits.document import NAMESPACE, V3, first, is_time, texts
from toolkit.hospital.visits.persons import Persons, digits
from toolkit.hospital.visits.profile import QUANTITIES, Profile, listed
from toolkit.hospital.visits.results import NUMBER, Quantity, Range, known_unit, read_quantity, read_range
from toolkit.hospital.visits.writing import Written, attribute, label

if TYPE_CHECKING:
    from lxml import etree

XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
NULL_FLAVORS = {"NI", "INV", "DER", "OTH", "NINF", "PINF", "UNC", "MSK", "NA", "UNK", "ASKU", "NAV", "NASK", "QS", "TRC"}
# Versions of coding systems: 2.42, 2019-09-01, 2012AB, 20190901.
_VERSION = re.compile(r"[vV]?[0-9]{1,4}([.-][0-9]{1,2}){0,2}[A-Z]{0,2}|20[0-9]{4}([0-9]{2})?")
_TIME_TYPES = {"TS", "IVL_TS", "PIVL_TS", "EIVL_TS", "SXCM_TS"}
_CODE_TYPES = {"CD", "CE", "CV", "CO", "CS"}
_QUANTITY_TYPES = {"PQ", "INT", "REAL", "MO"}
_INTERVAL_TYPES = {"IVL_PQ", "IVL_INT", "IVL_REAL"}
_STATUSES = {"active", "aborted", "cancelled", "completed", "held", "new", "normal", "nullified", "obsolete", "suspended"}
_TEMPLATES = ("2.16.840.1.113883.10.", "2.16.840.1.113883.3.4424.13.10.", "2.16.840.1.113883.3.88.11.", "1.3.6.1.4.1.19376.")
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,7})){1,30}")
_TEMPLATE_VERSION = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}(\.[0-9]{1,2}){0,2}")
_ENDS: dict[object, str] = {V3 + part: part for part in ("low", "center", "high")}
_QUALIFIER, _TRANSLATION = f"{V3}qualifier", f"{V3}translation"
_KEPT = 8192  # different sets of attributes that are remembered

logger = logging.getLogger(__name__)

Attributes = tuple[tuple[str, str], ...]


def attributes(source: etree._Element) -> Attributes:
    """All attributes as pairs of name and value, in the order of the document."""
    return tuple(source.items())  # type: ignore[arg-type]  # never bytes in Python 3


class _Code(NamedTuple):
    """What the attributes of a code come to. `code`, `shown`: to be looked for among the people of the document."""

    code: str  # "" when it is not kept
    kept: str  # the attributes to be written
    shown: str  # a display name that the profile keeps
    dropped: tuple[str, ...]  # for counting


class _Number(NamedTuple):
    value: str  # "" when there is none
    written: str
    shown: str
    asked: str  # its digits, to be looked for among the numbers of the document's people
    dropped: tuple[str, ...]


class _Leaf(NamedTuple):
    """What an element without children comes to when its value tells nobody. `written`: None when its attributes do not say all."""

    written: Written | None
    asked: str  # whether it tells somebody is asked of this
    dropped: tuple[str, ...]


class DataTypes:
    """Writes data types and counts what is left out, by path, never by value. `age` in years and `sex` (F, M) choose among ranges."""

    def __init__(
        self, profile: Profile, persons: Persons, dropped: Counter[str], place: str, age: int | None = None, sex: str = ""
    ) -> None:
        self.profile, self.persons, self.dropped, self.place, self.age, self.sex = profile, persons, dropped, place, age, sex
        self._told, self._leaves = persons.told, _leaves(profile.systems, profile.display_names, profile.units)

    def write(self, source: etree._Element, name: str) -> Written:
        """The element `name`, one of profile.DATA_TYPES but id."""
        if len(source):
            return self._write(source, name)
        key = (name, *source.items())
        leaf = self._leaves.get(key)
        if leaf is None:
            leaf = self._leaves[key] = self._leaf(source, name)
        written, asked, dropped = leaf
        if written is None or asked in self._told:
            return self._write(source, name)
        for path in dropped:
            self.dropped[path] += 1
        return written

    def _write(self, source: etree._Element, name: str) -> Written:
        if name == "value":
            return self.value(source)
        if name == "effectiveTime":
            return self.time(source, name)
        if name in QUANTITIES:
            return self.quantity(source, name)
        if name == "statusCode":
            code = source.get("code")
            return Written(f'<statusCode code="{code}"/>' if code in _STATUSES else '<statusCode nullFlavor="NI"/>', "", False)
        if name == "templateId":
            return self._template(source)
        return self.code(source, name)

    def _leaf(self, source: etree._Element, name: str) -> _Leaf:
        """Worked out as if nobody were known; `asked` then says for whom it has to be worked out again."""
        if len(self._leaves) >= _KEPT:
            self._leaves.clear()
        code, value, declared = source.get("code"), source.get("value", "").strip(), self.declared_type(source)
        known = _CODE_TYPES | _QUANTITY_TYPES | _INTERVAL_TYPES | _TIME_TYPES | {"BL"}
        if name == "value" and declared not in known or code and source.get("displayName") and self.profile.display_names:
            return _Leaf(None, "", ())
        dropped: Counter[str] = Counter()
        written = DataTypes(self.profile, _NOBODY, dropped, self.place)._write(source, name)
        timed = name == "effectiveTime" or declared in _TIME_TYPES
        asked = (code or "").strip().casefold() or (value[:8] if timed else digits(value))
        return _Leaf(written, asked, tuple(dropped.elements()))

    def code(self, source: etree._Element, name: str, as_type: str = "") -> Written:
        """A CD and its kin: code, coding system, version, qualifiers, translations; MSK where its code may not stay."""
        code, kept, shown, dropped = _read_code(attributes(source), name, self.profile.systems, self.profile.display_names)
        if code and self.persons.is_value(code):
            code, kept, shown, dropped = "", ' nullFlavor="MSK"', "", (f"{name}/@code",)
        for path in dropped:
            self.dropped[path] += 1
        if shown:
            if self.persons.mentioned(shown):
                self.dropped[f"{name}/@displayName"] += 1
            else:
                kept += attribute("displayName", shown)
        start = f'<{name} xsi:type="{as_type}"{kept}' if as_type else f"<{name}{kept}"
        if not len(source):
            return Written(f"{start}/>", code, False, not code)
        children, codes = self._code_children(source, name)
        if not children:
            return Written(f"{start}/>", code, False, not code)
        return Written(f"{start}>{children}</{name}>", " = ".join((code, *codes) if code else codes), True, not code)

    def _code_children(self, source: etree._Element, name: str) -> tuple[str, list[str]]:
        """Qualifiers, then translations, and the codes of the translations."""
        qualifiers, translations, codes = "", "", []
        for child in source:
            if child.tag == _QUALIFIER:
                qualifiers += self._qualifier(child)
            elif child.tag == _TRANSLATION:
                translation = self.code(child, "translation")
                if not translation.masked:
                    translations += translation.xml
                    codes.append(translation.shown)
            elif isinstance(child.tag, str):
                self.dropped[f"{name}/{label(child.tag)}"] += 1
        return qualifiers + translations, codes

    def _qualifier(self, source: etree._Element) -> str:
        parts = ""
        for name in ("name", "value"):
            child = first(source, name)
            copied = self.code(child, name) if child is not None else None
            if copied is None or copied.masked:
                self.dropped["qualifier"] += 1
                return ""
            parts += copied.xml
        return f"<qualifier>{parts}</qualifier>"

    def time(self, source: etree._Element | None, name: str, as_type: str = "") -> Written:
        """A TS, IVL_TS or PIVL_TS: moments, ends, period. The birth date is masked wherever it stands."""
        if source is None:
            return Written(f'<{name} nullFlavor="NI"/>', "", False)
        declared = self.declared_type(source)
        start = f"<{name}"
        if as_type or declared in ("TS", "IVL_TS", "PIVL_TS"):
            start += f' xsi:type="{as_type or declared}"'
        if source.get("operator") in ("I", "E", "A", "H", "P"):
            start += f' operator="{source.get("operator")}"'
        moment, written = self._moment(source, "")
        if not len(source):
            return Written(f"{start}{written or _NO_INFORMATION}/>", moment, bool(moment))
        ends, shown = {"low": "", "center": "", "high": ""}, {"low": "", "center": "", "high": ""}
        for child in source:
            part = _ENDS.get(child.tag, "")
            if part and not ends[part]:
                shown[part], end = self._moment(child, _NO_INFORMATION)
                ends[part] = f"<{part}{end}/>"
        parts = "".join(ends.values())
        if declared == "PIVL_TS" and (period := first(source, "period")) is not None:
            parts += self.quantity(period, "period").xml
        if not parts:
            return Written(f"{start}{written or _NO_INFORMATION}/>", moment, bool(moment))
        between = f"[{shown['low']}; {shown['high']}]" if ends["low"] or ends["high"] else ""
        return Written(f"{start}{written}>{parts}</{name}>", moment or between, True)

    def _moment(self, source: etree._Element, otherwise: str) -> tuple[str, str]:
        """The moment ("" when there is none that may stay) and the attributes to be written."""
        value, written, masked = _read_moment(attributes(source))
        if value and not self.persons.born_on(value):
            return value, written
        if masked:
            self.dropped[f"{label(source.tag)}/@value"] += 1
            return "", ' nullFlavor="MSK"'
        return "", written or otherwise

    def quantity(self, source: etree._Element | None, name: str, as_type: str = "") -> Written:
        """A PQ, INT or REAL; a nullFlavor alone when it holds no number that may stay."""
        value, written, shown = self._number(source)
        kind = f' xsi:type="{as_type}"' if as_type else ""
        return Written(f"<{name}{kind}{written}/>", shown, bool(value))

    def _number(self, source: etree._Element | None) -> tuple[str, str, str]:
        """The number ("" when there is none that may stay), the attributes to be written, and how it is shown."""
        value, written, shown, asked, dropped = _read_number(attributes(source) if source is not None else (), self.profile.units)
        if asked and asked in self._told:
            value, written, shown, dropped = "", ' nullFlavor="MSK"', "", ("/@value",)
        for path in dropped:
            self.dropped[f"{label(source.tag)}{path}" if source is not None and path == "/@value" else path] += 1
        return value, written, shown

    def value(self, source: etree._Element) -> Written:
        """A result (ANY) by its xsi:type; text only when it is a number, a range or one of the profile's words."""
        declared = self.declared_type(source)
        if not declared:
            declared = "CD" if source.get("code") else "PQ" if source.get("value") else ""
        if declared in _CODE_TYPES:
            return self.code(source, "value", declared)
        if declared in _QUANTITY_TYPES:
            return self.quantity(source, "value", declared)
        if declared in _INTERVAL_TYPES:
            return self._interval(source, declared)
        if declared in _TIME_TYPES:
            return self.time(source, "value", declared if declared in ("TS", "IVL_TS", "PIVL_TS") else "TS")
        if declared == "BL" and (truth := source.get("value")) in ("true", "false"):
            return Written(f'<value xsi:type="BL" value="{truth}"/>', str(truth), True)
        if declared in ("RTO", "RTO_PQ_PQ"):
            parts = "".join(self.quantity(first(source, part), part).xml for part in ("numerator", "denominator"))
            return Written(f'<value xsi:type="RTO_PQ_PQ">{parts}</value>', "", True)
        if declared in ("ST", "ED", "SC"):
            return self._printed(" ".join("".join(texts(source)).split()))
        if declared:
            logger.warning("%s: line %s: a value of the unknown type %s is left out", self.place, source.sourceline, _shown(declared))
        self.dropped["value"] += 1
        return _MASKED_TEXT

    def _printed(self, text: str) -> Written:
        """A result that was text, as what it is."""
        found = read_quantity(text, self.profile.units)
        if found is not None and not self.persons.is_number(found.value):
            return write_quantity(found)
        between = read_range(text, self.age, self.sex, self.profile.units) if found is None else None
        if between is not None and not self.persons.ends_in(between):
            return write_range(between)
        if (word := text.casefold()) in self.profile.words:
            return Written(f'<value xsi:type="ST">{word}</value>', word, False)
        self.dropped["value/text()"] += 1
        return _MASKED_TEXT

    def _interval(self, source: etree._Element, declared: str) -> Written:
        low = high = shown_low = shown_high = ""
        for child in source:
            part = _ENDS.get(child.tag)
            if part == "low" and not low:
                _, written, shown_low = self._number(child)
                low = f"<low{written}/>"
            elif part == "high" and not high:
                _, written, shown_high = self._number(child)
                high = f"<high{written}/>"
        if low or high:
            return Written(f'<value xsi:type="{declared}">{low}{high}</value>', f"[{shown_low}; {shown_high}]", True)
        value, written, printed = self._number(source)
        return Written(f'<value xsi:type="{declared}"{written}/>', printed, bool(value))

    def _template(self, source: etree._Element) -> Written:
        """The id of a published template; "" for others."""
        root, version = source.get("root") or "", source.get("extension") or ""
        if not root.startswith(_TEMPLATES) or not _OID.fullmatch(root):
            self.dropped["templateId"] += 1
            return Written("", "", False)
        kept = attribute("extension", version) if _TEMPLATE_VERSION.fullmatch(version) else ""
        return Written(f'<templateId root="{root}"{kept}/>', "", False)

    def declared_type(self, source: etree._Element) -> str:
        """The local name of its xsi:type; with its prefix where that is another vocabulary's, such as extPL:…"""
        declared = (source.get(XSI_TYPE) or "").strip()
        prefix, _, local = declared.rpartition(":")
        return declared if prefix and source.nsmap.get(prefix) != NAMESPACE else local


@lru_cache(maxsize=8)
def _leaves(*_: object) -> dict[tuple[object, ...], _Leaf]:
    """What is remembered of leaves under the settings of one profile."""
    return {}


_NOBODY = Persons(None, None)
_NO_INFORMATION = ' nullFlavor="NI"'
_MASKED_TEXT = Written('<value xsi:type="ST" nullFlavor="MSK"/>', "", False)


def write_quantity(found: Quantity) -> Written:
    """A number as PQ; one with a comparison sign (``<5``) as the interval that it is."""
    if found.sign:
        low = found.sign in (">", ">=")
        inclusive = found.sign.endswith("=")
        return write_range(
            Range(found.value, "", inclusive, True, found.unit) if low else Range("", found.value, True, inclusive, found.unit)
        )
    unit = attribute("unit", found.unit) if found.unit else ""
    return Written(f'<value xsi:type="PQ" value="{found.value}"{unit}/>', _with_unit(found.value, found.unit), True)


@lru_cache(maxsize=_KEPT)
def write_range(found: Range) -> Written:
    """A range as IVL_PQ; ends that are not part of it say so."""
    parts, unit = "", attribute("unit", found.unit) if found.unit else ""
    for name, value, inclusive in (("low", found.low, found.low_inclusive), ("high", found.high, found.high_inclusive)):
        if value:
            outside = "" if inclusive else ' inclusive="false"'
            parts += f'<{name} value="{value}"{unit}{outside}/>'
    ends = [_with_unit(end, found.unit) if end else "" for end in (found.low, found.high)]
    return Written(f'<value xsi:type="IVL_PQ">{parts}</value>', f"[{ends[0]}; {ends[1]}]", True)


@lru_cache(maxsize=_KEPT)
def _read_code(found: Attributes, name: str, systems: tuple[str, ...], display_names: tuple[str, ...]) -> _Code:
    given = dict(found)
    code, system, flavor, shown = given.get("code"), given.get("codeSystem", "").strip(), given.get("nullFlavor"), given.get("displayName")
    if code is None:
        return _Code("", attribute("nullFlavor", flavor if flavor in NULL_FLAVORS else "MSK"), "", ())
    code = code.strip()
    if not is_code(code, system, name, systems):
        return _Code("", ' nullFlavor="MSK"', "", (f"{name}/@code",))
    kept = attribute("code", code)
    if system:
        kept += attribute("codeSystem", system)
    version = given.get("codeSystemVersion")
    if version and _VERSION.fullmatch(version):
        kept += attribute("codeSystemVersion", version)
    if shown and listed(display_names, system):
        return _Code(code, kept, shown, ())
    return _Code(code, kept, "", (f"{name}/@displayName",) if shown else ())


@lru_cache(maxsize=_KEPT)
def _read_moment(found: Attributes) -> tuple[str, str, bool]:
    """The moment or "", the attributes to be written, and whether there was a value that is not to stay or was none."""
    given = dict(found)
    value, inclusive, flavor = given.get("value", ""), given.get("inclusive"), given.get("nullFlavor")
    if is_time(value.strip()):
        written = attribute("value", value.strip()) + (attribute("inclusive", inclusive) if inclusive in ("true", "false") else "")
        return value.strip(), written, True
    if value:
        return "", "", True
    return "", attribute("nullFlavor", flavor) if flavor in NULL_FLAVORS else "", False


@lru_cache(maxsize=_KEPT)
def _read_number(found: Attributes, units: frozenset[str]) -> _Number:
    given = dict(found)
    value, unit, flavor = given.get("value", "").strip().replace(",", "."), given.get("unit"), given.get("nullFlavor")
    if not NUMBER.fullmatch(value) or is_pesel(re.sub(r"\D", "", value)):
        if value:
            return _Number("", ' nullFlavor="MSK"', "", "", ("/@value",))
        return _Number("", attribute("nullFlavor", flavor if flavor in NULL_FLAVORS else "NI"), "", "", ())
    known = known_unit(unit, units) if unit else ""
    # Without any unit the number would claim to have none (UCUM's 1).
    kept, dropped = ("{unknown}", ("@unit",)) if known is None else (known, tuple[str, ...]())
    written = attribute("value", value) + (attribute("unit", kept) if kept else "")
    if (inclusive := given.get("inclusive")) in ("true", "false"):
        written += attribute("inclusive", inclusive)
    return _Number(value, written, _with_unit(value, kept), digits(value), dropped)


def _with_unit(value: str, unit: str) -> str:
    return f"{value} {unit}" if unit and unit != "1" else value


def _shown(declared: str) -> str:
    """The name of a type for a message, unless it is anything but a name."""
    return declared if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,20}:?[A-Za-z0-9_]{0,40}", declared) else "(unreadable)"
