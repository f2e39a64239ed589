"""Storage commitment: over the same association, and over one of the receiver's own when the sender hangs up first."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from tests.unit.datacentre.images.collection import CT, Collection
from tests.unit.datacentre.pacs.rooms import kept, receiving, sample, storescu
from toolkit.core.storage import open_store
from toolkit.datacentre.images.instances import Instance
from toolkit.datacentre.images.receiving import ImageKeeper
from toolkit.datacentre.images.rows import Held, held, stored
from toolkit.datacentre.images.spool import ImageSpool
from toolkit.datacentre.index import StoredObject, open_index
from toolkit.datacentre.pacs.commitment import INSTANCE, Holding, Peer, Wanted
from toolkit.datacentre.pacs.receiver import Receiver

Reports = queue.SimpleQueue[tuple[int, Dataset]]


def request(*items: tuple[str, str]) -> Dataset:
    made = Dataset()
    made.TransactionUID = generate_uid()
    made.ReferencedSOPSequence = [Dataset() for _ in items]
    for item, (sop_class, uid) in zip(made.ReferencedSOPSequence, items, strict=True):
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return made


def ask(receiver: Receiver, asked: Dataset, reports: Reports, hang_up: bool = False, kind: int = 1, instance: str = INSTANCE) -> int:
    """The status of the request; the report comes into `reports` unless it hangs up before."""

    def reported(event: Any) -> tuple[int, None]:
        reports.put((event.request.EventTypeID, event.event_information))
        return 0x0000, None

    entity = AE("SENDER")
    entity.add_requested_context(StorageCommitmentPushModel)
    handlers: Sequence[Any] = [(evt.EVT_N_EVENT_REPORT, reported)]
    association = entity.associate("127.0.0.1", receiver.port, evt_handlers=list(handlers))
    assert association.is_established
    status, _ = association.send_n_action(asked, kind, StorageCommitmentPushModel, instance)
    if hang_up:
        association.abort()
        return int(status.Status)
    if status.Status == 0:
        reports.put(reports.get(timeout=10))
    association.release()
    return int(status.Status)


def test_what_is_here_is_committed_and_the_rest_has_its_reason(tmp_path: Path) -> None:
    path, reports = sample(tmp_path / "one.dcm"), Reports()
    uid = str(pydicom.dcmread(path).SOPInstanceUID)
    with receiving(tmp_path / "home") as receiver:
        assert storescu(receiver, path).returncode == 0
        asked = request((CTImageStorage, uid))
        assert ask(receiver, asked, reports) == 0
        kind, report = reports.get(timeout=1)
        assert kind == 1 and report.TransactionUID == asked.TransactionUID and "FailedSOPSequence" not in report
        assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [uid]

        assert ask(receiver, request((CTImageStorage, uid), (CTImageStorage, "1.2.3"), (MRImageStorage, uid)), reports) == 0
        kind, report = reports.get(timeout=1)
        assert kind == 2 and len(report.ReferencedSOPSequence) == 1
        assert [(item.ReferencedSOPInstanceUID, item.FailureReason) for item in report.FailedSOPSequence] == [
            ("1.2.3", 0x0112), (uid, 0x0119),
        ]  # fmt: skip

        kept(tmp_path / "home")[0].unlink()  # the index believes it to be here
        assert ask(receiver, request((CTImageStorage, uid)), reports) == 0
        assert reports.get(timeout=1)[0] == 2


def test_a_sender_that_hangs_up_is_told_where_it_listens(tmp_path: Path) -> None:
    path, reports = sample(tmp_path / "one.dcm"), Reports()
    uid = str(pydicom.dcmread(path).SOPInstanceUID)

    def reported(event: Any) -> tuple[int, None]:
        reports.put((event.request.EventTypeID, event.event_information))
        return 0x0000, None

    entity = AE("SENDER")
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, reported)]
    listening = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert listening is not None
    try:
        peer = Peer("127.0.0.1", listening.server_address[1])
        with receiving(tmp_path / "home", peers={"SENDER": peer}) as receiver:
            assert storescu(receiver, path).returncode == 0
            assert ask(receiver, request((CTImageStorage, uid)), Reports(), hang_up=True) == 0
            kind, report = reports.get(timeout=15)
            assert kind == 1 and report.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == uid
    finally:
        listening.shutdown()


def test_requests_that_are_none(tmp_path: Path) -> None:
    with receiving(tmp_path / "home") as receiver:
        assert ask(receiver, request((CTImageStorage, "1.2")), Reports(), kind=2) == 0x0123
        assert ask(receiver, request((CTImageStorage, "1.2")), Reports(), instance="1.2.3") == 0x0112
        nothing = request()
        assert ask(receiver, nothing, Reports()) == 0x0115


def test_many_objects_in_one_request(tmp_path: Path) -> None:
    reports, count = Reports(), 3000
    with receiving(tmp_path / "home") as receiver:
        assert ask(receiver, request(*((CTImageStorage, f"1.2.{number}") for number in range(count))), reports) == 0
        kind, report = reports.get(timeout=1)
        assert kind == 2 and len(report.FailedSOPSequence) == count


def test_with_a_store_packed_objects_are_looked_for_there(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    here = Instance("1.2", "1.2.1", "1.2.1.1", CTImageStorage, "1.2.840.10008.1.2.1", "p", "a", "CT", "20260101", "sha256:" + "0" * 64, 9)
    gone = replace(here, instance_uid="1.2.1.2")
    short = replace(here, instance_uid="1.2.1.3")
    store.put(here.name, b"123456789")
    store.put(short.name, b"1234")
    wanted = [Wanted(one.sop_class, one.instance_uid) for one in (here, gone, short)]
    with ImageSpool(str(tmp_path / "spool"), writing=True) as spool, open_index(str(tmp_path / "index.db")) as index:
        listed = StoredObject("lists/x.json", "sha256:" + "0" * 64, 1)
        stored(index, [Held(one, "", "2026-01-01T00:00:00", "object:x") for one in (here, gone, short)], listed)
        keeper = ImageKeeper(spool, index)
        assert Holding(keeper, index, None).failures(wanted) == {}
        assert Holding(keeper, index, store).failures(wanted) == {wanted[1]: 0x0110, wanted[2]: 0x0110}


def test_one_that_the_store_lost_keeps_no_others_back(tmp_path: Path) -> None:
    collection = Collection(tmp_path)
    collection.receive([0, 1])
    collection.pack()
    store = collection.stores[0]
    with ImageSpool(collection.places.spool, writing=True) as spool, open_index(collection.url) as index:
        gone = held(index, ["2.25.1"])["2.25.1"].instance
        (Path(collection.urls[0]) / gone.name).unlink()
        holding = Holding(ImageKeeper(spool, index), index, store)
        first, second = Wanted(CT, "2.25.1"), Wanted(CT, "2.25.2")
        assert holding.failures([first, second]) == {first: 0x0110}
