"""Many files over SFTP at a time, none waiting for another's round trip.

Each channel has a window of bytes that are under way; files take their turns in it, and a large file is cut into ranges that all channels
take from one cursor. Answers come as events from the channels' threads; all decisions are made in the caller's thread.
"""

from __future__ import annotations

import collections
import functools
import queue
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from toolkit.core.errors import ToolError
from toolkit.experiment.staging.channel import Channel
from toolkit.experiment.staging.files import Get, Put, Result, part_name

if TYPE_CHECKING:
    from toolkit.experiment.staging.transfer import Transfer

__all__ = ["IN_FLIGHT", "Get", "Put", "Result", "part_name", "pull", "push"]

IN_FLIGHT = 32 << 20  # bytes: what is written of a file is whole but for the last so many before its end
MOST_FILES = 1000  # open at a time
WINDOW = 4 << 20  # bytes under way on one channel
SPLIT = 8 << 20  # bytes that are left of a file for other channels to join in
_A_FILE = 4096  # bytes that opening and renaming a file weigh as much as


def push(
    channels: Sequence[Channel],
    files: Iterable[Put],
    on_bytes: Callable[[int], None] | None = None,
    limit: float | None = None,
    synchronise: bool = False,
    more: Future[Sequence[Channel]] | None = None,
    on_whole: Callable[[Put, str], None] | None = None,
) -> Iterator[Result]:
    """Send `files` and yield what became of each, in the order in which they end.

    Each appears under its name when it is whole, with its permissions and time, and replaces what was there. `on_bytes` is told of
    bytes as the server confirms them; `limit`: bytes a second; `synchronise`: have each on the server's disk before it is renamed;
    `more`: channels, these ones among them, that are being opened and are used from then on; `on_whole` is told of a file that is
    all there but for its name, which is on its way, and its SHA-256.
    Errors of a file are in its result and its part is removed; Lost is raised after the results of all files that were whole, and then,
    or when the iterator is left early, the channels are closed.
    """
    from toolkit.experiment.staging.sending import Sending

    flight = Flight(channels, on_bytes, limit, synchronise, more, on_whole)
    return flight.run(Sending(file, flight) for file in files)


def pull(
    channels: Sequence[Channel],
    files: Iterable[Get],
    on_bytes: Callable[[int], None] | None = None,
    limit: float | None = None,
    synchronise: bool = False,
    more: Future[Sequence[Channel]] | None = None,
) -> Iterator[Result]:
    """Fetch `files` and yield what became of each, in the order in which they end; as `push`. Their directories must exist."""
    from toolkit.experiment.staging.fetching import Fetching

    flight = Flight(channels, on_bytes, limit, synchronise, more)
    return flight.run(Fetching(file, flight) for file in files)


class Lane:
    """A channel and what is under way on it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.under_way = 0  # bytes
        self.load = 0  # bytes of files that were given to it and are not through
        self.ready: list[Transfer] = []  # their blocks go next, the first one's first


class Allowance:
    """At most so many bytes a second, in the long run and with no more than a quarter of a second's at once."""

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self._left, self._since = 0.0, time.monotonic()

    def wait(self) -> float:
        """Seconds until the next block may go; 0: now."""
        if self.limit is None:
            return 0.0
        now = time.monotonic()
        self._left = min(self._left + (now - self._since) * self.limit, self.limit / 4)
        self._since = now
        return 0.0 if self._left >= 0 else -self._left / self.limit

    def take(self, count: int) -> None:
        """A block of `count` bytes goes."""
        self._left -= count

    def block(self, most: int) -> int:
        """How long blocks are."""
        return most if self.limit is None else int(min(most, max(1024, self.limit / 8)))


