"""A file on its way there: opened, written in blocks, closed, and renamed once all is confirmed."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

from toolkit.core.errors import InputOutput, NoInput, ToolError, TryLater
from toolkit.experiment.staging.channel import Buffer
from toolkit.experiment.staging.engine import Flight, Lane
from toolkit.experiment.staging.files import Put, shown
from toolkit.experiment.staging.protocol import (
    CREATING,
    EXTENDED,
    EXTENDED_REPLY,
    FAILURE,
    FOR_WRITING,
    FSETSTAT,
    FSYNC,
    OPEN,
    POSIX_RENAME,
    REMOVE,
    RENAME,
    STATVFS,
    TRUNCATING,
    WRITE,
    Attributes,
    long_number,
    number,
    text,
)
from toolkit.experiment.staging.transfer import Transfer, is_ok


class Sending(Transfer):
    """See Transfer."""

    file: Put

    def __init__(self, file: Put, flight: Flight) -> None:
        super().__init__(file, flight)
        self._state = "writing"  # then "closing", "renaming"; with an error: "closing", "removing"
        self._status: os.stat_result
        self._made = False  # the part, on the far side

    def start(self, lane: Lane) -> None:
        """See Transfer."""
        self.lane = lane
        try:
            self.descriptor = os.open(self.file.local, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a named pipe does not hold us up
            self._status = os.fstat(self.descriptor)
        except OSError as error:
            self.fail(NoInput(self.place, error.strerror or str(error), "name a file that exists and can be read"))
        else:
            if (self._status.st_size, self._status.st_mtime_ns // 10**9) != (self.file.size, self.file.mtime_ns // 10**9):
                self.fail(self._changed())
        if self.error is not None:
            self.finish()
            return
        self.begin_digest()
        if self._following is not None:
            self._following.allow(self.file.size)
        flags = FOR_WRITING | CREATING | (0 if self.file.offset else TRUNCATING)
        self._joined.add(lane)
        self.ask(lane, OPEN, self._open(flags), functools.partial(self._opened, lane))

    def join(self, lane: Lane) -> bool:
        """See Transfer."""
        if lane in self._joined or not self.handles:
            return False
        self._joined.add(lane)
        self.ask(lane, OPEN, self._open(FOR_WRITING), functools.partial(self._opened, lane))
        return True

    def issue(self, lane: Lane) -> int:
        """See Transfer."""
        offset = self.cursor
        length = min(self.flight.allowance.block(lane.channel.limits.write), self.file.size - offset)
        self.cursor += length
        self._under_way[offset] = length
        lane.under_way += length
        self.waiting += 1
        supply = functools.partial(self._supply, lane, self.handles[lane], offset, length)
        handler = self.answered(lane, functools.partial(self._written, lane, offset))
        lane.channel.request_later(WRITE, supply, handler)
        return length

    def advance(self) -> None:
        """See Transfer."""
        if self._state == "writing":
            if self.error is not None:
                if not self.waiting:
                    self._state = "closing"
                    self.close_handles(self._written_out)
            elif self.all_issued and self.handles and not (self.divisible and self.waiting):
                self._state = "closing"
                self._settle()
        if self.waiting:
            return
        if self._state == "closing":
            if self.error is None:
                self._check_unchanged()
            if self.error is not None:
                self._remove()
            elif self.digest():
                self._state = "renaming"
                self._rename()
                self.flight.whole(self.file, self.digest())
        elif self._state == "renaming" and self.error is not None:
            self._remove()
        elif self._state != "writing":
            self.finish()

    def _open(self, flags: int) -> bytes:
        return text(self.remote_part) + number(flags) + Attributes(mode=0o600).encoded()

    def _opened(self, lane: Lane, kind: int, answer: bytes) -> None:
        if self.take_handle(lane, kind, answer, "created"):
            self._made = True
            if not self.all_issued:
                lane.ready.append(self)

    def _supply(self, lane: Lane, handle: bytes, offset: int, length: int) -> Sequence[Buffer] | None:
        """Called by the thread that sends: the block's bytes, read now."""
        try:
            data = b"" if self.error else os.pread(self.descriptor, length, offset)
            problem: ToolError | None = None if len(data) == length else self._changed()
        except OSError as error:
            problem = InputOutput(self.place, error.strerror or str(error))
        if problem is not None:
            self.flight.events.put(functools.partial(self._not_read, lane, offset, problem))
            return None
        if self._passing is not None:
            self._passing.take(data)
        return [text(handle), long_number(offset), number(length), data]

    def _not_read(self, lane: Lane, offset: int, problem: ToolError) -> None:
        self.waiting -= 1
        lane.under_way -= self._under_way[offset]
        self.fail(problem)
        self.advance()

    def _written(self, lane: Lane, offset: int, kind: int, answer: bytes) -> None:
        lane.under_way -= self._under_way[offset]
        if is_ok(kind, answer):
            self.flight.confirmed(self._under_way.pop(offset))
            return
        if self.error is None:
            self.fail(self.failure(lane, kind, answer, "written"))
            if answer[:4] == number(FAILURE) and STATVFS in lane.channel.extensions:
                self.ask(lane, EXTENDED, text(STATVFS) + text(self.remote_part), functools.partial(self._is_full, lane, offset))

    def _is_full(self, lane: Lane, offset: int, kind: int, answer: bytes) -> None:
        """Why a block could not be written: is there room for it?"""
        if kind == EXTENDED_REPLY:
            fields = self.fields(lane, answer)
            _, fragment, _, _, available = (fields.long_number() for _ in range(5))
            if fragment * available < self._under_way[offset]:
                self.error = InputOutput(shown(self.file.remote), f"the disk is full on {lane.channel.name}", "make room there")

    def _settle(self) -> None:
        """Behind the last block: attributes, synchronisation, closing."""
        lane, handle = self.lane, text(self.handles[self.lane])
        seconds = self.file.mtime_ns // 10**9
        size = self.file.size if self.file.offset else None  # the part that was there may be longer
        attributes = Attributes(size, None, self.file.mode & 0o7777, (seconds, seconds))
        self.ask(lane, FSETSTAT, handle + attributes.encoded(), functools.partial(self.expect_ok, lane, "given its attributes"))
        if self.flight.synchronise and FSYNC in lane.channel.extensions:
            self.ask(lane, EXTENDED, text(FSYNC) + handle, functools.partial(self.expect_ok, lane, "synchronised"))
        self.close_handles(self._written_out)

    def _written_out(self, lane: Lane, kind: int, answer: bytes) -> None:
        self.expect_ok(lane, "closed", kind, answer)

    def _check_unchanged(self) -> None:
        now = os.fstat(self.descriptor)
        if (now.st_size, now.st_mtime_ns) != (self._status.st_size, self._status.st_mtime_ns):
            self.fail(self._changed())

    def _rename(self) -> None:
        lane, names = self.lane, text(self.remote_part) + text(self.file.remote)
        then = functools.partial(self.expect_ok, lane, "renamed")
        if POSIX_RENAME in lane.channel.extensions:
            self.ask(lane, EXTENDED, text(POSIX_RENAME) + names, then)
        else:  # RENAME of version 3 does not replace
            self.ask(lane, REMOVE, text(self.file.remote), lambda kind, answer: None)
            self.ask(lane, RENAME, names, then)

    def _remove(self) -> None:
        """The part."""
        self._state = "removing"
        if self._made:
            self.ask(self.lane, REMOVE, text(self.remote_part), lambda kind, answer: None)
        else:
            self.finish()

    def _changed(self) -> TryLater:
        return TryLater(self.place, "was changed while it was sent", "send it again when nothing writes to it")
