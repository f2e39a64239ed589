"""Sending to receivers of pynetdicom: what arrives, what is kept in mind, and each way in which a receiver can be difficult."""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.unit.hospital.images.receivers import CT, EXPLICIT, Receiver, receiver, speaking, status
from tests.unit.hospital.images.samples import image, images
from toolkit.core.errors import BadData, TryLater, Unavailable
from toolkit.hospital.images.association import IMPLICIT_LITTLE, VERIFICATION, Association, Lost
from toolkit.hospital.images.contexts import grouped
from toolkit.hospital.images.journal import open_journal
from toolkit.hospital.images.objects import look_at
from toolkit.hospital.images.outcome import Outcome
from toolkit.hospital.images.peer import Peer
from toolkit.hospital.images.run import send


class Lines(bytearray):
    """A report in memory."""

    def write(self, lines: bytes | bytearray) -> None:
        self.extend(lines)


def run(peer: Peer, *paths: Path, journal: Path | None = None, jobs: int = 1) -> tuple[int, dict[str, str]]:
    """The exit status of a run, and the last status of each file by its name."""
    report = Lines()
    outcome = Outcome(report)
    with open_journal(str(journal) if journal else None, f"{peer.called}@{peer.place}") as known:
        send([str(path) for path in paths], [], peer, known, outcome, jobs)
    lines = [json.loads(line) for line in report.splitlines()]
    return outcome.finish(), {Path(line["path"]).name: line["status"] for line in lines}


def body(path: Path) -> bytes:
    found = look_at(str(path))
    return path.read_bytes()[found.start :]


def test_each_data_set_arrives_as_it_stands(tmp_path: Path) -> None:
    uids = images(tmp_path, 5)
    with receiver() as there:
        assert run(there.peer(), tmp_path) == (0, {f"{number:03}.dcm": "sent" for number in range(5)})
        assert there.associations == 1
    assert there.got == [(uid, body(tmp_path / f"{number:03}.dcm")) for number, uid in enumerate(uids)]


@pytest.mark.parametrize("largest", [0, 300, 4096, 16382, 1 << 20])
def test_pdus_as_the_receiver_wants_them(tmp_path: Path, largest: int) -> None:
    path = tmp_path / "one.dcm"
    uid = image(path, PixelData=bytes(range(256)) * 700)
    with receiver(maximum_pdu_size=largest) as there:
        assert run(there.peer(), path)[0] == 0
    assert there.got == [(uid, body(path))]


def test_an_association_each(tmp_path: Path) -> None:
    """Three at once, every object once; one at a time a receiver that takes only one is served as well."""
    uids = images(tmp_path, 12)
    together = threading.Barrier(3, timeout=10)

    def wait_for_the_others(found: Receiver, event: Any) -> int:
        together.wait()
        return 0

    with receiver(wait_for_the_others) as there:
        assert run(there.peer(), tmp_path, jobs=3)[0] == 0
        assert sorted(uid for uid, _ in there.got) == sorted(uids) and there.associations == 3
    with receiver(lambda found, event: time.sleep(0.05) or 0, maximum_associations=1) as there:
        assert run(there.peer(), tmp_path, jobs=3)[0] == 0
        assert sorted(uid for uid, _ in there.got) == sorted(uids) and there.associations == 1


def test_the_journal_knows_what_was_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path / "out", 3)
    journal = tmp_path / "sent.db"
    with receiver() as there:
        assert run(there.peer(), tmp_path / "out", journal=journal)[0] == 0
        assert run(there.peer(), tmp_path / "out", journal=journal) == (0, {f"00{number}.dcm": "known" for number in range(3)})
        assert len(there.got) == 3
        (tmp_path / "out/000.dcm").rename(tmp_path / "out/moved.dcm")  # the same content elsewhere
        changed = pydicom.dcmread(tmp_path / "out/001.dcm")
        changed.Modality = "OT"
        changed.save_as(tmp_path / "out/001.dcm")
        code, states = run(there.peer(), tmp_path / "out", journal=journal)
        assert (code, states) == (1, {"moved.dcm": "known", "001.dcm": "not sent", "002.dcm": "known"})
        assert len(there.got) == 3 and "001.dcm, which was sent earlier, and other content" in caplog.text
        assert run(there.peer(called="ELSEWHERE"), tmp_path / "out/002.dcm", journal=journal)[0] == 0  # another receiver
        assert len(there.got) == 4
    with open_journal(str(journal), "x"), pytest.raises(TryLater, match="another dicom-send"), open_journal(str(journal), "x"):
        pass


