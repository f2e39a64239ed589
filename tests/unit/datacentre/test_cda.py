"""Visit documents become rows: what is the patient's, with numbers as Polish laboratories print them."""

from __future__ import annotations

import pytest
from lxml import etree

from tests.unit.datacentre.visits import document
from toolkit.core.errors import BadData
from toolkit.datacentre.cda import Procedure, VisitRows, parse_printed, parse_quantity, parse_range, plain_code, rows, same_unit

NUMBER = '<value xsi:type="PQ" value="13" unit="g/dl"/>'
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


@pytest.mark.parametrize(
    "system, diagnosis",
    [
        ("2.16.840.1.113883.6.3", True),
        ("2.16.840.1.113883.6.90", True),
        ("2.16.840.1.113883.6.103", True),
        ("2.16.840.1.113883.6.104", False),
        ("2.16.840.1.113883.6.4", False),
        ("2.16.840.1.113883.3.4424.11.2.6", False),
    ],
)
@pytest.mark.parametrize("place", ["code", "value", "translation of the code", "translation of the value"])
def test_every_system_in_every_place(system: str, diagnosis: bool, place: str) -> None:
    coded = f'code="88.1" codeSystem="{system}"'
    plain, inner = '<code code="1"/>', f"<translation {coded}/>"
    parts = {
        "code": (f"<code {coded}/>", ""),
        "value": (plain, f'<value xsi:type="CD" {coded}/>'),
        "translation of the code": (f'<code nullFlavor="OTH">{inner}</code>', ""),
        "translation of the value": (plain, f'<value xsi:type="CD" nullFlavor="OTH">{inner}</value>'),
    }
    code, value = parts[place]
    found = read(f'<entry><observation classCode="OBS" moodCode="EVN">{code}{value}</observation></entry>')
    assert [one.code for one in found.diagnoses[1:]] == ["88.1"] * diagnosis
    assert [(one.code, one.system) for one in found.procedures[1:]] == [("88.1", system)] * (not diagnosis)


def test_a_polish_laboratory_test_is_a_procedure_and_a_result() -> None:
    code = '<code nullFlavor="UNK"><translation code="C55" codeSystem="2.16.840.1.113883.3.4424.11.2.6"/></code>'
    value = '<value xsi:type="ST">1 234,5 tys./ul</value>'
    found = read(f'<entry><observation classCode="OBS" moodCode="EVN">{code}{value}</observation></entry>')
    assert found.procedures[1].code == "C55"
    assert [(one.code, one.system, one.value, one.unit) for one in found.results] == [
        ("C55", "2.16.840.1.113883.3.4424.11.2.6", 1234.5, "tys./ul")
    ]


@pytest.mark.parametrize(
    "value, expected",
    [
        ('<value xsi:type="PQ" value="7.8" unit="g/dl"/>', (7.8, "g/dl", "")),
        ('<value xsi:type="PQ" value="7,8" unit="g/dl"/>', (7.8, "g/dl", "")),
        ('<value xsi:type="x:PQ" value="1.5e3" unit="/ul"/>', (1500.0, "/ul", "")),
        ('<value xsi:type="INT" value="-4"/>', (-4.0, "", "")),
        ('<value xsi:type="ST">ujemny</value>', (None, "", "ujemny")),
        ('<value xsi:type="ST">&lt; 5 mg/l</value>', (None, "", "< 5 mg/l")),
        ('<value xsi:type="IVL_PQ"><high value="5" unit="mg/l" inclusive="false"/></value>', (None, "mg/l", "< 5")),
        ('<value xsi:type="IVL_PQ"><low value="60" unit="ml/min"/></value>', (None, "ml/min", ">= 60")),
        ('<value xsi:type="IVL_PQ"><low value="2" unit="a"/><high value="4" unit="a"/></value>', (None, "a", "2 - 4")),
        ('<value xsi:type="CD" nullFlavor="UNK"/>', None),
        ('<value xsi:type="PQ" nullFlavor="UNK"/>', None),
    ],
)
def test_values(value: str, expected: tuple[float | None, str, str] | None) -> None:
    found = [(one.value, one.unit, one.text) for one in read(entry(value)).results]
    assert found == ([] if expected is None else [expected])


def test_what_has_no_interpretation_says_none() -> None:
    (found,) = read(entry('<value xsi:type="PQ" value="1"/><interpretationCode nullFlavor="NI"/>')).results
    assert found.interpretation == ""


def test_a_coded_finding_is_a_result_within_a_group_of_tests_only() -> None:
    """Alone it may be a diagnosis in SNOMED CT as well."""
    coded = '<value xsi:type="CD" code="260385009" codeSystem="2.16.840.1.113883.6.96"/>'
    assert read(entry(coded)).results == ()
    group = entry(coded).replace("<entry>", '<entry><organizer classCode="BATTERY" moodCode="EVN"><component>')
    assert [one.text for one in read(group.replace("</entry>", "</component></organizer></entry>")).results] == ["260385009"]


@pytest.mark.parametrize("status", ["cancelled", "nullified"])
def test_what_was_cancelled_is_nothing(status: str) -> None:
    found = read(entry(f'<statusCode code="{status}"/>{DIAGNOSIS.format("C50.9")}') + entry(f'<statusCode code="{status}"/>' + NUMBER))
    assert (len(found.diagnoses), found.results) == (1, ())


