"""The index, made anew from the store: every pack that a list names, then what waits in the spool."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from toolkit.core.errors import BadData, InputOutput, NoInput
from toolkit.core.progress import progress
from toolkit.datacentre.index import Document, Index, StoredObject
from toolkit.datacentre.pack import read_rows, recover
from toolkit.datacentre.packs import manifest_object, pack_object, read_manifest, read_pack
from toolkit.datacentre.verify_store import manifests

if TYPE_CHECKING:
    from toolkit.core.storage import Store
    from toolkit.datacentre.spool import Spool

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reindexed:
    """How many packs and documents were entered."""

    packs: int
    documents: int


def reindex(index: Index, stores: Sequence[Store], spool: Spool | None = None) -> Reindexed:
    """Enter all packs of the store, the first of `stores`, one transaction each, reading a damaged one from the next; what the index knows
    already is written again, nothing is removed. Then enter what waits in `spool`.

    Raises BadData at a pack of which no copy is whole; those before it stay entered.
    """
    names = list(manifests(stores[0]))
    documents = 0
    with progress("indexing", len(names), "packs") as bar:
        for name in bar.each(names):
            documents += _from_any(index, stores, name)
    if spool is not None:
        recover(index, spool)
    return Reindexed(len(names), documents)


def _from_any(index: Index, stores: Sequence[Store], pack: str) -> int:
    for store in stores[:-1]:
        try:
            return _enter(index, store, pack)
        except (BadData, InputOutput) as error:
            _log.warning("%s; the next copy is read", error)
    return _enter(index, stores[-1], pack)


def _enter(index: Index, store: Store, pack: str) -> int:
    listed = manifest_object(pack)
    data = store.get(listed)
    _, created, number, objects = read_manifest(data, listed)
    documents: list[Document] = []
    found = []
    name = pack_object(pack)
    try:
        with store.open(name) as stream:
            for document, body in read_pack(stream, pack, name):
                documents.append(document)
                one = read_rows(body, document)
                if one is not None:
                    found.append(one)
    except NoInput as error:
        raise BadData(name, "is missing", "run mdc-store verify, which restores it from the archive") from error
    if len(documents) != number:
        raise BadData(name, f"holds {len(documents)} documents instead of {number}", "run mdc-store verify")
    index.packed(pack, created, documents, [*objects, StoredObject(listed, "sha256:" + sha256(data).hexdigest(), len(data))], found)
    return len(documents)
