"""Some connections to the data centre side by side: its answer waits for a disk, and requests that wait together share that.

Each has a thread of its own. The link database is not touched here: what comes of a message is its caller's to keep.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING

from toolkit.core.errors import Unavailable
from toolkit.hospital.sending.client import Answer, Fate

if TYPE_CHECKING:
    from toolkit.hospital.links.queue import Message
    from toolkit.hospital.sending.client import Gateway

LANES = 4
ENOUGH = 3  # answers in a row that postpone: then the data centre is left alone


class Lanes:
    """`gateway` and others like it; a context manager, which leaves `gateway` to its owner.

    Once `stopped`, nothing more is sent: the data centre cannot be reached, or it postponed `ENOUGH` messages in a row.
    """

    def __init__(self, gateway: Gateway, number: int = LANES) -> None:
        self._others = [gateway.twin() for _ in range(number - 1)]
        self._free: queue.LifoQueue[Gateway] = queue.LifoQueue()  # one that is connected is taken before one that is not
        for lane in (*self._others, gateway):
            self._free.put(lane)
        self._threads = ThreadPoolExecutor(number)
        self._lock, self._stop, self._postponed = threading.Lock(), threading.Event(), 0

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        # whoever interrupts the program does not wait for a data centre that says nothing
        self._threads.shutdown(wait=error is None, cancel_futures=True)
        if error is None:
            for lane in self._others:
                lane.close()

    @property
    def stopped(self) -> bool:
        """Whether sending is to end."""
        return self._stop.is_set()

    def post(self, messages: Sequence[Message]) -> list[Answer | Unavailable | None]:
        """What the data centre said to each, or why it could not be reached; None for those that were not sent after that."""
        return list(self._threads.map(self._post, messages))

    def _post(self, message: Message) -> Answer | Unavailable | None:
        if self.stopped:
            return None
        lane = self._free.get()
        try:
            answer = lane.post(message.message_id, message.document)
        except Unavailable as error:
            self._stop.set()
            return error
        finally:
            self._free.put(lane)
        with self._lock:
            self._postponed = self._postponed + 1 if answer.fate is Fate.LATER else 0
            if self._postponed >= ENOUGH:
                self._stop.set()
        return answer
