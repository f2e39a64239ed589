"""How much the gateway takes on at once: from each client, and altogether."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator


class Rate:
    """At most `rate` documents a second from each client, on average; after a pause one second's worth at once (a token bucket).

    `rate` 0 is no limit. Clients are those of our own authority, so that there are few.
    """

    def __init__(self, rate: float) -> None:
        self._rate, self._most = rate, max(1.0, rate)
        self._buckets: dict[str, tuple[float, float]] = {}  # client to tokens and when they were counted

    def wait(self, client: str) -> int:
        """Take a token: 0; or how many seconds to wait for one."""
        if not self._rate:
            return 0
        now = time.monotonic()
        tokens, counted = self._buckets.get(client, (self._most, now))
        tokens = min(self._most, tokens + (now - counted) * self._rate)
        self._buckets[client] = (tokens - 1 if tokens >= 1 else tokens), now
        return 0 if tokens >= 1 else math.ceil((1 - tokens) / self._rate)


class Room:
    """Bytes of request bodies that may be in memory at once."""

    def __init__(self, most: int) -> None:
        self._left = most

    @contextlib.contextmanager
    def taken(self, size: int) -> Iterator[bool]:
        """Whether there was room for `size` bytes; it is kept for the caller until the context ends."""
        fits = size <= self._left
        self._left -= size if fits else 0
        try:
            yield fits
        finally:
            self._left += size if fits else 0
