"""The index: what was received stands once, where it is, and what can be searched for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests.unit.datacentre.visits import document
from toolkit.datacentre.cda import rows
from toolkit.datacentre.index import Document, Index, StoredObject, moved, open_index


@pytest.fixture(params=["sqlite", "postgresql"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    with open_index(str(tmp_path / "index.db") if request.param == "sqlite" else request.getfixturevalue("postgresql")) as opened:
        yield opened


def received(number: int, **changes: object) -> Document:
    values = {
        "message_id": f"m{number}",
        "mdc_visit": f"k1.V{number}",
        "digest": f"sha256:{number:064x}",
        "size": 100,
        "client": "CN=hospital",
        "received": f"2026-11-22T10:00:{number % 60:02}Z",
        "place": f"spool:000001:{number}",
    }
    return Document(**{**values, **changes})  # type: ignore[arg-type]


def test_a_message_that_is_known_keeps_its_first_row(index: Index) -> None:
    first, again = received(1), received(1, place="spool:000002:0", client="CN=other")
    assert index.add([first]) == [first]
    assert index.add([again]) == [first]
    assert index.message("m1") == first


def test_the_same_content_of_a_visit_under_another_id_is_the_first_document(index: Index) -> None:
    first = received(1)
    assert index.add([first, received(1, message_id="m2")]) == [first, first]
    assert index.find("k1.V1") == [first]


def test_another_content_under_a_known_id_is_told_by_its_digest(index: Index) -> None:
    index.add([received(1)])
    assert index.add([received(2, message_id="m1")])[0].digest == received(1).digest
    assert index.find("k1.V2") == []


def test_waiting_documents_come_oldest_first_and_leave_when_they_are_planned(index: Index) -> None:
    index.add([received(number) for number in (3, 1, 2)])
    assert [one.message_id for one in index.waiting(150, 10)] == ["m1", "m2"]
    index.plan("p", "now", ["m1", "m2"])
    assert [one.message_id for one in index.waiting(1000, 10)] == ["m3"]
    assert index.packs(stored=False) == ["p"]
    assert [one.message_id for one in index.documents_of("p")] == ["m1", "m2"]


def test_a_packed_document_is_found_at_its_new_place_and_searched_by_its_rows(index: Index) -> None:
    one = received(1)
    index.add([one])
    index.plan("p", "now", ["m1"])
    assert index.in_segment("000001")
    found = rows(etree.fromstring(document(1)))._replace(message_id="m1", received=one.received)
    visit = found.visit._replace(mdc_visit=one.mdc_visit)
    found = found._replace(visit=visit)
    for _ in range(2):  # again changes nothing
        index.enter_rows([found])
        index.packed("p", "now", [moved(one, "p", 0)], [StoredObject("packs/p.parquet", "sha256:00", 5)])
    assert not index.in_segment("000001")
    assert index.find(one.mdc_visit)[0].place == "pack:p:0"
    assert index.objects() == [StoredObject("packs/p.parquet", "sha256:00", 5)]
    code = found.diagnoses[0].code
    assert index.search(diagnosis=code) == index.search(patient=visit.patient) == [one.mdc_visit]
    assert index.search(diagnosis=code[:2]) == [one.mdc_visit]
    assert index.search(diagnosis="Z99") == index.search(since="2099") == index.search(until="1999") == []
    assert index.search(accession=visit.accessions[0], since="1999", until="2099") == [one.mdc_visit]
    counts = index.counts()
    assert (counts.spooled, counts.packed, counts.packs, counts.planned_packs, counts.visits, counts.patients) == (0, 1, 1, 0, 1, 1)


def test_the_newest_document_of_a_visit_gives_its_rows(index: Index) -> None:
    base = rows(etree.fromstring(document(1)))
    newer = base._replace(message_id="m2", received="2026-11-23", diagnoses=())
    older = base._replace(message_id="m1", received="2026-11-22")
    index.enter_rows([newer])
    index.enter_rows([older])
    assert index.search(diagnosis=base.diagnoses[0].code) == []
    index.enter_rows([older._replace(message_id="m3", received="2026-11-24")])
    assert index.search(diagnosis=base.diagnoses[0].code) == [base.visit.mdc_visit]


def test_a_batch_with_the_same_document_twice(index: Index) -> None:
    one, again, other = received(1), received(1, message_id="m9"), received(1, digest="sha256:other", message_id="m8")
    assert index.add([one, again, one, other]) == [one, one, one, other]
    assert index.find("k1.V1") == [one, other]
    assert index.messages(["m1", "m8", "m9"]) in ([one, other], [other, one])


def test_one_content_in_two_packs_is_kept_twice(index: Index) -> None:
    """Where the index was lost, a hospital may have sent a document again under another message id."""
    index.packed("p", "now", [moved(received(1), "p", 0)], [])
    index.packed("q", "now", [moved(received(1, message_id="m9"), "q", 0)], [])
    assert [one.place for one in index.find("k1.V1")] == ["pack:p:0", "pack:q:0"]
    assert index.add([received(1, message_id="m7")])[0].message_id == "m1"  # the first answer


def test_places_are_compared_byte_by_byte(index: Index) -> None:
    """In the order of some languages ; would come before : and a segment would seem empty."""
    index.add([received(1, place="spool:00000000000000000001:0")])
    assert index.in_segment("00000000000000000001")
    assert not index.in_segment("00000000000000000000") and not index.in_segment("00000000000000000002")
    assert index.counts().spooled == 1
