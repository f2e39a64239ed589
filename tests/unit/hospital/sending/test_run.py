"""Runs over a real queue and a real server: nothing lost, nothing twice, one line when the data centre is away."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core.errors import BadData
from toolkit.core.keys import create_keys
from toolkit.hospital.links.database import Links, open_links
from toolkit.hospital.sending.client import Gateway, tls_context
from toolkit.hospital.sending.lanes import ENOUGH, LANES
from toolkit.hospital.sending.run import FIRST_WAIT, LONGEST_WAIT, Tally, backoff, drain, finish, message_id
from toolkit.hospital.sending.sources import read_sources
from toolkit.hospital.sending.status import as_json, as_text, exit_status

from .authority import Authority
from .conftest import DataCentre, Reply, acknowledge


@pytest.fixture
def links(tmp_path: Path) -> Iterator[Links]:
    with open_links(str(tmp_path / "links.db"), create_keys(str(tmp_path / "hospital.key"))) as opened:
        yield opened


@pytest.fixture
def gateway(centre: DataCentre, authority: Authority) -> Iterator[Gateway]:
    with Gateway(centre.url, tls_context(str(authority.directory / "hospital.pem"), None, str(authority.path)), 5) as opened:
        yield opened


def fill(links: Links, number: int, first: int = 0) -> dict[str, bytes]:
    """Queue so many visits; their message ids and documents."""
    key, made = links.keyring.current, {}
    for n in range(first, first + number):
        visit = SimpleNamespace(visit_id=f"V{n}", visit_root="1.2.3", patient_id="P1", patient_root="1.2.4", accession_numbers=())
        mdc = key.seal("visit", f"1.2.3|V{n}")
        document = f"<ClinicalDocument>{n}</ClinicalDocument>".encode()
        made[message_id(mdc, document)] = document
        assert links.queue(visit, mdc, key.seal("patient", "1.2.4|P1"), message_id(mdc, document), document, f"export/{n}.xml")
    return made


def test_all_that_is_queued_is_sent_and_acknowledged(links: Links, gateway: Gateway, centre: DataCentre) -> None:
    made, tally = fill(links, 40), Tally()
    drain(links, gateway, tally, timeout=5)
    assert dict(centre.received) == made and len(centre.received) == 40
    assert links.status().counts == {"queued": 0, "sent": 0, "acknowledged": 40, "dead": 0}
    assert (tally.acknowledged, finish(links, tally)) == (40, 0)
    assert 1 <= centre.connections <= LANES, "connections are kept for the next message"


def test_messages_travel_side_by_side_and_versions_of_a_visit_one_after_another(links: Links, gateway: Gateway, centre: DataCentre) -> None:
    key, together, order = links.keyring.current, threading.Barrier(LANES), []
    visit = SimpleNamespace(visit_id="V0", visit_root="1.2.3", patient_id="P1", patient_root="1.2.4", accession_numbers=())
    mdc, versions = key.seal("visit", "1.2.3|V0"), [b"<ClinicalDocument>version %d</ClinicalDocument>" % number for number in range(3)]
    for version in versions:
        links.queue(visit, mdc, key.seal("patient", "1.2.4|P1"), message_id(mdc, version), version, "")
    fill(links, LANES - 1, first=1)

    def meet(name: str, document: bytes) -> Reply:
        if document in versions:
            order.append(document)
        if document not in versions[1:]:
            together.wait(10)  # raises, and there is no answer, unless all lanes are on their way at once
        return acknowledge(name, document)

    centre.answer = meet
    drain(links, gateway, Tally(), timeout=20)
    assert order == versions
    assert links.status().counts["acknowledged"] == len(versions) + LANES - 1


def test_a_refused_message_dies_with_its_reason_and_the_others_go_on(
    links: Links, gateway: Gateway, centre: DataCentre, caplog: pytest.LogCaptureFixture
) -> None:
    bad = list(fill(links, 5))[2]
    centre.answer = lambda name, document: (422, {}, b'{"error": "holds a PESEL"}') if name == bad else acknowledge(name, document)
    tally = Tally()
    drain(links, gateway, tally, timeout=5)
    assert finish(links, tally) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "export/2.xml: the data centre refuses it for good: 422 Unprocessable Entity: holds a PESEL; correct it and send it again"
    ]
    status = links.status()
    assert status.counts == {"queued": 0, "sent": 0, "acknowledged": 4, "dead": 1}
    assert exit_status(status) == 1
    assert f"dead letter\t{bad}\texport/2.xml\t422 Unprocessable Entity: holds a PESEL\n" in as_text(status)
    told = json.loads(as_json(status))
    assert (told["dead"], told["oldest_waiting"], told["dead_letters"][0]["source"]) == (1, None, "export/2.xml")


def test_a_data_centre_that_is_away_is_told_once_and_everything_waits(
    links: Links, centre: DataCentre, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    fill(links, 20)
    context = tls_context(None, None, str(authority.path))  # no client certificate: none of them can go
    tally = Tally()
    with Gateway(centre.url, context, 5, has_certificate=False) as stranger:
        drain(links, stranger, tally, timeout=5)
    assert finish(links, tally) == 75
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 and "wants a client certificate" in lines[0] and lines[1].startswith("20 documents wait;")
    assert links.status().counts == {"queued": 20, "sent": 0, "acknowledged": 0, "dead": 0}
    assert exit_status(links.status()) == 75 and not centre.received
    assert re.search(r"^oldest waiting\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", as_text(links.status()), re.MULTILINE)


def test_what_is_postponed_goes_when_it_is_due_and_not_before(links: Links, gateway: Gateway, centre: DataCentre) -> None:
    made = fill(links, 1)
    centre.answer = lambda *_: (503, {"Retry-After": "600"}, b"")
    now = time.time()
    drain(links, gateway, Tally(), timeout=5, clock=lambda: now)
    centre.answer = acknowledge
    drain(links, gateway, Tally(), timeout=5, clock=lambda: now + 599)
    assert links.status().counts["sent"] == 1
    drain(links, gateway, Tally(), timeout=5, clock=lambda: now + 601)
    assert links.status().counts["acknowledged"] == 1
    assert centre.received == list(made.items()) * 2


def test_an_overloaded_data_centre_is_left_alone(
    links: Links, gateway: Gateway, centre: DataCentre, caplog: pytest.LogCaptureFixture
) -> None:
    fill(links, 30)
    centre.answer = lambda *_: (503, {}, b"")
    tally = Tally()
    drain(links, gateway, tally, timeout=5)
    assert ENOUGH <= len(centre.received) < ENOUGH + LANES and finish(links, tally) == 75
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 and "takes nothing at present: 503" in lines[0] and lines[1].startswith("30 documents wait;")


def test_an_answer_that_was_lost_sends_the_same_message_again(links: Links, gateway: Gateway, centre: DataCentre) -> None:
    made = fill(links, 1)
    centre.answer = "hang up"
    drain(links, gateway, Tally(), timeout=5)
    assert links.status().counts["sent"] == 1
    centre.answer = acknowledge
    drain(links, gateway, Tally(), timeout=5, clock=lambda: time.time() + 2 * LONGEST_WAIT)
    assert set(centre.received) == set(made.items()) and links.status().counts["acknowledged"] == 1


def test_two_senders_on_one_queue_send_each_message_once(links: Links, centre: DataCentre, authority: Authority, tmp_path: Path) -> None:
    made = fill(links, 60)
    failures: list[BaseException] = []

    def send() -> None:
        try:
            context = tls_context(str(authority.directory / "hospital.pem"), None, str(authority.path))
            with open_links(str(tmp_path / "links.db"), links.keyring) as own, Gateway(centre.url, context, 5) as gateway:
                drain(own, gateway, Tally(), timeout=5)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sorted(centre.received) == sorted(made.items())
    assert links.status().counts["acknowledged"] == 60


def test_only_queueing_is_no_alarm_that_something_waits(links: Links, caplog: pytest.LogCaptureFixture) -> None:
    fill(links, 2)
    assert finish(links, Tally(queued=2, queued_only=True)) == 0 and not caplog.records


def test_the_exit_status_of_refusals(links: Links) -> None:
    error = BadData("x", "is bad")
    assert finish(links, Tally(refused=[error, error])) == 65
    assert finish(links, Tally(refused=[error], known=1)) == 1


@given(st.integers(0, 10_000), st.floats(0, 1), st.none() | st.floats(0, 1e12))
def test_waits_are_bounded_and_grow(attempts: int, chance: float, after: float | None) -> None:
    wait = backoff(attempts, after, lambda: chance)
    assert FIRST_WAIT / 2 <= wait <= LONGEST_WAIT
    assert backoff(attempts + 1, after, lambda: chance) >= wait
    assert after is None or wait >= min(after, LONGEST_WAIT)


def test_waits_differ_by_chance() -> None:
    assert len({backoff(3) for _ in range(50)}) > 40


@given(st.text("k1.ABC"), st.binary(max_size=20), st.text("k1.ABC"), st.binary(max_size=20))
def test_message_ids_depend_on_visit_and_document_and_nothing_else(visit: str, document: bytes, other: str, another: bytes) -> None:
    first, second = message_id(visit, document), message_id(other, another)
    assert (first == second) == ((visit, document) == (other, another))
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first)


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("b.xml", "sub/a.XML", ".hidden.xml", "c.xml.part", "d.tmp"):
        (tmp_path / "in" / name).write_text("<d/>")
    (tmp_path / "empty.xml").touch()
    os.mkfifo(tmp_path / "in" / "pipe.xml")
    writer = threading.Thread(target=(tmp_path / "in" / "pipe.xml").write_text, args=("<pipe/>",))
    writer.start()
    found = list(read_sources([str(tmp_path / "in"), str(tmp_path / "empty.xml"), str(tmp_path / "none.xml"), "/dev/null"]))
    writer.join()
    assert [Path(source.place).name for source in found] == ["b.xml", "pipe.xml", "a.XML", "empty.xml", "none.xml", "null"]
    assert [source.data for source in found[:3]] == [b"<d/>", b"<pipe/>", b"<d/>"]
    assert [source.error.exit_status for source in found[3:] if source.error] == [65, 66, 66]
    (large,) = read_sources([str(tmp_path / "in" / "b.xml")], largest=3)
    assert isinstance(large.error, BadData)
