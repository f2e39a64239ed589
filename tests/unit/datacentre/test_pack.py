"""What the receiver acknowledged moves from the spool into packs and is there at every step."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import parquet

from tests.unit.datacentre.house import House, agree, received
from tests.unit.datacentre.visits import document
from toolkit.core.errors import InputOutput, NoInput, ToolError, TryLater, Unavailable
from toolkit.core.storage import open_store
from toolkit.datacentre import pack as packing
from toolkit.datacentre.index import Index, open_index
from toolkit.datacentre.pack import Packed, alone, copy_checked, pack, recover
from toolkit.datacentre.reindex import reindex
from toolkit.datacentre.spool import Spool
from toolkit.datacentre.verify_store import verify


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    url = str(tmp_path / "index.db") if request.param == "sqlite" else request.getfixturevalue("postgresql")
    with open_index(url) as index:
        yield House(tmp_path, url, index, (str(tmp_path / "store"), str(tmp_path / "archive")))


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


def test_a_damaged_document_is_told_and_stops_no_other(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """It leaves the index, so that it is new when it is sent again; what is left of it is put aside."""
    house.receive(range(3))
    damage(house, 1)
    (segment,) = Path(house.spool).glob("*.spool")
    data = segment.read_bytes()
    with caplog.at_level(logging.ERROR):
        assert house.pack() == Packed(1, 2, 1)
    assert "m1 at spool:" in caplog.text and "ask the sender to send it again" in caplog.text
    house.check([0, 2])
    assert house.index.find("k1.V1") == [] and house.index.packs(stored=False) == []
    assert segment.with_suffix(".damaged").read_bytes() == data and not segment.exists()
    assert house.pack() == Packed(0, 0, 0)
    house.receive([1])
    assert house.pack() == Packed(1, 1, 0)
    house.check(range(3))


def test_a_document_that_cannot_be_read_now_is_tried_again(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.receive(range(3))
    (segment,) = Path(house.spool).glob("*.spool")
    segment.rename(segment.with_suffix(".elsewhere"))
    with caplog.at_level(logging.ERROR):
        assert house.pack() == Packed(0, 0, 3)
    assert "it stays where it is" in caplog.text
    assert house.index.counts().spooled == 3
    segment.with_suffix(".elsewhere").rename(segment)
    assert house.pack() == Packed(1, 3, 0)
    agree(house, ["m0", "m1", "m2"])


def test_two_packers_do_not_work_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.receive(range(1))
    monkeypatch.setattr(packing, "_PATIENCE", 0.0)
    with alone(house.spool), pytest.raises(TryLater, match="another mdc-store"):
        house.pack()
    assert house.pack().documents == 1


def test_the_spool_keeps_all_while_the_archive_fails(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.receive(range(3))
    archive = house.directory / "archive"
    archive.write_text("a disk that is not mounted")
    monkeypatch.setattr(packing, "TRIES", 1)
    with pytest.raises(ToolError, match="archive"):
        house.pack()
    house.check(range(3))
    assert all(one.place.startswith("spool:") for number in range(3) for one in house.index.find(f"k1.V{number}"))
    archive.unlink()
    assert house.pack() == Packed(1, 3, 0)
    assert len(house.packs()) == len(house.packs("archive")) == 1  # the plan was carried out, not made again
    agree(house, ["m0", "m1", "m2"])


def test_a_copy_that_reads_back_otherwise_is_put_again_then_refused(tmp_path: Path) -> None:
    """A store whose disk changes what it was given: the first two times, then never, then always."""
    source, url = tmp_path / "source", str(tmp_path / "store")
    source.write_bytes(b"content")
    good = open_store(url).put("other", source)
    pauses: list[float] = []

    def damage(seconds: float) -> None:
        pauses.append(seconds)

    store = open_store(url)
    real, spoiled = store.digest, [True, True, False]
    store.digest = lambda name: "sha256:0" if spoiled.pop(0) else real(name)  # type: ignore[method-assign]
    copy_checked(store, "packs/a", source, good, damage)
    assert (pauses, spoiled, store.get("packs/a")) == ([1.0, 2.0], [], b"content")
    store.digest = lambda name: "sha256:0"  # type: ignore[method-assign]
    with pytest.raises(InputOutput, match="gives back something else"):
        copy_checked(store, "packs/b", source, good, damage)
    assert len(pauses) == 2 + packing.TRIES - 1


def test_a_document_without_rows_is_kept_and_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    entry = received(1)
    house.take([type(entry)("m9", "k1.V9", "CN=a", entry.received, b"<ClinicalDocument xmlns='urn:hl7-org:v3'/>")])
    with caplog.at_level(logging.WARNING):
        assert house.pack() == Packed(1, 1, 0)
    assert "m9: has no visit id; it is kept, and no search finds it" in caplog.text
    assert house.body(house.index.find("k1.V9")[0]).startswith(b"<ClinicalDocument")


def test_several_versions_of_a_visit(house: House) -> None:
    """The newest document's rows win, whenever it is packed; the older ones stay readable."""
    newer, older = received(1, version=1), received(1)
    house.take([newer])
    house.pack()
    house.take([older])
    house.pack()
    documents = house.index.find("k1.V1")
    assert [house.body(one) for one in documents] == [older.body, newer.body]
    assert house.index.search(limit=9) == ["k1.V1"]
    paths = (house.directory / "store/rows/visits").rglob("*.parquet")
    rows = [row for path in paths for row in parquet.read_table(path).to_pylist()]
    assert sorted(row["message_id"] for row in rows) == ["m1", "m1.1"]
    assert max(rows, key=lambda row: (row["received"], row["message_id"]))["message_id"] == "m1.1"
    house.take([received(1, version=2)])
    house.pack()
    agree(house, ["m1", "m1.1", "m1.2"])


