"""Storage commitment (PS3.4 annex J): the receiver says which of the images it keeps from now on, and so which may go here.

It says so on the association on which it was asked, or on one of its own, for which one has to listen.
"""

from __future__ import annotations

import contextlib
import io
import logging
import queue
import ssl
import time
from collections.abc import Iterator, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, _config, evt
from pynetdicom.dsutils import decode, encode
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from toolkit.core.dicom_network import is_loopback, no_delay
from toolkit.core.errors import NotPermitted, Unavailable
from toolkit.hospital.images import journal as journals
from toolkit.hospital.images.association import IMPLICIT_LITTLE, STORAGE_COMMITMENT, Association, Lost
from toolkit.hospital.images.contexts import Pair
from toolkit.hospital.images.journal import Entry, Journal
from toolkit.hospital.images.messages import Answer, Message
from toolkit.hospital.images.objects import Image
from toolkit.hospital.images.outcome import Outcome, State
from toolkit.hospital.images.peer import Peer
from toolkit.hospital.images.statuses import words

logger = logging.getLogger(__name__)
_PAIR: Pair = (STORAGE_COMMITMENT, IMPLICIT_LITTLE)
_INSTANCE = "1.2.840.10008.1.20.1.1"  # the well-known one of storage commitment, PS3.4 J.3
_AT_ONCE = 1000  # images in one transaction
_GONE = 0x0112  # PS3.3 C.14.1.1
_PASSING = {0x0110, 0x0131, 0x0213, 0}
_TURN = 0.1  # seconds

Reports = queue.SimpleQueue[Dataset]


@contextlib.contextmanager
def listening(host: str, port: int, title: str, tls: ssl.SSLContext | None) -> Iterator[Reports]:
    """Take reports of storage commitment at `host` and `port`, as `title`.

    Raises NotPermitted for a plain listener elsewhere than on loopback, Unavailable when the port is taken.
    """
    place = f"{host}:{port}"
    if tls is None and not is_loopback(host):
        raise NotPermitted(place, "reports would travel unencrypted", "name certificates, or listen on 127.0.0.1")
    reports: Reports = queue.SimpleQueue()
    _config.LOG_HANDLER_LEVEL = "none"

    def received(event: Any) -> tuple[int, None]:
        reports.put(event.event_information)
        return 0x0000, None

    entity = AE(title)
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    entity.add_supported_context(Verification)
    handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, received), (evt.EVT_CONN_OPEN, lambda event: no_delay(event.assoc.dul.socket.socket))]
    try:
        server = entity.start_server((host, port), block=False, ssl_context=tls, evt_handlers=handlers)
    except PermissionError as error:
        raise NotPermitted(place, "not permitted", "take a port from 1024 on") from error
    except OSError as error:
        raise Unavailable(place, error.strerror or str(error), "end the other program, or choose another address") from error
    try:
        yield reports
    finally:
        if server is not None:
            server.shutdown()


