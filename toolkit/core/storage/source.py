"""What is being put: its chunks, and their digest when all have gone by."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import BinaryIO

from toolkit.core.errors import BadData, InputOutput

CHUNK = 8 << 20  # bytes moved at once


class Source:
    """The chunks of a stream from where it stands.

    `size` is the number of bytes that have gone by. Where the stream can seek, it can be read again when a server failed half-way.
    """

    def __init__(self, stream: BinaryIO, place: str, expected: str | None) -> None:
        self._stream, self._place, self._expected = stream, place, expected
        self._start: int | None = None
        if getattr(stream, "seekable", lambda: False)():
            self._start = stream.tell()
        self._state, self.size = hashlib.sha256(), 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                chunk = self._stream.read(CHUNK)
            except OSError as error:
                problem = f"what it is made from cannot be read: {error.strerror or error}"
                raise InputOutput(self._place, problem, "repair that first") from error
            if not chunk:
                return
            self._state.update(chunk)
            self.size += len(chunk)
            yield chunk

    def length(self) -> int | None:
        """All its bytes; None where only reading it would tell."""
        if self._start is None:
            return None
        here = self._stream.tell()
        end = self._stream.seek(0, os.SEEK_END)
        self._stream.seek(here)
        return end - self._start

    def rewind(self) -> bool:
        """Go back to the first chunk; False where that is impossible."""
        if self.size:
            if self._start is None:
                return False
            self._stream.seek(self._start)
        self._state, self.size = hashlib.sha256(), 0
        return True

    def finish(self) -> str:
        """The digest. Raises BadData when another one was expected."""
        found = f"sha256:{self._state.hexdigest()}"
        if self._expected is not None:
            compare(self._place, self._expected, found)
        return found


def compare(place: str, expected: str, found: str) -> None:
    """Raises BadData when two digests differ."""
    if expected.lower() != found:
        raise BadData(place, f"its digest is {found}, not {expected}", "restore it from the other copy, or make it again")
