"""Objects written to a file as they come, beside pynetdicom, which has no such thing.

pynetdicom's own STORE_RECV_CHUNKED_DATASET writes to the system's temporary directory with a flush for each fragment, and with a file
meta of its own; here fragments go to the place where they will be kept.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import struct
import threading
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.pdu_primitives import P_DATA

from toolkit.core.errors import InputOutput
from toolkit.datacentre.images.instances import Incoming, Keeper
from toolkit.datacentre.pacs.connections import TURN, Ringing

IMPLEMENTATION = "1.2.826.0.1.3680043.8.498.45787841905188114249713612127"  # of this receiver, PS3.7, annex D.3.3.2
_LARGEST_MESSAGE = 16 << 20  # bytes in memory: a command, a query, a request for commitment of 100,000 objects
_MOST_WAITING = 16  # messages; none may be sent before the last one's answer, but for cancelling
_log = logging.getLogger(__name__)


class Streamed(BytesIO):
    """The data set of a C-STORE, which pynetdicom believes to be in memory: what is written goes to a file.

    `digest` is the Part 10 file's SHA-256, `head` the bytes before the data set; `failure` is why the rest is not kept: the peer is
    heard to the end all the same and gets a status for it.
    """

    def __init__(self, keeper: Keeper, sop_class: str, instance_uid: str, transfer_syntax: str) -> None:
        super().__init__()
        self.sop_class, self.instance_uid, self.transfer_syntax = sop_class, instance_uid, transfer_syntax
        self.file: Incoming | None = None
        self.failure: InputOutput | None = None
        self.size = 0
        self.digest = sha256()
        head = part_10_head(sop_class, instance_uid, transfer_syntax)  # before there is a file: what is no UID ends here
        self.head = len(head)
        try:
            self.file = keeper.begin()
        except InputOutput as error:
            self.failure = error
        self._put(head)

    def write(self, chunk: Any) -> int:
        self._put(chunk)
        return len(chunk)

    def discard(self) -> None:
        """Remove the file, if it was not kept."""
        if self.file is not None:
            self.file.discard()

    def _put(self, chunk: bytes) -> None:
        self.digest.update(chunk)
        self.size += len(chunk)
        if self.file is not None and self.failure is None:
            try:
                self.file.write(chunk)
            except InputOutput as error:
                self.failure = error
                self.file.discard()


class StreamingProvider(DIMSEServiceProvider):
    """pynetdicom's, but that the data sets of C-STORE are streamed to the keeper, that it waits for messages, and that what it holds in
    memory has a limit.

    `answered` is called with the status of each answer to a report of ours.
    """

    def __init__(self, assoc: Association, keeper: Keeper, news: threading.Event) -> None:
        super().__init__(assoc)
        self._keeper, self._news = keeper, news
        self._sending, self.reporting = threading.Lock(), threading.Lock()
        self.msg_queue = Ringing(news.set)
        self.closing = False
        self.afterwards: list[Callable[[], None]] = []  # to be done when the request that is being served was answered
        self.answered: Callable[[int], None] = lambda status: None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """One PDV after another: a PDU can hold the end of a command and the beginning of its data set."""
        try:
            if not primitive.presentation_data_value_list:
                raise _Malformed("it is empty")
            for value in primitive.presentation_data_value_list:
                if value[0] not in self.assoc._accepted_cx:
                    raise _Malformed("its presentation context was not agreed on")
                one = P_DATA()
                one.presentation_data_value_list = [list(value)]  # type: ignore[list-item]
                self._turn_to_file()
                self._check_size()
                super().receive_primitive(one)
        except Exception as error:  # pynetdicom's thread would die of it and leave connection and association open
            words = str(error) if isinstance(error, _Malformed) else type(error).__name__
            _log.warning("%s: malformed message, %s; it is cut off", self.assoc.requestor.address, words)
            self.end()
            self.dul.event_queue.put("Evt19")

    def get_msg(self, block: bool = False) -> Any:
        """The next message, or two Nones; waits for it, or for anything else that the association has to look at."""
        for work in self.afterwards:
            work()
        self.afterwards.clear()
        if self.closing and self.assoc.is_established:
            self.assoc.abort()
            return None, None
        if self.msg_queue.empty() and self.dul.to_user_queue.empty():
            self._news.wait(TURN)
        self._news.clear()
        context_id, message = super().get_msg(block=False)
        if isinstance(message, N_EVENT_REPORT):  # the answer to one of ours
            self.answered(message.Status or 0)
            return None, None
        return context_id, message

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """As the base class does it; the fragments of two messages do not mix."""
        with self._sending:
            super().send_msg(primitive, context_id)

    def close(self) -> None:
        """Have the association aborted as soon as what it does is done and answered."""
        self.closing = True
        self._news.set()

    def end(self) -> None:
        """The connection is gone: what came in half, or whole and nobody got to it, is removed."""
        if self.message is not None and isinstance(self.message.data_set, Streamed):
            self.message.data_set.discard()
        with contextlib.suppress(queue.Empty):
            while True:
                waiting = getattr(self.msg_queue.get(block=False)[1], "DataSet", None)
                if isinstance(waiting, Streamed):
                    waiting.discard()

    def _turn_to_file(self) -> None:
        message = self.message
        if not isinstance(message, C_STORE_RQ) or isinstance(message.data_set, Streamed):
            return
        command = message.command_set
        context = self.assoc._accepted_cx[cast(int, message.context_id)]
        stream = Streamed(
            self._keeper, str(command.AffectedSOPClassUID), str(command.AffectedSOPInstanceUID), str(context.transfer_syntax[0])
        )
        message.data_set = stream

    def _check_size(self) -> None:
        if self.msg_queue.qsize() >= _MOST_WAITING:
            raise _Malformed("it does not wait for answers")
        if self.message is not None:
            held = self.message.encoded_command_set.tell()
            if not isinstance(self.message.data_set, Streamed) and self.message.data_set is not None:
                held += self.message.data_set.tell()
            if held > _LARGEST_MESSAGE:
                raise _Malformed("it is too large")


class _Malformed(Exception):
    pass


def part_10_head(sop_class: str, instance_uid: str, transfer_syntax: str) -> bytes:
    """Preamble, prefix and group 2 (PS3.10, section 7.1), without the sender's AE title."""

    def element(number: int, kind: bytes, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        length = struct.pack("<2xL", len(value)) if kind == b"OB" else struct.pack("<H", len(value))
        return struct.pack("<HH", 2, number) + kind + length + value

    group = element(1, b"OB", b"\0\1")
    for number, uid in ((2, sop_class), (3, instance_uid), (0x10, transfer_syntax), (0x12, IMPLEMENTATION)):
        group += element(number, b"UI", uid.encode("ascii"))
    return bytes(128) + b"DICM" + element(0, b"UL", struct.pack("<L", len(group))) + group