def test_the_same_uid_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    uid = image(tmp_path / "a.dcm")
    image(tmp_path / "b.dcm", SOPInstanceUID=uid)
    other = image(tmp_path / "c.dcm")
    image(tmp_path / "d.dcm", SOPInstanceUID=other, Modality="OT")
    with receiver() as there:
        assert run(there.peer(), tmp_path) == (1, {"a.dcm": "sent", "b.dcm": "duplicate", "c.dcm": "not sent", "d.dcm": "not sent"})
    assert [sent for sent, _ in there.got] == [uid]
    assert "c.dcm: has the instance UID of" in caplog.text and "d.dcm: has the instance UID of" in caplog.text


def test_identified_objects_never_leave(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image(tmp_path / "a.dcm", removed=None, PatientName="Kowalska^Anna")
    uid = image(tmp_path / "b.dcm")
    with receiver() as there:
        assert run(there.peer(), tmp_path) == (1, {"a.dcm": "not sent", "b.dcm": "sent"})
    assert [sent for sent, _ in there.got] == [uid] and "Kowalska" not in caplog.text


def test_an_index_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image(tmp_path / "disc/a.dcm")
    (tmp_path / "disc/DICOMDIR").write_bytes(b"an index")
    with receiver() as there:
        assert run(there.peer(), tmp_path / "disc") == (0, {"a.dcm": "sent"})
        assert run(there.peer(), tmp_path / "disc/DICOMDIR") == (0, {"DICOMDIR": "skipped"})
    assert caplog.text.count("DICOMDIR left out") == 2


STATUSES = [
    (0x0000, 0, "sent", ""), (0xB000, 0, "warned", "values were changed"), (0xB006, 0, "warned", "left out"),
    (0x0107, 0, "warned", "unknown there"), (0x0111, 1, "refused", "another object has this UID"), (0x0122, 1, "refused", "not supported"),
    (0xA700, 75, "waits", ""), (0xA7FF, 75, "waits", ""), (0xA900, 1, "refused", "does not match"), (0xC123, 1, "refused", "cannot"),
    (0x0124, 1, "refused", "not authorised"), (0x0001, 0, "warned", ""),
]  # fmt: skip


@pytest.mark.parametrize(("code", "expected", "state", "said"), STATUSES)
def test_what_an_answer_means(tmp_path: Path, caplog: pytest.LogCaptureFixture, code: int, expected: int, state: str, said: str) -> None:
    image(tmp_path / "one.dcm")
    with receiver(lambda found, event: status(code, "it says\tso" if code else "")) as there:
        assert run(there.peer(), tmp_path / "one.dcm", journal=tmp_path / "sent.db") == (expected, {"one.dcm": state})
        again = run(there.peer(), tmp_path / "one.dcm", journal=tmp_path / "sent.db")
        assert again == ((0, {"one.dcm": "known"}) if expected == 0 else (expected, {"one.dcm": state}))
    assert said in caplog.text and "\t" not in caplog.text
    if state in ("warned", "refused"):
        assert f"0x{code:04X}: it says so" in caplog.text


def test_a_receiver_without_room_is_left_in_peace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path, 20)
    with receiver(lambda found, event: 0xA700) as there:
        code, states = run(there.peer(), tmp_path)
        assert code == 75 and Counter(states.values()) == {"waits": 20} and len(there.got) == 5
    assert "puts off one object after another" in caplog.text and "20 files wait" in caplog.text
    with receiver(lambda found, event: 0xA700 if len(found.got) % 3 else 0) as there:  # only some objects: the others arrive
        assert Counter(run(there.peer(), tmp_path)[1].values()) == {"waits": 14, "sent": 6}


