"""A file on its way here: opened, read in blocks that are written where they belong as they come, and renamed once it is whole."""

from __future__ import annotations

import contextlib
import errno
import functools
import os

from toolkit.core.errors import CannotCreate, InputOutput, ToolError, TryLater
from toolkit.experiment.staging import protocol
from toolkit.experiment.staging.digests import Following
from toolkit.experiment.staging.engine import Flight, Lane
from toolkit.experiment.staging.files import Get, part_name, shown
from toolkit.experiment.staging.protocol import (
    ATTRS,
    DATA,
    END,
    FOR_READING,
    FSTAT,
    OPEN,
    READ,
    STATUS,
    Attributes,
    long_number,
    number,
    text,
)
from toolkit.experiment.staging.transfer import Transfer


class Fetching(Transfer):
    """See Transfer."""

    file: Get

    def __init__(self, file: Get, flight: Flight) -> None:
        super().__init__(file, flight)
        self._part = part_name(os.fsencode(file.local))
        self._checked = False  # the file's size and time were asked for behind its last block
        self._position = 0  # of the digest of what passes
        self._disordered = False  # something came before its turn

    def start(self, lane: Lane) -> None:
        """See Transfer."""
        self.lane = lane
        self._joined.add(lane)
        self.ask(lane, OPEN, self._open(), functools.partial(self._opened, lane))

    def join(self, lane: Lane) -> bool:
        """See Transfer."""
        if lane in self._joined or not self.handles:
            return False
        self._joined.add(lane)
        self.ask(lane, OPEN, self._open(), functools.partial(self._opened, lane))
        return True

    def issue(self, lane: Lane) -> int:
        """See Transfer."""
        offset = self.cursor
        length = min(self.flight.allowance.block(lane.channel.limits.read), self.file.size - offset)
        self.cursor += length
        self._under_way[offset] = length
        lane.under_way += length
        self._read(lane, offset, offset, length)
        return length

    def advance(self) -> None:
        """See Transfer."""
        if self.error is None and self.all_issued and self.handles and not self._checked and not (self.divisible and self.waiting):
            self._checked = True
            self.ask(self.lane, FSTAT, text(self.handles[self.lane]), self._take_status)
        if self.waiting:
            return
        if self.all_issued and self._passing is not None and self._disordered:
            self._passing, self._following = None, Following(self.descriptor, self.file.size, self.digested)
            self._following.allow(self.file.size)
        if self.error is not None or (self._checked and not self._under_way and self.digest()):
            self.close_handles()
            self._complete()

    def _open(self) -> bytes:
        return text(self.file.remote) + number(FOR_READING) + Attributes().encoded()

    def _opened(self, lane: Lane, kind: int, answer: bytes) -> None:
        if not self.take_handle(lane, kind, answer, "opened"):
            return
        if self.descriptor < 0 and not self._create():
            return
        if not self.all_issued:
            lane.ready.append(self)

    def _create(self) -> bool:
        """Open the local part."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | (0 if self.file.offset else os.O_TRUNC)
        try:
            self.descriptor = os.open(self._part, flags, 0o600)
        except OSError as error:
            self.fail(CannotCreate(self.place, error.strerror or str(error), "choose a directory that exists and can be written"))
            return False
        self.begin_digest()
        self._allow()
        return True

    def _read(self, lane: Lane, block: int, offset: int, length: int) -> None:
        self.waiting += 1
        body = text(self.handles[lane]) + long_number(offset) + number(length)
        lane.channel.request(READ, body, functools.partial(self._take_data, lane, block, offset, length))

    def _take_data(self, lane: Lane, block: int, offset: int, length: int, kind: int, answer: memoryview) -> None:
        """Called by the thread that reads: bytes of a block go to their place."""
        then = functools.partial(self._received, lane, block, offset, length)
        if kind != DATA:
            self.answered(lane, functools.partial(then, None))(kind, answer)
            return
        data = answer[4:]
        if int.from_bytes(answer[:4], "big") != len(data) or not 0 < len(data) <= length:
            raise protocol.broken(lane.channel.name, f"{len(data)} bytes where {length} were asked for")
        problem: ToolError | None = None
        try:
            at = offset
            left = data
            while left:
                count = os.pwrite(self.descriptor, left, at)
                at, left = at + count, left[count:]
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            problem = InputOutput(self.place, "the disk is full" if full else error.strerror or str(error), "make room" if full else "")
        else:
            if self._passing is not None and offset == self._position:
                self._passing.take(data)
                self._position += len(data)
            else:
                self._disordered = True
        self.flight.events.put(functools.partial(self.go_on, lane, functools.partial(then, problem or len(data)), kind, b""))

    def _received(
        self, lane: Lane, block: int, offset: int, length: int, outcome: int | ToolError | None, kind: int, answer: bytes
    ) -> None:
        if isinstance(outcome, int):
            if outcome < length and self.error is None:
                self._checked = False  # once more, behind the rest
                self._read(lane, block, offset + outcome, length - outcome)
                return
            self.flight.confirmed(self._under_way.pop(block))
            lane.under_way -= offset + length - block
            self._allow()
            return
        lane.under_way -= self._under_way[block]
        if outcome is not None:
            self.fail(outcome)
        elif kind == STATUS and answer[:4] == number(END):
            self.fail(self._changed())
        else:
            self.fail(self.failure(lane, kind, answer, "read"))

    def _allow(self) -> None:
        """Let the digest follow as far as the bytes are there without a gap."""
        if self._following is not None:
            self._following.allow(next(iter(self._under_way), self.cursor))

    def _take_status(self, kind: int, answer: bytes) -> None:
        if kind != ATTRS:
            self.fail(self.failure(self.lane, kind, answer, "read"))
            return
        found = self.fields(self.lane, answer).attributes()
        changed = found.size not in (None, self.file.size) or (found.times is not None and found.times[1] != self.file.mtime)
        if changed:
            self.fail(self._changed())

    def _complete(self) -> None:
        """All is here, or has failed: the part gets its name, or is removed."""
        try:
            if self.error is None:
                os.ftruncate(self.descriptor, self.file.size)  # the part that was there may have been longer
                os.fchmod(self.descriptor, self.file.mode & 0o7777)
                os.utime(self.descriptor, (self.file.mtime, self.file.mtime))
                if self.flight.synchronise:
                    os.fsync(self.descriptor)
                os.rename(self._part, os.fsencode(self.file.local))
        except OSError as error:
            self.fail(CannotCreate(self.place, error.strerror or str(error), "choose a place that can be written"))
        if self.error is not None and self.descriptor >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._part)
        self.finish()

    def _changed(self) -> TryLater:
        place = shown(self.file.remote)
        return TryLater(place, f"was changed on {self.lane.channel.name} while it was fetched", "fetch it again when nothing writes to it")
