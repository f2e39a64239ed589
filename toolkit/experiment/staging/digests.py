"""SHA-256 of files that pass: of their bytes in order as they go by, or behind them where they go by in another order."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable

_BLOCK = 1 << 20


class Passing:
    """Of bytes that come in order."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()

    def take(self, data: bytes | memoryview) -> None:
        """The next bytes."""
        self._sum.update(data)

    def hexdigest(self) -> str:
        """Of all that came."""
        return self._sum.hexdigest()


class Following:
    """Of a file, read by a thread as far as it is known to be right."""

    def __init__(self, descriptor: int, size: int, done: Callable[[str | OSError], None]) -> None:
        """`done` is called in the thread: with the digest of the first `size` bytes, or why they cannot be read."""
        self._descriptor, self._size, self._done = descriptor, size, done
        self._allowed: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def allow(self, position: int) -> None:
        """The bytes before `position` are right."""
        self._allowed.put(position)

    def stop(self) -> None:
        """There is no more: `done` need not be called. The descriptor is not used afterwards."""
        self._stopped = True
        self._allowed.put(None)
        self._thread.join()

    def _follow(self) -> None:
        total, at = hashlib.sha256(), 0
        try:
            while at < self._size:
                position = self._allowed.get()
                if position is None:
                    return
                while at < position:
                    data = os.pread(self._descriptor, min(_BLOCK, position - at), at)
                    if self._stopped:
                        return
                    if not data:
                        raise OSError(0, "is shorter than it was")
                    total.update(data)
                    at += len(data)
        except OSError as error:
            self._done(error)
            return
        self._done(total.hexdigest())
