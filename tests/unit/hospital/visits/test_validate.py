"""What is no CDA document: built-in rules, and XML Schemas that a hospital has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.hospital.visits.documents import document, rebuilt
from toolkit.core.errors import BadData, NoInput
from toolkit.hospital.visits.validate import validate

GOOD = rebuilt(document()).document.decode()
# As CDA's own: one file of elements, which imports one of vocabulary and includes one of data types.
ELEMENTS = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:hl7-org:v3" xmlns:sdtc="urn:hl7-org:sdtc"
  targetNamespace="urn:hl7-org:v3" elementFormDefault="qualified">
<xs:import namespace="urn:hl7-org:sdtc" schemaLocation="sdtc/SDTC.xsd"/><xs:include schemaLocation="datatypes.xsd"/>
<xs:element name="ClinicalDocument"><xs:complexType><xs:sequence>
<xs:element name="typeId" type="II"/><xs:element name="templateId" type="II" minOccurs="0" maxOccurs="unbounded"/>
<xs:element name="id" type="II"/><xs:element name="code" type="CE"/><xs:any processContents="skip" maxOccurs="unbounded"/>
</xs:sequence><xs:attribute ref="sdtc:category"/></xs:complexType></xs:element></xs:schema>"""
DATA_TYPES = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:hl7-org:v3" targetNamespace="urn:hl7-org:v3">
<xs:complexType name="II"><xs:attribute name="root" type="xs:string"/><xs:attribute name="extension" type="xs:string"/></xs:complexType>
<xs:complexType name="CE"><xs:attribute name="code" type="LONG"/><xs:attribute name="codeSystem"/></xs:complexType>
<xs:simpleType name="LONG"><xs:restriction base="xs:string"><xs:minLength value="LEAST"/></xs:restriction></xs:simpleType></xs:schema>"""
SDTC = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:hl7-org:sdtc">
<xs:attribute name="category" type="xs:string"/></xs:schema>"""


@pytest.mark.parametrize(
    ("pattern", "replacement", "problem"),
    [
        ("<ClinicalDocument ", "<Clinical ", "the root is not ClinicalDocument"),
        (r"<custodian>.*</custodian>", "", "ClinicalDocument has no custodian"),
        (r"(<code code=\"18842-5\"[^>]*>)", r"\1\1", "ClinicalDocument has more than one code"),
        (r"(<typeId [^>]*>)(.*)(<custodian>)", r"\2\1\3", "ClinicalDocument has its children out of order"),
        (r"(<patientRole>)", r"\1<name>x</name>", "patientRole has a child that does not belong there"),
        (r"<observation classCode=\"OBS\"", "<observation", "observation has no classCode"),
        (r"<value xsi:type=\"PQ\"", "<value", "observation has a value without xsi:type"),
        (r"<statusCode [^>]*/>", "", "organizer has no statusCode"),
        (r"(<patientRole>)<id [^>]*/>", r"\1", "patientRole has no id"),
        (r"(<id root=\")[^\"]*", r"\1no root", "id has no valid root"),
        (r"(<effectiveTime value=\")[^\"]*", r"\g<1>yesterday", "effectiveTime is no time"),
    ],
)
def test_rules(pattern: str, replacement: str, problem: str) -> None:
    assert validate(GOOD.encode()) == []
    changed = re.sub(pattern, replacement, GOOD)
    if "Clinical " in changed:
        changed = changed.replace("</ClinicalDocument>", "</Clinical>")
    assert changed != GOOD
    assert any(problem in found for found in validate(changed.encode()))


def test_twenty_problems_are_enough() -> None:
    broken = GOOD.replace("</recordTarget>", "</recordTarget>" + '<id root="?"/>' * 50)
    assert len(validate(broken.encode())) == 20


def schema(directory: Path, elements: str = ELEMENTS, least: int = 7) -> str:
    (directory / "sdtc").mkdir()
    (directory / "sdtc" / "SDTC.xsd").write_text(SDTC)
    (directory / "datatypes.xsd").write_text(DATA_TYPES.replace("LEAST", str(least)))
    path = directory / "CDA.xsd"
    path.write_text(elements)
    return str(path)


def test_a_schema_with_what_it_imports(tmp_path: Path) -> None:
    path = schema(tmp_path)
    assert validate(GOOD.encode(), path) == []
    assert validate(GOOD.encode(), path) == []


def test_what_a_schema_says_and_never_which_value(tmp_path: Path) -> None:
    problems = validate(GOOD.encode(), schema(tmp_path, least=8))
    assert problems and all(re.fullmatch(r"line 2: breaks the schema's rule [A-Z0-9_]+", problem) for problem in problems)
    assert "SCHEMAV_CVC_MINLENGTH_VALID" in problems[0]


def test_a_schema_takes_the_place_of_no_rule(tmp_path: Path) -> None:
    broken = re.sub(r"<custodian>.*</custodian>", "", GOOD)
    assert validate(broken.encode(), schema(tmp_path)) == ["line 2: ClinicalDocument has no custodian"]


@pytest.mark.parametrize(
    ("content", "kind", "problem"),
    [
        (None, NoInput, "No such file"),
        ("", BadData, "is no XML Schema"),
        ("<a>", BadData, "is no XML Schema"),
        ("<a/>", BadData, "is no XML Schema"),
        (ELEMENTS.replace("datatypes.xsd", "elsewhere.xsd"), BadData, "one that it includes is missing"),
        (ELEMENTS.replace("sdtc/SDTC.xsd", "http://127.0.0.1:9/SDTC.xsd"), BadData, "one that it includes is missing"),
        ('<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>', BadData, "is no XML Schema"),
    ],
)
def test_a_wrong_schema_is_told_in_one_line(tmp_path: Path, content: str | None, kind: type[Exception], problem: str) -> None:
    path = schema(tmp_path, content or "")
    if content is None:
        Path(path).unlink()
    with pytest.raises(kind, match=problem) as error:
        validate(GOOD.encode(), path)
    assert str(error.value).startswith(path) and "\n" not in str(error.value)


def test_a_directory_is_no_schema(tmp_path: Path) -> None:
    with pytest.raises(NoInput):
        validate(GOOD.encode(), str(tmp_path))
