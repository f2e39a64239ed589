"""Documents that ask for too much, are none, or carry people where nobody looks."""

from __future__ import annotations

import base64
import logging
import re
import tracemalloc
from pathlib import Path

import pytest

from tests.unit.hospital.visits.documents import DIAGNOSIS, HEAD, PESEL, RESULTS, document, rebuilt
from tests.visits.generate import certificate, visit
from toolkit.core.errors import BadData
from toolkit.core.xml import LARGEST, parse_safely
from toolkit.hospital.visits.validate import validate

DOCUMENT = document()
BOMB = f"""<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "{"&a;" * 10}"><!ENTITY c "{"&b;" * 10}"><!ENTITY d "{"&c;" * 10}">]>"""
EXTERNAL = '<!DOCTYPE c [<!ENTITY e SYSTEM "file:///etc/passwd"><!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p;]>'
XINCLUDE = '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd" parse="text"/>'
CODE = '<code code="1-8" codeSystem="2.16.840.1.113883.6.1"/>'
OBSERVATION = f'<entry><observation classCode="OBS" moodCode="EVN">{CODE}{{}}</observation></entry>'
SCANNED = '<value mediaType="image/png" representation="B64">{}</value>'


def headed(declaration: str) -> bytes:
    return DOCUMENT.replace(b"<ClinicalDocument", declaration.encode() + b"<ClinicalDocument", 1)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (headed(EXTERNAL).replace(b"7,8 g/dl", b"&e;", 1), "line 3: has a document type"),
        (headed(BOMB).replace(b"7,8 g/dl", b"&d;", 1), "line 3: has a document type"),
        (headed("<!DOCTYPE ClinicalDocument>"), "line 3: has a document type"),
        (headed('<!DOCTYPE ClinicalDocument PUBLIC "-//HL7//DTD" "http://127.0.0.1:9/cda.dtd">'), "line 3: has a document type"),
        (DOCUMENT.replace(b"7,8 g/dl", b"&e;", 1), "is not well-formed"),
        (DOCUMENT.replace(b"<!-- pan", XINCLUDE.encode() + b"<!-- pan"), "asks for XInclude"),
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (b"\xef\xbb\xbf", "is not well-formed"),
        (b"<?xml version='1.0'?>", "is not well-formed"),
        (b"{}", "is not well-formed"),
        (DOCUMENT[: len(DOCUMENT) // 2], "is not well-formed"),
        (DOCUMENT + DOCUMENT, "is not well-formed"),
        (b"<ClinicalDocument/>", "is not a CDA document"),
        (b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>', "is about 0 patients"),
        (document(encoding="ISO-8859-2").replace(b"ISO-8859-2", b"UTF-8"), "bytes are not utf-8"),
        (document().replace(b"UTF-8", b"ISO-8859-2"), "declares iso-8859-2 but is in UTF-8"),
        (document().replace(b"UTF-8", b"US-ASCII"), "not us-ascii|but is in UTF-8"),
        (document().replace(b"UTF-8", b"EBCDIC-CP-US"), "declares the encoding ebcdic-cp-us"),
        (document().decode().encode("utf-16"), "is in UTF-16"),
        (b"<a>" * 3000 + b"</a>" * 3000, "inside each other|is not well-formed"),
    ],
)
def test_refused_in_one_line(content: bytes, problem: str) -> None:
    with pytest.raises(BadData, match=problem) as error:
        rebuilt(content)
    message = str(error.value)
    assert message.startswith("visit.xml: ") and "; " in message and "\n" not in message and "Brz" not in message


def test_no_encounter_is_refused_with_its_remedy() -> None:
    head = re.sub(r"<componentOf>.*</componentOf>", "", HEAD, flags=re.DOTALL)
    with pytest.raises(BadData, match='without_encounter = "document".*visit-profile\\(5\\)'):
        rebuilt(document(head=head))


def test_500_MB_are_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "scans.xml"
    with path.open("wb") as stream:
        stream.write(DOCUMENT)
        stream.truncate(500_000_000)
    tracemalloc.start()
    with pytest.raises(BadData, match="scans.xml: is larger than 64 MB"):
        parse_safely(path, str(path))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20


def test_bytes_beyond_the_limit_are_not_parsed() -> None:
    with pytest.raises(BadData, match="larger than"):
        parse_safely(b"<" * (LARGEST + 1), "stdin")


@pytest.mark.parametrize("kind", ["extPL:Wynik", "xs:string", "PPD_PQ", "Kowalczyk:Grzegorz", "a b <"])
def test_an_unknown_type_leaves_a_warning_and_no_value(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    section = RESULTS.replace('xsi:type="PQ" value="141"', f'xsi:type="{kind.replace("<", "&lt;")}" value="141"')
    with caplog.at_level(logging.WARNING):
        found = rebuilt(document(section))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert re.fullmatch(r"visit\.xml: line \d+: a value of the unknown type \S+ is left out", caplog.messages[0])
    assert 'value="141"' not in found.document.decode() and found.dropped["value"] == 1


def test_a_signature_whose_certificate_holds_a_pesel() -> None:
    der = certificate("Łucja", "Żółkiewska", PESEL)
    assert b"PNOPL-" + PESEL.encode() in der
    coded = base64.b64encode(der).decode()
    inside = f'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Certificate>{coded}</ds:X509Certificate></ds:Signature>'
    extension = f'<extPL:signature>{coded}</extPL:signature><sdtc:signatureText xmlns:sdtc="urn:hl7-org:sdtc">{coded}</sdtc:signatureText>'
    for content in (
        document(after=inside),
        document(after=extension),
        document(DIAGNOSIS.replace("</section>", f"{inside}</section>")),
        document(DIAGNOSIS.replace("</observation>", f"{inside}{extension}</observation>")),
        document(head=HEAD.replace("</assignedAuthor>", f"</assignedAuthor>{inside}")),
    ):
        text = rebuilt(content).document.decode()
        assert coded[:40] not in text and "PNOPL" not in text and PESEL not in text and "Signature" not in text


@pytest.mark.parametrize(
    "place",
    [
        f'<entry><observationMedia classCode="OBS" moodCode="EVN">{SCANNED}</observationMedia></entry>',
        OBSERVATION.format('<value xsi:type="ED" mediaType="application/pdf" representation="B64">{}</value>'),
        OBSERVATION.format('<value xsi:type="ST">data:image/png;base64,{}</value>'),
        '<text><renderMultiMedia referencedObject="x"/>{}</text>' + OBSERVATION.format(""),
    ],
)
def test_scans_in_base64_stay(place: str) -> None:
    scan = base64.b64encode(bytes(range(256)) * 20).decode()
    section = f'<component><section><code code="55108-5" codeSystem="2.16.840.1.113883.6.1"/>{place.format(scan)}</section></component>'
    found = rebuilt(document(section))
    text = found.document.decode()
    assert not any(scan[at : at + 12] in text for at in range(0, len(scan), 12)) and validate(found.document) == []


def test_a_generated_visit_with_scan_and_signature_loses_both() -> None:
    made = visit(7, size=30_000, scan=20_000)
    found = rebuilt(made.document)
    assert len(found.document) < 30_000 and found.dropped["entry/observationMedia"] == 1
    assert found.dropped["ClinicalDocument/(another namespace)"] == 1 and validate(found.document) == []
