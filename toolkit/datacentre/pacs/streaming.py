"""What pynetdicom lacks as a receiver, put beside it: objects streamed to a file as they come, limits on PDUs, TLS handshakes that keep
nobody else waiting, TCP_NODELAY.

pynetdicom's own STORE_RECV_CHUNKED_DATASET writes to the system's temporary directory with a flush for each fragment, and with a file
meta of its own; here fragments go to the place where they will be kept.
"""

from __future__ import annotations

import logging
import socket
import ssl
import struct
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from typing import Any, cast

from pynetdicom import _config, evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from toolkit.core.dicom_network import no_delay, tls_failure
from toolkit.core.errors import InputOutput
from toolkit.datacentre.pacs.keeping import Incoming, Keeper

LARGEST_PDU = 1 << 17  # bytes that peers may send at once; the more, the fewer turns of pynetdicom's loop
HANDSHAKE_SECONDS = 10.0
_LARGEST_OTHER = 1 << 20  # bytes of a PDU that asks for an association: 128 contexts with many transfer syntaxes
_PIECE = 1 << 16  # bytes that are taken from a socket at once; pynetdicom takes 4096
IMPLEMENTATION = "1.2.826.0.1.3680043.8.498.45787841905188114249713612127"  # of this receiver, PS3.7, annex D.3.3.2
_log = logging.getLogger(__name__)


class Streamed(BytesIO):
    """The data set of a C-STORE, which pynetdicom believes to be in memory: what is written goes to a file.

    `digest` is that of the Part 10 file, `sent` that of the data set alone, both SHA-256; `failure` is why the rest is not kept:
    the peer is heard to the end all the same and gets a status for it.
    """

    def __init__(self, keeper: Keeper, sop_class: str, instance_uid: str, transfer_syntax: str) -> None:
        super().__init__()
        self.sop_class, self.instance_uid, self.transfer_syntax = sop_class, instance_uid, transfer_syntax
        self.file: Incoming | None = None
        self.failure: InputOutput | None = None
        self.size = 0
        self.digest, self.sent = sha256(), sha256()
        try:
            self.file = keeper.begin()
        except InputOutput as error:
            self.failure = error
        self._put(part_10_head(sop_class, instance_uid, transfer_syntax))

    def write(self, chunk: Any) -> int:
        self._put(chunk)
        self.sent.update(chunk)
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
    """pynetdicom's, but that the data sets of C-STORE are streamed to the keeper."""

    def __init__(self, assoc: Association, keeper: Keeper) -> None:
        super().__init__(assoc)
        self._keeper = keeper

    def receive_primitive(self, primitive: P_DATA) -> None:
        """One PDV after another: a PDU can hold the end of a command and the beginning of its data set."""
        for value in primitive.presentation_data_value_list:
            one = P_DATA()
            one.presentation_data_value_list = [list(value)]  # type: ignore[list-item]
            try:
                self._turn_to_file()
                super().receive_primitive(one)
            except Exception as error:  # pynetdicom's thread would die of it and leave connection and association open
                _log.warning("%s: malformed message, %s; it is cut off", self.assoc.requestor.address, type(error).__name__)
                self.end()
                self.dul.event_queue.put("Evt19")
                return

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

    def end(self) -> None:
        """The connection is gone: what came in half is removed."""
        if self.message is not None and isinstance(self.message.data_set, Streamed):
            self.message.data_set.discard()


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


class Handler(RequestHandler):
    """An association with our provider and limits."""

    server: Server

    def _create_association(self) -> Association:
        assoc = super()._create_association()
        assoc.dimse = StreamingProvider(assoc, self.server.keeper)
        cast(Any, assoc.dul.socket).recv = _receiver(cast(socket.socket, self.request))
        assoc.bind(evt.EVT_CONN_CLOSE, lambda event: cast(StreamingProvider, event.assoc.dimse).end())
        return assoc


class Server(ThreadedAssociationServer):
    """pynetdicom's, with the TLS handshake in the connection's own thread, within a time."""

    def __init__(self, *words: Any, keeper: Keeper, tls: ssl.SSLContext | None, **more: Any) -> None:
        self.keeper, self._tls = keeper, tls
        self.request_queue_size = 1024
        super().__init__(*words, request_handler=Handler, **more)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As the base class does it, after the handshake."""
        try:
            no_delay(request)
            if self._tls is not None:
                request.settimeout(HANDSHAKE_SECONDS)
                request = self._tls.wrap_socket(request, server_side=True)
            request.settimeout(self.ae.network_timeout)
        except OSError as error:
            problem, remedy = tls_failure(error, str(client_address[0]))
            _log.warning("%s; %s", problem, remedy)
            request.close()
            return
        super().process_request_thread(request, client_address)


def _receiver(connection: socket.socket) -> Callable[[int], bytearray]:
    """pynetdicom's AssociationSocket.recv with larger pieces; a PDU that says to be larger than allowed ends the connection."""

    def recv(count: int) -> bytearray:
        if count > max(LARGEST_PDU, _LARGEST_OTHER):
            raise OSError("the peer sends a larger PDU than was agreed on")
        data = bytearray(count)
        view, filled = memoryview(data), 0
        while filled < count:
            got = connection.recv_into(view[filled : filled + _PIECE])
            if not got:
                break
            filled += got
            # Linux forgets this setting by itself; without it, a sender with Nagle's algorithm waits 40 ms for each acknowledgement
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        view.release()
        del data[filled:]
        return data

    return recv


def accept_every_storage_class() -> None:
    """Let pynetdicom take any SOP class and transfer syntax: its settings are the process's."""
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    _config.LOG_HANDLER_LEVEL = "none"
