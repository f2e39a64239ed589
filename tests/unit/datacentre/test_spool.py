"""The spool: what was added is there after any death of its writer, and nothing half-written ever is."""

from __future__ import annotations

import fcntl
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.core.errors import BadData, InputOutput, NoInput, TryLater
from toolkit.datacentre.spool import Entry, Spool


def entry(number: int, body: bytes = b"") -> Entry:
    return Entry(f"m{number}", f"k1.V{number}", "CN=hospital", "2026-11-22T00:00:00Z", body or b"<v>%d</v>" % number)


def test_what_is_added_is_read_by_its_place_and_in_order(tmp_path: Path) -> None:
    entries = [entry(number) for number in range(5)]
    with Spool(str(tmp_path / "spool"), writing=True) as spool:
        receipts = spool.add_all(entries[:3]) + [spool.add(one) for one in entries[3:]]
        assert [spool.read(receipt.place) for receipt in receipts] == entries
        assert [receipt.digest for receipt in receipts] == [one.digest for one in entries]
    with Spool(str(tmp_path / "spool")) as reader:
        assert list(reader) == [(receipt.place, one) for receipt, one in zip(receipts, entries, strict=True)]


@settings(max_examples=60)
@given(cut=st.integers(min_value=0), bodies=st.lists(st.binary(max_size=200), min_size=1, max_size=5))
def test_a_torn_tail_costs_only_what_is_torn(tmp_path_factory: pytest.TempPathFactory, cut: int, bodies: list[bytes]) -> None:
    home = tmp_path_factory.mktemp("spool")
    with Spool(str(home), writing=True) as spool:
        places = [spool.add(entry(number, body or b"x")).place for number, body in enumerate(bodies)]
    path = next(home.iterdir())
    begins = [int(place.split(":")[2]) for place in places] + [path.stat().st_size]
    cut %= begins[-1] + 1
    os.truncate(path, cut)
    whole = sum(end <= cut for end in begins[1:])
    with Spool(str(home), writing=True) as spool:
        later = spool.add(entry(99)).place
        assert [place for place, _ in spool] == [*places[:whole], later]


@pytest.mark.parametrize(
    "tail",
    [
        b"\0" * 5000,  # what a file system leaves when it wrote the length and not the content
        b"\x89MDC",
        b"\x89MDCv1\r\n",
        b"\x89MDCv1\r\n" + b"\xff" * 60,  # lengths beyond everything
        b"\x89MDCv1\r\n" + b"\0" * 60,
        b"\x89MDCv1\r\n" * 300,
        "another body",
        "no last byte",
        "no body",
        bytes(range(256)) * 9000,  # 2 MB: longer than what is read at once
    ],
    ids=lambda tail: str(tail)[:30],
)
def test_whatever_stands_at_the_end_is_passed_over(tail: bytes | str, tmp_path: Path) -> None:
    with Spool(str(tmp_path), writing=True) as spool:
        places = [spool.add(entry(number, b"x" * 300)).place for number in range(3)]
    path = next(tmp_path.iterdir())
    data = path.read_bytes()
    frame = data[int(places[2].split(":")[2]) :]
    if isinstance(tail, str):
        tail = {"another body": frame[:-300] + b"y" * 300, "no last byte": frame[:-1], "no body": frame[:-300]}[tail]
    path.write_bytes(data + tail)
    with Spool(str(tmp_path), writing=True) as spool:
        later = spool.add(entry(99)).place
        assert [place for place, _ in spool] == [*places, later]
        with pytest.raises(BadData, match="no whole document"):
            spool.read(f"{places[0].rpartition(':')[0]}:{len(data)}")


@settings(max_examples=60)
@given(at=st.integers(min_value=0), bit=st.integers(0, 7), bodies=st.lists(st.binary(max_size=100), min_size=2, max_size=5))
def test_one_wrong_bit_costs_one_document(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int, bodies: list[bytes]) -> None:
    home = tmp_path_factory.mktemp("spool")
    with Spool(str(home), writing=True) as spool:
        written = {spool.add(one).place: one for one in (entry(number, body or b"x") for number, body in enumerate(bodies))}
    path = next(home.iterdir())
    data = bytearray(path.read_bytes())
    at %= len(data)
    data[at] ^= 1 << bit
    path.write_bytes(data)
    hit = max(place for place in written if int(place.split(":")[2]) <= at)
    with Spool(str(home)) as spool:
        assert dict(spool) == {place: one for place, one in written.items() if place != hit}
        with pytest.raises(BadData, match="no whole document"):
            spool.read(hit)


