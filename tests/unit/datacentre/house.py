"""A data centre in a directory: a spool written by a receiver, two stores, an index; for the tests of what works on all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import select

from tests.unit.datacentre.visits import document
from toolkit.core.database import open_database
from toolkit.core.storage import Store, open_store
from toolkit.datacentre.index import Document, Index
from toolkit.datacentre.index_tables import METADATA
from toolkit.datacentre.pack import Packed, Places, pack
from toolkit.datacentre.packs import PackReader
from toolkit.datacentre.spool import Entry, Spool

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class House:
    """A data centre below `directory`; the index and the stores may be elsewhere."""

    directory: Path
    url: str  # of the index
    index: Index
    urls: tuple[str, str]  # of store and archive

    @property
    def spool(self) -> str:
        return str(self.directory / "spool")

    @property
    def stores(self) -> list[Store]:
        return [open_store(url) for url in self.urls]

    @property
    def places(self) -> Places:
        return Places(self.url, self.spool, self.urls)

    def receive(self, numbers: Iterable[int], entered: bool = True) -> None:
        self.take([received(number) for number in numbers], entered)

    def take(self, entries: list[Entry], entered: bool = True) -> None:
        """As the gateway does it: spooled, then entered; without `entered` it is killed between the two."""
        with Spool(self.spool, writing=True) as spool:
            receipts = spool.add_all(entries)
        rows = [
            Document(one.message_id, one.mdc_visit, one.digest, len(one.body), one.client, one.received, receipt.place)
            for one, receipt in zip(entries, receipts, strict=True)
        ]
        if entered:
            self.index.add(rows)

    def pack(self, pack_bytes: int = 1 << 20) -> Packed:
        return pack(self.places, pack_bytes=pack_bytes)

    def command(self, action: str, *more: str) -> list[str]:
        """The command line of mdc-store for this data centre."""
        base = [sys.executable, str(ROOT / "bin/mdc-store"), action, "--index", self.url, "--spool", self.spool]
        return [*base, "--store", self.urls[0], "--archive", self.urls[1], *more]

    def run(self, action: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(action, *more), capture_output=True, text=True, timeout=240)

    def read(self, number: int) -> bytes:
        """As the gateway does it: look up, read, and look up again when it has moved in between."""
        (found,) = self.index.find(f"k1.V{number}")
        return self.body(found)

    def body(self, found: Document) -> bytes:
        if found.place.startswith("pack:"):
            return PackReader(*self.stores).read(found.place)
        with Spool(self.spool) as spool:
            return spool.read(found.place).body

    def check(self, numbers: Iterable[int]) -> None:
        assert all(self.read(number) == document(number) for number in numbers)

    def packs(self, copy: str = "store") -> list[Path]:
        return sorted((self.directory / copy / "packs").glob("*.parquet"))

    def elsewhere(self, index: str) -> Places:
        """The same places with another index."""
        return replace(self.places, index=index)


def received(number: int, version: int = 0, time: str = "") -> Entry:
    """Document `number`; other versions of it have other content, later."""
    when = time or f"2026-11-22T{10 + version}:{number // 60 % 60:02}:{number % 60:02}Z"
    body = document(number, entries="<!-- corrected -->" * version)
    return Entry(f"m{number}" + f".{version}" * (version > 0), f"k1.V{number}", "CN=a", when, body)


def tables(url: str) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables of an index."""
    engine = open_database(url)
    try:
        with engine.connect() as connection:
            return {table.name: sorted(map(tuple, connection.execute(select(table))), key=repr) for table in METADATA.sorted_tables}
    finally:
        engine.dispose()


def agree(house: House, message_ids: Iterable[str]) -> None:
    """Exactly these documents exist, once in each place; store, archive and index agree, and the spool is empty."""
    from pyarrow import parquet

    from toolkit.datacentre.verify_store import Verified, verify

    expected = sorted(message_ids)
    for copy in ("store", "archive"):
        assert sorted(word for path in house.packs(copy) for word in parquet.read_table(path)["message_id"].to_pylist()) == expected
    found = verify(house.index, house.stores)
    assert found == Verified(found.objects, 0, 0, 0)
    counts = house.index.counts()
    assert (counts.packed, counts.spooled, counts.planned_packs) == (len(expected), 0, 0)
    assert os.listdir(house.spool) == ["pack.lock"]
