"""Codes and numbers: what has the form of one, and that no number of a person passes as either."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.hospital.visits.documents import document, rebuilt
from tests.visits.generate import pesel
from toolkit.hospital.visits.codes import is_code, is_pesel, is_snomed

SNOMED, LOINC, ICD_10 = "2.16.840.1.113883.6.96", "2.16.840.1.113883.6.1", "2.16.840.1.113883.6.3"
RXNORM, NDC, NDF_RT, DICOM = "2.16.840.1.113883.6.88", "2.16.840.1.113883.6.69", "2.16.840.1.113883.3.26.1.5", "1.2.840.10008.2.6.1"
KEPT = ("2.16.840.1.113883.6.*", "2.16.840.1.113883.3.26.1.*", "1.2.840.10008.*")
PHONES = ["600123456", "+48600123456", "48600123456", "600 123 456", "426319999"]
REGISTERS = ["123456785", "12345678512347", "5260250274", "44051401359"]  # REGON of 9 and of 14 digits, NIP, PESEL


@pytest.mark.parametrize(
    ("code", "system"),
    [
        ("I50.9", ICD_10), ("I509", ICD_10), ("718-7", LOINC), ("LA6576-8", LOINC), ("404684003", SNOMED), ("11000036103", SNOMED),
        ("900000000000207008", SNOMED), ("1049221", RXNORM), ("0573-0164-70", NDC), ("N0000011298", NDF_RT),
        ("1.2.840.10008.5.1.4.1.1.2", DICOM),
    ],
)  # fmt: skip
def test_codes(code: str, system: str) -> None:
    assert is_code(code, system, "code", KEPT)


@pytest.mark.parametrize("system", [ICD_10, LOINC, RXNORM, NDC, NDF_RT, DICOM, SNOMED])
@pytest.mark.parametrize(
    "number", [*PHONES, *REGISTERS, "600-123-456", "440514-01359", "44.05.14.01359", "A44051401359", "12-345-67-85-12", "٤٤٠٥١٤٠١٣٥٩"]
)
def test_numbers_of_people_are_no_codes(number: str, system: str) -> None:
    assert not is_code(number, system, "code", KEPT)


def test_a_code_needs_a_system_that_is_kept() -> None:
    assert not is_code("I50.9", "1.2.3.4", "code", KEPT) and not is_code("I50.9", "", "code", KEPT)
    assert not is_code("", ICD_10, "code", KEPT)
    assert is_code("H", "", "interpretationCode", KEPT) and not is_code("Jan", "", "interpretationCode", KEPT)


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)), st.integers(0, 9999))
def test_a_pesel_is_known_and_is_no_snomed_code(born: date, serial: int) -> None:
    number = pesel(born, serial)
    assert is_pesel(number)
    assert not any(is_code(number, system, "code", KEPT) for system in (SNOMED, NDC, RXNORM))


@pytest.mark.parametrize("text", ["404684004", "440468403", "404684093", "44051401359", "404684303"])
def test_no_snomed_codes(text: str) -> None:
    assert not is_snomed(text)


def test_numbers_that_are_no_pesel() -> None:
    assert not is_pesel("44051401358") and not is_pesel("44131401359") and not is_pesel("4405140135") and not is_pesel("11000036103")


def quantity(value: str, kind: str = "PQ") -> bytes:
    return document(
        '<component><section><code code="30954-2" codeSystem="2.16.840.1.113883.6.1"/><entry><observation classCode="OBS" moodCode="EVN">'
        f'<code code="718-7" codeSystem="2.16.840.1.113883.6.1"/><value xsi:type="{kind}" value="{value}"/></observation></entry></section>'
        "</component>"
    )


@pytest.mark.parametrize("value", ["7.8", "7,8", "-1.5", "250000", "12345678", "1.7e9", "23.478213947", "0.0000001", "+3"])
def test_values_of_laboratories_pass(value: str) -> None:
    assert f' value="{value.replace(",", ".")}"' in rebuilt(quantity(value)).document.decode()


@pytest.mark.parametrize("kind", ["PQ", "INT", "REAL", "MO"])
@pytest.mark.parametrize(
    "value",
    [*PHONES, *REGISTERS, "44051.401359", "-600123456", "6.00123456e8", "600123456.0", "19440514", "14051944", "440514", "٤٤٠٥١٤", "7²"],
)
def test_numbers_of_people_are_no_quantities(value: str, kind: str) -> None:
    """600123456 is the patient's telephone number, 1944-05-14 the birth date; the others are too long for a result."""
    found = rebuilt(quantity(value, kind))
    assert value not in found.document.decode() and 'nullFlavor="MSK"/></observation>' in found.document.decode()
    assert found.dropped["value/@value"] == 1


@pytest.mark.parametrize("text", ["600123456", "19440514", "440514", "770012", "&lt; 440514", "440514 - 450000"])
def test_numbers_of_people_are_no_printed_results(text: str) -> None:
    content = quantity("x", "ST").replace(b'value="x"/>', f">{text}</value>".encode())
    found = rebuilt(content.replace(b'extension="HIS-77001"', b'extension="HIS-770012"'))
    assert '<value xsi:type="ST" nullFlavor="MSK"/>' in found.document.decode()


@pytest.mark.parametrize("written", ["tel:6319999", "tel:+48 42 631-99-99", "tel:(42) 631 99 99"])
def test_telephone_numbers_are_known_without_their_area(written: str) -> None:
    assert 'value="6319999"' in rebuilt(quantity("6319999")).document.decode()  # nobody's
    content = quantity("6319999").replace(b"tel:600123456", written.encode())
    assert "6319999" not in rebuilt(content).document.decode()
