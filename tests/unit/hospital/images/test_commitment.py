"""Storage commitment: what the receiver says that it keeps, on the same association, on another one, or not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from tests.unit.hospital.images.receivers import Receiver, receiver
from tests.unit.hospital.images.samples import images
from tests.unit.hospital.images.test_send import Lines
from toolkit.core.errors import NotPermitted, Unavailable
from toolkit.hospital.images.commitment import Commitment, listening
from toolkit.hospital.images.journal import open_journal
from toolkit.hospital.images.outcome import Outcome
from toolkit.hospital.images.peer import Peer
from toolkit.hospital.images.run import send


def run(peer: Peer, directory: Path, journal: Path, listen: int = 0) -> tuple[int, list[str]]:
    """The exit status of a run with commitment, and the states of its files, each with what was said."""
    report = Lines()
    outcome = Outcome(report)
    with open_journal(str(journal), f"{peer.called}@{peer.place}") as known:
        sent = send([str(directory)], [], peer, known, outcome, 1)
        if sent:
            with listening("127.0.0.1", listen, "HERE", None) if listen else nullcontext() as reports:
                Commitment(peer, known, outcome, reports).ask(sent)
    return outcome.finish(), [f"{line['status']} {line['what']}".strip() for line in map(json.loads, report.splitlines())]


def report(request: Dataset, failures: dict[int, int]) -> tuple[int, Dataset]:
    """Event type and report for a request; `failures` by place in the sequence."""
    made = Dataset()
    made.TransactionUID = request.TransactionUID
    made.ReferencedSOPSequence = [one for number, one in enumerate(request.ReferencedSOPSequence) if number not in failures]
    failed = []
    for number, reason in failures.items():
        item = request.ReferencedSOPSequence[number]
        item.FailureReason = reason
        failed.append(item)
    if failed:
        made.FailedSOPSequence = failed
    return (2 if failed else 1), made


def later(work: Callable[[], None]) -> None:
    threading.Timer(0.1, work).start()


def on_the_same(failures: dict[int, int]) -> Callable[[Receiver, Any], Any]:
    """Says it on the association on which it was asked."""

    def action(found: Receiver, event: Any) -> Any:
        request = event.action_information
        found.asked.append(request)
        assert event.action_type == 1 and event.request.RequestedSOPInstanceUID == StorageCommitmentPushModelInstance
        kind, made = report(request, failures)
        later(lambda: event.assoc.send_n_event_report(made, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance) and None)
        return 0x0000, None

    return action


def test_on_the_same_association(tmp_path: Path) -> None:
    images(tmp_path / "out", 3)
    journal = tmp_path / "sent.db"
    with receiver(action=on_the_same({})) as there:
        assert run(there.peer(), tmp_path / "out", journal) == (0, ["sent"] * 3 + ["committed"] * 3)
        assert run(there.peer(), tmp_path / "out", journal) == (0, ["known committed earlier"] * 3)
        assert [uid for uid, _ in there.got] == [item.ReferencedSOPInstanceUID for item in there.asked[0].ReferencedSOPSequence]
        assert len(there.asked) == 1


def test_what_is_not_kept(tmp_path: Path) -> None:
    """It is sent again where the receiver does not have it, asked for again where that may help, and told where it does not."""
    images(tmp_path / "out", 4)
    journal = tmp_path / "sent.db"
    with receiver(action=on_the_same({1: 0x0112, 2: 0x0213, 3: 0x0122})) as there:
        code, states = run(there.peer(), tmp_path / "out", journal)
        assert code == 1 and states[4:] == [
            "committed",
            "waits the receiver does not have it; the next run sends it again",
            "waits not committed: the receiver has no resources (0x0213)",
            "refused not committed: its SOP class is not supported (0x0122)",
        ]
    with receiver(action=on_the_same({})) as again:
        peer = again.peer(port=again.port)
        journal_of = there.peer()
        outcome = Outcome()
        with open_journal(str(journal), f"{journal_of.called}@{journal_of.place}") as known:
            sent = send([str(tmp_path / "out")], [], peer, known, outcome, 1)
            Commitment(peer, known, outcome, None).ask(sent)
        assert len(again.got) == 1 and len(again.asked[0].ReferencedSOPSequence) == 3 and outcome.finish() == 0


def test_on_another_association(tmp_path: Path) -> None:
    images(tmp_path / "out", 3)
    with receiver() as free:
        listen = free.port

    def action(found: Receiver, event: Any) -> Any:
        kind, made = report(event.action_information, {})

        def call() -> None:
            entity = AE("THERE")
            entity.add_requested_context(StorageCommitmentPushModel)
            role = build_role(StorageCommitmentPushModel, scp_role=True)
            association = entity.associate("127.0.0.1", listen, ext_neg=[role])
            assert association.is_established
            association.send_n_event_report(made, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
            association.release()

        later(call)
        return 0x0000, None

    with receiver(action=action) as there:
        assert run(there.peer(), tmp_path / "out", tmp_path / "sent.db", listen) == (0, ["sent"] * 3 + ["committed"] * 3)


def test_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path / "out", 2)
    waits = ["waits the receiver did not say whether it keeps it"] * 2
    with receiver(action=lambda found, event: (0x0000, None)) as there:
        assert run(there.peer(timeout=0.5), tmp_path / "out", tmp_path / "sent.db") == (75, ["sent"] * 2 + waits)
        assert run(there.peer(timeout=0.5), tmp_path / "out", tmp_path / "sent.db") == (75, ["known sent earlier"] * 2 + waits)
    with receiver(action=lambda found, event: (later(event.assoc.abort), (0x0000, None))[1]) as there:
        assert run(there.peer(), tmp_path / "out", tmp_path / "sent.db")[1][-2:] == waits
    assert "aborted the association before it said what it keeps; --listen takes reports" in caplog.text
    with receiver(action=lambda found, event: (0x0213, None)) as there:
        assert run(there.peer(timeout=0.5), tmp_path / "out", tmp_path / "sent.db")[1][-2:] == waits
    assert "refuses storage commitment: the receiver has no resources (0x0213)" in caplog.text


def test_a_receiver_without_it(tmp_path: Path) -> None:
    images(tmp_path / "out", 1)
    with receiver() as there, pytest.raises(Unavailable, match="does no storage commitment: .*; leave out --commit"):
        run(there.peer(), tmp_path / "out", tmp_path / "sent.db")


def test_reports_of_others_and_of_nothing_do_no_harm(tmp_path: Path) -> None:
    images(tmp_path / "out", 2)

    def action(found: Receiver, event: Any) -> Any:
        kind, right = report(event.action_information, {})
        wrong, empty = Dataset(), Dataset()
        wrong.TransactionUID, wrong.ReferencedSOPSequence = "1.2.3", right.ReferencedSOPSequence
        empty.TransactionUID = right.TransactionUID
        other = report(event.action_information, {})[1]
        other.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.3"
        sent = (wrong, empty, other, right)
        later(
            lambda: (
                [event.assoc.send_n_event_report(each, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance) for each in sent]
                and None
            )
        )
        return 0x0000, None

    with receiver(action=action) as there:
        code, states = run(there.peer(timeout=1.0), tmp_path / "out", tmp_path / "sent.db")
    assert states[2:].count("committed") >= 1 and not [state for state in states if "1.2.3" in state]


def test_reports_that_cannot_be_read_do_no_harm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path / "out", 2)

    def action(found: Receiver, event: Any) -> Any:
        kind, right = report(event.action_information, {})
        two = report(event.action_information, {0: 0x0110})[1]
        two.FailedSOPSequence[0].FailureReason = [1, 2]
        sent = (two, right)
        later(
            lambda: (
                [event.assoc.send_n_event_report(each, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance) for each in sent]
                and None
            )
        )
        return 0x0000, None

    with receiver(action=action) as there:
        _, states = run(there.peer(timeout=2.0), tmp_path / "out", tmp_path / "sent.db")
    assert states[2:] == ["committed", "committed"]
    assert "its report cannot be read" in caplog.text


def test_where_one_may_listen() -> None:
    with pytest.raises(NotPermitted, match="unencrypted"), listening("0.0.0.0", 0, "HERE", None):
        pass
    with receiver() as there, pytest.raises(Unavailable), listening("127.0.0.1", there.port, "HERE", None):
        pass
