"""Which image the sender's journal and the data centre's spool, store, archive, lists and index hold, read from their files and tables."""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.visits.places import rows


@dataclass(frozen=True)
class Held:
    """An object as a file: SHA-256 of the whole, and of the data set behind the file meta."""

    whole: str
    data: str


@dataclass(frozen=True)
class Places:
    """By SOP instance UID: the journal's digest of the data set that was acknowledged, the files of spool, store and archive, the index's
    digest of the file and its place."""

    journal: dict[str, str]
    spool: dict[str, Held]
    store: dict[str, Held]
    archive: dict[str, Held]
    index: dict[str, tuple[str, str]]
    listed: Counter[str]  # in the lists of the store
    doubled: list[str]

    def problems(self) -> list[str]:
        """What does not agree; empty when every image that was acknowledged exists exactly once wherever it must."""
        found = [f"doubled: {one}" for one in self.doubled]
        found += [f"{uid}: sent, and the index does not know it" for uid in self.journal if uid not in self.index]
        for uid, (digest, place) in self.index.items():
            holders = (self.spool,) if place == "spool:" else (self.store, self.archive)
            for holder in holders:
                held = holder.get(uid)
                if held is None or held.whole != digest:
                    found.append(f"{uid}: the index says {place}, and it is {'not there' if held is None else 'another one'}")
                elif uid in self.journal and self.journal[uid] != held.data:
                    found.append(f"{uid}: is not what was sent")
            if place != "spool:" and not self.listed[uid]:
                found.append(f"{uid}: stands in no list")
        if self.store != self.archive:
            found.append(f"store and archive differ in {sorted(set(self.store.items()) ^ set(self.archive.items()), key=str)[:3]}")
        found += [f"{uid}: in the store and not in the index" for uid in self.store if uid not in self.index]
        found += [f"{uid}: listed and not in the store" for uid in self.listed if uid not in self.store]
        return found


def read_places(journal: str, index: str, spool: Path, store: Path, archive: Path) -> Places:
    """All of them; what does not exist yet holds nothing."""
    doubled: list[str] = []
    sent = {row[0]: bytes(row[1]).hex() for row in rows(journal, "instances", "instance, digest, state") if row[2] != "refused"}
    known = {row[0]: (row[1].removeprefix("sha256:"), row[2]) for row in rows(index, "instances", "instance_uid, digest, place")}
    kept = _files(spool.glob("images/kept/*.dcm"), doubled)
    listed = Counter(
        one["instance_uid"] for path in store.glob("lists/*.json") for one in json.loads(path.read_text())["instances"]
    )  # one that a killed packer listed is listed again by the next
    stores = [_files(place.glob("images/*/*/*.dcm"), doubled) for place in (store, archive)]
    return Places(sent, kept, stores[0], stores[1], known, listed, doubled)


def _files(paths, doubled: list[str]) -> dict[str, Held]:  # type: ignore[no-untyped-def]
    found: dict[str, Held] = {}
    for path in paths:
        content = path.read_bytes()
        (length,) = struct.unpack_from("<L", content, 140)  # (0002,0000)
        if path.stem in found:
            doubled.append(str(path))
        found[path.stem] = Held(hashlib.sha256(content).hexdigest(), hashlib.sha256(content[144 + length :]).hexdigest())
    return found
