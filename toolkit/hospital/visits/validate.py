"""Whether a document is a CDA document: built-in structural rules, and XML Schemas where the hospital has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from toolkit.core.errors import BadData, NoInput
from toolkit.core.xml import parse_safely
from toolkit.hospital.visits.document import V3

if TYPE_CHECKING:
    from lxml import etree

_MOST = 20  # problems that are told
_TIME = re.compile(r"[0-9]{4}([0-9]{2}){0,5}(\.[0-9]{1,4})?([+-][0-9]{4})?")
_ROOT = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|[A-Za-z][A-Za-z0-9-]*")
# Children in the order of the schema (POCD_MT000040), and which of them there must be.
_HEADER = (
    "realmCode", "typeId", "templateId", "id", "code", "title", "effectiveTime", "confidentialityCode", "languageCode", "setId",
    "versionNumber", "copyTime", "recordTarget", "author", "dataEnterer", "informant", "custodian", "informationRecipient",
    "legalAuthenticator", "authenticator", "participant", "inFulfillmentOf", "documentationOf", "relatedDocument", "authorization",
    "componentOf", "component",
)  # fmt: skip
_START = ("realmCode", "typeId", "templateId")
_ORDER = {
    "ClinicalDocument": _HEADER,
    "patientRole": (*_START, "id", "addr", "telecom", "patient", "providerOrganization"),
    "encompassingEncounter": (
        *_START, "id", "code", "effectiveTime", "dischargeDispositionCode", "responsibleParty", "encounterParticipant", "location",
    ),
    "section": (
        *_START, "id", "code", "title", "text", "confidentialityCode", "languageCode", "subject", "author", "informant", "entry",
        "component",
    ),
    "observation": (
        *_START, "id", "code", "derivationExpr", "text", "statusCode", "effectiveTime", "priorityCode", "repeatNumber", "languageCode",
        "value", "interpretationCode", "methodCode", "targetSiteCode", "subject", "specimen", "performer", "author", "informant",
        "participant", "entryRelationship", "reference", "precondition", "referenceRange",
    ),
    "organizer": (
        *_START, "id", "code", "statusCode", "effectiveTime", "subject", "specimen", "performer", "author", "informant", "participant",
        "reference", "precondition", "component",
    ),
}  # fmt: skip
_REQUIRED = {
    "ClinicalDocument": (
        "typeId", "id", "code", "effectiveTime", "confidentialityCode", "recordTarget", "author", "custodian", "component",
    ),
    "recordTarget": ("patientRole",),
    "patientRole": ("id",),
    "author": ("time", "assignedAuthor"),
    "encompassingEncounter": ("effectiveTime",),
    "structuredBody": ("component",),
    "act": ("code",),
    "observation": ("code",),
    "organizer": ("statusCode",),
    "substanceAdministration": ("consumable",),
    "referenceRange": ("observationRange",),
}  # fmt: skip
_ONCE = {"ClinicalDocument": ("typeId", "id", "code", "effectiveTime", "confidentialityCode", "custodian", "componentOf", "component")}
_VALUE = f"{V3}value"
_XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"


def validate(document: bytes, xsd: str | None = None) -> list[str]:
    """What is wrong with `document` as a CDA R2 document, a sentence each with its line; [] when nothing is.

    `xsd` is the path of a schema that takes the place of no built-in rule: CDA base, SDTC or a national one.

    Raises BadData when the document is not safe XML or the schema is none, NoInput when the schema cannot be read.
    """
    tree = parse_safely(document, "the rebuilt document")
    root = tree.getroot()
    if root.tag != f"{V3}ClinicalDocument":
        return ["the root is not ClinicalDocument of urn:hl7-org:v3"]
    problems = []
    for problem in _problems(root):
        problems.append(problem)
        if len(problems) == _MOST:
            break
    if xsd is not None:
        schema = _schema(xsd)
        if not schema.validate(tree):
            # The parser's own words can repeat values; where and which rule is enough.
            errors: list[etree._LogEntry] = list(schema.error_log)  # type: ignore[call-overload]
            problems += [f"line {error.line}: breaks the schema's rule {error.type_name}" for error in errors[:_MOST]]
    return problems


def _problems(root: etree._Element) -> Iterator[str]:
    for element in root.iter(*_RULED):
        tag = element.tag
        found = _shape(tag, tuple([child.tag for child in element])) if tag in _SHAPED else ()
        if (checked := _CHECKED.get(tag)) is not None and (more := checked(element)):
            found = (*found, *more)
        for problem in found:
            yield f"line {element.sourceline}: {tag[len(V3) :]} {problem}"


@lru_cache(maxsize=4096)
def _shape(tag: str, tags: tuple[object, ...]) -> tuple[str, ...]:
    """What is wrong with the children of an element, by their tags: elements of the same shape are many."""
    name, children = tag[len(V3) :], [child[len(V3) :] for child in tags if isinstance(child, str) and child.startswith(V3)]
    problems = [f"has no {wanted}" for wanted in _REQUIRED.get(name, ()) if wanted not in children]
    problems += [f"has more than one {single}" for single in _ONCE.get(name, ()) if children.count(single) > 1]
    if (order := _ORDER.get(name)) is not None:
        places = [order.index(child) for child in children if child in order]
        if len(places) < len(children):
            problems.append("has a child that does not belong there")
        elif places != sorted(places):
            problems.append("has its children out of order")
    return tuple(problems)


def _check_statement(element: etree._Element) -> list[str]:
    if element.get("classCode") is not None and element.get("moodCode") is not None:
        return []
    return [f"has no {name}" for name in ("classCode", "moodCode") if element.get(name) is None]


def _check_relationship(element: etree._Element) -> list[str]:
    return ["has no typeCode"] if element.get("typeCode") is None else []


def _check_identifier(element: etree._Element) -> list[str]:
    return [] if _ROOT.fullmatch(element.get("root") or "") or element.get("nullFlavor") else ["has no valid root"]


def _check_time(element: etree._Element) -> list[str]:
    value = element.get("value")
    return [] if value is None or _is_time(value) else ["is no time"]


@lru_cache(maxsize=4096)
def _is_time(value: str) -> bool:
    return not value or _TIME.fullmatch(value) is not None


def _check_observation(element: etree._Element) -> list[str]:
    problems = _check_statement(element)
    for value in element.iterchildren(_VALUE):
        if value.get(_XSI_TYPE) is None:
            problems.append("has a value without xsi:type")
    return problems


_CHECKED: dict[str, Callable[[etree._Element], list[str]]] = {
    V3 + name: check
    for names, check in (
        (("act", "encounter", "organizer", "procedure", "substanceAdministration", "supply"), _check_statement),
        (("observation",), _check_observation),
        (("entryRelationship",), _check_relationship),
        (("id", "templateId", "typeId"), _check_identifier),
        (("effectiveTime", "birthTime", "time"), _check_time),
    )
    for name in names
}
_SHAPED = {V3 + name for name in (*_ORDER, *_REQUIRED, *_ONCE)}
_RULED = tuple({**_CHECKED, **dict.fromkeys(_SHAPED)})


@cache
def _schema(path: str) -> etree.XMLSchema:
    """A schema with what it includes beside it; never the network."""
    from lxml import etree

    try:
        with open(path, "rb"):
            pass
        return etree.XMLSchema(etree.parse(path, etree.XMLParser(no_network=True, resolve_entities=False)))
    except OSError as error:
        raise NoInput(path, error.strerror or "cannot be read", "name an XML Schema that exists") from error
    except (etree.XMLSyntaxError, etree.XMLSchemaParseError) as error:
        raise BadData(path, "is no XML Schema, or one that it includes is missing", "put all files of the schema beside it") from error
