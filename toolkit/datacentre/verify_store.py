"""Verifying: store, archive and index hold the same, and what one copy lost comes back from the other."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.core.errors import BadData, InputOutput, NoInput, ToolError
from toolkit.core.progress import progress
from toolkit.datacentre.aliases import listed_in
from toolkit.datacentre.index import Index, StoredObject
from toolkit.datacentre.pack import copy_checked
from toolkit.datacentre.packs import manifest_object, manifests, pack_object, read_manifest, read_pack

if TYPE_CHECKING:
    from toolkit.core.storage import Store
    from toolkit.datacentre.spool import Spool

_PIECE = 1 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verified:
    """How many objects were looked at, how many copies were damaged or missing, how many of these were restored, and how many things
    disagree that no copy can mend."""

    objects: int
    damaged: int
    restored: int
    unsolved: int


def verify(index: Index, stores: Sequence[Store], restore: bool = True) -> Verified:
    """Read every object of every store and compare its digest with its pack's list; then compare the lists with the index.

    A damaged or missing copy is replaced from a good one unless `restore` is off. Each finding is a warning. Raises what the stores
    raise when they cannot be reached.
    """
    counts: Counter[str] = Counter()
    before = {one.name for one in index.objects()}  # a packer may be at work: what it enters meanwhile is not yet listed here
    objects, documents = _listed(stores, counts)
    with progress("verifying", len(objects), "objects") as bar:
        for one in bar.each(objects):
            mend(one, stores, counts, restore)
    by_name = {one.name: one for one in objects}
    _compare(index, stores, before, by_name, documents, counts)
    for store in stores:
        _tell_strangers(index, store, by_name)
    return Verified(counts["objects"], counts["damaged"], counts["restored"], counts["unsolved"])


def verify_spool(index: Index, spool: Spool) -> int:
    """Read every document that the index places in the spool; how many are not there as they were received. Each is a warning."""
    lost = 0
    for document in index.in_spool():
        try:
            if spool.read(document.place).digest == document.digest:
                continue
            problem = "is not what was received"
        except (BadData, NoInput, InputOutput, OSError) as error:
            current = index.message(document.message_id)
            if current is None or current.place != document.place:
                continue  # packed meanwhile
            problem = str(error)
        lost += 1
        remedy = "when mdc-store pack has taken it out of the index, ask for it again"
        _log.error("%s at %s: %s; %s", document.message_id, document.place, problem, remedy)
    return lost


def _listed(stores: Sequence[Store], counts: Counter[str]) -> tuple[list[StoredObject], dict[str, int]]:
    """All objects that any store's lists name, and the number of documents in each pack."""
    objects: dict[str, StoredObject] = {}
    documents: dict[str, int] = {}
    for store in stores:
        objects.update({listed.name: listed for listed, aliases in listed_in(store) if aliases is not None or listed.name not in objects})
    for pack in sorted({pack for store in stores for pack in manifests(store)}):
        name = manifest_object(pack)
        data = next((data for store in stores if (data := _readable(store, name)) is not None), None)
        if data is None:
            counts["unsolved"] += 1
            _log.error("%s: damaged in every copy; mdc-store reindex cannot find this pack", name)
            continue
        listed = StoredObject(name, "sha256:" + hashlib.sha256(data).hexdigest(), len(data))
        _, _, documents[pack], named = read_manifest(data, name)
        objects.update({one.name: one for one in (listed, *named)})
    return list(objects.values()), documents


def _readable(store: Store, name: str) -> bytes | None:
    try:
        data = store.get(name)
        read_manifest(data, name)
    except (NoInput, BadData, InputOutput):
        return None
    return data


def _holds(store: Store, one: StoredObject) -> bool:
    try:
        return bool(store.digest(one.name) == one.digest)
    except (NoInput, InputOutput, BadData):
        return False