def test_a_corrected_patient_leaves_no_other_behind(house: House) -> None:
    old, new = received(1), received(1, version=1)
    house.take([old])
    house.pack()
    house.take([type(new)(new.message_id, new.mdc_visit, new.client, new.received, new.body.replace(b"k1.P0", b"k1.P7"))])
    house.pack()
    assert (house.index.search(patient="k1.P0"), house.index.search(patient="k1.P7")) == ([], ["k1.V1"])
    assert house.index.counts().patients == 1


def test_several_processes(house: House) -> None:
    """By the real command; each pack is one process's, and the index is entered by all of them."""
    house.receive(range(120))
    with_small_packs = pack(house.places, jobs=1, pack_bytes=30_000)
    assert with_small_packs.packs > 3
    house.receive(range(120, 240))
    result = house.run("pack", "--jobs", "3")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    house.check(range(240))
    agree(house, [f"m{number}" for number in range(240)])


def test_a_process_that_dies_ends_the_run_and_the_next_completes_it(tmp_path: Path) -> None:
    url = str(tmp_path / "index.db")
    with open_index(url) as index:
        house = House(tmp_path, url, index, (str(tmp_path / "store"), str(tmp_path / "archive")))
        house.receive(range(2000))
        for begin in range(0, 2000, 100):
            index.plan(f"20261122T1{begin:05}Z-{begin:016x}", "2026-11-22", [f"m{number}" for number in range(begin, begin + 100)])
    process = subprocess.Popen(house.command("pack", "--jobs", "2"), stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(found := children.read_text().split()) < 2:
        time.sleep(0.01)
    time.sleep(0.3)
    os.kill(int(found[0]), signal.SIGKILL)
    _, words = process.communicate(timeout=60)
    assert process.returncode == Unavailable.exit_status
    assert words.startswith("mdc-store: a process that packs: ended by SIGKILL; run it again, ") and words.count("\n") == 1
    with open_index(url) as house.index:
        assert house.run("pack").returncode == 0
        house.check(range(2000))
        agree(house, [f"m{number}" for number in range(2000)])


def test_no_spool(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="name the gateway's spool"), alone(str(tmp_path / "spool")):
        pass


class Killed(BaseException):
    pass


def killed_before_entering(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store and archive hold the pack and its list; the index does not know it yet."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Index, "packed", die)
        with pytest.raises(Killed):
            house.pack()


def damage(house: House, number: int) -> None:
    """A byte of that document in the spool is another one."""
    (segment,) = Path(house.spool).glob("*.spool")
    data = segment.read_bytes()
    at = data.index(document(number)) + 200
    segment.write_bytes(data[:at] + b"~" + data[at + 1 :])


def test_the_spool_is_kept_until_the_archive_lists_the_pack(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the archive had it; then the index is made anew from the store, as if it were packed."""
    house.receive(range(3))
    killed_before_entering(house, monkeypatch)
    shutil.rmtree(house.directory / "archive")
    places = house.elsewhere(str(house.directory / "new.db"))
    reindex(places)
    pack(places)
    assert list(Path(house.spool).glob("*.spool"))
    with open_index(places.index) as index:
        assert verify(index, house.stores).unsolved == 0
    pack(places)
    assert not list(Path(house.spool).glob("*.spool"))
    assert len(house.packs("archive")) == 1


def test_what_an_earlier_run_had_put_into_a_store_is_not_lost_with_the_spool(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.receive(range(3))
    killed_before_entering(house, monkeypatch)
    damage(house, 1)
    assert house.pack() == Packed(1, 3, 0)
    agree(house, ["m0", "m1", "m2"])
    house.check(range(3))


def test_repeating_a_killed_run_writes_the_same_bytes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else verify, at work meanwhile, would take new objects for damaged ones and bring back the old from the other copy."""
    house.receive(range(3))
    killed_before_entering(house, monkeypatch)
    before = {path: path.read_bytes() for path in (house.directory / "store").rglob("*") if path.is_file()}
    time.sleep(1.1)
    house.pack()
    assert {path: path.read_bytes() for path in (house.directory / "store").rglob("*") if path.is_file()} == before


def test_one_content_under_two_message_ids_can_be_reindexed_and_verified(house: House) -> None:
    """The index was lost and replaced by an empty one for a while: the same document came again, once under another id, once not."""
    house.receive(range(1))
    house.pack()
    other = house.elsewhere(str(house.directory / "other.db"))
    one = received(0)
    with Spool(house.spool, writing=True) as spool:
        spool.add(type(one)("another-id", one.mdc_visit, one.client, one.received, one.body))
    pack(other)
    third = house.elsewhere(str(house.directory / "third.db"))
    with Spool(house.spool, writing=True) as spool:
        spool.add_all([one, received(5)])
    pack(third)
    anew = house.elsewhere(str(house.directory / "new.db"))
    assert reindex(anew).packs == 3
    with open_index(anew.index) as index:
        assert verify(index, house.stores).unsolved == 0
        assert len(index.find("k1.V0")) == 2


def test_a_segment_that_goes_while_the_receiver_recovers(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.receive(range(1))
    with Spool(house.spool) as spool:
        listed = spool.segments()
        house.pack()
        monkeypatch.setattr(Spool, "segments", lambda self: listed)
        recover(house.index, spool)


def test_an_empty_segment_that_goes_while_the_packer_looks(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that starts removes empty segments."""
    house.receive(range(1))
    real = Spool.segments
    monkeypatch.setattr(Spool, "segments", lambda self: [*real(self), "99999999999999999999"])
    assert house.pack().documents == 1
