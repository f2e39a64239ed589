"""What is to be read: the row tables that stores list, in groups that are worth a task each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from toolkit.core.errors import BadData

if TYPE_CHECKING:
    from toolkit.core.storage import Store

TABLES = ("visits", "diagnoses", "procedures", "results")
_AT_ONCE = 16  # lists on their way from a store


class Part(NamedTuple):
    """The rows of one pack's visits that began in one month, a table an object. `sizes`: bytes by table; a table without rows has none."""

    store: str
    month: str  # year=2026/month=1; year=0/month=0 when it is not known
    pack: str
    sizes: dict[str, int]

    def object(self, table: str) -> str:
        """The name of the object that holds a table's rows."""
        return f"rows/{table}/{self.month}/{self.pack}.parquet"

    @property
    def number(self) -> int:
        """The month as year * 100 + month; 0 when it is not known."""
        year, month = (int(word.partition("=")[2]) for word in self.month.split("/"))
        return year * 100 + month


@dataclass(frozen=True)
class Input:
    """All parts in a fixed order, the lists of replaced pseudonyms (store, object), how many documents the packs hold, and the digest of
    all that: the same for the same rows, wherever and in whatever order they are kept."""

    parts: tuple[Part, ...]
    aliases: tuple[tuple[str, str], ...]
    documents: int
    digest: str


def plan(stores: Sequence[Store]) -> Input:
    """What the stores hold in all; a pack that several of them hold is read once.

    Raises BadData when two stores hold differing packs of one name or a list is damaged, and what the stores raise.
    """
    from toolkit.datacentre.packs import manifest_object, manifests, read_manifest

    parts: dict[tuple[str, str], Part] = {}
    digests: dict[str, str] = {}
    aliases: dict[str, str] = {}
    documents = 0
    seen: dict[str, bytes] = {}
    for store in stores:
        names = [manifest_object(pack) for pack in manifests(store)]
        with ThreadPoolExecutor(_AT_ONCE) as workers:
            lists = list(workers.map(store.get, names))
        for name, data in zip(names, lists, strict=True):
            if name in seen:
                if seen[name] != data:
                    raise BadData(f"{store.url}/{name}", "another store holds a differing pack of this name", "run mdc-store verify")
                continue
            seen[name] = data
            pack, _, number, objects = read_manifest(data, f"{store.url}/{name}")
            documents += number
            for one in objects:
                words = one.name.split("/")
                if words[0] == "rows" and words[1] in TABLES:
                    month = "/".join(words[2:4])
                    digests[one.name] = one.digest
                    parts.setdefault((month, pack), Part(store.url, month, pack, {})).sizes[words[1]] = one.size
        for entry in store.list("aliases"):
            aliases.setdefault(entry.name, store.url)
    state = hashlib.sha256()
    for name, digest in sorted([*digests.items(), *((name, "") for name in aliases)]):
        state.update(f"{name} {digest}\n".encode())
    ordered = tuple(parts[key] for key in sorted(parts))
    return Input(ordered, tuple((url, name) for name, url in sorted(aliases.items())), documents, f"sha256:{state.hexdigest()}")


def groups(parts: Iterable[tuple[int, Part]], tables: Sequence[str], split_bytes: int) -> Iterator[list[tuple[int, Part]]]:
    """Parts with their numbers in groups of about the same size; none has less than `split_bytes` of these tables, but a only one."""
    numbered = [(number, part) for number, part in parts if any(table in part.sizes for table in tables)]
    sizes = [sum(part.sizes.get(table, 0) for table in tables) for _, part in numbered]
    total, wanted = sum(sizes), max(1, sum(sizes) // split_bytes)
    group: list[tuple[int, Part]] = []
    done = given = 0
    for one, size in zip(numbered, sizes, strict=True):
        group.append(one)
        done += size
        if done * wanted >= total * (given + 1):
            yield group
            group, given = [], given + 1
    if group:
        yield group


def line(group: Sequence[tuple[int, Part]], **more: object) -> str:
    """A group as a job's line of input."""
    return json.dumps({"parts": [[number, part.store, part.month, part.pack, part.sizes] for number, part in group], **more})


def parts_of(group: dict) -> list[tuple[int, Part]]:
    """The parts of such a line."""
    return [(number, Part(*words)) for number, *words in group["parts"]]
