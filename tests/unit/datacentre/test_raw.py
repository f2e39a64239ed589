"""Visits in documents that hospitals write: ids and times where the gateway's are missing, and whole histories."""

from __future__ import annotations

import pytest
from lxml import etree

from tests.unit.datacentre.visits import document
from tests.visits import generate
from toolkit.core.errors import BadData
from toolkit.datacentre.cda import VisitRows, rows
from toolkit.datacentre.raw import moment, raw_visits

ID = '<id root="1.2.3" extension="D7"/>'
DIAGNOSIS = (
    '<observation classCode="OBS" moodCode="EVN"><code code="29308-4"/>{}'
    '<value xsi:type="CD" code="{}" codeSystem="2.16.840.1.113883.6.3"/></observation>'
)
RESULT = (
    '<entry><observation classCode="OBS" moodCode="EVN"><code code="718-7"/><effectiveTime value="{}"/>'
    '<value xsi:type="PQ" value="{}" unit="g/dl"/></observation></entry>'
)


def encounter(time: str, code: str = "", identifier: str = '<id root="9.9"/>', attributes: str = 'moodCode="EVN"') -> str:
    inside = f'<entryRelationship typeCode="RSON">{DIAGNOSIS.format("", code)}</entryRelationship>' if code else ""
    when = time if time.startswith("<") or not time else f'<effectiveTime value="{time}"/>'
    return f'<entry><encounter classCode="ENC" {attributes}>{identifier}{when}{inside}</encounter></entry>'


def history(*entries: str, head: str = ID, born: str = "19400805", patient: str = "998991") -> list[VisitRows]:
    text = (
        '<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f'{head}<effectiveTime value="20140416115439"/><recordTarget><patientRole><id root="5.5" extension="{patient}"/>'
        f'<patient><administrativeGenderCode code="F"/><birthTime value="{born}"/></patient></patientRole></recordTarget>'
        '<documentationOf><serviceEvent><effectiveTime><low value="20100331"/><high value="20101027"/></effectiveTime></serviceEvent>'
        f"</documentationOf><component><structuredBody><component><section>{''.join(entries)}</section></component></structuredBody>"
        "</component></ClinicalDocument>"
    )
    return raw_visits(etree.fromstring(text), "history.xml")


@pytest.mark.parametrize("number", range(5))
def test_what_hl7_send_made_is_read_as_the_gateway_reads_it(number: int) -> None:
    tree = etree.fromstring(document(number, 3000))
    assert raw_visits(tree, "document") == [rows(tree)]


def test_a_document_of_a_hospital_is_one_visit() -> None:
    made = generate.visit(3)
    (found,) = raw_visits(etree.fromstring(made.document), made.name)
    visit = found.visit
    patient = f"{generate.PESEL}|{made.patient_id}|{made.born:%Y%m%d}"
    assert (visit.mdc_visit, visit.patient) == (f"{generate.VISITS}|{made.visit_id}|{patient}", patient)
    assert (visit.start, visit.end, visit.sex, visit.city) == (made.start, made.end, made.sex, made.city)
    assert tuple(row.code for row in found.diagnoses) == made.diagnoses
    assert found.received == made.end[:14]


def test_a_patients_birth_tells_apart_who_shares_an_id() -> None:
    entries = [encounter("20100331"), encounter("20100606")]
    one, other = (history(*entries, born=born) for born in ("19400805120000", "19570306"))
    assert one[0].visit.patient == "5.5|998991|19400805"
    assert not {row.visit.mdc_visit for row in one} & {row.visit.mdc_visit for row in other}
    assert history(*entries, patient="k1.ABC")[0].visit.patient == "k1.ABC"


