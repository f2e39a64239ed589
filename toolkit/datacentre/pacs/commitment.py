"""Storage commitment (PS3.4 annex J): which of the objects that a sender names are durably here, so that it may remove its own.

The report goes over the association on which it was asked for, and over one of ours when that one ends first and we know the peer.
"""

from __future__ import annotations

import io
import logging
import queue
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from toolkit.core.dicom_network import no_delay
from toolkit.core.errors import NoInput, ToolError
from toolkit.core.storage.store import Store
from toolkit.datacentre.faults import report
from toolkit.datacentre.images.receiving import ImageKeeper
from toolkit.datacentre.images.rows import SPOOLED, Held, held
from toolkit.datacentre.index import Index
from toolkit.datacentre.pacs.streaming import StreamingProvider

INSTANCE = "1.2.840.10008.1.20.1.1"  # the well-known one, PS3.4 J.3.1
SUCCESS, NO_SUCH_INSTANCE, INVALID_ARGUMENT, NO_SUCH_ACTION = 0x0000, 0x0112, 0x0115, 0x0123  # PS3.7, annex C
_MISSING, _CONFLICT, _FAILED = 0x0112, 0x0119, 0x0110  # failure reasons, PS3.3 C.14.1.1
_REQUEST, _ALL, _SOME = 1, 1, 2  # action type; event types: all are here, some are not
_ANSWER_SECONDS = 30.0
_LATER = (0.0, 5.0, 30.0)  # seconds before each try to reach a peer
_log = logging.getLogger(__name__)


class Peer(NamedTuple):
    """Where an application entity listens."""

    host: str
    port: int


class Wanted(NamedTuple):
    """An object that a sender asks about."""

    sop_class: str
    instance_uid: str


class Holding:
    """Looks whether objects are durably here: in the index, and in the spool or the stores; in `store` itself, when it is given."""

    def __init__(self, keeper: ImageKeeper, index: Index, store: Store | None) -> None:
        self._keeper, self._index, self._store = keeper, index, store

    def failures(self, wanted: Sequence[Wanted]) -> dict[Wanted, int]:
        """The objects for which nobody can answer, with the reasons."""
        try:
            known = held(self._index, [one.instance_uid for one in wanted])
            return {one: reason for one in wanted if (reason := self._reason(one, known.get(one.instance_uid)))}
        except ToolError as error:
            _log.error("%s; senders are told that their objects are not committed", error)
            return dict.fromkeys(wanted, _FAILED)

    def _reason(self, one: Wanted, known: Held | None) -> int:
        if known is None:
            return _MISSING
        if known.instance.sop_class != one.sop_class:
            return _CONFLICT
        if known.place == SPOOLED:
            return 0 if self._keeper.held(*reversed(one)) else _MISSING
        if self._store is not None:
            try:
                with self._store.open(known.instance.name) as stream:
                    size = stream.seek(0, io.SEEK_END)
            except NoInput:  # the archive may have it, and verify copies it back: to send it again would change nothing
                size = -1
            if size != known.instance.size:
                _log.error("%s: the store does not have it as the index says; run mdc-store verify", known.instance.name)
                return _FAILED
        return 0


