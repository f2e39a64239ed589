"""Packing images: each that waits in the spool goes into the store, with a copy in the archive, is listed there, and then leaves the spool.

Each step can be killed and repeated. The spool keeps an object until store and archive have given back its digest, the list that names it
is in both, and the index knows its new place.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.core.progress import Bar, progress
from toolkit.core.storage import digest_of
from toolkit.datacentre.images.instances import Instance
from toolkit.datacentre.images.lists import list_object, write_list
from toolkit.datacentre.images.receiving import recover
from toolkit.datacentre.images.rows import SPOOLED, Held, enter, forget, held, image_counts, stored, waiting
from toolkit.datacentre.images.spool import ImageSpool
from toolkit.datacentre.index import Index, StoredObject, open_index
from toolkit.datacentre.pack import Places, alone, copy_checked
from toolkit.datacentre.verify_store import copy_between

if TYPE_CHECKING:
    from toolkit.core.storage import Store

LIST_BYTES = 256 << 20  # of objects in one list
LIST_INSTANCES = 1000
_AT_ONCE = 32  # objects on their way to remote stores: HDFS makes 3 a second one after another
_AT_ONCE_HERE = 8
_LOOKED_AT = 200  # files of the spool compared with the index at once
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackedImages:
    """What a run did: instances that it moved; those that could not be."""

    instances: int
    failed: int


def pack_images(places: Places, list_bytes: int = LIST_BYTES, list_instances: int = LIST_INSTANCES) -> PackedImages:
    """Move all images that wait in the spool to every store.

    One that the spool cannot give back as it was received leaves the index, so that it is new when it is sent again, and its file is
    put apart; so is one whose name another object has in a store. Each is an error in the log. Raises TryLater when another process packs
    this spool, and what the stores raise when they fail several times; the spool then keeps what it has.
    """
    from toolkit.core.storage import open_store

    with alone(places.spool), open_index(places.index) as index:
        spool = ImageSpool(places.spool)
        stores = [open_store(url) for url in places.stores]
        recover(index, spool)
        _empty(index, spool, stores)
        moved, failed = 0, set[str]()
        remote = any("://" in url and not url.startswith("file:") for url in places.stores)
        number = image_counts(index).images_spooled
        with ThreadPoolExecutor(_AT_ONCE if remote else _AT_ONCE_HERE) as workers, progress("packing", number, "images") as bar:
            while some := waiting(index, list_bytes, list_instances, failed):
                moved += _store(index, spool, stores, some, failed, workers, bar)
    return PackedImages(moved, len(failed))


def _store(
    index: Index, spool: ImageSpool, stores: Sequence[Store], some: Sequence[Held], failed: set[str], workers: ThreadPoolExecutor, bar: Bar
) -> int:
    """Put these into all stores, list and enter them; how many."""
    done = [workers.submit(_put, spool, stores, one) for one in some]
    placed: list[Held] = []
    try:
        for one, future in zip(some, done, strict=True):
            if future.result():
                placed.append(one)
            else:
                failed.add(one.instance.instance_uid)
            bar.update()
    except BaseException:
        for future in done:
            future.cancel()  # where one object cannot go, the others would only try for long
        raise
    gone = [one.instance.instance_uid for one in some if one.instance.instance_uid in failed]
    forget(index, gone)
    # what a receiver took anew before it was forgotten stood in the index then; who sent it is known here
    back = [one for one in some if one.instance.instance_uid in gone and spool.digest(one.instance.instance_uid) == one.instance.digest]
    if back:
        enter(index, back)
    if not placed:
        return 0
    now = datetime.now(UTC)
    identity = digest_of("".join(f"{one.instance.instance_uid} {one.instance.digest}\n" for one in placed).encode())[7:23]
    name = f"{now:%Y%m%dT%H%M%S.%fZ}-{identity}"
    data = write_list(name, now.isoformat(timespec="seconds"), placed)
    listed = StoredObject(list_object(name), digest_of(data), len(data))
    with tempfile.NamedTemporaryFile(prefix="mdc-store-") as file:
        file.write(data)
        file.flush()
        for store in stores:
            copy_checked(store, listed.name, Path(file.name), listed.digest)
    stored(index, [replace(one, place=f"object:{name}") for one in placed], listed)
    for one in placed:
        spool.drop(one.instance.instance_uid)
    return len(placed)


def _put(spool: ImageSpool, stores: Sequence[Store], one: Held) -> bool:
    """Put one object into all stores; False when it cannot be, which was said then. Raises what the stores raise."""
    instance = one.instance
    uid, path = instance.instance_uid, spool.path(instance.instance_uid)
    if spool.digest(uid) != instance.digest:
        if _copied(stores, instance):  # an earlier run was killed before it entered what it had done
            return True
        aside = spool.put_aside(uid, instance.digest)
        if spool.digest(uid) != instance.digest:  # unless the receiver has just replaced it by a whole one
            what = "is not what was received" if aside else "is gone"
            _log.error("%s: %s; the index forgets it: ask the sender to send it again", path, what)
            return False
    there = [_digest_in(store, instance.name) for store in stores]
    for store, digest in zip(stores, there, strict=True):
        if digest not in (None, instance.digest):  # before anything is put anywhere: the other copy may be lost
            spool.keep_apart(path, uid, instance.digest)
            _log.error("%s in %s: another object has this UID; this one is kept apart; run mdc-store reindex", instance.name, store.url)
            return False
    for store, digest in zip(stores, there, strict=True):
        if digest is None:
            copy_checked(store, instance.name, path, instance.digest)
    return True


def _copied(stores: Sequence[Store], instance: Instance) -> bool:
    """Whether a store has the object whole; then all have it afterwards."""
    good = [store for store in stores if _digest_in(store, instance.name) == instance.digest]
    for store in stores:
        if good and store not in good:
            copy_between(good[0], store, StoredObject(instance.name, instance.digest, instance.size))
    return bool(good)


def _digest_in(store: Store, name: str) -> str | None:
    """What the store gives under a name; None when it has nothing there."""
    return store.digest(name) if store.exists(name) else None


def _empty(index: Index, spool: ImageSpool, stores: Sequence[Store]) -> None:
    """Remove what an earlier run moved and was killed before it removed it, once its lists are in every store; what differs from the
    object in the store is kept apart."""
    uids = list(spool.uids())
    whole: dict[str, bool] = {}
    for start in range(0, len(uids), _LOOKED_AT):
        for uid, known in held(index, uids[start : start + _LOOKED_AT]).items():
            if known.place == SPOOLED:
                continue
            name = list_object(known.place.removeprefix("object:"))
            if name not in whole:
                whole[name] = all(store.exists(name) for store in stores)
                if not whole[name]:
                    _log.warning("%s: missing in a store; its images stay in the spool; run mdc-store verify, which copies it there", name)
            if not whole[name]:
                continue
            digest = spool.digest(uid)
            if digest == known.instance.digest and all(store.exists(known.instance.name) for store in stores):
                spool.drop(uid)
            elif digest and digest != known.instance.digest:
                spool.keep_apart(spool.path(uid), uid, digest)
                _log.error("%s: another object has this UID; the one with %s is kept apart", uid, digest)
