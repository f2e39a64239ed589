"""One SFTP channel: requests go out as they come, answers are matched by their number."""

from __future__ import annotations

import itertools
import queue
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from toolkit.core.errors import ToolError, Unavailable
from toolkit.experiment.staging import protocol
from toolkit.experiment.staging.connection import Lost
from toolkit.experiment.staging.protocol import EXTENDED, EXTENDED_REPLY, INIT, VERSION, Fields

LONGEST = 1 << 19  # bytes in a packet that are accepted; OpenSSH sends at most 2**18
_BUFFER = 1 << 20
_TOGETHER = 1 << 16  # bytes of small requests that are sent at once
_START = struct.Struct(">IBI")
_LENGTH = struct.Struct(">I")

GONE = 0  # the kind that handlers are called with when no answer will come any more
Buffer = bytes | bytearray | memoryview
Handler = Callable[[int, memoryview], None]


class Stream(Protocol):
    """The bytes below a channel."""

    def receive_into(self, buffer: memoryview) -> int:
        """Wait for bytes and put them there: how many; 0 at the end."""

    def send(self, pieces: Sequence[Buffer]) -> None:
        """Send all of them."""

    def close(self) -> None:
        """End it; both of the others return or raise OSError or EOFError."""

    def complaint(self) -> str:
        """Why it ended, as far as the transport has said so."""


@dataclass(frozen=True)
class Limits:
    """What a server takes. Those that do not say take 32 KiB (draft-ietf-secsh-filexfer-02, section 3)."""

    read: int = 32768  # bytes in one answer
    write: int = 32768
    handles: int = 256  # open at a time