class Commitment:
    """Asks `peer` to commit itself to `images`; what comes of it is entered into `journal` and `outcome`. `reports` are those that come
    over other associations, None when nobody listens."""

    def __init__(self, peer: Peer, journal: Journal, outcome: Outcome, reports: Reports | None) -> None:
        self._peer, self._journal, self._outcome, self._reports = peer, journal, outcome, reports
        self._pending: dict[str, dict[str, Image]] = {}  # by transaction, by instance

    def ask(self, images: Sequence[Image]) -> None:
        """Ask and wait for what it says; what it does not say within the time waits.

        Raises Unavailable when it cannot be reached or does no storage commitment.
        """
        association: Association | None = Association(self._peer, [_PAIR])
        assert association is not None
        try:
            for why in association.refused.values():
                association.release()
                raise Unavailable(self._peer.place, f"does no storage commitment: {why}", "leave out --commit")
            for start in range(0, len(images), _AT_ONCE):
                self._request(association, images[start : start + _AT_ONCE])
            association = self._listen(association)
            if association is not None:
                association.release()
        except Lost as error:
            logger.warning("%s", error)
        finally:
            if association is not None:
                association.abort()
            for some in self._pending.values():
                for image in some.values():
                    self._outcome.enter(image.path, State.WAITS, "the receiver did not say whether it keeps it", image.instance)

    def _request(self, association: Association, images: Sequence[Image]) -> None:
        transaction = str(generate_uid(None))
        self._pending[transaction] = {image.instance: image for image in images}
        request = Dataset()
        request.TransactionUID = transaction
        request.ReferencedSOPSequence = [_reference(image) for image in images]
        answer, before = association.action(_PAIR, _INSTANCE, encode(request, True, True) or b"")
        if answer.status:
            logger.warning("%s: refuses storage commitment: %s", self._peer.place, words(answer))
        for message in before:
            self._message(association, message)

    def _listen(self, association: Association | None) -> Association | None:
        """Wait until everything is said, or nothing came for the time of silence; the association, while it lives."""
        heard = time.monotonic()
        while self._pending and time.monotonic() - heard < self._peer.timeout:
            if association is not None:
                try:
                    message = association.wait(_TURN)
                    if message is not None:
                        self._message(association, message)
                        heard = time.monotonic()
                except Lost as error:
                    association.abort()
                    association = None
                    if self._reports is None:
                        logger.warning(
                            "%s: %s before it said what it keeps; --listen takes reports that come later", error.place, error.problem
                        )
                        break
            if self._reports is not None:
                with contextlib.suppress(queue.Empty):
                    self._report(self._reports.get(timeout=_TURN))
                    heard = time.monotonic()
        return association

    def _message(self, association: Association, message: Message) -> None:
        if message.number(0x0100) != 0x0100:  # N-EVENT-REPORT-RQ
            return
        association.report_received(message)
        self._report(message.data)

    def _report(self, report: Dataset | bytes) -> None:
        """One report: what is kept and what is not (PS3.4 J.3.3)."""
        try:
            transaction, whole, failed = _read(decode(io.BytesIO(report), True, True) if isinstance(report, bytes) else report)
        except Exception:  # pydicom's parser raises anything
            logger.warning("%s: its report cannot be read", self._peer.place)
            return
        asked = self._pending.get(transaction, None)
        if asked is None:
            return
        self._keep([image for uid in whole if (image := asked.pop(uid, None)) is not None])
        for uid, reason in failed:
            image = asked.pop(uid, None)
            if image is not None:
                self._not_kept(image, reason)
        for transaction in [name for name, some in self._pending.items() if not some]:
            del self._pending[transaction]

    def _keep(self, images: Sequence[Image]) -> None:
        known = self._journal.known(image.instance for image in images)
        entries: list[Entry] = [known[image.instance]._replace(state=journals.COMMITTED) for image in images if image.instance in known]
        self._journal.write(entries)
        for image in images:
            self._outcome.enter(image.path, State.COMMITTED, "", image.instance)

    def _not_kept(self, image: Image, reason: int) -> None:
        if reason == _GONE:
            self._journal.forget([image.instance])
            self._outcome.enter(image.path, State.WAITS, "the receiver does not have it; the next run sends it again", image.instance)
        elif reason in _PASSING:
            self._outcome.enter(image.path, State.WAITS, f"not committed: {words(Answer(reason, ''))}", image.instance)
        else:
            self._outcome.enter(image.path, State.REFUSED, f"not committed: {words(Answer(reason, ''))}", image.instance)


def _read(report: Dataset) -> tuple[str, list[str], list[tuple[str, int]]]:
    """The transaction, the instances that are kept, and those that are not, with the reasons. Raises anything when it is malformed."""
    whole = [str(item.get("ReferencedSOPInstanceUID", "")) for item in report.get("ReferencedSOPSequence") or []]
    failed = [
        (str(item.get("ReferencedSOPInstanceUID", "")), int(item.get("FailureReason", 0) or 0))
        for item in report.get("FailedSOPSequence") or []
    ]
    return str(report.get("TransactionUID", "")), whole, failed


def _reference(image: Image) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.sop_class, image.instance
    return item