def mend(one: StoredObject, stores: Sequence[Store], counts: Counter[str], restore: bool) -> None:
    """Read an object in every store; replace what is damaged or missing from a good copy, unless `restore` is off. Counted, and told."""
    counts["objects"] += 1
    good = [store for store in stores if _holds(store, one)]
    for store in stores:
        if store in good:
            continue
        counts["damaged"] += 1
        what = f"{one.name} in {store.url}"
        if not good:
            counts["unsolved"] += 1
            _log.error("%s: damaged or missing, and so is every other copy; restore it from a backup", what)
        elif not restore:
            counts["unsolved"] += 1
            _log.warning("%s: damaged or missing; run without --dry-run to restore it", what)
        else:
            try:
                copy_between(good[0], store, one)
            except ToolError as error:
                counts["unsolved"] += 1
                _log.error("%s: damaged or missing, and cannot be restored: %s", what, error)
            else:
                counts["restored"] += 1
                _log.warning("%s: was damaged or missing; restored from %s", what, good[0].url)


def copy_between(source: Store, target: Store, one: StoredObject) -> None:
    """Copy an object from one store to another and read its digest back. Raises what the stores raise."""
    with tempfile.NamedTemporaryFile(prefix="mdc-store-") as copy:
        with source.open(one.name) as stream:
            while piece := stream.read(_PIECE):
                copy.write(piece)
        copy.flush()
        copy_checked(target, one.name, Path(copy.name), one.digest)


def _compare(
    index: Index,
    stores: Sequence[Store],
    before: set[str],
    objects: dict[str, StoredObject],
    documents: dict[str, int],
    counts: Counter[str],
) -> None:
    """The index must know what the lists say, and nothing more; but for packs that are only planned: the next packer completes them."""
    planned = set(index.packs(stored=False))
    known = {one.name: one for one in index.objects() if not one.name.startswith("lists/")}  # those are of images
    for name, one in known.items():
        if name in before and objects.get(name) != one:
            counts["unsolved"] += 1
            _log.error("%s: the index knows it, and no list in the store does, or another one; restore the store from a backup", name)
    for name in objects:
        if name.startswith("aliases/") and name not in known:
            counts["unsolved"] += 1
            _log.error("%s: the index does not know it; run mdc-store reindex", name)
    numbers = index.documents_by_pack()
    for pack, number in documents.items():
        if pack in planned:
            continue
        if manifest_object(pack) not in known:
            counts["unsolved"] += 1
            _log.error("%s: the index does not know it; run mdc-store reindex", manifest_object(pack))
        elif numbers.get(pack, 0) != number and not _known_elsewhere(index, stores, pack):
            counts["unsolved"] += 1
            _log.error("%s: holds %d documents, the index knows %d; run mdc-store reindex", pack, number, numbers.get(pack, 0))


def _known_elsewhere(index: Index, stores: Sequence[Store], pack: str) -> bool:
    """Whether the index knows all documents of a pack in packs: where it was lost for a while, some may be in two."""
    for store in stores:
        with contextlib.suppress(NoInput, BadData, InputOutput), store.open(pack_object(pack)) as stream:
            ids = [document.message_id for document, _ in read_pack(stream, pack, pack_object(pack))]
            known = {one.message_id for one in index.messages(ids) if one.place.startswith("pack:")}
            return known == set(ids)
    return False


def _tell_strangers(index: Index, store: Store, objects: dict[str, StoredObject]) -> None:
    """Objects of no list: a run was killed and its plan lost with the index. Nothing reads them; nothing removes them either."""
    present = [entry.name for entry in store.list() if not entry.name.startswith(("images/", "lists/"))]
    packs = {*index.packs(stored=False), *index.packs(stored=True)}  # asked for afterwards: a packer may be at work
    for name in present:
        if name not in objects and name.rpartition("/")[2].partition(".")[0] not in packs:
            _log.warning("%s in %s: stands in no list and is not read; remove it when no mdc-store runs", name, store.url)
