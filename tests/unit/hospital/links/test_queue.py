"""The queue: what is taken once, by whom, and what becomes of it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.unit.hospital.links.conftest import Ids, execute, mdc_ids, queue
from toolkit.core.errors import BadData, NoInput
from toolkit.core.keys import Keyring
from toolkit.hospital.links.database import Links, Outgoing, open_links

ROOT = Path(__file__).resolve().parents[4]
DIGEST = hashlib.sha256(b"<document/>").digest()
NOON = 1_800_000_000.0


def ids(messages: list) -> list[str]:  # type: ignore[type-arg]
    return [message.message_id for message in messages]


def test_a_message_comes_out_as_it_went_in(links: Links) -> None:
    visit = Ids("V1")
    assert queue(links, 1)
    (message,) = links.take(10, NOON, 60)
    assert message.mdc_visit == mdc_ids(visit, links.keyring.current)[0]
    assert (message.message_id, message.document, message.digest, message.attempts) == ("1/1", b"<document/>", DIGEST, 0)


def test_the_same_document_is_queued_once(links: Links) -> None:
    assert [queue(links, 1), queue(links, 1)] == [True, False]
    links.acknowledged("1/1", DIGEST, "201")
    assert not queue(links, 1)
    assert links.status().counts == {"queued": 0, "sent": 0, "acknowledged": 1, "dead": 0}
    assert links.take(10, NOON, 60) == []


def test_one_message_id_is_one_document(links: Links) -> None:
    queue(links, 1)
    with pytest.raises(BadData, match="known with another content"):
        queue(links, 1, b"<other/>")


def test_what_was_taken_is_not_taken_by_another(links: Links, url: str, keyring: Keyring) -> None:
    for number in range(5):
        queue(links, number)
    with open_links(url, keyring) as other:
        assert ids(links.take(3, NOON, 60)) == ["0/1", "1/1", "2/1"]
        assert ids(other.take(3, NOON, 60)) == ["3/1", "4/1"]
        assert links.take(3, NOON, 60) == []


@pytest.mark.parametrize("jump", [-10 * 365 * 86400.0, 10 * 365 * 86400.0])
def test_a_clock_that_jumps_gives_no_lease_to_another(links: Links, url: str, keyring: Keyring, jump: float) -> None:
    queue(links, 1)
    links.take(1, NOON, 60)
    with open_links(url, keyring) as other:
        assert other.take(1, NOON + jump, 60) == []


def test_a_clock_that_is_put_back_delays_no_retry(links: Links) -> None:
    queue(links, 1)
    links.take(1, NOON, 60)
    links.retry("1/1", "refused", NOON + 60)
    assert links.take(1, NOON + 59, 60) == []
    assert ids(links.take(1, NOON - 86400, 60)) == ["1/1"]


def test_a_retry_comes_when_it_is_due(links: Links) -> None:
    queue(links, 1)
    links.take(1, NOON, 60)
    links.sent("1/1")
    links.retry("1/1", "503", NOON + 30)
    assert links.take(1, NOON + 29, 60) == []
    (message,) = links.take(1, NOON + 30, 60)
    assert message.attempts == 1
    assert links.status().counts["sent"] == 1


def test_a_lease_ends_after_its_time(links: Links, url: str, keyring: Keyring) -> None:
    queue(links, 1)
    with open_links(url, keyring) as other:  # which may take longer than the lease on a busy machine
        links.take(1, NOON, 1.0)
        assert other.take(1, NOON, 60) == []
        time.sleep(1.05)
        assert ids(other.take(1, NOON, 60)) == ["1/1"]
        links.retry("1/1", "too late to say so", NOON + 999)  # it is the other's now
        assert links.take(1, NOON + 9999, 60) == []


def test_what_a_sender_leaves_behind_is_taken_at_once(links: Links, url: str, keyring: Keyring) -> None:
    queue(links, 1)
    with open_links(url, keyring) as other:
        other.take(1, NOON, 9999)
        other.sent("1/1")
        assert links.take(1, NOON, 60) == []
    assert ids(links.take(1, NOON, 60)) == ["1/1"]


def test_what_a_killed_sender_held_is_taken_at_once(links: Links, url: str, keyring: Keyring) -> None:
    for number in range(3):
        queue(links, number)
    program = f"""if True:
        import time
        from toolkit.core.keys import read_keys
        from toolkit.hospital.links.database import open_links
        links = open_links({url!r}, read_keys({keyring.path!r}))
        links.sent(links.take(2, {NOON}, 9999)[0].message_id)
        print("taken", flush=True)
        time.sleep(60)"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as sender:
        assert sender.stdout is not None and sender.stdout.readline() == "taken\n"
        assert ids(links.take(9, NOON, 60)) == ["2/1"]
        os.kill(sender.pid, signal.SIGKILL)
    until = time.monotonic() + 10  # a server needs a moment to see that its client is gone
    found: list[str] = []
    while len(found) < 2 and time.monotonic() < until:
        found += ids(links.take(9, NOON, 60))
    assert found == ["0/1", "1/1"]


