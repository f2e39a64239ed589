"""Pseudonyms that a hospital replaced by others: its list is kept in store and archive, and the index goes by it from then on.

Documents stay as they were received, under their old pseudonyms. The index finds them under the new ones too, and its rows
name visits and patients by the newest. What reads the row tables itself finds the lists as ``aliases/DIGEST.csv`` (kind, old, new).
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from toolkit.core.errors import BadData
from toolkit.core.storage import digest_of
from toolkit.datacentre.index import Index, StoredObject

if TYPE_CHECKING:
    from toolkit.core.storage import Store

KINDS = ("visit", "patient", "accession")
_LONGEST = 200  # characters of an id
_REMEDY = "give what his-mdc rotate wrote"


class Alias(NamedTuple):
    """A pseudonym of a ``visit`` or a ``patient``, or the token of an ``accession`` number, and the one that replaces it."""

    kind: str
    old: str
    new: str


def remap(index: Index, stores: Sequence[Store], aliases: Sequence[Alias]) -> None:
    """Keep the list in all stores, then let the index go by it. A run that was killed is repeated; doing it again changes nothing.

    Raises BadData when the list contradicts itself or an earlier one, and what the stores raise.
    """
    from toolkit.datacentre.pack import copy_checked

    if not aliases:
        return
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([Alias._fields, *aliases])
    data = text.getvalue().encode()
    listed = StoredObject(f"aliases/{digest_of(data).removeprefix('sha256:')}.csv", digest_of(data), len(data))
    index.check_aliases(aliases)
    with tempfile.NamedTemporaryFile(prefix="mdc-store-") as file:
        file.write(data)
        file.flush()
        for store in stores:
            copy_checked(store, listed.name, Path(file.name), listed.digest)
    index.enter_aliases(aliases, listed)


def read_list(data: bytes, place: str) -> list[Alias]:
    """The aliases in what ``his-mdc rotate`` wrote: lines with tabs, number, kind, old, new, below a heading."""
    try:
        lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig")), delimiter="\t", quoting=csv.QUOTE_NONE))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadData(place, "is no text", _REMEDY) from error
    if not lines:
        return []
    if lines[0] != ["number", *Alias._fields]:
        raise BadData(place, "does not begin with number, kind, old, new", _REMEDY)
    return list(_checked((line[1:] for line in lines[1:]), place))


def listed_in(store: Store) -> Iterator[tuple[StoredObject, list[Alias] | None]]:
    """The lists that a store holds; None where a list is damaged: its name is the digest that it should have."""
    for entry in sorted(store.list("aliases")):
        digest = "sha256:" + entry.name.rpartition("/")[2].removesuffix(".csv")
        data = store.get(entry.name)
        whole = digest_of(data) == digest
        yield StoredObject(entry.name, digest, len(data)), list(read_kept(data, entry.name)) if whole else None


def read_kept(data: bytes, place: str) -> Iterator[Alias]:
    """The aliases in a list as a store keeps it. Raises BadData when it is none."""
    try:
        lines = list(csv.reader(io.StringIO(data.decode())))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadData(place, "is no text", "run mdc-store verify, which restores it from the other copy") from error
    yield from _checked(lines[1:], place)


def _checked(lines: Iterable[Sequence[str]], place: str) -> Iterator[Alias]:
    for number, line in enumerate(lines, 2):
        good = len(line) == 3 and line[0] in KINDS and all(0 < len(one) <= _LONGEST and one.isprintable() for one in line)
        if not good or line[1] == line[2]:
            raise BadData(place, f"line {number} is not visit, patient or accession, an old and a new id", _REMEDY)
        yield Alias(*line)
