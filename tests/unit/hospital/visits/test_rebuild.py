"""Documents rebuilt from the allow-list: what stays, and that nothing else does."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from lxml import etree

from tests.unit.hospital.visits.documents import DIAGNOSIS, HEAD, KEY, PESEL, PLANTED, RESULTS, document, rebuilt
from tests.visits.generate import visit
from toolkit.core.errors import BadData
from toolkit.core.xml import parse_safely
from toolkit.hospital.dicom.cleaning.pseudonyms import Pseudonyms
from toolkit.hospital.visits.document import V3, read_visit
from toolkit.hospital.visits.profile import read_profile
from toolkit.hospital.visits.rebuild import Rebuilt, rebuild
from toolkit.hospital.visits.validate import validate

GIVEN = Path(__file__).parents[5] / "shared" / "data" / "hl7" / "visits"


def observation(found: Rebuilt, code: str) -> etree._Element:
    root = etree.fromstring(found.document)
    return next(o for o in root.iter(f"{V3}observation") if (c := o.find(f"{V3}code")) is not None and c.get("code") == code)


def ends(found: Rebuilt, code: str) -> tuple[str | None, str | None]:
    value = observation(found, code).find(f"{V3}referenceRange/{V3}observationRange/{V3}value")
    assert value is not None
    low, high = value.find(f"{V3}low"), value.find(f"{V3}high")
    return (low.get("value") if low is not None else None), (high.get("value") if high is not None else None)


def prefixed(content: bytes) -> bytes:
    """The same document with a prefix on every element of CDA."""
    text = re.sub(r"<(/?)(?![a-zA-Z]+:)([a-zA-Z])", r"<\1hl7:\2", content.decode())
    return text.replace('xmlns="urn:hl7-org:v3"', 'xmlns:hl7="urn:hl7-org:v3"').encode()


WRITTEN = {"default": document(), "prefixed": prefixed(document()), "latin-2": document(encoding="ISO-8859-2")}


@pytest.mark.parametrize("content", WRITTEN.values(), ids=WRITTEN)
def test_nobody_is_left(content: bytes) -> None:
    found = rebuilt(content)
    text = found.document.decode().casefold()
    assert [value for value in PLANTED if value.casefold() in text] == []
    assert validate(found.document) == []
    assert found.document == rebuilt(document()).document


def test_what_is_kept() -> None:
    found = rebuilt(document())
    root = etree.fromstring(found.document)
    assert root.findtext(f".//{V3}patientRole/{V3}addr/{V3}city") == "Łódź"
    assert [e.get("code") for e in root.iter(f"{V3}administrativeGenderCode")] == ["M"]
    times = root.findall(f"{V3}componentOf/{V3}encompassingEncounter/{V3}effectiveTime/*")
    assert [e.get("value") for e in times] == ["20260310", "20260312"]
    value = observation(found, "29308-4").find(f"{V3}value")
    assert value is not None
    assert (value.get("code"), value[0].get("code")) == ("I50.9", "428.0")
    age = observation(found, "30525-0").find(f"{V3}value")
    assert age is not None and (age.get("value"), age.get("unit")) == ("81", "a")  # two months before the 82nd birthday
    assert root.find(f".//{V3}birthTime").get("nullFlavor") == "MSK"  # type: ignore[union-attr]


def test_ids_become_tokens_that_images_carry_too() -> None:
    found = rebuilt(document())
    root = etree.fromstring(found.document)
    assert root.find(f"{V3}inFulfillmentOf/{V3}order/{V3}id").get("extension") == Pseudonyms(KEY).token("accession", "ACC-2026-17")  # type: ignore[union-attr]
    assert found.mdc_visit == KEY.seal("visit", "2.16.840.1.113883.3.4424.2.7.8|HIS-77001")
    assert found.mdc_patient == KEY.seal("patient", "2.16.840.1.113883.3.4424.2.7.2|PAC-4242")
    assert root.find(f"{V3}componentOf/{V3}encompassingEncounter/{V3}id").get("extension") == found.mdc_visit  # type: ignore[union-attr]
    assert root.find(f"{V3}recordTarget/{V3}patientRole/{V3}id").get("extension") == found.mdc_patient  # type: ignore[union-attr]


def test_printed_results_and_ranges_become_structured() -> None:
    found = rebuilt(document())
    value = observation(found, "C53").find(f"{V3}value")
    assert value is not None and (value.get("value"), value.get("unit")) == ("7.8", "g/dl")
    assert ends(found, "C53") == ("14.0", "18.0")  # a man's
    assert ends(found, "6690-2") == ("4.0", "10.0")  # an adult's
    assert observation(found, "2951-2").find(f"{V3}referenceRange") is None  # its cell is free text
    assert observation(found, "5778-6").find(f"{V3}value").get("nullFlavor") == "MSK"  # type: ignore[union-attr]


def test_what_was_dropped_is_counted_by_place_alone() -> None:
    dropped = rebuilt(document()).dropped
    assert dropped["patient/name"] == 1 and dropped["ClinicalDocument/(another namespace)"] == 1 and dropped["entry/observationMedia"] == 1
    assert not any(value.casefold() in place.casefold() for place in dropped for value in PLANTED)


@pytest.mark.parametrize("planted", [PESEL, "Brzęczyszczykiewicz", "PAC-4242", "600123456", "Jan Nowak"])
@pytest.mark.parametrize("system", ["2.16.840.1.113883.6.3", "2.16.840.1.113883.5.83", "1.2.3.4"])
def test_a_person_in_the_place_of_a_code(planted: str, system: str) -> None:
    section = DIAGNOSIS.replace('code="I50.9" codeSystem="2.16.840.1.113883.6.3"', f'code="{planted}" codeSystem="{system}"')
    found = rebuilt(document(section))
    assert planted not in found.document.decode()
    assert "428.0" in found.document.decode()


@pytest.mark.parametrize("attribute", ["unit", "value"])
def test_a_person_in_the_place_of_a_quantity(attribute: str) -> None:
    for planted in (PESEL, "Szczęsna", "Jan Nowak"):
        found = rebuilt(document(re.sub(rf'(xsi:type="PQ".*?{attribute}=")[^"]*', rf"\g<1>{planted}", RESULTS)))
        assert planted not in found.document.decode()


def test_the_city_is_dropped_when_it_names_somebody() -> None:
    found = rebuilt(document(head=HEAD.replace("<city>Łódź", "<city>u Brzęczyszczykiewicz")))
    assert "<addr" not in found.document.decode() and found.dropped["addr/city"] == 1


def test_an_unknown_type_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    section = RESULTS.replace('xsi:type="PQ" value="141"', 'xsi:type="extPL:Wynik" value="141"')
    with caplog.at_level(logging.WARNING):
        found = rebuilt(document(section))
    assert "unknown type extPL:Wynik" in caplog.text and 'value="141"' not in found.document.decode()


def test_the_same_bytes_again_and_others_under_another_key() -> None:
    assert rebuilt(document()).document == rebuilt(document()).document
    other = type(KEY)("k2", KEY.created, b"t" * 32)
    assert rebuild(parse_safely(document(), "v"), other, read_profile(None), "v").document != rebuilt(document()).document


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (' extension="HIS-77001"', ' nullFlavor="NI"', "has no id of the visit"),
        ("<encompassingEncounter>", '<encompassingEncounter><id root="1.2" extension="2"/>', "has 2 ids of the visit"),
        ("<patientRole>", '<patientRole><id root="1.2" extension="2"/>', "has 2 ids of the patient"),
        ("<recordTarget>", "<recordTarget><patientRole/></recordTarget><recordTarget>", "is about 2 patients"),
    ],
)
def test_a_visit_that_cannot_be_told(old: str, new: str, problem: str) -> None:
    with pytest.raises(BadData, match=problem):
        rebuilt(document(head=HEAD.replace(old, new)))


def test_another_document_is_refused() -> None:
    with pytest.raises(BadData, match="is not a CDA document"):
        read_visit(parse_safely(b"<ClinicalDocument/>", "v"), "v")


def test_a_scanned_document_keeps_its_header() -> None:
    scan = b"<nonXMLBody><text>JVBERi0xLjQK</text></nonXMLBody>"
    content = re.sub(rb"<structuredBody>.*</structuredBody>", scan, document(), flags=re.DOTALL)
    found = rebuilt(content)
    assert b"JVBERi" not in found.document and validate(found.document) == [] and found.dropped["component/nonXMLBody"] == 1


def test_a_site_s_profile(tmp_path: Path) -> None:
    path = tmp_path / "visit.toml"
    path.write_text('version = 1\n[patient]\nbirth = "year"\ncity = false\n')
    text = rebuilt(document(), read_profile(str(path))).document.decode()
    assert '<birthTime value="1944"/>' in text and "Łódź" not in text


@pytest.mark.parametrize(
    "content", ["", "version = 1\n[x]\n", "version = 1\n[patient]\nbrith = 1\n", 'version = 1\n[elements]\nname = ["given"]\n']
)
def test_a_wrong_profile(tmp_path: Path, content: str) -> None:
    path = tmp_path / "visit.toml"
    path.write_text(content)
    with pytest.raises(BadData, match="visit.toml"):
        read_profile(str(path))


def test_no_name_and_no_street_of_whole_documents(tmp_path: Path) -> None:
    """Generated ones always, and those that lie beside the checkout where it is developed."""
    profile = tmp_path / "visit.toml"
    profile.write_text('version = 1\n[visit]\nwithout_encounter = "document"\n')
    contents = {made.name: made.document for made in (visit(number, seed=3, size=12_000) for number in range(10))}
    contents |= {path.name: path.read_bytes() for path in GIVEN.glob("*.xml")}
    for name, content in contents.items():
        tree = parse_safely(content, name)
        found = rebuild(tree, KEY, read_profile(str(profile)), name)
        assert validate(found.document) == [], name
        words = re.findall(r"[^<>\"=\s]+", found.document.decode().casefold())
        for element in tree.getroot().iter(f"{V3}family", f"{V3}streetAddressLine"):
            value = (element.text or "").strip().casefold()
            assert len(value) < 4 or value not in words, name


@pytest.mark.parametrize(
    "written",
    [
        "44051401359", "44 051 401 359", "4405140-1359", "PESEL 44051401359", "<content>4405140</content><content>1359</content>",
        "<content>440514</content> <content>01359</content>", "Brz<content>ęczyszczykiewicz</content>", "BRZĘCZYSZCZYKIEWICZ",
        "7,8 g/dl Szczęsna", "7,8 g/dl<!-- --> Szczęsna", "wynik dr Żółkiewskiej", "ujemny (Łucja)", "12,0 - 16,0 Kowalczyk",
        "&lt; 44051401359", "1944-05-14", "14.05.1944", "tel. 600 123 456",
    ],
)  # fmt: skip
def test_people_in_results_that_are_text(written: str) -> None:
    found = rebuilt(document(RESULTS.replace('<value xsi:type="ST">7,8 g/dl</value>', f'<value xsi:type="ST">{written}</value>')))
    value = observation(found, "C53").find(f"{V3}value")
    assert value is not None and value.get("nullFlavor") == "MSK" and not len(value) and value.text is None


@pytest.mark.parametrize(
    ("written", "telling"),
    [
        ('<value xsi:type="CE" code="ABC-77" codeSystem="2.16.840.1.113883.5.83"/>', ('extension="PAC-4242"', 'extension="abc-77"')),
        ('<value xsi:type="PQ" value="770012" unit="/ul"/>', ('extension="PAC-4242"', 'extension="770-012"')),
        ('<value xsi:type="TS" value="19810203101500"/>', ('birthTime value="19440514"', 'birthTime value="19810203"')),
        ('<value xsi:type="IVL_PQ"><low value="770012"/></value>', ('extension="PAC-4242"', 'extension="770012"')),
    ],
)
def test_what_tells_nobody_in_one_document_tells_somebody_in_another(written: str, telling: tuple[str, str]) -> None:
    """What is remembered of values from one document to the next knows nothing of people."""
    section = RESULTS.replace('<value xsi:type="ST">7,8 g/dl</value>', written)
    said = re.findall(r'(?:code|value)="([^"]*)"', written)[0]
    for _ in range(2):
        assert f'="{said}"' in rebuilt(document(section)).document.decode()
        assert f'="{said}"' not in rebuilt(document(section, head=HEAD.replace(*telling))).document.decode()
