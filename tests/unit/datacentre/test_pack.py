"""What the receiver acknowledged moves from the spool into packs and is there at every step, whatever is killed, lost or damaged."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyarrow import parquet
from sqlalchemy import select

from tests.unit.datacentre.visits import document
from toolkit.core.database import open_database
from toolkit.core.errors import BadData, InputOutput, ToolError, TryLater
from toolkit.core.storage import Store, open_store
from toolkit.datacentre.index import Document, Index, open_index
from toolkit.datacentre.index_tables import METADATA
from toolkit.datacentre.pack import Packed, Places, alone, copy_checked, pack
from toolkit.datacentre.packs import PackReader
from toolkit.datacentre.reindex import Reindexed, reindex
from toolkit.datacentre.spool import Entry, Spool
from toolkit.datacentre.verify_store import Verified, verify


@dataclass
class House:
    """A data centre: its spool, written by a receiver that entered what it received, two stores and the index."""

    directory: Path
    index: Index
    stores: list[Store]

    @property
    def spool(self) -> str:
        return str(self.directory / "spool")

    def receive(self, numbers: range, entered: bool = True) -> None:
        with Spool(self.spool, writing=True) as spool:
            entries = [received(number) for number in numbers]
            for entry, receipt in zip(entries, spool.add_all(entries), strict=True):
                row = Document(entry.message_id, entry.mdc_visit, entry.digest, len(entry.body), "CN=a", entry.received, receipt.place)
                if entered:
                    self.index.add([row])

    @property
    def places(self) -> Places:
        return Places(self.index.place, self.spool, tuple(store.url for store in self.stores))

    def pack(self, pack_bytes: int = 1 << 20) -> Packed:
        return pack(self.places, pack_bytes=pack_bytes)

    def read(self, number: int) -> bytes:
        """As the gateway does it: look up, read, and look up again when it has moved in between."""
        (found,) = self.index.find(f"k1.V{number}")
        if found.place.startswith("pack:"):
            return PackReader(*self.stores).read(found.place)
        with Spool(self.spool) as spool:
            return spool.read(found.place).body

    def check(self, numbers: range) -> None:
        assert all(self.read(number) == document(number) for number in numbers)

    def packs(self, copy: str = "store") -> list[Path]:
        return sorted((self.directory / copy / "packs").glob("*.parquet"))


def received(number: int) -> Entry:
    return Entry(f"m{number}", f"k1.V{number}", "CN=a", f"2026-11-22T10:{number // 60:02}:{number % 60:02}Z", document(number))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_index(str(tmp_path / "index.db")) as index:
        yield House(tmp_path, index, [open_store(str(tmp_path / name)) for name in ("store", "archive")])


def test_documents_move_in_packs_of_the_size_asked_for_and_leave_the_spool(house: House) -> None:
    house.receive(range(10))
    house.check(range(10))
    size = sum(len(document(number)) for number in range(10))
    assert house.pack(size // 2) == Packed(2, 10, 0)
    house.check(range(10))
    assert not list(Path(house.spool).glob("*.spool"))
    assert house.pack() == Packed(0, 0, 0)
    assert verify(house.index, house.stores).damaged == 0
    assert not list(Path(house.spool).glob(".packing*"))


def test_rows_stand_beside_the_pack_by_the_visits_month(house: House) -> None:
    house.receive(range(30))
    house.pack()
    tables = {path.parts[-4]: 0 for path in (house.directory / "store" / "rows").rglob("*.parquet")}
    assert set(tables) == {"visits", "diagnoses", "procedures"}
    paths = list((house.directory / "store" / "rows" / "visits").rglob("*.parquet"))
    assert {path.parent.name for path in paths} == {"month=1", "month=2"}
    rows = [row for path in paths for row in parquet.read_table(path, partitioning=None).to_pylist()]
    assert sorted(row["mdc_visit"] for row in rows) == sorted(f"k1.V{number}" for number in range(30))
    assert all(f"month={int(row['start'][4:6])}" in {path.parent.name for path in paths} for row in rows)


def test_what_is_durable_and_was_never_entered_is_entered_and_packed(house: House) -> None:
    house.receive(range(5), entered=False)
    assert house.pack() == Packed(1, 5, 0)
    house.check(range(5))


def test_a_segment_that_is_being_written_stays(house: House) -> None:
    with Spool(house.spool, writing=True) as spool:
        spool.add(received(1))
        assert house.pack() == Packed(0, 0, 0)
        assert len(spool.segments()) == 1
        spool.add(received(2))
    assert house.pack() == Packed(1, 2, 0)
    house.check(range(1, 3))
    assert not list(Path(house.spool).glob("*.spool"))


def test_a_damaged_document_stays_in_the_spool_and_stops_no_other(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.receive(range(3))
    (segment,) = Path(house.spool).glob("*.spool")
    data = segment.read_bytes()
    at = data.index(document(1)) + 200
    segment.write_bytes(data[:at] + b"~" + data[at + 1 :])
    with caplog.at_level(logging.ERROR):
        assert house.pack() == Packed(1, 2, 1)
    assert "m1 at spool:" in caplog.text
    assert house.read(0) == document(0) and house.read(2) == document(2)
    assert segment.exists() and house.index.packs(stored=False) == []
    assert house.pack() == Packed(0, 0, 1)


def test_two_packers_do_not_work_at_once(house: House) -> None:
    house.receive(range(1))
    with alone(house.spool), pytest.raises(TryLater, match="another mdc-store"):
        house.pack()
    assert house.pack().documents == 1


def test_the_spool_keeps_all_while_the_archive_fails(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.receive(range(3))
    archive = house.directory / "archive"
    archive.write_text("a disk that is not mounted")
    monkeypatch.setattr("toolkit.datacentre.pack.TRIES", 1)
    with pytest.raises(ToolError, match="archive"):
        house.pack()
    house.check(range(3))
    assert all(one.place.startswith("spool:") for number in range(3) for one in house.index.find(f"k1.V{number}"))
    archive.unlink()
    house.stores[1] = open_store(str(archive))
    assert house.pack() == Packed(1, 3, 0)
    assert len(house.packs()) == len(house.packs("archive")) == 1  # the plan was carried out, not made again
    assert verify(house.index, house.stores).unsolved == 0


def test_a_copy_that_cannot_be_read_back_is_put_again(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")
    pauses: list[float] = []
    with pytest.raises((InputOutput, BadData)):
        copy_checked(open_store(str(tmp_path / "store")), "packs/a", source, "sha256:" + "0" * 64, pauses.append)
    copy_checked(open_store(str(tmp_path / "store")), "packs/a", source, "sha256:" + hashlib.sha256(b"content").hexdigest())


def test_verify_restores_what_either_copy_lost(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.receive(range(5))
    house.pack()
    spoil(house.packs()[0])
    house.packs("archive")[0].with_suffix(".json").unlink()
    house.check(range(5))  # from the archive
    found = verify(house.index, house.stores, restore=False)
    assert (found.damaged, found.restored, found.unsolved) == (2, 0, 2)
    found = verify(house.index, house.stores)
    assert (found.damaged, found.restored, found.unsolved) == (2, 2, 0)
    assert "restored from" in caplog.text
    assert verify(house.index, house.stores) == Verified(found.objects, 0, 0, 0)


def test_what_no_copy_has_is_an_error(house: House) -> None:
    house.receive(range(2))
    house.pack()
    for copy in ("store", "archive"):
        spoil(house.packs(copy)[0])
    assert verify(house.index, house.stores).unsolved == 2
    with pytest.raises(BadData):
        house.read(0)


def test_reindex_makes_the_same_index(house: House) -> None:
    house.receive(range(20))
    house.pack(20000)
    house.receive(range(20, 25))
    places = dataclasses.replace(house.places, index=str(house.directory / "new.db"))
    for _ in range(2):
        assert reindex(places) == Reindexed(len(house.packs()), 20)
        with open_index(places.index) as index:
            assert tables(index) == tables(house.index)
            assert verify(index, house.stores).unsolved == 0


def test_an_index_without_a_pack_is_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.receive(range(2))
    house.pack()
    with open_index(str(house.directory / "new.db")) as index:
        assert verify(index, house.stores).unsolved > 0
    assert "run mdc-store reindex" in caplog.text


def test_killed_packers_lose_and_double_nothing(house: House, root: Path) -> None:
    dice = random.Random(4)
    base = [sys.executable, root / "bin/mdc-store", "pack", "--index", house.directory / "index.db", "--spool", house.spool]
    command = [*map(str, base), "--store", str(house.directory / "store"), "--archive", str(house.directory / "archive")]
    total, killed = 0, 0
    for _ in range(12):
        house.receive(range(total, total + 40))
        total += 40
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        time.sleep(dice.uniform(0.3, 1.6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    subprocess.run(command, check=True)
    assert killed >= 3
    house.check(range(total))
    counts = house.index.counts()
    assert (counts.packed, counts.spooled, counts.planned_packs) == (total, 0, 0)
    assert verify(house.index, house.stores).damaged == 0
    held = [row for path in house.packs() for row in parquet.read_table(path, columns=["message_id"])["message_id"].to_pylist()]
    assert sorted(held) == sorted(f"m{number}" for number in range(total))


def tables(index: Index) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables."""
    with open_database(index.place).connect() as connection:
        return {table.name: sorted(map(tuple, connection.execute(select(table))), key=repr) for table in METADATA.sorted_tables}


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 97):
        data[at] ^= 0xFF
    os.truncate(path, 0)
    path.write_bytes(data)
