"""Images are received once, whatever happens between the steps, and what was acknowledged is there."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.datacentre.images.collection import CT, Collection, image, uid
from toolkit.core.errors import BadData, InputOutput, TryLater
from toolkit.datacentre.images import receiving
from toolkit.datacentre.images import spool as spool_module
from toolkit.datacentre.images.instances import Outcome, read_instance
from toolkit.datacentre.images.packing import PackedImages
from toolkit.datacentre.images.receiving import ImageKeeper, recover
from toolkit.datacentre.images.rows import SPOOLED, enter, forget, held, image_counts
from toolkit.datacentre.images.spool import ImageSpool
from toolkit.datacentre.index import open_index


@pytest.fixture(params=["sqlite", "postgresql"])
def collection(request: pytest.FixtureRequest, tmp_path: Path) -> Collection:
    return Collection(tmp_path, url="" if request.param == "sqlite" else request.getfixturevalue("postgresql"))


@pytest.fixture
def here(tmp_path: Path) -> Collection:
    return Collection(tmp_path)


def take(keeper: ImageKeeper, number: int, content: str = "", client: str = "CN=hospital") -> Outcome:
    incoming = keeper.begin()
    try:
        incoming.write(image(number, content))
        incoming.flush()
        return keeper.receive(incoming, read_instance(incoming.path), client)
    finally:
        incoming.discard()


def test_once_known_and_in_conflict(collection: Collection) -> None:
    assert collection.receive([0, 1, 0]) == [Outcome.NEW, Outcome.NEW, Outcome.KNOWN]
    assert collection.receive([0], "another") == [Outcome.CONFLICT]
    assert collection.receive([0], "another") == [Outcome.CONFLICT]  # kept once, not twice
    collection.check([0, 1], packed=False)
    (name,) = collection.spool.conflicting()
    assert (collection.spool.conflicts / f"{name}.dcm").read_bytes() == image(0, "another")
    assert not list(collection.spool.incoming.iterdir())


def test_many_at_once(collection: Collection) -> None:
    """Each of forty images from three senders, in eight threads."""
    with ImageSpool(collection.places.spool, writing=True) as spool, open_index(collection.url) as index:
        keeper = ImageKeeper(spool, index)
        with ThreadPoolExecutor(8) as workers:
            found = list(workers.map(lambda number: take(keeper, number % 40), range(120)))
    assert (found.count(Outcome.NEW), found.count(Outcome.KNOWN)) == (40, 80)
    collection.check(range(40), packed=False)
    assert not list(collection.spool.incoming.iterdir())


def test_two_contents_at_once(collection: Collection) -> None:
    with ImageSpool(collection.places.spool, writing=True) as spool, open_index(collection.url) as index:
        keeper = ImageKeeper(spool, index)
        with ThreadPoolExecutor(8) as workers:
            found = list(workers.map(lambda number: take(keeper, number // 2, "ab"[number % 2]), range(20)))
        for number in range(0, 20, 2):
            assert {found[number], found[number + 1]} == {Outcome.NEW, Outcome.CONFLICT}
            (known,) = held(index, [uid(number // 2)]).values()
            assert spool.digest(uid(number // 2)) == known.instance.digest
    assert len(collection.spool.conflicting()) == 10


def test_one_process_receives(here: Collection) -> None:
    with ImageSpool(here.places.spool, writing=True) as spool:
        assert here.spool.receiving
        with pytest.raises(TryLater):
            ImageSpool(here.places.spool, writing=True)
        half = spool.begin()
        half.write(b"half an image")
        half.flush()
        os.rename(half.path, spool.incoming / "left.dcm")  # as if it had been another process's
        half.discard()
    assert not here.spool.receiving
    with ImageSpool(here.places.spool, writing=True) as spool:
        assert not list(spool.incoming.iterdir())


def test_each_directory_that_was_made_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept below a directory that power loss takes away is gone with it."""
    synchronised: list[Path] = []

    def noted(place: str) -> None:
        assert Path(place).is_dir()
        synchronised.append(Path(place))

    monkeypatch.setattr(spool_module, "synchronise", noted)
    ImageSpool(str(tmp_path / "var/centre/spool"), writing=True).close()
    assert {tmp_path, tmp_path / "var", tmp_path / "var/centre", tmp_path / "var/centre/spool"} <= set(synchronised)


