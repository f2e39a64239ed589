"""A small file on the far side whose contents are known only at the end: it is opened before, which saves a round trip."""

from __future__ import annotations

import queue
from collections.abc import Iterator

from toolkit.core.errors import ToolError
from toolkit.experiment.staging.channel import Channel
from toolkit.experiment.staging.files import part_name
from toolkit.experiment.staging.protocol import (
    CLOSE,
    CREATING,
    EXTENDED,
    FOR_WRITING,
    FSETSTAT,
    HANDLE,
    OPEN,
    POSIX_RENAME,
    REMOVE,
    RENAME,
    TRUNCATING,
    WRITE,
    Attributes,
    Fields,
    long_number,
    number,
    text,
)
from toolkit.experiment.staging.questions import Answer, Request, answer_to, asked, failure, handler_into, outcome


class LateFile:
    """Opened when it is made, written whole by `finish`; until then it is only its part, and never anything half under its name."""

    def __init__(self, channel: Channel, path: bytes, mode: int) -> None:
        self._channel, self._path, self._mode = channel, path, mode
        self._opened: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._content: bytes | None = None  # that was sent
        self._answers: Iterator[Answer] = iter(())
        self._problem: ToolError | None = None
        flags = number(FOR_WRITING | CREATING | TRUNCATING)
        channel.request(OPEN, text(part_name(path)) + flags + Attributes(mode=0o600).encoded(), handler_into(self._opened))

    def write(self, content: bytes) -> None:
        """Send it, as far as it is known to be all: `finish` waits for the answers. Raises Lost."""
        channel, self._content = self._channel, content
        kind, answer = answer_to(channel, self._opened)
        if kind != HANDLE:
            self._problem = failure(channel, self._path, kind, answer, "created")
            return
        handle = text(Fields(answer, channel.name).text())
        requests: list[Request] = []
        for offset in range(0, len(content), channel.limits.write):
            block = content[offset : offset + channel.limits.write]
            requests.append((WRITE, handle + long_number(offset) + text(block)))
        requests += [(FSETSTAT, handle + Attributes(mode=self._mode).encoded()), (CLOSE, handle)]
        self._answers = asked(channel, requests)

    def finish(self, content: bytes) -> ToolError | None:
        """Give it its name, in the place of what is there, once it is written. Raises Lost."""
        channel = self._channel
        if self._content is None:
            self.write(content)
        problems = [outcome(channel, self._path, answer, "written") for answer in self._answers]
        if self._problem is None and self._content != content:
            return LateFile(channel, self._path, self._mode).finish(content)
        problem = self._problem or next((found for found in problems if found is not None), None)
        if problem is not None:
            list(asked(channel, [(REMOVE, text(part_name(self._path)))]))
            return problem
        names = text(part_name(self._path)) + text(self._path)
        if POSIX_RENAME in channel.extensions:
            renaming: list[Request] = [(EXTENDED, text(POSIX_RENAME) + names)]
        else:  # RENAME of version 3 does not replace
            renaming = [(REMOVE, text(self._path)), (RENAME, names)]
        *_, last = asked(channel, renaming)
        return outcome(channel, self._path, last, "renamed")

    def abandon(self) -> None:
        """There is nothing to write: the part is removed. Raises Lost."""
        if self._content is None:
            self.write(b"")
        list(self._answers)
        list(asked(self._channel, [(REMOVE, text(part_name(self._path)))]))