@pytest.mark.parametrize(
    "head, entries, expected",
    [
        ("<componentOf><encompassingEncounter>{}{}</encompassingEncounter></componentOf>", "", ("7.7|E1", "20100501", "20100509")),
        ("<componentOf><encompassingEncounter>{1}</encompassingEncounter></componentOf>", "", ("1.2.3|D7", "20100501", "20100509")),
        ("<componentOf><encompassingEncounter>{0}</encompassingEncounter></componentOf>", "", ("7.7|E1", "20100331", "")),
        ("", encounter("20100606", identifier='<id root="9.9" extension="E2"/>'), ("9.9|E2", "20100606", "")),
        ("", encounter("20100606", identifier='<id nullFlavor="UNK"/>'), ("1.2.3|D7", "20100606", "")),
        ("", "", ("1.2.3|D7", "20100331", "")),
    ],
)
def test_whose_visit_and_when(head: str, entries: str, expected: tuple[str, str, str]) -> None:
    time = '<effectiveTime><low value="20100501"/><high value="20100509"/></effectiveTime>'
    (found,) = history(entries, head=ID + head.format('<id root="7.7" extension="E1"/><id root="8.8" extension="E1"/>', time))
    visit = found.visit
    assert (visit.mdc_visit, visit.start, visit.end) == (f"{expected[0]}|{visit.patient}", *expected[1:])


def test_what_gives_no_id_at_all_is_broken() -> None:
    with pytest.raises(BadData, match=r"history.xml: has neither a visit's id nor one of its own"):
        history(head="")
    with pytest.raises(BadData, match="has no patient id"):
        raw_visits(etree.fromstring(document(1).replace(b'<id extension="k1.P0"/>', b"")), "document")


def test_a_visit_whose_start_hl7_send_does_not_tell_stays_without() -> None:
    """As it does in a store."""
    text = document(1).decode()
    start = text[text.index("<low") : text.index("<high")]
    (found,) = raw_visits(etree.fromstring(text.replace(start, '<low nullFlavor="NI"/>').encode()), "document")
    assert found.visit.start == ""


def test_a_history_is_a_visit_for_each_of_its_encounters() -> None:
    problem = f"<entry>{DIAGNOSIS.format('<effectiveTime><low value=%s/></effectiveTime>', 'C18.9')}</entry>"
    found = history(
        encounter("20100608100000", "N17.9"),
        encounter("20100331100000", "I10"),
        encounter("20100401", "Z00.0", attributes='moodCode="INT"'),
        encounter("20100402", "Z00.1", attributes='moodCode="EVN" negationInd="true"'),
        encounter("", "Z00.2"),
        problem % '"20100606"',
        problem.replace("C18.9", "C50.9") % '"2005"',
        RESULT.format("20100331", 1),
        RESULT.format("20100609080000", 2),
        RESULT.format("20100330", 3),
    )
    assert [(one.visit.start, one.visit.end, one.visit.age, one.visit.sex) for one in found] == [
        ("20100331100000", "", 69.0, "F"),
        ("20100608100000", "", 69.0, "F"),
    ]
    assert [[row.plain for row in one.diagnoses] for one in found] == [["I10", "C189"], ["N179"]]
    assert [[row.value for row in one.results] for one in found] == [[1.0], [2.0]]
    assert {one.received for one in found} == {"20140416115439"}


def test_encounters_of_a_history_keep_their_own_ids_when_these_differ() -> None:
    own = '<id root="9.9" extension="{}"/>'
    found = history(encounter("20100331", identifier=own.format(1)), encounter("20100606", identifier=own.format(2)))
    assert [one.visit.mdc_visit for one in found] == ["9.9|1|5.5|998991|19400805", "9.9|2|5.5|998991|19400805"]
    shared = history(encounter("20100331"), encounter("20100606"))
    assert [one.visit.mdc_visit for one in shared] == ["9.9||20100331|5.5|998991|19400805", "9.9||20100606|5.5|998991|19400805"]


def test_an_encounter_that_is_told_twice_is_one_visit() -> None:
    found = history(encounter("20100331", "I10"), encounter("20100606"), encounter("20100331", "J18.9"))
    assert [[row.plain for row in one.diagnoses] for one in found] == [["I10", "J189"], []]


@pytest.mark.parametrize(
    "time, expected",
    [
        ("20140416115439", "20140416115439"),
        ("20140416115439.123", "20140416115439"),
        ("20140416115439.123+0200", "20140416095439"),
        ("20140416115439+0000", "20140416115439"),
        ("201404160030+0200", "201404152230"),
        ("2014041600+0030", "2014041523"),
        ("20140416+0200", "20140416"),
        ("20149916115439+0200", "20149916115439"),
        ("", ""),
        ("yesterday", ""),
    ],
)
def test_the_later_of_two_times_is_the_greater_text(time: str, expected: str) -> None:
    assert moment(time) == expected