def test_uids_cannot_lead_elsewhere(here: Collection) -> None:
    with ImageSpool(here.places.spool, writing=True) as spool, open_index(here.url) as index:
        keeper = ImageKeeper(spool, index)
        incoming = keeper.begin()
        incoming.write(image(1))
        incoming.flush()
        instance = read_instance(incoming.path)
        for name in ("../1", "1/2", "", ".", "1" * 65):
            with pytest.raises(BadData):
                keeper.receive(incoming, replace(instance, instance_uid=name), "CN=a")
        for words in ({"patient": "k1.\0"}, {"accession": "A\nB"}, {"modality": "\ud800"}):
            with pytest.raises(BadData):
                keeper.receive(incoming, replace(instance, **words), "CN=a")
        incoming.discard()
        assert not list(spool.uids())
        assert not keeper.held("../../index", CT)


STEPS: list[tuple[str, str]] = [
    ("toolkit.datacentre.images.spool._synchronise_file", "before"),
    ("os.link", "before"),
    ("os.link", "after"),
    ("toolkit.datacentre.images.spool.synchronise", "after"),
    ("toolkit.datacentre.images.receiving.enter", "before"),
    ("toolkit.datacentre.images.receiving.enter", "after"),
    ("os.unlink", "before"),
]


def killed(where: str, when: str, work: Callable[[Callable[[], None]], Any]) -> None:
    """Do `work` in a process that ends, as by kill -9, at the first call of a function after `work` called what it is given."""

    def arm() -> None:
        owner_name, _, name = where.rpartition(".")
        owner = __import__(owner_name, fromlist=[name])
        function = getattr(owner, name)

        def end(*words: Any, **more: Any) -> None:
            if when == "after":
                function(*words, **more)
            os._exit(9)

        setattr(owner, name, end)

    process = multiprocessing.get_context("fork").Process(target=work, args=(arm,))
    process.start()
    process.join(30)
    assert process.exitcode == 9


@pytest.mark.parametrize(("where", "when"), STEPS)
def test_killed_at_each_step(here: Collection, where: str, when: str) -> None:
    """The sender sends again what was not acknowledged; the packer may run before, between and afterwards."""
    for packs_between in (False, True):
        first = 10 * packs_between
        here.receive([first])

        def receive(arm: Callable[[], None], number: int = first + 1) -> None:
            with ImageSpool(here.places.spool, writing=True) as spool, open_index(here.url) as index:
                keeper = ImageKeeper(spool, index)
                incoming = keeper.begin()
                incoming.write(image(number))
                incoming.flush()
                instance = read_instance(incoming.path)
                arm()
                keeper.receive(incoming, instance, "CN=hospital")

        killed(where, when, receive)
        if packs_between:
            assert here.pack().failed == 0
        assert set(here.receive([first + 1])) <= {Outcome.NEW, Outcome.KNOWN}
        assert here.receive([first + 1], "another") == [Outcome.CONFLICT]
        assert here.pack().failed == 0
    here.check([0, 1, 10, 11], packed=True, clients={"CN=hospital", ""})
    assert not list(here.spool.incoming.iterdir())


def test_what_was_kept_and_not_entered_is_entered_at_the_next_start(collection: Collection) -> None:
    collection.receive(range(3))
    before = collection.rows()
    with open_index(collection.url) as index:
        forget(index, [uid(number) for number in range(3)])
        assert image_counts(index).studies == 0
    collection.receive([])
    assert collection.rows() == {(instance, "", received) for instance, _, received in before}
    assert collection.receive([1]) == [Outcome.KNOWN]


def test_what_a_running_receiver_just_kept_is_left_to_it(here: Collection) -> None:
    here.receive([0])
    with open_index(here.url) as index, ImageSpool(here.places.spool, writing=True):
        forget(index, [uid(0)])
        recover(index, here.spool)
        assert not held(index, [uid(0)])
        recover(index, here.spool, on_the_way=0)
        assert held(index, [uid(0)])