def test_a_damaged_document_hides_none_behind_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Spool(str(tmp_path), writing=True) as spool:
        places = [spool.add(entry(number)).place for number in range(3)]
    path = next(tmp_path.iterdir())
    data = bytearray(path.read_bytes())
    data[int(places[2].split(":")[2]) - 3] ^= 1
    path.write_bytes(data)
    with Spool(str(tmp_path)) as spool:
        assert [place for place, _ in spool] == [places[0], places[2]]
        with pytest.raises(BadData, match="no whole document"):
            spool.read(places[1])
    assert "are damaged" in caplog.text  # it may have been acknowledged


def test_one_process_writes_and_its_segment_is_not_dropped(tmp_path: Path) -> None:
    with Spool(str(tmp_path), writing=True) as spool:
        place = spool.add(entry(1)).place
        with pytest.raises(TryLater, match="another process writes"):
            Spool(str(tmp_path), writing=True)
        with Spool(str(tmp_path)) as packer:
            (segment,) = packer.segments()
            assert not packer.drop(segment)
            assert packer.read(place) == entry(1)
    with Spool(str(tmp_path)) as packer:
        assert packer.drop(segment)
        assert packer.segments() == []
        with pytest.raises(NoInput, match="may be in a pack"):
            packer.read(place)


def test_a_reader_keeps_what_is_dropped_meanwhile(tmp_path: Path) -> None:
    with Spool(str(tmp_path), writing=True, segment_bytes=1) as spool:
        places = [spool.add(entry(number)).place for number in range(3)]
    with Spool(str(tmp_path)) as reader, Spool(str(tmp_path)) as packer:
        reading = iter(reader)
        assert next(reading)[0] == places[0]
        assert [packer.drop(segment) for segment in packer.segments()] == [True] * 3
        assert list(reading) == []
        assert reader.size() == 0
    with Spool(str(tmp_path), writing=True) as spool:
        places = [spool.add(entry(number)).place for number in range(3)]
    with Spool(str(tmp_path)) as reader:
        reading = reader.entries(reader.segments()[0])
        next(reading)
        assert reader.drop(reader.segments()[0])
        assert [place for place, _ in reading] == places[1:]


def test_a_segment_that_is_dropped_while_it_is_begun_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between making and locking it, another process locks and removes it: what is written to it would be nowhere."""
    flock, dropped = fcntl.flock, []

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        dropped.extend(packer.drop(segment) for segment in packer.segments())
        flock(descriptor, operation)

    with Spool(str(tmp_path), writing=True) as spool, Spool(str(tmp_path)) as packer:
        monkeypatch.setattr(fcntl, "flock", late)
        receipt = spool.add(entry(1))
        assert dropped == [True]
        assert spool.read(receipt.place) == entry(1)


def test_two_that_drop_one_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second removes nothing, least of all a file that has the name now."""
    with Spool(str(tmp_path), writing=True) as spool:
        spool.add(entry(1))
        (segment,) = spool.segments()
    flock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        assert other.drop(segment)
        (tmp_path / f"{segment}.spool").write_bytes(b"something else")
        flock(descriptor, operation)

    with Spool(str(tmp_path)) as one, Spool(str(tmp_path)) as other:
        monkeypatch.setattr(fcntl, "flock", late)
        assert not one.drop(segment)
    assert (tmp_path / f"{segment}.spool").read_bytes() == b"something else"


def test_writer_reader_and_packer_at_once(tmp_path: Path) -> None:
    """Several threads add, another process's view drops what has ended: each document is read or was dropped whole, none is half there."""
    seen: set[str] = set()
    failed: list[BaseException] = []
    with Spool(str(tmp_path), writing=True, segment_bytes=20_000) as spool, Spool(str(tmp_path)) as packer:

        def write(first: int) -> None:
            try:
                for number in range(first, first + 100):
                    assert spool.add(entry(number, bytes([number % 256]) * 2000)).digest
            except BaseException as error:
                failed.append(error)

        writers = [threading.Thread(target=write, args=(first,)) for first in (0, 1000, 2000)]
        for writer in writers:
            writer.start()
        deadline = time.monotonic() + 60
        while (any(writer.is_alive() for writer in writers) or packer.segments()) and time.monotonic() < deadline:
            if not any(writer.is_alive() for writer in writers):
                spool.close()
            for segment in packer.ended():
                found = [one for _, one in packer.entries(segment)]
                assert all(one.body == bytes([int(one.message_id[1:]) % 256]) * 2000 for one in found)
                assert packer.drop(segment)
                seen.update(one.message_id for one in found)
    assert failed == []
    assert len(seen) == 300