class Commitments:
    """Answers requests; `peers` are those that take reports over associations of ours, with `tls` when it is given."""

    def __init__(self, holding: Holding, title: str, peers: Mapping[str, Peer], tls: ssl.SSLContext | None) -> None:
        self.tls = tls
        self._holding, self._title, self._peers = holding, title, peers
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(4, "commitment")

    def end(self) -> None:
        """Report nothing any more: senders ask again."""
        self._ended.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def asked(self, event: Any) -> tuple[int, None]:
        """An N-ACTION request; the report follows its answer."""
        request = event.request
        if request.RequestedSOPInstanceUID != INSTANCE:
            return NO_SUCH_INSTANCE, None
        if request.ActionTypeID != _REQUEST:
            return NO_SUCH_ACTION, None
        try:
            asked = event.action_information
            transaction = str(asked.TransactionUID)
            items = list(asked.ReferencedSOPSequence)
            wanted = [Wanted(str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)) for item in items]
        except Exception:  # pydicom's parser raises anything
            return INVALID_ARGUMENT, None
        if not transaction or not wanted:
            return INVALID_ARGUMENT, None
        assoc, context = event.assoc, event.context.context_id
        title = str(assoc.requestor.ae_title).strip()
        cast(StreamingProvider, assoc.dimse).afterwards.append(lambda: self._later(assoc, context, title, transaction, wanted))
        return SUCCESS, None

    def _later(self, assoc: Association, context: int, title: str, transaction: str, wanted: list[Wanted]) -> None:
        try:
            self._pool.submit(self._report, assoc, context, title, transaction, wanted)
        except RuntimeError:  # the receiver ends
            assoc.abort(block=False)

    def _report(self, assoc: Association, context: int, title: str, transaction: str, wanted: list[Wanted]) -> None:
        try:
            failures = self._holding.failures(wanted)
            information = _information(transaction, wanted, failures)
            kind = _SOME if failures else _ALL
            if self._on_the_same(assoc, context, kind, information):
                return
            if title in self._peers:
                self._until(lambda: self._on_a_new_one(title, self._peers[title], kind, information), title)
            else:
                _log.warning("%s: went before it heard what is committed, and is no --peer", title)
        except Exception as error:  # a thread of a pool would keep it for itself
            report(_log, error, f"{title} has to ask again what is committed")

    def _on_the_same(self, assoc: Association, context: int, kind: int, information: Dataset) -> bool:
        syntax = assoc._accepted_cx[context].transfer_syntax[0]
        request = N_EVENT_REPORT()
        request.MessageID = 1
        request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = StorageCommitmentPushModel, INSTANCE
        request.EventTypeID = kind
        data = encode(information, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
        request.EventInformation = io.BytesIO(data or b"")
        answers: queue.SimpleQueue[int] = queue.SimpleQueue()
        provider = cast(StreamingProvider, assoc.dimse)
        with provider.reporting:  # one at a time
            if not assoc.is_established:
                return False
            provider.answered = answers.put
            provider.send_msg(request, context)
            deadline = time.monotonic() + _ANSWER_SECONDS
            while time.monotonic() < deadline and not self._ended.is_set():
                try:
                    return answers.get(timeout=0.1) == SUCCESS
                except queue.Empty:
                    if not assoc.is_established:
                        break
        return False

    def _until(self, send: Callable[[], bool], title: str) -> None:
        for seconds in _LATER:
            if self._ended.wait(seconds) or send():
                return
        _log.warning("%s: cannot be told what is committed; it has to ask again", title)

    def _on_a_new_one(self, title: str, peer: Peer, kind: int, information: Dataset) -> bool:
        entity = AE(self._title)
        entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _ANSWER_SECONDS
        entity.add_requested_context(StorageCommitmentPushModel)
        more: dict[str, Any] = {"tls_args": (self.tls, peer.host)} if self.tls is not None else {}
        opened = (evt.EVT_CONN_OPEN, lambda event: no_delay(event.assoc.dul.socket.socket))
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        assoc = entity.associate(peer.host, peer.port, ae_title=title, ext_neg=[role], evt_handlers=[opened], **more)
        if not assoc.is_established:
            return False
        try:
            status, _ = assoc.send_n_event_report(information, kind, StorageCommitmentPushModel, INSTANCE)
            return bool("Status" in status and status.Status == SUCCESS)
        except ValueError:  # it does not let us be the one that commits
            return False
        finally:
            if assoc.is_established:
                assoc.release()


def _information(transaction: str, wanted: Sequence[Wanted], failures: Mapping[Wanted, int]) -> Dataset:
    made = Dataset()
    made.TransactionUID = transaction
    here = [_item(one) for one in wanted if one not in failures]
    if here:
        made.ReferencedSOPSequence = here
    if failures:
        made.FailedSOPSequence = [_item(one, failures[one]) for one in wanted if one in failures]
    return made


def _item(one: Wanted, reason: int = 0) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = one
    if reason:
        made.FailureReason = reason
    return made