def test_sent_again_a_damaged_or_lost_one_is_whole(collection: Collection, caplog: pytest.LogCaptureFixture) -> None:
    """It is never answered as known because the index knows it."""
    collection.receive(range(3))
    collection.spool.path(uid(0)).write_bytes(b"x" + image(0)[1:])
    collection.spool.path(uid(1)).unlink()
    with ImageSpool(collection.places.spool, writing=True) as spool, open_index(collection.url) as index:
        keeper = ImageKeeper(spool, index)
        assert [keeper.held(uid(number), CT) for number in range(4)] == [False, False, True, False]
        assert [take(keeper, number) for number in range(3)] == [Outcome.NEW, Outcome.NEW, Outcome.KNOWN]
        assert [keeper.held(uid(number), CT) for number in range(4)] == [True, True, True, False]
        assert not keeper.held(uid(0), "1.2.840.10008.5.1.4.1.1.4")
    assert "was damaged; replaced" in caplog.text
    assert collection.pack() == PackedImages(3, 0)
    collection.check(range(3), packed=True)


def test_what_no_index_can_hold_keeps_nobody_out(collection: Collection, caplog: pytest.LogCaptureFixture) -> None:
    """PostgreSQL takes no NUL and indexes no long text: one such object would fail all that are entered with it, at each start, too."""
    wrong = [{"patient": "A\0B"}, {"patient": "".join(str(n) for n in range(3000))}, {"accession": "A\nB"}, {"sop_class": "1.2\0"}]
    with ImageSpool(collection.places.spool, writing=True) as spool, open_index(collection.url) as index:
        keeper = ImageKeeper(spool, index)
        for words in wrong:
            incoming = keeper.begin()
            incoming.write(image(0))
            incoming.flush()
            with pytest.raises(BadData):
                keeper.receive(incoming, replace(read_instance(incoming.path), **words), "CN=hospital")
            incoming.discard()
        assert not list(spool.uids())
        (spool.kept / f"{uid(7)}.dcm").write_bytes(image(7).replace(b"k1.PATIENT", b"k1\0PATIENT"))  # whoever put it there
    assert collection.receive([1]) == [Outcome.NEW]
    assert collection.pack() == PackedImages(1, 0)
    assert f"{uid(7)}.dcm: cannot be read" in caplog.text


def test_what_is_in_the_stores_counts_as_held(here: Collection) -> None:
    here.receive([0])
    here.pack()
    with ImageSpool(here.places.spool, writing=True) as spool, open_index(here.url) as index:
        assert ImageKeeper(spool, index).held(uid(0), CT)