def test_segments_end_by_size_and_by_age_and_are_never_numbered_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Spool(str(tmp_path), writing=True, segment_bytes=1) as spool:
        spool.add(entry(1))
        monkeypatch.setattr(time, "time_ns", lambda: 5)  # the clock jumps back
        spool.add(entry(2))
        assert len(spool.segments()) == 2
        assert [one.message_id for _, one in spool] == ["m1", "m2"]
    with Spool(str(tmp_path), writing=True, segment_seconds=0.0) as spool:
        spool.add(entry(3))
        spool.end_old_segment()
        assert spool.drop(spool.segments()[-1])


def test_a_full_disk_acknowledges_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the write fails half-way."""
    with Spool(str(tmp_path), writing=True) as spool:
        spool.add(entry(1))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
            with pytest.raises(InputOutput, match="nothing was acknowledged"):
                spool.add_all([entry(2, b"x" * 3000), entry(3, b"y" * 9000)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, ignored)
        spool.add(entry(4))
        assert [one.message_id for _, one in spool] == ["m1", "m4"]


def test_a_small_disk_that_is_full_loses_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """A file system of 1 MB, where this user may mount one."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "spool", tmp_path], capture_output=True).returncode:
        return  # the test before this one stands for it
    try:
        with Spool(str(tmp_path), writing=True, segment_bytes=200_000) as spool:
            kept: list[Entry] = []
            with pytest.raises(InputOutput, match="No space left"):
                for number in range(100):
                    kept += [entry(number, bytes([number]) * 90_000)] if spool.add(entry(number, bytes([number]) * 90_000)) else []
            for _ in range(3):
                with pytest.raises(InputOutput, match="nothing was acknowledged"):
                    spool.add_all([entry(100), entry(101, b"x" * 900_000)])
            assert [one for _, one in spool] == kept
            assert spool.drop(spool.segments()[0])
            spool.add(entry(102))
            assert [one for _, one in spool] == [*kept[-len(kept) + 3 :], entry(102)]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


FAILING = """
import ctypes, errno, platform, sys
from toolkit.core.errors import InputOutput
from toolkit.datacentre.spool import Entry, Spool

class Filter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32)]
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("filter", ctypes.POINTER(Filter))]

def forbid(call):  # seccomp(2): from here on the kernel answers this system call with EIO
    refuse, allow = Filter(0x06, 0, 0, 0x00050000 | errno.EIO), Filter(0x06, 0, 0, 0x7FFF0000)
    rules = (Filter * 4)(Filter(0x20, 0, 0, 0), Filter(0x15, 0, 1, call), refuse, allow)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(Program(4, rules)), 0, 0) == 0, ctypes.get_errno()

calls = {"x86_64": {"fdatasync": 75, "fsync": 74}, "aarch64": {"fdatasync": 83, "fsync": 82}}[platform.machine()]
spool = Spool(sys.argv[1], writing=True)
if sys.argv[2] == "fdatasync":
    print(spool.add(Entry("before", "k1.A", "c", "t", b"x" * 9000)).place)
forbid(calls[sys.argv[2]])
for number in range(3):
    try:
        print("acknowledged", spool.add(Entry(f"after{number}", "k1.A", "c", "t", b"y" * 9000)).place)
    except InputOutput as error:
        assert "nothing was acknowledged" in str(error)
"""


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_nothing_is_acknowledged_when_the_disk_fails(call: str, tmp_path: Path, root: Path) -> None:
    """fdatasync is that of documents, fsync that of the directory in which a segment begins."""
    done = subprocess.run([sys.executable, "-c", FAILING, tmp_path, call], cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "acknowledged" not in done.stdout
    with Spool(str(tmp_path), writing=True) as spool:
        assert [place for place, _ in spool] == done.stdout.split()
        spool.add(entry(1))


WRITER = """
import sys
from toolkit.datacentre.spool import Entry, Spool
spool = Spool(sys.argv[1], writing=True, segment_bytes=300_000)
number = 0
while True:
    batch = [Entry(f"{sys.argv[2]}-{number + i}", "k1.A", "c", "t", bytes([i]) * (90_000 if i == 3 else 900)) for i in range(7)]
    number += 7
    for one, receipt in zip(batch, spool.add_all(batch)):
        print(one.message_id, receipt.place, flush=True)
"""


def test_whatever_was_acknowledged_before_kill_9_is_there(tmp_path: Path, root: Path) -> None:
    acknowledged: dict[str, str] = {}
    for round_ in range(30):
        process = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "spool", str(round_)], cwd=root, stdout=subprocess.PIPE)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        lines = (first + process.stdout.read()).decode().splitlines(keepends=True)
        process.stdout.close()
        process.wait()
        acknowledged.update(line.split() for line in lines if line.endswith("\n"))
    assert len(acknowledged) > 200
    with Spool(str(tmp_path / "spool")) as spool:
        found = {one.message_id: place for place, one in spool}
        assert acknowledged.items() <= found.items()
        assert all(spool.read(place).message_id == name for name, place in acknowledged.items())
