"""Sending images over several associations at once, what waits shared among them."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from toolkit.core.errors import BadData, Internal, ToolError, Unavailable
from toolkit.hospital.images.association import Association, Lost
from toolkit.hospital.images.contexts import Pair
from toolkit.hospital.images.objects import Image
from toolkit.hospital.images.peer import Peer
from toolkit.hospital.images.statuses import Fate, fate, words

logger = logging.getLogger(__name__)

_TRIES = 2  # of an object, when associations end while it is sent
_IN_A_ROW = 5  # associations lost, or objects put off for want of resources, after which the receiver is left in peace
_RETRIES = (0.5, 2.0)  # seconds between tries to connect: a receiver may just be started


class Result(NamedTuple):
    """What became of an image; `digest` of what was sent, empty when it was not; `unfit`: it is the file's fault."""

    image: Image
    fate: Fate
    what: str
    digest: bytes = b""
    unfit: bool = False


class Sending:
    """Sends `images` to `peer` over at most `jobs` associations that offer `pairs`; iterate over the results. A context manager, which
    ends what still runs when it is left.

    What is in no result waits: `ended` says why. Raises Unavailable when no association at all can be had, before anything is sent.
    """

    def __init__(self, peer: Peer, pairs: Sequence[Pair], images: Sequence[Image], jobs: int) -> None:
        self._peer, self._pairs = peer, pairs
        self._waiting = deque((image, 1) for image in images)
        self._results: queue.SimpleQueue[Result | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._stopping = False
        self._open: set[Association] = set()
        self.ended: ToolError | None = None
        self._open_once = False
        first = self._connected()
        self._open_once = True
        count = min(jobs, len(images))
        self._lanes = [threading.Thread(target=self._lane, args=(first if number == 0 else None,), daemon=True) for number in range(count)]
        self._running = count

    def __enter__(self) -> Sending:
        for lane in self._lanes:
            lane.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stopping = True
            for association in self._open:
                association.hang_up()
        for lane in self._lanes:
            lane.join(5.0)  # one that is just connecting notices it late, and has nothing to lose

    def __iter__(self) -> Iterator[Result]:
        while self._running:
            result = self._results.get()
            if result is None:
                self._running -= 1
            else:
                yield result

    def unheard(self) -> Iterator[Result]:
        """The results that nobody has asked for, after the end."""
        with contextlib.suppress(queue.Empty):
            while True:
                result = self._results.get(block=False)
                if result is not None:
                    yield result

    @property
    def left(self) -> list[Image]:
        """What was not tried to its end, once all lanes have ended."""
        return [image for image, _ in self._waiting]

    def _connected(self) -> Association:
        """An association; a receiver that is just being started gets a second and a third chance, and one that hung up, when it was there
        before."""
        passing = ConnectionError if self._open_once else ConnectionRefusedError
        for wait in _RETRIES:
            try:
                return Association(self._peer, self._pairs)
            except Unavailable as error:
                if not isinstance(error.__cause__, passing) or self._stopping:
                    raise
                time.sleep(wait * (0.5 + 0.5 * random.random()))
        return Association(self._peer, self._pairs)

    def _lane(self, association: Association | None) -> None:
        taken: tuple[Image, int] | None = None
        try:
            while (taken := self._take()) is not None:
                image, tries = taken
                if association is None:
                    try:
                        association = self._connected()
                    except ToolError as error:
                        return self._closed(error, taken)
                with self._lock:
                    self._open.add(association)
                try:
                    self._done(_sent(association, image))
                except Lost as error:
                    self._forget(association)
                    association = None
                    self._lost(image, tries, error)
                except Exception as error:  # of the file, or a fault of this program: the others are sent all the same
                    self._done(Result(image, Fate.REFUSED, _unfit(error), unfit=True))
                    if not isinstance(error, BadData):
                        association.abort()
                    if association.closed:
                        self._forget(association)
                        association = None
            if association is not None and not self._stopping:
                association.release()
        except BaseException as error:  # a fault of this program must not leave the others waiting for ever
            self._closed(error if isinstance(error, ToolError) else Internal("sending", _unfit(error)), taken)
        finally:
            if association is not None:
                self._forget(association)
            self._results.put(None)

    def _take(self) -> tuple[Image, int] | None:
        with self._lock:
            return None if self._stopping or not self._waiting else self._waiting.popleft()

    def _forget(self, association: Association) -> None:
        with self._lock:
            self._open.discard(association)
        association.abort()

    def _done(self, result: Result) -> None:
        with self._lock:
            if result.fate is not Fate.LATER:
                self._in_a_row = 0
            else:
                self._in_a_row += 1
                if self._in_a_row >= _IN_A_ROW and not self._stopping:
                    self._stopping = True
                    self.ended = ToolError(self._peer.place, f"puts off one object after another: {result.what}", "make room over there")
        self._results.put(result)

    def _lost(self, image: Image, tries: int, error: Lost) -> None:
        """An association ended while `image` was sent: it is tried again, but neither it nor the receiver for ever."""
        with self._lock:
            if self._stopping:
                self._waiting.appendleft((image, tries))
                return
            self._in_a_row += 1
            if error.stalled or self._in_a_row >= _IN_A_ROW:
                self._stopping, self.ended = True, error
            if tries < _TRIES:
                self._waiting.append((image, tries + 1))  # last: objects that no receiver stands must not keep the others back
                return
        self._results.put(Result(image, Fate.LATER, f"{error.problem} while it was sent"))

    def _closed(self, error: ToolError, taken: tuple[Image, int] | None) -> None:
        """A lane cannot go on. Others may: a receiver that takes no more associations takes objects over those that there are."""
        logger.debug("%s", error)
        with self._lock:
            if taken is not None:
                self._waiting.appendleft(taken)
            if self.ended is None and not self._stopping:
                self.ended = error


def _unfit(error: BaseException) -> str:
    if isinstance(error, BadData):
        return f"{error.problem}; {error.remedy}"
    logger.debug("the traceback", exc_info=error)
    return f"a fault of this program, {type(error).__name__}; run it again with -vv and report what it prints"


def _sent(association: Association, image: Image) -> Result:
    why = association.refused.get(image.pair)
    if why is not None:
        return Result(image, Fate.REFUSED, f"{why}: {image.sop_class} in {image.transfer_syntax}")
    descriptor = image.open()
    try:
        answer, digest = association.store(image.pair, image.instance, descriptor, image.start, image.length)
    except OSError as error:
        association.abort()
        raise BadData(image.path, error.strerror or str(error), "look at the disk") from error
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    outcome = fate(answer)
    return Result(image, outcome, "" if outcome is Fate.STORED else words(answer), digest)