def test_a_failing_index_acknowledges_nothing(here: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that shared the transaction are told; sent again, they are new."""
    fails = threading.Event()

    def fail(*words: Any) -> Any:
        if fails.is_set():
            raise InputOutput("index", "database or disk is full", "make room")
        return enter(*words)

    monkeypatch.setattr(receiving, "enter", fail)
    with ImageSpool(here.places.spool, writing=True) as spool, open_index(here.url) as index:
        keeper = ImageKeeper(spool, index)
        fails.set()
        with ThreadPoolExecutor(4) as workers:
            for future in [workers.submit(take, keeper, number) for number in range(8)]:
                with pytest.raises(InputOutput):
                    future.result()
        assert not held(index, [uid(number) for number in range(8)])
        fails.clear()
        assert {take(keeper, number) for number in range(8)} == {Outcome.NEW}
    here.check(range(8), packed=False)


def test_the_packer_moves_it_while_it_is_sent_again(here: Collection) -> None:
    """Receiving the same images over and over while packers run: each answer is right, and each image is there once."""
    here.receive(range(20))
    ended = threading.Event()

    def packs() -> Iterator[PackedImages]:
        while not ended.is_set():
            yield here.pack(list_instances=5)

    with ThreadPoolExecutor(1) as packer:
        packed = packer.submit(lambda: sum(one.failed for one in packs()))
        try:
            for first in range(0, 60, 20):
                outcomes = here.receive([*range(first + 20), *range(first + 20)])
                new = [Outcome.NEW if first else Outcome.KNOWN] * 20
                assert outcomes == [Outcome.KNOWN] * first + new + [Outcome.KNOWN] * (first + 20)
            assert here.receive(range(60), "another") == [Outcome.CONFLICT] * 60
        finally:
            ended.set()
        assert packed.result() == 0
    here.pack()
    here.check(range(60), packed=True)


def test_who_puts_a_damaged_one_aside_and_who_replaces_it_do_not_meet(here: Collection) -> None:
    """Whoever comes second finds another file there, and does nothing."""
    here.receive([0])
    spool = here.spool
    digest = spool.digest(uid(0))
    assert not spool.put_aside(uid(0), digest)  # it is whole
    spool.path(uid(0)).write_bytes(b"damaged")
    answers: list[bool] = []
    second = threading.Thread(target=lambda: answers.append(spool.put_aside(uid(0), digest)))
    with spool._damaged(uid(0), digest) as found:
        assert found
        second.start()
        second.join(0.2)
        assert not answers
        os.replace(_whole(here), spool.path(uid(0)))
    second.join(10)
    assert answers == [False]
    assert spool.digest(uid(0)) == digest


def _whole(collection: Collection) -> Path:
    path = collection.spool.incoming / "whole.dcm"
    path.write_bytes(image(0))
    return path


def test_rows_of_a_place_go_with_its_last_instance(collection: Collection) -> None:
    collection.receive(range(5))
    with open_index(collection.url) as index:
        forget(index, [uid(0), uid(1), uid(4)])
        counts = image_counts(index)
        assert (counts.images_spooled, counts.series, counts.studies) == (2, 1, 1)
        assert {one.place for one in held(index, map(uid, range(5))).values()} == {SPOOLED}


def test_a_series_uid_in_two_studies_moves_nothing(collection: Collection) -> None:
    """Senders get UIDs wrong: an object's place in the store is by its own study, whatever came later."""
    with open_index(collection.url) as index:
        collection.receive([0])
        (first,) = held(index, [uid(0)]).values()
        other = replace(first.instance, instance_uid="2.25.99", study_uid="2.25.98", patient="k1.OTHER")
        enter(index, [replace(first, instance=other)])
        found = held(index, [uid(0), "2.25.99"])
    assert found[uid(0)] == first
    assert found["2.25.99"].instance == other


def test_every_transfer_syntax_is_read_again(here: Collection) -> None:
    """What pydicom's own files say of themselves, also deflated and big-endian."""
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    from toolkit.datacentre.pacs.streaming import part_10_head

    for name in ("CT_small.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "JPEG2000.dcm"):
        source = Path(str(get_testdata_file(name)))
        meta = dcmread(source).file_meta
        head = part_10_head(meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID)
        raw = source.read_bytes()
        path = here.directory / name
        path.write_bytes(head + raw[144 + meta.FileMetaInformationGroupLength :])
        found, expected = read_instance(path), dcmread(source)
        assert (found.instance_uid, found.study_uid, found.modality) == (
            expected.SOPInstanceUID,
            expected.StudyInstanceUID,
            expected.Modality,
        )
        assert (found.transfer_syntax, found.size) == (meta.TransferSyntaxUID, path.stat().st_size)
        assert found.sop_class == meta.MediaStorageSOPClassUID
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(BadData):
            read_instance(path)


def test_moved_between_question_and_keeping_it_is_known(here: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of it stays behind in the spool."""
    here.receive([0])
    with open_index(here.url) as index:
        stale = held(index, [uid(0)])
        here.pack()
        with ImageSpool(here.places.spool, writing=True) as spool:
            keeper = ImageKeeper(spool, index)
            monkeypatch.setattr(receiving, "held", lambda index, uids: stale)
            assert take(keeper, 0) == Outcome.KNOWN
    here.check([0], packed=True)