def test_a_refused_context_fails_its_files_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image(tmp_path / "a.dcm", "MR_small_implicit.dcm")
    image(tmp_path / "b.dcm", "MR_small.dcm")
    image(tmp_path / "c.dcm")
    with receiver() as there:
        assert run(there.peer(), tmp_path) == (1, {"a.dcm": "refused", "b.dcm": "refused", "c.dcm": "sent"})
    assert "does not take this SOP class: 1.2.840.10008.5.1.4.1.1.4" in caplog.text
    with receiver(syntaxes=[IMPLICIT_LITTLE]) as there:
        assert run(there.peer(), tmp_path / "c.dcm")[0] == 1
    assert f"does not take this transfer syntax: {CT} in {EXPLICIT}" in caplog.text


def test_more_than_128_contexts(tmp_path: Path) -> None:
    classes = [f"1.2.826.0.1.3680043.{number}" for number in range(300)]
    for number, sop_class in enumerate(classes):
        image(tmp_path / f"{number:03}.dcm", SOPClassUID=sop_class)
    groups = grouped(look_at(str(path)) for path in tmp_path.iterdir())
    assert [len(pairs) for pairs, _ in groups] == [128, 128, 44] and sum(len(some) for _, some in groups) == 300
    for path in sorted(tmp_path.iterdir())[131:-3]:
        path.unlink()
    from pynetdicom import _config

    with receiver() as there:
        _config.UNRESTRICTED_STORAGE_SERVICE = True
        assert Counter(run(there.peer(), tmp_path)[1].values()) == {"sent": 134}
        assert there.associations == 2 and len({uid for uid, _ in there.got}) == 134


def test_refusals_of_an_association_in_words(tmp_path: Path) -> None:
    image(tmp_path / "one.dcm")
    cases = [
        ({"require_called_aet": True}, {"called": "NOBODY"}, "it is not called NOBODY; give its AE title with --called"),
        ({"require_calling_aet": ["SOMEBODY"]}, {}, "it does not know our AE title HERE; give it with --calling"),
    ]
    many = "it has as many associations as it takes; send it later, or with fewer --jobs"
    with (
        receiver(maximum_associations=1) as there,
        Association(there.peer(), [(CT, EXPLICIT)]),
        pytest.raises(Unavailable, match=many),
    ):
        run(there.peer(), tmp_path)
    for settings, words, expected in cases:
        with receiver(**settings) as there, pytest.raises(Unavailable) as caught:
            run(there.peer(**words), tmp_path)
        assert f"the receiver refuses the association: {expected}" in str(caught.value)


NO_ANSWERS = [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak DICOM; correct host and port"),
    (b"\x15\3\3\0\2\2\x46", "speaks TLS, and we do not; name certificates"),
    (b"\7\0\0\0\0\4\0\0\2\1", "aborted the association: unrecognised pdu"),
    (b"\2\0\xff\xff\xff\xff", "larger PDU than was agreed on"),
    (b"\2\0\0\0\0\4abcd", "does not speak DICOM as it should"),
    (b"\4\0\0\0\0\4abcd", "does not speak DICOM as it should"),
    (b"\3\0\0\0\0\4\0\1\1\7", "it is not called THERE"),
    (b"\3\0\0\0\0\4\0\2\3\2", "as many associations as it takes"),
    (b"\3\0\0\0\0\4\0\x09\x09\x09", "gives no reason"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "expected"), NO_ANSWERS)
def test_what_is_no_answer(answer: bytes, expected: str) -> None:
    with speaking(answer) as port, pytest.raises(Unavailable, match=expected):
        Association(Receiver(port).peer(timeout=2.0), [(CT, EXPLICIT)])


def test_silence_and_hanging_up() -> None:
    with speaking(b"") as port, pytest.raises(Unavailable, match="said nothing for 0.3 seconds"):
        Association(Receiver(port).peer(timeout=0.3), [(CT, EXPLICIT)])
    with speaking(b"", wait=False) as port, pytest.raises(Unavailable, match="hung up before it answered; it may want TLS"):
        Association(Receiver(port).peer(), [(CT, EXPLICIT)])