class Channel:
    """An open channel; made by a Connection.

    Handlers are called in the channel's own reading thread, once for each request, with the kind of the answer and what follows its
    number, valid only during the call; with GONE when the channel has ended without one.
    """

    def __init__(self, name: str, stream: Stream) -> None:
        self.name = name  # of the host, for messages
        self.extensions: dict[bytes, bytes] = {}  # that the server offers, with their versions
        self.limits = Limits()
        self.ended: ToolError | None = None  # why, once it has
        self._stream = stream
        self._numbers = itertools.count(1)
        self._pending: dict[int, Handler] = {}
        self._outbox: queue.SimpleQueue[bytes | Callable[[], Sequence[Buffer] | None] | None] = queue.SimpleQueue()
        self._started: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._ending = threading.Lock()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._write)]
        for thread in self._threads:
            thread.start()
        self._outbox.put(struct.pack(">IBI", 5, INIT, 3))

    def wait(self, timeout: float) -> None:
        """Wait until the server has greeted. Raises Lost, or what else ended the channel."""
        try:
            self._started.get(timeout=timeout)
        except queue.Empty:
            self.end(Lost(self.name, f"did not answer within {timeout:g} s", "try again later"))
        if self.ended is not None:
            raise self.ended

    def request(self, kind: int, body: bytes, handler: Handler) -> None:
        """Send one request; it leaves at once, together with others that wait."""
        number = next(self._numbers) & 0xFFFFFFFF
        self._pending[number] = handler
        self._outbox.put(_START.pack(len(body) + 5, kind, number) + body)
        self._refuse_if_ended(number)

    def request_later(self, kind: int, supply: Callable[[], Sequence[Buffer] | None], handler: Handler) -> None:
        """Send a request whose body is asked for when its turn comes, in the thread that sends.

        `supply` returns the body's pieces, or None when there is to be no request after all: then no handler is called.
        """
        number = next(self._numbers) & 0xFFFFFFFF
        self._pending[number] = handler

        def job() -> Sequence[Buffer] | None:
            pieces = supply()
            if pieces is None:
                self._pending.pop(number, None)
                return None
            return [_START.pack(sum(map(len, pieces)) + 5, kind, number), *pieces]

        self._outbox.put(job)
        self._refuse_if_ended(number)

    def end(self, why: ToolError) -> None:
        """End the channel; all that waits for an answer is told."""
        with self._ending:
            if self.ended is None:
                self.ended = why
        self._stream.close()
        self._outbox.put(None)
        self._started.put(None)
        while self._pending:
            try:
                _, handler = self._pending.popitem()
            except KeyError:
                break
            handler(GONE, memoryview(b""))

    def close(self) -> None:
        """End the channel and its threads; nothing waits any more."""
        self.end(Lost(self.name, "the connection was closed"))
        for thread in self._threads:
            thread.join()

    def _refuse_if_ended(self, number: int) -> None:
        if self.ended is not None:
            handler = self._pending.pop(number, None)
            if handler is not None:
                handler(GONE, memoryview(b""))

    def _read(self) -> None:
        try:
            self._read_packets()
            self._lost()
        except ToolError as error:
            self.end(error)
        except (OSError, EOFError) as error:
            self._lost(error)
        except BaseException as error:
            self._lost(error)  # nothing waits for ever for a fault of ours
            raise

    def _lost(self, error: BaseException | None = None) -> None:
        said = self._stream.complaint() or (getattr(error, "strerror", None) or str(error) if error else "")
        self.end(Lost(self.name, "the connection was lost" + (f": {said}" if said else ""), "try again later"))

    def _read_packets(self) -> None:
        buffer = bytearray(_BUFFER)
        view = memoryview(buffer)
        begin = end = 0
        greeted = False
        while True:
            needed = 4
            if end - begin >= 4:
                (length,) = _LENGTH.unpack_from(buffer, begin)
                if not 5 <= length <= LONGEST:
                    raise protocol.broken(self.name, f"a packet of {length} bytes")
                needed = 4 + length
            if needed > 4 and end - begin >= needed:
                packet = view[begin + 4 : begin + needed]
                begin += needed
                if greeted:
                    self._take(packet)
                else:
                    self._greeting(packet)
                    greeted = True
                continue
            if begin == end:
                begin = end = 0
            elif begin + needed > _BUFFER:
                view[: end - begin] = view[begin:end]
                begin, end = 0, end - begin
            count = self._stream.receive_into(view[end:])
            if not count:
                return
            end += count

    def _take(self, packet: memoryview) -> None:
        handler = self._pending.pop(int.from_bytes(packet[1:5], "big"), None)
        if handler is None:
            raise protocol.broken(self.name, "an answer to nothing that was asked")
        handler(packet[0], packet[5:])

    def _greeting(self, packet: memoryview) -> None:
        if packet[0] != VERSION:
            raise protocol.broken(self.name, f"a packet of kind {packet[0]} as its greeting")
        fields = Fields(packet[1:], self.name)
        version = fields.number()
        if version != 3:
            raise Unavailable(self.name, f"its SFTP server speaks version {version}", "version 3 is needed")
        while fields.left:
            name = fields.text()
            self.extensions[name] = fields.text()
        if protocol.LIMITS in self.extensions:
            self.request(EXTENDED, protocol.text(protocol.LIMITS), self._take_limits)  # nothing waits for it
        self._started.put(None)

    def _take_limits(self, kind: int, answer: memoryview) -> None:
        if kind != EXTENDED_REPLY:
            return
        fields = Fields(answer, self.name)
        _, read, write, handles = (fields.long_number() for _ in range(4))
        most = LONGEST - 1024
        self.limits = Limits(min(read, most) or 32768, min(write, most) or 32768, handles or 256)  # 0: it does not say

    def _write(self) -> None:
        try:
            while pieces := self._next_pieces():
                self._stream.send(pieces)
        except (OSError, EOFError):
            pass  # the reader tells why, once it has read the rest
        except BaseException as error:
            self._lost(error)
            raise

    def _next_pieces(self) -> list[Buffer]:
        """What is to be sent next, as much as is there up to a size; nothing at the end."""
        pieces: list[Buffer] = []
        size = 0
        item = self._outbox.get()
        while item is not None:
            supplied = [item] if isinstance(item, bytes) else item()
            if supplied:
                pieces.extend(supplied)
                size += sum(map(len, supplied))
            if size >= _TOGETHER:
                break
            try:
                item = self._outbox.get_nowait()
            except queue.Empty:
                if pieces:
                    break
                item = self._outbox.get()
        return pieces
