"""Visit documents become rows: what is the patient's, with numbers as Polish laboratories print them."""

from __future__ import annotations

import pytest
from lxml import etree

from tests.unit.datacentre.visits import document
from toolkit.core.errors import BadData
from toolkit.datacentre.cda import Procedure, VisitRows, parse_quantity, parse_range, plain_code, rows

DIAGNOSIS = '<value xsi:type="CD" code="{}" codeSystem="2.16.840.1.113883.6.3"/>'


def read(entries: str = "") -> VisitRows:
    return rows(etree.fromstring(document(5, entries=entries)))


def entry(inside: str, attributes: str = 'moodCode="EVN"', code: str = "718-7") -> str:
    return f'<entry><observation classCode="OBS" {attributes}><code code="{code}"/>{inside}</observation></entry>'


def test_the_visit() -> None:
    visit = read().visit
    assert (visit.mdc_visit, visit.patient, visit.city, visit.age, visit.kind) == ("k1.V5", "k1.P1", "Łódź", 65.0, "18842-5")
    assert visit.start.startswith("2026") and visit.end > visit.start and visit.accessions == ("ACC5",)


def test_codes_go_by_their_system() -> None:
    found = read(entry(DIAGNOSIS.format("A17.0†")))
    assert [one.plain for one in found.diagnoses][1:] == ["A170"]
    assert found.procedures == (Procedure("87.440", "2.16.840.1.113883.3.4424.11.2.6", found.visit.start),)


@pytest.mark.parametrize("attributes", ['moodCode="INT"', 'moodCode="EVN" negationInd="true"'])
def test_what_is_planned_or_negated_is_no_diagnosis(attributes: str) -> None:
    assert len(read(entry(DIAGNOSIS.format("C50.9"), attributes)).diagnoses) == 1


def test_a_relatives_illness_is_no_diagnosis() -> None:
    assert len(read(entry("<subject><relatedSubject/></subject>" + DIAGNOSIS.format("C50.9"))).diagnoses) == 1


def test_a_translation_is_a_diagnosis() -> None:
    value = '<value xsi:type="CD" code="1" codeSystem="9"><translation code="C50.9" codeSystem="2.16.840.1.113883.6.3"/></value>'
    assert read(entry(value)).diagnoses[1].code == "C50.9"


def test_an_allergy_is_no_result() -> None:
    template = '<templateId root="2.16.840.1.113883.10.20.22.4.7"/>'
    value = '<value xsi:type="CD" code="1"/><interpretationCode code="A"/>'
    assert read(entry(template + value)).results == ()
    assert read(entry(value)).results[0].interpretation == "A"


def test_a_result_in_words_with_a_decimal_comma() -> None:
    limits = "<referenceRange><observationRange><text>12,0 - 16,0</text></observationRange></referenceRange>"
    found = read(entry(f'<value xsi:type="ST">7,8 g/dl</value>{limits}')).results[0]
    assert (found.value, found.unit, found.printed, found.low) == (7.8, "g/dl", "12,0 - 16,0", None)


def test_ranges_that_differ_decide_nothing() -> None:
    limits = '<referenceRange><observationRange><value><low value="{}" inclusive="false"/></value></observationRange></referenceRange>'
    value = '<value xsi:type="PQ" value="13" unit="g/dl"/>'
    one = read(entry(value + limits.format(12))).results[0]
    assert (one.low, one.high, one.low_inclusive, one.high_inclusive) == (12.0, None, False, True)
    assert read(entry(value + limits.format(12) + limits.format(11))).results[0].low is None


def test_an_age_that_is_stated_comes_first() -> None:
    found = read(entry('<value xsi:type="PQ" value="18" unit="mo"/>', code="30525-0"))
    assert found.visit.age == 1.5 and found.results == ()


@pytest.mark.parametrize(
    "change, problem",
    [
        (('<id extension="k1.V5"/>', ""), "no visit id"),
        (('<id extension="k1.V5"/>', '<id extension="a"/><id extension="b"/>'), "several visit ids"),
        (('<id extension="k1.P1"/>', ""), "no patient id"),
        (("ClinicalDocument", "Bundle"), "no ClinicalDocument"),
    ],
)
def test_what_is_no_visit_is_refused(change: tuple[str, str], problem: str) -> None:
    with pytest.raises(BadData, match=problem):
        rows(etree.fromstring(document(5).decode().replace(*change).encode()))


@pytest.mark.parametrize(
    "text, limits",
    [
        ("12,0 - 16,0", (12.0, 16.0, True)),
        ("(3.5–5.1)", (3.5, 5.1, True)),
        ("< 5", (None, 5.0, False)),
        ("≥60", (60.0, None, True)),
        ("do 41", (None, 41.0, True)),
        ("16 - 12", (None, None, True)),
        ("negative", (None, None, True)),
    ],
)
def test_printed_ranges(text: str, limits: tuple[float | None, float | None, bool]) -> None:
    assert parse_range(text) == limits


def test_printed_quantities_and_codes() -> None:
    assert parse_quantity("7,8 g/dl") == (7.8, "g/dl") and parse_quantity("ujemny") == (None, "")
    assert plain_code("i50.9*") == "I509"