def test_an_association_that_ends_is_opened_anew(tmp_path: Path) -> None:
    """The receiver aborts at every fourth object, once: all arrive."""
    uids = images(tmp_path, 10)
    seen: set[str] = set()

    def difficult(found: Receiver, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        if uids.index(uid) % 4 == 3 and uid not in seen:
            seen.add(uid)
            event.assoc.abort()
        return 0

    with receiver(difficult) as there:
        assert Counter(run(there.peer(), tmp_path)[1].values()) == {"sent": 10}
        assert there.associations == 3


def test_objects_that_end_associations_wait_alone(tmp_path: Path) -> None:
    """Also when they are the first ones."""
    uids = images(tmp_path, 8)

    def poisoned(found: Receiver, event: Any) -> int:
        if event.request.AffectedSOPInstanceUID in uids[:4]:
            event.assoc.abort()
        return 0

    with receiver(poisoned) as there:
        code, states = run(there.peer(), tmp_path)
    assert code == 75 and Counter(states.values()) == {"sent": 4, "waits": 4}
    assert {name for name, state in states.items() if state == "waits"} == {f"00{number}.dcm" for number in range(4)}
    assert Counter(uid for uid, _ in there.got) == {uid: 2 if uid in uids[:4] else 1 for uid in uids}


def test_a_receiver_that_always_aborts_is_left_in_peace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path, 10)
    with receiver(lambda found, event: event.assoc.abort() or 0) as there:
        code, states = run(there.peer(), tmp_path)
        assert code == 75 and Counter(states.values()) == {"waits": 10} and len(there.got) == 5
    assert "aborted the association" in caplog.text


def test_a_receiver_that_falls_silent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path, 5)
    ended = threading.Event()
    with receiver(lambda found, event: ended.wait(10) and 0 if len(found.got) == 3 else 0) as there:
        begun = time.monotonic()
        code, states = run(there.peer(timeout=0.5), tmp_path)
        assert time.monotonic() - begun < 3
        ended.set()
    assert code == 75 and Counter(states.values()) == {"sent": 2, "waits": 3}
    assert "said nothing for 0.5 seconds" in caplog.text and "3 files wait" in caplog.text


class Writing(Association):
    """Somebody writes into the file while it is sent."""

    path = ""

    def _send(self, data: bytes) -> None:
        super()._send(data)
        with open(self.path, "r+b") as file:
            file.seek(-2, os.SEEK_END)
            file.write(b"xy")


def test_a_file_that_changes_while_it_is_sent(tmp_path: Path) -> None:
    """It is noticed before the receiver could take it for whole."""
    path = tmp_path / "one.dcm"
    image(path, PixelData=bytes(1 << 20))
    found = look_at(str(path))
    for kind, more in ((Writing, 0), (Association, 100)):  # the second: it became shorter
        with receiver() as there:
            association = kind(there.peer(), [(CT, EXPLICIT)])
            Writing.path = str(path)
            with path.open("rb") as file, pytest.raises(BadData, match="changed while it was sent"):
                association.store(found.pair, found.instance, file.fileno(), found.start, found.length + more)
            assert association.closed
        assert there.got == []


def test_what_comes_into_a_file_while_it_is_sent_does_not_leave(tmp_path: Path) -> None:
    path, said, changed = tmp_path / "one.dcm", [], threading.Event()
    image(path, PixelData=bytes(1 << 22))
    found = look_at(str(path))

    class Watched(Association):
        def _send(self, data: bytes) -> None:
            said.append(data)
            super()._send(data)
            if not changed.is_set():
                changed.set()
                time.sleep(0.02)  # the clock of files is not that fine
                with path.open("r+b") as file:
                    file.seek(found.start + (1 << 20))
                    file.write(b"Doe^Jane" * 1000)

    with receiver() as there:
        association = Watched(there.peer(), [(CT, EXPLICIT)])
        with path.open("rb") as file, pytest.raises(BadData, match="changed while it was sent"):
            association.store(found.pair, found.instance, file.fileno(), found.start, found.length)
    assert not any(b"Doe" in data for data in said) and there.got == []


def test_a_file_that_changes_before_it_is_sent_fails_alone(tmp_path: Path) -> None:
    images(tmp_path, 3)

    def change(received: Receiver, event: Any) -> int:
        (tmp_path / "001.dcm").write_bytes(b"something else")
        return 0

    with receiver(change) as there:
        assert run(there.peer(), tmp_path) == (1, {"000.dcm": "sent", "001.dcm": "failed", "002.dcm": "sent"})


