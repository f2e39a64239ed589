"""Store, archive and index agree, or it is told and mended; the index is made anew from the store."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.datacentre.house import House, received, tables
from toolkit.core.errors import BadData
from toolkit.datacentre.index import open_index
from toolkit.datacentre.reindex import Reindexed, reindex
from toolkit.datacentre.verify_store import Verified, verify


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    url = str(tmp_path / "index.db")
    with open_index(url) as index:
        yield House(tmp_path, url, index, (str(tmp_path / "store"), str(tmp_path / "archive")))


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


def test_both_copies_are_mended_by_the_command(house: House) -> None:
    house.receive(range(3))
    house.pack()
    before = {path: path.read_bytes() for copy in ("store", "archive") for path in (house.directory / copy).rglob("*.*") if path.is_file()}
    for number, path in enumerate(sorted(before)):  # every object is lost or spoiled, each in one copy
        if (number < len(before) / 2) == (number % 2 == 0):
            path.unlink() if number % 3 else spoil(path)
    result = house.run("verify")
    assert result.returncode == 0 and "restored from" in result.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert (house.run("verify").returncode, house.run("verify").stderr) == (0, "")


def test_a_document_that_the_spool_lost_is_told(house: House) -> None:
    house.receive(range(2))
    (segment,) = Path(house.spool).glob("*.spool")
    assert house.run("verify").returncode == 0
    spoil(segment)
    result = house.run("verify")
    assert result.returncode == 1
    assert [line.split(": ")[1].split()[0] for line in result.stderr.splitlines()] == ["m0", "m1"]


def test_an_index_without_a_pack_is_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.receive(range(2))
    house.pack()
    with open_index(str(house.directory / "new.db")) as index:
        assert verify(index, house.stores).unsolved == 1
    assert "run mdc-store reindex" in caplog.text


def test_an_index_that_knows_more_than_the_store_is_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.receive(range(2))
    house.pack()
    for path in house.directory.rglob("packs/*.json"):
        path.unlink()
    assert verify(house.index, house.stores).unsolved == 3 + len(list((house.directory / "store/rows").rglob("*.parquet"))) - 1
    assert "restore the store from a backup" in caplog.text


def test_objects_that_no_list_names_are_told_and_left(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.receive(range(2))
    house.pack()
    stray = house.directory / "store/packs/20261122T000000Z-0000.parquet"
    stray.write_bytes(b"of a run that was killed")
    with caplog.at_level(logging.WARNING):
        assert verify(house.index, house.stores).unsolved == 0
    assert "stands in no list" in caplog.text and stray.exists()
    house.index.plan(stray.stem, "now", [])  # the next run completes it
    caplog.clear()
    verify(house.index, house.stores)
    assert caplog.text == ""


@pytest.mark.parametrize("jobs", [1, 2])
def test_reindex_makes_the_same_index(house: House, jobs: int) -> None:
    """All rows of all tables: packs, versions of a visit, and what waits in the spool, entered or not."""
    house.receive(range(20))
    house.pack(4000)
    house.take([received(number, version=1) for number in range(0, 20, 3)])
    house.pack(4000)
    house.receive(range(20, 25))
    house.index.close()  # several processes: see reindex
    places = house.elsewhere(str(house.directory / "new.db"))
    for _ in range(2):
        assert reindex(places, jobs) == Reindexed(len(house.packs()), 27, 0)
        assert tables(places.index) == tables(house.url)
    house.receive(range(25, 27), entered=False)
    reindex(places, jobs)
    with open_index(places.index) as index:
        assert index.counts().spooled == 7
        assert verify(index, house.stores).unsolved == 0


def test_reindex_into_postgresql(house: House, postgresql: str) -> None:
    house.receive(range(20))
    house.pack(4000)
    house.receive(range(20, 25))
    reindex(house.elsewhere(postgresql))
    assert tables(postgresql) == tables(house.url)


def test_reindex_reads_the_archive_where_the_store_is_damaged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.receive(range(4))
    house.pack()
    spoil(house.packs()[0])
    places = house.elsewhere(str(house.directory / "new.db"))
    with caplog.at_level(logging.WARNING):
        assert reindex(places) == Reindexed(1, 4, 0)
    assert "the next copy is read" in caplog.text
    spoil(house.packs("archive")[0])
    with pytest.raises(BadData, match="damaged"):
        reindex(places)


def spoil(path: Path) -> None:
    """Every so often a byte is another one."""
    data = bytearray(path.read_bytes())
    for at in range(10, len(data), 97):
        data[at] ^= 0xFF
    path.write_bytes(data)
