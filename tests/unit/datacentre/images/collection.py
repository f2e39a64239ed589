"""Images in a data centre below a directory; for the tests of what works on all of them."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from toolkit.core.storage import Store, open_store
from toolkit.datacentre.images.instances import Instance, Outcome, read_instance
from toolkit.datacentre.images.packing import PackedImages, pack_images
from toolkit.datacentre.images.receiving import ImageKeeper
from toolkit.datacentre.images.rows import held
from toolkit.datacentre.images.spool import ImageSpool
from toolkit.datacentre.index import open_index
from toolkit.datacentre.pack import Places
from toolkit.datacentre.pacs.streaming import part_10_head

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


def uid(number: int) -> str:
    return f"2.25.{number + 1}"


def image(number: int, content: str = "") -> bytes:
    """A Part 10 file as the receiver stores it: two images a series, four a study."""

    def element(group: int, number: int, kind: str, value: str) -> bytes:
        raw = value.encode() + (b"\0" if kind == "UI" else b" ") * (len(value) % 2)
        return struct.pack("<HH2sH", group, number, kind.encode(), len(raw)) + raw

    data = element(0x8, 0x16, "UI", CT) + element(0x8, 0x18, "UI", uid(number)) + element(0x8, 0x20, "DA", "20260101")
    data += element(0x8, 0x50, "SH", f"TOKEN{number // 4}") + element(0x8, 0x60, "CS", "CT")
    data += element(0x10, 0x20, "LO", "k1.PATIENT") + element(0x12, 0x62, "CS", "YES")
    data += element(0x20, 0x0D, "UI", f"2.25.7.{number // 4}") + element(0x20, 0x0E, "UI", f"2.25.8.{number // 2}")
    pixels = f"{number} {content}".encode().ljust(200, b"\0")
    data += struct.pack("<HH2sxxL", 0x7FE0, 0x10, b"OB", len(pixels)) + pixels
    return part_10_head(CT, uid(number), EXPLICIT) + data


@dataclass
class Collection:
    """A data centre's places below `directory`; store and archive may be elsewhere."""

    directory: Path
    urls: tuple[str, ...] = ()
    url: str = ""

    def __post_init__(self) -> None:
        self.urls = self.urls or (str(self.directory / "store"), str(self.directory / "archive"))
        self.url = self.url or str(self.directory / "index.db")

    @property
    def places(self) -> Places:
        return Places(self.url, str(self.directory / "spool"), self.urls)

    @property
    def spool(self) -> ImageSpool:
        return ImageSpool(self.places.spool)

    @property
    def stores(self) -> list[Store]:
        return [open_store(url) for url in self.urls]

    def receive(self, numbers: Iterable[int], content: str = "") -> list[Outcome]:
        found = []
        with ImageSpool(self.places.spool, writing=True) as spool, open_index(self.url) as index:
            keeper = ImageKeeper(spool, index)
            for number in numbers:
                incoming = keeper.begin()
                incoming.write(image(number, content))
                incoming.flush()
                found.append(keeper.receive(incoming, read_instance(incoming.path), "CN=hospital"))
                incoming.discard()
        return found

    def pack(self, list_instances: int = 1000) -> PackedImages:
        return pack_images(self.places, list_instances=list_instances)

    def check(self, numbers: Iterable[int], packed: bool, clients: Iterable[str] = frozenset({"CN=hospital"})) -> None:
        """Each of these images is there exactly once, as it was received; all others are not."""
        expected = {uid(number): hashlib.sha256(image(number)).hexdigest() for number in numbers}
        with open_index(self.url) as index:
            known = held(index, [uid(number) for number in range(200)])
        assert {one: found.instance.digest for one, found in known.items()} == {one: f"sha256:{hexed}" for one, hexed in expected.items()}
        assert {found.client for found in known.values()} <= set(clients)
        assert {found.place == "spool:" for found in known.values()} <= {not packed}
        if not packed:
            assert set(self.spool.uids()) == set(expected)
            return
        assert not list(self.spool.uids())
        for store in self.stores:
            names = [entry.name for entry in store.list("images")]
            assert Counter(names) == Counter(found.instance.name for found in known.values())
            for found in known.values():
                assert store.digest(found.instance.name) == found.instance.digest

    def rows(self, url: str = "") -> set[tuple[Instance, str, str]]:
        with open_index(url or self.url) as index:
            known = held(index, [uid(number) for number in range(200)])
        return {(found.instance, *astuple(found)[1:3]) for found in known.values()}
