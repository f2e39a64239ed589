"""What sending and fetching a file have in common: its handles, its blocks, and the answers that are waited for."""

from __future__ import annotations

import functools
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from toolkit.core.errors import ToolError
from toolkit.experiment.staging import protocol
from toolkit.experiment.staging.channel import GONE
from toolkit.experiment.staging.digests import Following, Passing
from toolkit.experiment.staging.engine import IN_FLIGHT, SPLIT, Flight, Lane
from toolkit.experiment.staging.files import Get, Put, Result, part_name, shown
from toolkit.experiment.staging.protocol import CLOSE, HANDLE, OK, STATUS, Fields

Then = Callable[[int, bytes], None]


class Transfer(ABC):
    """A file under way. All but what is said to be called by a channel's thread happens in the caller's thread."""

    def __init__(self, file: Put | Get, flight: Flight) -> None:
        self.file, self.flight = file, flight
        self.place = shown(file.local)
        self.remote_part = part_name(file.remote)
        self.weight = 0  # in its lane
        self.lane: Lane
        self.error: ToolError | None = None
        self.cursor = file.offset  # where the next block begins
        self.divisible = flight.several and file.size - file.offset >= SPLIT
        self.handles: dict[Lane, bytes] = {}  # open on the far side
        self.waiting = 0  # answers
        self.descriptor = -1  # of the local file
        self._joined: set[Lane] = set()
        self._under_way: dict[int, int] = {}  # where blocks begin that are not confirmed, in order, and their lengths
        self._passing: Passing | None = None  # if the bytes pass in order
        self._following: Following | None = None
        self._sha256 = ""
        self._begun = time.monotonic()

    @property
    def left(self) -> int:
        """Bytes that no block has been made of."""
        return 0 if self.error else self.file.size - self.cursor

    @property
    def all_issued(self) -> bool:
        """Have all blocks gone, or will no more go?"""
        return self.error is not None or self.cursor >= self.file.size

    def may_issue(self) -> bool:
        """Has it another block that may go now? None goes far ahead of one that is not confirmed."""
        return not self.all_issued and (not self._under_way or self.cursor - next(iter(self._under_way)) < IN_FLIGHT - (1 << 19))

    @abstractmethod
    def start(self, lane: Lane) -> None:
        """Open it."""

    @abstractmethod
    def issue(self, lane: Lane) -> int:
        """Let its next block go; how many bytes it has."""

    @abstractmethod
    def advance(self) -> None:
        """An answer has come: do what can be done next."""

    @abstractmethod
    def join(self, lane: Lane) -> bool:
        """Use another channel too, if it is not used yet; is it a new one?"""

    def release(self) -> None:
        """Give up what is held here; nothing is asked of the far side. The channels are closed, or nothing is under way."""
        if self._following is not None:
            self._following.stop()
            self._following = None
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def fail(self, error: ToolError) -> None:
        """The first error counts; what is under way is waited for."""
        self.error = self.error or error

    def ask(self, lane: Lane, kind: int, body: bytes, then: Then) -> None:
        """Send a request of which `then` gets the answer."""
        self.waiting += 1
        lane.channel.request(kind, body, self.answered(lane, then))

    def answered(self, lane: Lane, then: Then) -> Callable[[int, memoryview], None]:
        """A handler that brings an answer to the caller's thread."""

        def handler(kind: int, answer: memoryview) -> None:
            self.flight.events.put(functools.partial(self.go_on, lane, then, kind, bytes(answer)))

        return handler

    def go_on(self, lane: Lane, then: Then, kind: int, answer: bytes) -> None:
        """An answer has come. Raises why the channel has ended when it will never come."""
        if kind == GONE:
            assert lane.channel.ended is not None
            raise lane.channel.ended
        self.waiting -= 1
        then(kind, answer)
        self.advance()

    def begin_digest(self) -> None:
        """Once the local file is open."""
        if self.divisible or self.file.offset:
            self._following = Following(self.descriptor, self.file.size, self.digested)
        else:
            self._passing = Passing()

    def digest(self) -> str:
        """SHA-256 of the whole file; empty as long as it is not known. All its bytes have passed."""
        return self._passing.hexdigest() if self._passing else self._sha256

    def take_handle(self, lane: Lane, kind: int, answer: bytes, doing: str) -> bool:
        """The answer to an OPEN: has it a handle?"""
        if kind != HANDLE:
            self.fail(self.failure(lane, kind, answer, doing))
            return False
        self.handles[lane] = self.fields(lane, answer).text()
        return True

    def close_handles(self, then: Callable[[Lane, int, bytes], None] | None = None) -> None:
        """On the far side; without `then` nobody waits for the answers."""
        for lane, handle in self.handles.items():
            if then is None:
                lane.channel.request(CLOSE, protocol.text(handle), lambda kind, answer: None)
            else:
                self.ask(lane, CLOSE, protocol.text(handle), functools.partial(then, lane))
        self.handles.clear()

    def expect_ok(self, lane: Lane, doing: str, kind: int, answer: bytes) -> None:
        """The answer to a request that only succeeds or fails."""
        if not is_ok(kind, answer):
            self.fail(self.failure(lane, kind, answer, doing))

    def failure(self, lane: Lane, kind: int, answer: bytes, doing: str) -> ToolError:
        """The error that an answer stands for. Raises BadData for one of a kind that cannot be."""
        if kind != STATUS:
            raise protocol.broken(lane.channel.name, f"an answer of kind {kind} where none can be")
        return protocol.failure(shown(self.file.remote), lane.channel.name, self.fields(lane, answer), doing)

    def fields(self, lane: Lane, answer: bytes) -> Fields:
        """To read an answer."""
        return Fields(answer, lane.channel.name)

    def finish(self) -> None:
        """It is through, one way or the other."""
        sha256 = "" if self.error else self.digest()
        self.release()
        passed = self.cursor - self.file.offset - sum(self._under_way.values())
        self.flight.finish(self, Result(self.file, passed, time.monotonic() - self._begun, sha256, self.error))

    def digested(self, outcome: str | OSError) -> None:
        """Called by the thread that follows."""

        def take() -> None:
            if isinstance(outcome, str):
                self._sha256 = outcome
            else:
                self.fail(ToolError(self.place, outcome.strerror or str(outcome)))
            if self.descriptor >= 0:  # it is not through
                self.advance()

        self.flight.events.put(take)


def is_ok(kind: int, answer: bytes) -> bool:
    """Does an answer say that all went well?"""
    return kind == STATUS and answer[:4] == protocol.number(OK)
