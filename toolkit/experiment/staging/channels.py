"""The channels of one connection: further ones are opened at the same time, as many as the server allows."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from toolkit.core.errors import ToolError
from toolkit.experiment.staging.channel import Channel


class Channels:
    """Those that are open; `open_one` opens another or raises a ToolError, in a thread of its own."""

    def __init__(self, open_one: Callable[[], Channel]) -> None:
        self._open_one = open_one
        self._there: list[Channel] = []
        self._opening = threading.Lock()
        self._most: int | None = None  # channels that the server allows, once it has refused one

    def add(self, channel: Channel) -> None:
        """The first one, opened with the connection."""
        self._there.append(channel)

    def up_to(self, count: int) -> Sequence[Channel]:
        """So many, if the server allows as many."""
        if count <= len(self._there):  # who wants no more does not wait for those that are being opened
            return self._there[:count]
        with self._opening:
            wanted = (count if self._most is None else min(count, self._most)) - len(self._there)
            opened: list[Channel] = []
            threads = [threading.Thread(target=self._open, args=(opened,), daemon=True) for _ in range(wanted)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self._there += opened
            if len(opened) < wanted:
                self._most = len(self._there)
            return self._there[:count]

    def close(self) -> None:
        """End all of them."""
        for channel in self._there:
            channel.close()

    def _open(self, opened: list[Channel]) -> None:
        with contextlib.suppress(ToolError):  # the server allows no more
            opened.append(self._open_one())