class Flight:
    """The files of one call that are under way."""

    def __init__(
        self,
        channels: Sequence[Channel],
        on_bytes: Callable[[int], None] | None,
        limit: float | None,
        synchronise: bool,
        more: Future[Sequence[Channel]] | None,
        on_whole: Callable[[Put, str], None] | None = None,
    ) -> None:
        self.lanes = [Lane(channel) for channel in channels]
        self.events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()  # called in the caller's thread
        self.synchronise = synchronise
        self.allowance = Allowance(limit)
        self._on_bytes, self._on_whole = on_bytes, on_whole
        self._active: dict[Transfer, None] = {}
        self._divisible: dict[Transfer, None] = {}
        self._most = min(MOST_FILES, max(8, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100))  # a descriptor for each
        self._left = 0  # bytes of active files that no block was made of
        self._finished: collections.deque[Result] = collections.deque()

        self.several = len(self.lanes) > 1 or more is not None
        if more is not None:
            more.add_done_callback(lambda done: self.events.put(functools.partial(self._grow, done)))

    def run(self, transfers: Iterator[Transfer]) -> Iterator[Result]:
        """All of them."""
        more = True
        try:
            while True:
                while more and self._room():
                    transfer = next(transfers, None)
                    if transfer is None:
                        more = False
                    else:
                        self._start(transfer)
                pause = self._fill()
                while self._finished:
                    yield self._finished.popleft()
                if not self._active and not more:
                    return
                if self._active:
                    self._take_events(pause)
        except ToolError:
            yield from self._finished
            raise
        finally:
            if self._active or more:
                for lane in self.lanes:
                    lane.channel.close()
            for transfer in self._active:
                transfer.release()

    def finish(self, transfer: Transfer, result: Result) -> None:
        """A file is through."""
        transfer.lane.load -= transfer.weight
        self._left -= transfer.file.size - transfer.cursor
        del self._active[transfer]
        self._divisible.pop(transfer, None)
        self._finished.append(result)

    def confirmed(self, count: int) -> None:
        """Bytes are where they belong."""
        if self._on_bytes is not None:
            self._on_bytes(count)

    def whole(self, file: Put, sha256: str) -> None:
        """A file is all there and about to get its name."""
        if self._on_whole is not None:
            self._on_whole(file, sha256)

    def _grow(self, more: Future[Sequence[Channel]]) -> None:
        """Further channels are open, or could not be opened: then it goes without."""
        if not more.cancelled() and more.exception() is None:
            used = {lane.channel for lane in self.lanes}
            self.lanes += [Lane(channel) for channel in more.result() if channel not in used]

    def _room(self) -> bool:
        """Is another file to be opened? As many as can be open, but not far ahead of the bytes."""
        if len(self._active) >= min(self._most, *(lane.channel.limits.handles - 8 for lane in self.lanes)):
            return not self._active
        return self._left < 2 * WINDOW * len(self.lanes)

    def _start(self, transfer: Transfer) -> None:
        lane = min(self.lanes, key=lambda lane: lane.load)
        transfer.weight = _A_FILE + min(transfer.left, SPLIT)
        lane.load += transfer.weight
        self._active[transfer] = None
        if transfer.divisible:
            self._divisible[transfer] = None
        self._left += transfer.left
        transfer.start(lane)

    def _fill(self) -> float | None:
        """Let blocks go as far as the windows are open; seconds until more may go by the limit, None: not before an answer."""
        for lane in self.lanes:
            for transfer in list(lane.ready):
                while lane.under_way < WINDOW and transfer.may_issue():
                    pause = self.allowance.wait()
                    if pause:
                        return pause
                    count = transfer.issue(lane)
                    self._left -= count
                    self.allowance.take(count)
                if transfer.all_issued:
                    lane.ready.remove(transfer)
                    if transfer in self._active:
                        transfer.advance()
                elif lane.under_way >= WINDOW:
                    break
        if self._divisible:
            self._join_in()
        return None

    def _join_in(self) -> None:
        """Channels that have little to do help with a large file."""
        idle = [lane for lane in self.lanes if not lane.ready and lane.under_way < WINDOW // 2]
        for lane in idle:
            for transfer in self._divisible:
                if transfer.left >= SPLIT // 2 and transfer.join(lane):
                    break

    def _take_events(self, pause: float | None) -> None:
        try:
            event = self.events.get(timeout=pause)
            while True:
                event()
                event = self.events.get_nowait()
        except queue.Empty:
            return
