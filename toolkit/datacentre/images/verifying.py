"""Verifying and indexing images again: store, archive, lists, index and spool hold the same."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from toolkit.core.errors import BadData, InputOutput, NoInput
from toolkit.core.progress import Bar, progress
from toolkit.core.storage import digest_of
from toolkit.datacentre.images.lists import list_object, lists, read_list
from toolkit.datacentre.images.rows import SPOOLED, Held, held, image_counts, in_list, lists_known, spooled, stored
from toolkit.datacentre.images.spool import ImageSpool
from toolkit.datacentre.index import Index, StoredObject
from toolkit.datacentre.verify_store import Verified, mend

if TYPE_CHECKING:
    from toolkit.core.storage import Store

_AT_ONCE = 500  # names compared with the index at once
_log = logging.getLogger(__name__)


def verify_images(index: Index, stores: Sequence[Store], restore: bool = True) -> Verified:
    """Read every image of every store and compare its digest with its list; then compare the lists with the index.

    A damaged or missing copy is replaced from a good one unless `restore` is off. Each finding is a warning. Raises what the stores
    raise when they cannot be reached.
    """
    counts: Counter[str] = Counter()
    before = lists_known(index)  # a packer may be at work: what it enters meanwhile is not yet listed here
    names = _names(stores)
    with progress("verifying", image_counts(index).images_stored, "images") as bar:
        for name in names:
            _verify_list(index, stores, name, name in before, counts, restore, bar)
    for name in sorted(before.difference(names)):
        counts["unsolved"] += 1
        _log.error("%s: the index knows it, and no store has it; restore the store from a backup", list_object(name))
    for store in stores:
        _tell_strangers(index, store)
    return Verified(counts["objects"], counts["damaged"], counts["restored"], counts["unsolved"])


def verify_image_spool(index: Index, spool: ImageSpool) -> int:
    """Read every image that the index places in the spool; how many are not there as they were received. Each is a warning."""
    lost = 0
    for one in spooled(index):
        uid = one.instance.instance_uid
        found = spool.digest(uid)
        if found == one.instance.digest:
            continue
        current = held(index, [uid]).get(uid)
        if current is None or current.place != SPOOLED:
            continue  # packed meanwhile
        lost += 1
        what = "is not what was received" if found else "is gone"
        _log.error("%s: %s; when mdc-store pack has taken it out of the index, ask for it again", spool.path(uid), what)
    return lost


def reindex_images(index: Index, stores: Sequence[Store]) -> int:
    """Enter all images that any store lists; how many. Raises BadData at a list of which no copy is whole; others stay entered."""
    number, broken = 0, ""
    for name in _names(stores):
        whole = _whole(stores, name)
        if whole is None:
            broken = name
            continue
        listed, some = whole
        stored(index, some, listed)
        number += len(some)
    if broken:
        raise BadData(list_object(broken), "is damaged in every copy", "restore it from a backup")
    return number


def _names(stores: Sequence[Store]) -> list[str]:
    return sorted({name for store in stores for name in lists(store)})


def _whole(stores: Sequence[Store], name: str) -> tuple[StoredObject, list[Held]] | None:
    """A list and the images that it names, from the first store that has it whole."""
    for store in stores:
        with contextlib.suppress(NoInput, BadData, InputOutput):
            data = store.get(list_object(name))
            return StoredObject(list_object(name), digest_of(data), len(data)), read_list(data, name)
    return None


def _verify_list(index: Index, stores: Sequence[Store], name: str, entered: bool, counts: Counter[str], restore: bool, bar: Bar) -> None:
    whole = _whole(stores, name)
    if whole is None:
        counts["unsolved"] += 1
        _log.error("%s: damaged in every copy; mdc-store reindex cannot find its images", list_object(name))
        return
    listed, some = whole
    known = held(index, [one.instance.instance_uid for one in some])
    missing = sum(not _agrees(known.get(one.instance.instance_uid), one) for one in some)
    if not missing and not entered:
        return  # its packer was killed: another list names these images, or will
    mend(listed, stores, counts, restore)
    for one in some:
        mend(StoredObject(one.instance.name, one.instance.digest, one.instance.size), stores, counts, restore)
        bar.update()
    here = sum(one.place == f"object:{name}" for one in known.values())
    if missing or here != in_list(index, name):
        counts["unsolved"] += 1
        _log.error("%s: the index does not know %d of its images; run mdc-store reindex", list_object(name), missing)


def _agrees(known: Held | None, listed: Held) -> bool:
    """One that the index still places in the spool is being packed, or its packer was killed: the next one completes it."""
    return known is not None and known.instance.digest == listed.instance.digest


def _tell_strangers(index: Index, store: Store) -> None:
    """Images that the index does not know: a run was killed and the index lost. Nothing reads them; nothing removes them either."""
    names = (entry.name for entry in store.list("images"))
    while some := list(islice(names, _AT_ONCE)):
        known = held(index, (_uid(name) for name in some))
        for name in some:
            found = known.get(_uid(name))
            if found is None or found.instance.name != name:
                _log.warning("%s in %s: stands in no list and is not read; remove it when no mdc-store runs", name, store.url)


def _uid(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".dcm")