def test_a_fault_of_the_program_stops_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    uids = images(tmp_path, 4)
    store = Association.store

    def faulty(self: Association, pair: Any, instance: str, *words: Any) -> Any:
        if instance == uids[1]:
            raise KeyError("x")
        return store(self, pair, instance, *words)

    monkeypatch.setattr(Association, "store", faulty)
    with receiver() as there:
        code, states = run(there.peer(), tmp_path)
    assert code == 1 and Counter(states.values()) == {"sent": 3, "failed": 1} and states["001.dcm"] == "failed"
    assert "001.dcm: a fault of this program, KeyError" in caplog.text


UNFIT = [
    (b"", "it answered something"),  # no status
    (struct.pack("<HHLH", 0, 0x0900, 2, 0) + struct.pack("<HHL", 0, 0x1000, 6) + b"1.2.3\0", "it answered something"),
    (struct.pack("<HHL", 0, 0x0900, 1) + b"\0", "it answered something"),
    (struct.pack("<HHLH", 0, 0x0120, 2, 7) + struct.pack("<HHLH", 0, 0x0900, 2, 0), "it answered something"),  # another message
    (struct.pack("<HHL", 0, 0x0900, 1 << 31), "it answered something"),
    (b"\0" * 5, "no DICOM"),
]  # fmt: skip


@pytest.mark.parametrize(("elements", "expected"), UNFIT)
def test_an_answer_that_says_something_else_is_no_acknowledgement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elements: bytes, expected: str
) -> None:
    """Whatever the receiver says wrongly: the object is not taken for stored."""
    image(tmp_path / "one.dcm")
    found = look_at(str(tmp_path / "one.dcm"))
    command = struct.pack("<HHLH", 0, 0x0100, 2, 0x8001) + struct.pack("<HHLH", 0, 0x0120, 2, 1) + elements
    answer = struct.pack(">BxLLBB", 4, len(command) + 6, len(command) + 2, 1, 3) + command
    with receiver() as there:
        association = Association(there.peer(), [(CT, EXPLICIT)])
        ours, theirs = socket.socketpair()
        monkeypatch.setattr(ours.__class__, "setsockopt", lambda *words: None, raising=False)
        real, association._socket = association._socket, ours
        with real, theirs, ours:
            theirs.sendall(answer)
            descriptor = found.open()
            draining = threading.Thread(target=lambda: [None for _ in iter(lambda: theirs.recv(1 << 16), b"")])
            draining.start()
            with pytest.raises(Lost, match=expected):
                association.store(found.pair, found.instance, descriptor, found.start, found.length)
            os.close(descriptor)
            draining.join()


def test_echo(tmp_path: Path) -> None:
    with receiver() as there, Association(there.peer(), [(VERIFICATION, IMPLICIT_LITTLE)]) as association:
        for _ in range(3):
            assert association.echo().status == 0
    with pytest.raises(Lost):
        association.echo()


def test_a_run_that_is_interrupted_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    images(tmp_path / "out", 30)
    journal = tmp_path / "sent.db"

    class Ended(BaseException):
        pass

    class Stops(Outcome):
        def enter(self, path: str, *words: Any, **more: Any) -> None:
            super().enter(path, *words, **more)
            if path.endswith("010.dcm"):
                time.sleep(0.2)  # some more are acknowledged meanwhile
                raise Ended

    with receiver(lambda found, event: time.sleep(0.02) or 0) as there:
        peer = there.peer()
        with pytest.raises(Ended), open_journal(str(journal), f"{peer.called}@{peer.place}") as known:
            send([str(tmp_path / "out")], [], peer, known, Stops(), 1)
        arrived = len(there.got)
        counts = Counter(run(peer, tmp_path / "out", journal=journal)[1].values())
        assert arrived > 12 and counts["known"] >= arrived - 1 and counts["known"] + counts["sent"] == 30
        assert len({uid for uid, _ in there.got}) == 30


def test_logged_once_for_many(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path, 30, removed=None)
    with receiver() as there, caplog.at_level(logging.WARNING):
        assert run(there.peer(), tmp_path)[0] == 1
    assert caplog.text.count("identity was not removed") == 20 and "10 more files: not sent" in caplog.text


def test_nothing_to_do_needs_no_receiver(tmp_path: Path) -> None:
    assert run(Receiver(1).peer(), tmp_path) == (0, {})