@pytest.mark.parametrize("root", ["2.16.840.1.113883.10.20.22.4.45", "2.16.840.1.113883.10.20.22.4.46"])
def test_family_history_is_not_the_patients(root: str) -> None:
    assert len(read(entry(f'<templateId root="{root}"/>{DIAGNOSIS.format("C50.9")}{NUMBER}')).diagnoses) == 1


def test_a_text_beside_a_range_is_kept() -> None:
    limits = "<referenceRange><observationRange><text>kobiety:\n 12 - 16</text>"
    limits += '<value xsi:type="IVL_PQ"><low value="12,0"/><high value="16,0"/></value></observationRange></referenceRange>'
    (found,) = read(entry(NUMBER + limits)).results
    assert (found.low, found.high, found.printed) == (12.0, 16.0, "kobiety: 12 - 16")


LIMITS = '<referenceRange><observationRange>{}<value xsi:type="IVL_PQ">{}</value></observationRange></referenceRange>'


@pytest.mark.parametrize(
    "unit, edges, words, expected",
    [
        ("g/dl", '<low value="12" unit="g/dl"/><high value="16" unit="g/dl"/>', "", (12.0, 16.0, "")),
        ("g/dl", '<low value="12" unit="G / dL"/><high value="16"/>', "", (12.0, 16.0, "")),
        ("\u00b5mol/l", '<low value="12" unit="umol/l"/><high value="16" unit="\u03bcmol/L"/>', "", (12.0, 16.0, "")),
        ("", '<low value="12" unit="g/l"/><high value="16" unit="g/l"/>', "", (12.0, 16.0, "")),
        ("g/dl", '<low value="120" unit="g/l"/><high value="160" unit="g/l"/>', "", (None, None, "120 - 160 g/l")),
        ("g/dl", '<low value="120" unit="g/l"/>', "", (None, None, ">= 120 g/l")),
        ("g/dl", '<high value="160" unit="g/l" inclusive="false"/>', "", (None, None, "< 160 g/l")),
        ("g/dl", '<low value="12" unit="g/dl"/><high value="160" unit="g/l"/>', "", (None, None, "12 g/dl - 160 g/l")),
        ("g/dl", '<low value="120" unit="g/l"/><high value="160" unit="g/l"/>', "<text>12,0 - 16,0</text>", (None, None, "12,0 - 16,0")),
    ],
)
def test_a_range_in_another_unit_decides_nothing(unit: str, edges: str, words: str, expected: tuple[object, ...]) -> None:
    (found,) = read(entry(f'<value xsi:type="PQ" value="13" unit="{unit}"/>' + LIMITS.format(words, edges))).results
    assert (found.low, found.high, found.printed) == expected


def test_of_ranges_in_two_units_that_of_the_value_holds() -> None:
    ranges = LIMITS.format("", '<low value="120" unit="g/l"/>') + LIMITS.format("", '<low value="12" unit="g/dl"/>')
    (found,) = read(entry(NUMBER + ranges)).results
    assert (found.low, found.printed) == (12.0, "")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("12,0 - 16,0", (12.0, 16.0, True, True, "")),
        ("12,0 - 16,0 g/dl", (12.0, 16.0, True, True, "g/dl")),
        ("(3.5–5.1) mmol/l", (3.5, 5.1, True, True, "mmol/l")),
        ("12 g/dl - 16 g/dl", (12.0, 16.0, True, True, "g/dl")),
        ("4.0 - 10.0 10*3/ul", (4.0, 10.0, True, True, "10*3/ul")),
        ("90 do 120 ml/min/1,73m2", (90.0, 120.0, True, True, "ml/min/1,73m2")),
        ("1 000 - 2 000 [tys./ul]", (1000.0, 2000.0, True, True, "tys./ul")),
        ("< 5 mg/l", (None, 5.0, True, False, "mg/l")),
        ("od 60", (60.0, None, True, True, "")),
        ("12 - 16; 12,0 - 16,0 g/dl", (12.0, 16.0, True, True, "g/dl")),
        ("12 g/l - 16 g/dl", None),
        ("12 - 16; 14 - 18", None),
        ("12 - 16 g/l; 12 - 16 g/dl", None),
        ("K: 12 - 16; M: 14 - 18", None),
        ("kobiety: 12 - 16", None),
        ("12 - 16 (K), 14 - 18 (M)", None),
        ("0-14 lat: 11 - 14", None),
        ("12 - 16 do 18 lat", None),
        ("16 - 12", None),
        ("ujemny", None),
        ("", None),
        ("1" * 100_000 + " - 2", None),
    ],
)
def test_printed_ranges_with_units(text: str, expected: tuple[object, ...] | None) -> None:
    assert parse_printed(text) == (expected or (None, None, True, True, ""))


def test_units_are_compared_without_case_spaces_and_the_sign_for_micro() -> None:
    assert same_unit("mmol / L", "mmol/l") and same_unit("\u00b5g/l", "ug/L") and same_unit("", "g/l") and same_unit("g/l", "")
    assert not same_unit("g/l", "g/dl")


def test_what_is_excluded_is_so_however_deep_it_stands() -> None:
    inner = f'<entryRelationship typeCode="COMP"><observation classCode="OBS" moodCode="EVN"><code code="718-7"/>{NUMBER}</observation>'
    found = read(entry(f"<statusCode code='cancelled'/>{inner}</entryRelationship>", code="1"))
    assert (len(found.diagnoses), found.results) == (1, ())
