"""The index, made anew from the store: every pack and image that a list names, then what waits in the spool."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from toolkit.core.errors import BadData, InputOutput, NoInput
from toolkit.core.progress import progress
from toolkit.datacentre.index import Document, Index, StoredObject, open_index
from toolkit.datacentre.pack import Places, alone, read_rows, recover
from toolkit.datacentre.packs import manifest_object, manifests, pack_object, read_manifest, read_pack
from toolkit.datacentre.spool import Spool
from toolkit.datacentre.workers import Workers

if TYPE_CHECKING:
    from toolkit.core.storage import Store

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reindexed:
    """How many packs, documents and images of the store were entered."""

    packs: int
    documents: int
    images: int


def reindex(places: Places, jobs: int = 1) -> Reindexed:
    """Enter all packs and images that any store lists, reading a damaged one from the next store, then what waits in the spool, unless
    its name is empty; at most `jobs` processes. What the index knows already is written again, nothing is removed.

    With several jobs this process is forked: it must have no threads and no open database. Raises BadData at a pack or list of
    which no copy is whole; others stay entered.
    """
    from toolkit.core.storage import open_store
    from toolkit.datacentre.images.receiving import recover as recover_images
    from toolkit.datacentre.images.spool import ImageSpool
    from toolkit.datacentre.images.verifying import reindex_images

    with alone(places.spool) if places.spool else contextlib.nullcontext():
        open_index(places.index).close()  # made here, once
        with Workers(lambda: _opened(places), jobs) as workers:
            _enter_lists(places)
            names = _listed(places)
            documents = 0
            with progress("indexing", len(names), "packs") as bar:
                for number, warnings in bar.each(workers.each(names)):
                    documents += number
                    for words in warnings:
                        _log.warning("%s", words)
        with open_index(places.index) as index:
            images = reindex_images(index, [open_store(url) for url in places.stores])
            if places.spool:
                with Spool(places.spool) as spool:
                    recover(index, spool)
                recover_images(index, ImageSpool(places.spool))
    return Reindexed(len(names), documents, images)


def _enter_lists(places: Places) -> None:
    """The lists of replaced pseudonyms, before the rows that are entered by them."""
    from toolkit.core.storage import open_store
    from toolkit.datacentre.aliases import listed_in

    lists = [found for url in places.stores for found in listed_in(open_store(url))]
    whole = {listed: aliases for listed, aliases in lists if aliases is not None}
    with open_index(places.index) as index:
        for name in sorted({listed.name for listed, _ in lists} - {listed.name for listed in whole}):
            raise BadData(name, "is damaged in every copy", "restore it from a backup")
        for listed, aliases in whole.items():
            index.enter_aliases(aliases, listed)


def _listed(places: Places) -> list[str]:
    from toolkit.core.storage import open_store

    return sorted({name for url in places.stores for name in manifests(open_store(url))})


@contextlib.contextmanager
def _opened(places: Places) -> Iterator[Callable[[str], tuple[int, list[str]]]]:
    """What one process needs, and its work: a pack's name to the number of its documents, and warnings."""
    from toolkit.core.storage import open_store

    with open_index(places.index) as index:
        stores = [open_store(url) for url in places.stores]
        yield lambda name: _from_any(index, stores, name)


def _from_any(index: Index, stores: Sequence[Store], pack: str) -> tuple[int, list[str]]:
    warnings: list[str] = []
    for store in stores[:-1]:
        try:
            return _enter(index, store, pack, warnings), warnings
        except (BadData, InputOutput, NoInput) as error:
            warnings = [f"{error}; the next copy is read"]
    return _enter(index, stores[-1], pack, warnings), warnings


def _enter(index: Index, store: Store, pack: str, warnings: list[str]) -> int:
    listed = manifest_object(pack)
    data = store.get(listed)
    _, created, number, objects = read_manifest(data, listed)
    documents: list[Document] = []
    found = []
    name = pack_object(pack)
    with store.open(name) as stream:
        for document, body in read_pack(stream, pack, name):
            documents.append(document)
            try:
                found.append(read_rows(body, document))
            except BadData as error:
                warnings.append(str(error))
    if len(documents) != number:
        raise BadData(name, f"holds {len(documents)} documents instead of {number}", "run mdc-store verify")
    index.enter_rows(found)
    index.packed(pack, created, documents, [*objects, StoredObject(listed, "sha256:" + sha256(data).hexdigest(), len(data))])
    return len(documents)
