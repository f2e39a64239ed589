"""The spool: what was added is there after any death of its writer, and nothing half-written ever is."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
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


@settings(max_examples=60, deadline=None)
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


def test_a_damaged_document_hides_none_behind_it(tmp_path: Path) -> None:
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


WRITER = """
import sys
from toolkit.datacentre.spool import Entry, Spool
spool = Spool(sys.argv[1], writing=True, segment_bytes=300_000)
number = 0
while True:
    batch = [Entry(f"{sys.argv[2]}-{number + i}", "k1.A", "c", "t", bytes([i]) * 9000) for i in range(7)]
    number += 7
    for one, receipt in zip(batch, spool.add_all(batch)):
        print(one.message_id, receipt.place, flush=True)
"""


def test_whatever_was_acknowledged_before_kill_9_is_there(tmp_path: Path, root: Path) -> None:
    acknowledged: dict[str, str] = {}
    for round_ in range(8):
        process = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "spool", str(round_)], cwd=root, stdout=subprocess.PIPE)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        lines = (first + process.stdout.read()).decode().splitlines(keepends=True)
        process.stdout.close()
        process.wait()
        acknowledged.update(line.split() for line in lines if line.endswith("\n"))
    assert len(acknowledged) > 50
    with Spool(str(tmp_path / "spool")) as spool:
        found = {one.message_id: place for place, one in spool}
        assert acknowledged.items() <= found.items()
        assert all(spool.read(place).message_id == name for name, place in acknowledged.items())