def test_versions_of_a_visit_keep_their_order(links: Links) -> None:
    queue(links, 1, b"<old/>", "old")
    queue(links, 1, b"<new/>", "new")
    assert ids(links.take(9, NOON, 60)) == ["1/old"]
    links.retry("1/old", "503", NOON + 10)
    assert links.take(9, NOON, 60) == []
    assert ids(links.take(9, NOON + 10, 60)) == ["1/old"]
    links.dead("1/old", "422")
    assert ids(links.take(9, NOON + 10, 60)) == ["1/new"]


def test_the_end_of_a_message_is_final(links: Links) -> None:
    queue(links, 1)
    links.acknowledged("1/1", DIGEST, "201")
    links.retry("1/1", "late", 0)
    links.dead("1/1", "late")
    links.sent("1/1")
    assert links.status().counts == {"queued": 0, "sent": 0, "acknowledged": 1, "dead": 0}


def test_an_acknowledgement_of_something_else_is_none(links: Links) -> None:
    queue(links, 1)
    with pytest.raises(BadData, match="another digest"):
        links.acknowledged("1/1", hashlib.sha256(b"other").digest(), "200")
    assert ids(links.take(1, NOON, 60)) == ["1/1"]


def test_a_dead_message_is_told_and_can_be_queued_again(links: Links, url: str) -> None:
    queue(links, 1)
    links.take(1, NOON, 60)
    links.dead("1/1", "422 personal data")
    status = links.status()
    assert [(one.message_id, one.reason, one.source) for one in status.dead] == [("1/1", "422 personal data", "/export/1.xml")]
    assert status.oldest_waiting is None
    assert links.take(1, NOON + 9999, 60) == []
    assert queue(links, 1)
    assert [message.attempts for message in links.take(1, NOON, 60)] == [0]
    assert links.status().dead == []


def test_dead_messages_are_sent_again_or_forgotten(links: Links) -> None:
    for number in range(3):
        queue(links, number)
        links.dead(f"{number}/1", "503 that was none")
    links.again("0/1", "1/1")
    assert ids(links.take(9, 0, 60)) == ["0/1", "1/1"]
    links.forget("2/1")
    assert links.status().counts == {"queued": 2, "sent": 0, "acknowledged": 0, "dead": 0}
    assert queue(links, 2), "what was forgotten is new"


@pytest.mark.parametrize("change", ["again", "forget"])
def test_only_what_is_dead_is_sent_again_or_forgotten_and_all_or_none(links: Links, change: str) -> None:
    for number in range(3):
        queue(links, number)
    links.dead("0/1", "422")
    links.acknowledged("1/1", hashlib.sha256(b"<document/>").digest(), "201")
    before = links.status()
    for other, state in (("1/1", "acknowledged"), ("2/1", "queued")):
        with pytest.raises(BadData, match=f"was not refused: it is {state}"):
            getattr(links, change)("0/1", other)
    with pytest.raises(NoInput, match="is not in the queue"):
        getattr(links, change)("0/1", "9/9")
    assert links.status() == before


def test_an_answer_for_an_unknown_message_is_refused(links: Links) -> None:
    for answer in (lambda: links.sent("x"), lambda: links.dead("x", ""), lambda: links.retry("x", "", 0)):
        with pytest.raises(NoInput, match="message x: is not in the queue"):
            answer()


def test_the_document_goes_when_it_was_acknowledged(links: Links, url: str) -> None:
    queue(links, 1)
    links.acknowledged("1/1", DIGEST, "201")
    assert execute(url, "UPDATE link_message SET answer = answer WHERE document IS NULL AND answer = '201'") == 1


def test_two_senders_send_each_message_once(links: Links, url: str, keyring: Keyring) -> None:
    for number in range(60):
        queue(links, number)
    got: list[str] = []

    def send() -> None:
        with open_links(url, keyring) as own:
            while messages := own.take(3, NOON, 60):
                for message in messages:
                    own.sent(message.message_id)
                    got.append(message.message_id)
                    own.acknowledged(message.message_id, message.digest, "201")

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(60)
    assert sorted(got) == sorted(f"{number}/1" for number in range(60))
    assert links.status().counts["acknowledged"] == 60


def test_many_queue_the_same_at_once(links: Links, url: str, keyring: Keyring) -> None:
    results: list[bool] = []

    def add() -> None:
        with open_links(url, keyring) as own:
            results.extend(queue(own, number) for number in range(20))

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (results.count(True), len(results)) == (20, 60)


def test_two_that_queue_the_same_in_opposite_order_do_not_stop_each_other(links: Links, url: str, keyring: Keyring) -> None:
    key, numbers, failures = keyring.current, list(range(40)), []

    def outgoing(number: int, version: int) -> Outgoing:
        visit = Ids(f"V{number}", patient_id=f"P{number % 3}", accession_numbers=(f"A{number % 5}", f"A{number % 7}"))
        return Outgoing(visit, *mdc_ids(visit, key), f"{number}/{version}", b"<document/>", "")

    def add(order: list[int], version: int) -> None:
        try:
            with open_links(url, keyring) as own:
                own.queue_all([outgoing(number, version) for number in order])
        except Exception as error:
            failures.append(error)

    for version in range(4):
        threads = [threading.Thread(target=add, args=(order, version)) for order in (numbers, numbers[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert links.status().counts["queued"] == 4 * len(numbers)
    assert len(list(links)) == 40 + 3 + 7
