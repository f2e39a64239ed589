"""One association with a receiver, requested and used in the calling thread (PS3.8, PS3.7): negotiation, C-STORE out of a file, C-ECHO,
and the messages of storage commitment.

pynetdicom's own requestor hands each PDU through queues to a thread that looks for work every millisecond, reads an object into memory
whole and queues all of it; here its PDUs and its negotiation are used on a socket that is written to and read from directly.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterable
from hashlib import sha256

from pynetdicom._globals import APPLICATION_CONTEXT_NAME
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ, A_RELEASE_RP, A_RELEASE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import PresentationContext, build_context, negotiate_as_requestor

from toolkit.core.dicom_network import no_delay
from toolkit.core.errors import BadData, TryLater
from toolkit.hospital.dicom.encoding.elements import IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION
from toolkit.hospital.images.contexts import Pair
from toolkit.hospital.images.messages import Answer, Message, command_pdu, data_head, elements
from toolkit.hospital.images.peer import Peer, refused_association, unavailable

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
_LARGEST_PDU = 1 << 17  # bytes; that is what we send at most, whatever the receiver would take
_LARGEST_READ = 1 << 20  # bytes of a PDU that is sent to us; more is no answer
_LARGEST_MESSAGE = 64 << 20  # bytes of a message that is sent to us: a commitment of many objects
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux has it
_SHORTEST_ACCEPT = 74  # bytes: PS3.8, table 9-17
_TLS_ALERT = 0x15  # how a record of TLS begins that says what is wrong, RFC 8446, 5.1
_TOGETHER = 1 << 18  # bytes given to the socket at once: many PDUs where the receiver wants small ones
_REFUSED = {  # PS3.8, table 9-18
    1: "the receiver does not want it",
    2: "the receiver gives no reason",
    3: "the receiver does not take this SOP class",
    4: "the receiver does not take this transfer syntax",
}


class Lost(TryLater):
    """The association ended before its time; `stalled`: by silence."""

    stalled = False


class Association:
    """An association with `peer` that offers one presentation context for each of `pairs`, at most 128; a context manager, which
    releases it, or aborts it after an error.

    `accepted` has the context of each pair that the receiver takes, `refused` why it does not take the others.
    Raises Unavailable when there is no connection or the receiver refuses it, with the reason in words.
    """

    def __init__(self, peer: Peer, pairs: Iterable[Pair]) -> None:
        self._peer = peer
        self._buffer = bytearray()
        self._message = 0
        self.accepted: dict[Pair, int] = {}
        self.refused: dict[Pair, str] = {}
        self._socket = peer.connect()
        try:
            self._negotiate(list(pairs))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Association:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.release()
        else:
            self.abort()

    @property
    def closed(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._socket.fileno() == -1

    def store(self, pair: Pair, instance: str, descriptor: int, start: int, length: int) -> tuple[Answer, bytes]:
        """Send the data set that lies in an open file at `start` with `length` bytes (C-STORE, PS3.7 9.1.1), as it stands there.

        The answer and the SHA-256 of what was sent; memory does not follow `length`. Raises Lost, and BadData when the file changed
        meanwhile: the association is aborted before anything that came into it leaves, and before the last of it, so that nobody takes it
        for whole.
        """
        context = self.accepted[pair]
        self._message = self._message % 0xFFFF + 1
        waiting = [command_pdu(context, {0x0002: pair[0], 0x0100: 0x0001, 0x0110: self._message, 0x0700: 0, 0x0800: 0, 0x1000: instance})]
        held, digest = len(waiting[0]), sha256()
        position, end, before = start, start + length, os.fstat(descriptor)
        while position < end:
            piece = os.pread(descriptor, min(self._fragment, end - position), position)
            position += len(piece)
            if not piece or not _same(before, os.fstat(descriptor)):  # looked at after reading: what is new there does not leave
                self.abort()
                raise BadData("file", "changed while it was sent", "send it again")
            digest.update(piece)
            waiting += (data_head(len(piece), context, last=position == end), piece)
            held += len(piece) + 12
            if held >= _TOGETHER:
                self._send(b"".join(waiting))
                waiting, held = [], 0
        if waiting:
            self._send(b"".join(waiting))
        return self._answer(0x8001, self._message, instance), digest.digest()

    def echo(self) -> Answer:
        """C-ECHO (PS3.7 9.1.5). Raises Lost."""
        self._message = self._message % 0xFFFF + 1
        context = self.accepted[VERIFICATION, IMPLICIT_LITTLE]
        self._send(command_pdu(context, {0x0002: VERIFICATION, 0x0100: 0x0030, 0x0110: self._message, 0x0800: 0x0101}))
        return self._answer(0x8030, self._message, "")

    def action(self, pair: Pair, instance: str, data: bytes) -> tuple[Answer, list[Message]]:
        """N-ACTION of type 1 (PS3.7 10.1.4): the answer, and messages of the receiver's own that came before it. Raises Lost."""
        self._message = self._message % 0xFFFF + 1
        context, limit = self.accepted[pair], self._fragment
        request: dict[int, int | str] = {0x0003: pair[0], 0x0100: 0x0130, 0x0110: self._message, 0x0800: 0, 0x1001: instance, 0x1008: 1}
        parts = [command_pdu(context, request)]
        for start in range(0, len(data), limit):
            piece = data[start : start + limit]
            parts += (data_head(len(piece), context, last=start + limit >= len(data)), piece)
        self._send(b"".join(parts))
        before: list[Message] = []
        while True:
            message = self._receive()
            if message.number(0x0100) == 0x8130 and len(message.command.get(0x0900, b"")) == 2:
                return Answer(message.number(0x0900), message.text(0x0902)), before
            before.append(message)

    def report_received(self, message: Message) -> None:
        """Answer an N-EVENT-REPORT (PS3.7 10.1.1) with success. Raises Lost."""
        answer: dict[int, int | str] = {
            0x0002: message.text(0x0002), 0x0100: 0x8100, 0x0120: message.number(0x0110), 0x0800: 0x0101, 0x0900: 0,
            0x1000: message.text(0x1000), 0x1002: message.number(0x1002),
        }  # fmt: skip
        self._send(command_pdu(message.context, answer))

    def wait(self, seconds: float) -> Message | None:
        """The next message of the receiver's own; None when none begins within `seconds`. Raises Lost, also when it hangs up properly."""
        if not self._buffer and not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            try:
                if not select.select([self._socket], [], [], seconds)[0]:
                    return None
                self._socket.settimeout(0.2)  # what can be read may be TLS's own
                try:
                    self._more()
                except TimeoutError:
                    return None
            except OSError as error:
                raise self._lost(error) from error
        return self._receive()

    def release(self) -> None:
        """End the association as it should (PS3.8 7.2); a receiver that is gone does not matter any more."""
        with contextlib.suppress(OSError, ValueError):
            self._socket.settimeout(min(self._peer.timeout, 5.0))
            self._socket.sendall(A_RELEASE_RQ().encode())
            end = time.monotonic() + min(self._peer.timeout, 5.0)
            while self._pdu(end)[0] == 4:
                pass
        self._socket.close()

    def abort(self) -> None:
        """End it at once."""
        with contextlib.suppress(OSError, ValueError):
            self._socket.settimeout(0.5)
            self._socket.sendall(struct.pack(">BxLxxBB", 7, 4, 0, 0))
        self._socket.close()

    def hang_up(self) -> None:
        """Let another thread's send and receive end; the connection is unusable afterwards."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # SSLSocket's own turns encryption off first

    def _negotiate(self, pairs: list[Pair]) -> None:
        no_delay(self._socket)
        contexts = [build_context(sop_class, syntax) for sop_class, syntax in pairs]
        for number, context in enumerate(contexts):
            context.context_id = 2 * number + 1
        try:
            self._socket.settimeout(self._peer.timeout)
            self._socket.sendall(_request(self._peer, contexts).encode())
        except (ConnectionError, ssl.SSLEOFError):
            pass  # why it hung up stands in what it sent before
        except OSError as error:
            raise unavailable(self._peer, error) from error
        try:
            kind, data = self._pdu()
        except (OSError, ValueError) as error:
            if self._peer.tls is not None and isinstance(error, ConnectionError | ssl.SSLEOFError):
                raise unavailable(self._peer, self._peer.said() or error) from error
            raise unavailable(self._peer, error) from error
        if kind == 3:
            refusal = A_ASSOCIATE_RJ()
            refusal.decode(data)
            raise refused_association(self._peer, refusal.result, refusal.source, refusal.reason_diagnostic)
        if kind == 7:
            raise unavailable(self._peer, ConnectionAbortedError(_abort_words(data)))
        try:
            if kind != 2 or len(data) < _SHORTEST_ACCEPT:
                raise ValueError(kind)
            accepted = A_ASSOCIATE_AC()
            accepted.decode(data)
            answer = accepted.to_primitive()
            results = negotiate_as_requestor(contexts, answer.presentation_context_definition_results_list)
            limit = answer.maximum_length_received or _LARGEST_PDU
        except Exception as error:  # pynetdicom's decoders raise anything
            raise unavailable(self._peer, ValueError("it answers and does not speak DICOM as it should")) from error
        self._fragment = (min(limit, _LARGEST_PDU) - 6) & ~1
        if self._fragment < 250:  # a command has to fit
            raise unavailable(self._peer, ValueError(f"it takes PDUs of {limit} bytes, which no object fits into"))
        for context in results:
            pair = pairs[((context.context_id or 1) - 1) // 2]
            if context.result == 0 and str(context.transfer_syntax[0]) == pair[1]:
                self.accepted[pair] = context.context_id or 1
            else:
                self.refused[pair] = _REFUSED.get(context.result or 2, _REFUSED[2])

    def _answer(self, expected: int, number: int, instance: str) -> Answer:
        """The answer to our message `number`; nothing counts that does not say so, or names another instance."""
        message = self._receive()
        fits = message.number(0x0100) == expected and message.number(0x0120) == number and len(message.command.get(0x0900, b"")) == 2
        if not fits or message.text(0x1000) not in ("", instance):
            self.abort()
            raise Lost(self._peer.place, "it answered something that was not asked", "look into the receiver's log")
        return Answer(message.number(0x0900), message.text(0x0902))

    def _receive(self) -> Message:
        """The next message, whole."""
        context, command, data = 0, b"", bytearray()
        found: dict[int, bytes] | None = None
        self._socket.settimeout(self._peer.timeout)
        end = time.monotonic() + self._peer.timeout  # for all of it: one that never gets to an end is as good as silent
        try:
            while True:
                kind, body = self._pdu(end)
                if kind == 5:
                    self._socket.sendall(A_RELEASE_RP().encode())
                    raise ConnectionAbortedError("it ended the association")
                if kind == 7:
                    raise ConnectionAbortedError(_abort_words(body))
                if kind != 4:
                    raise ConnectionAbortedError(f"it sent something unexpected, a PDU of type {kind}")
                position = 6
                while position < len(body):
                    size, context, control = struct.unpack_from(">LBB", body, position)
                    piece = body[position + 6 : position + 4 + size]
                    position += 4 + max(size, 2)
                    if not control & 1:
                        data += piece
                        if len(data) > _LARGEST_MESSAGE:
                            raise ConnectionAbortedError("it sent a message without end")
                    else:
                        command += piece
                        if len(command) > _LARGEST_READ:
                            raise ConnectionAbortedError("it sent a message without end")
                        if control & 2:
                            found = elements(command)
                    if control & 2 and found is not None:
                        has_data = found.get(0x0800, b"\1\1") != b"\1\1"
                        if not control & 1 or not has_data:
                            return Message(context, found, bytes(data))
        except (OSError, ValueError, struct.error) as error:
            raise self._lost(error) from error

    def _pdu(self, end: float = 0.0) -> tuple[int, bytes]:
        """A PDU of the receiver, whole at `end` by the monotonic clock: its type, and all of its bytes."""
        end = end or time.monotonic() + (self._socket.gettimeout() or self._peer.timeout)
        if time.monotonic() > end:
            raise TimeoutError
        self._fill(6, end)
        kind, size = struct.unpack_from(">BxL", self._buffer)
        if not 1 <= kind <= 7:
            raise ValueError("it speaks TLS, and we do not" if kind == _TLS_ALERT else "it does not speak DICOM")
        if size > _LARGEST_READ:
            raise ConnectionAbortedError("it sent a larger PDU than was agreed on")
        self._fill(6 + size, end)
        body = bytes(self._buffer[: 6 + size])
        del self._buffer[: 6 + size]
        return kind, body

    def _fill(self, count: int, end: float) -> None:
        while len(self._buffer) < count:
            if time.monotonic() > end:
                raise TimeoutError
            self._more()

    def _more(self) -> None:
        # Linux forgets this setting by itself; a receiver with Nagle's algorithm that answers in pieces, as DCMTK's and Orthanc do, would
        # wait 40 ms for our acknowledgement of the first one
        if _QUICKACK is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        got = self._socket.recv(1 << 16)
        if not got:
            raise ConnectionResetError("it hung up")
        self._buffer += got

    def _send(self, data: bytes) -> None:
        try:
            self._socket.settimeout(self._peer.timeout)
            self._socket.sendall(data)
        except OSError as error:
            if isinstance(error, ConnectionError | ssl.SSLEOFError):
                with contextlib.suppress(OSError, ValueError, struct.error, TryLater):  # what it said before it hung up
                    self._socket.settimeout(0.5)
                    kind, body = self._pdu()
                    if kind == 7:
                        error = ConnectionAbortedError(_abort_words(body))
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> Lost:
        self._socket.close()
        if isinstance(error, TimeoutError):
            lost = Lost(self._peer.place, f"said nothing for {self._peer.timeout:g} seconds", "it is down or overloaded")
            lost.stalled = True
            return lost
        if isinstance(error, ConnectionAbortedError) and error.errno is None or isinstance(error, ValueError):
            words = str(error)
        else:
            words = "it hung up" if isinstance(error, OSError) else "it sent something that is no DICOM"
        return Lost(self._peer.place, words, "look into the receiver's log")


def _request(peer: Peer, contexts: list[PresentationContext]) -> A_ASSOCIATE_RQ:
    """The request for an association, PS3.8 9.3.2."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT_NAME
    primitive.calling_ae_title, primitive.called_ae_title = peer.calling, peer.called
    primitive.presentation_context_definition_list = contexts
    length, implementation, version = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    length.maximum_length_received = _LARGEST_PDU
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS.decode()
    version.implementation_version_name = IMPLEMENTATION_VERSION.decode()
    primitive.user_information = [length, implementation, version]
    return A_ASSOCIATE_RQ(primitive)


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


def _abort_words(data: bytes) -> str:
    abort = A_ABORT_RQ()
    abort.decode(data)
    if abort.source != 2:
        return "it aborted the association"
    return f"it aborted the association: {abort.reason_str.lower()}"
