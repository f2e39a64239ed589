"""What is generated is what a hospital writes: well-formed, of the asked size, repeatable, with the personal data really in it."""

from __future__ import annotations

import base64
from datetime import date

import pytest
from cryptography import x509

from tests.visits import generate

CDA = {"h": "urn:hl7-org:v3"}


@pytest.mark.parametrize("options", [{}, {"encoding": "ISO-8859-2"}, {"prefix": "cda"}, {"signed": False, "scan": 0}], ids=str)
def test_documents_are_well_formed_and_say_what_their_record_says(options: dict[str, object]) -> None:
    from lxml import etree

    for number in range(10):
        made = generate.visit(number, **options)  # type: ignore[arg-type]
        tree = etree.fromstring(made.document)
        encounter = tree.find(".//h:encompassingEncounter", CDA)
        assert encounter.find("h:id", CDA).get("extension") == made.visit_id
        assert encounter.find("h:effectiveTime/h:low", CDA).get("value") == made.start
        assert tree.find("h:recordTarget/h:patientRole/h:id", CDA).get("extension") == made.patient_id
        assert len(tree.findall(".//h:organizer/h:component/h:observation", CDA)) == len(made.results)
        text = made.document.decode(str(options.get("encoding", "UTF-8")))
        assert [word for word in made.personal if word not in text] == []


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others() -> None:
    assert generate.visit(3, seed=5) == generate.visit(3, seed=5)
    assert generate.visit(3, seed=5).document != generate.visit(3, seed=6).document


@pytest.mark.parametrize("size", [20_000, 90_000, 500_000])
def test_the_size_is_reached_and_not_passed_by_much(size: int) -> None:
    assert size - 1000 <= len(generate.visit(0, size=size).document) <= size + 1500


def test_pesel() -> None:
    assert generate.pesel(date(1944, 5, 14), 135) == "44051401359"  # a number often shown as an example
    assert generate.pesel(date(2002, 7, 8), 362)[:6] == "022708"


def test_the_signers_certificate_names_the_pesel() -> None:
    made = generate.visit(0)
    encoded = made.document.split(b"<ds:X509Certificate>")[1].split(b"<")[0]
    subject = x509.load_der_x509_certificate(base64.b64decode(encoded)).subject
    assert any(part.value.startswith("PNOPL-") and part.value[6:] in made.personal for part in subject)
