"""What HDFS, WebHDFS and S3 have in common: objects are read by ranges."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, BinaryIO

from toolkit.core.errors import InputOutput
from toolkit.core.storage.failures import failures_named
from toolkit.core.storage.source import CHUNK
from toolkit.core.storage.store import Store

CONNECT, ANSWER = 10, 120  # seconds that a server has to take a connection, and to answer
_READ_AHEAD = 1 << 20  # bytes; smaller reads would each cost one request


class RemoteStore(Store):
    """A store on servers. `root` is the path or bucket and path that names are relative to, without a slash at its end."""

    def __init__(self, url: str, root: str) -> None:
        self.url, self._root = url, root

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root or "/"

    def _open(self, name: str) -> BinaryIO:
        return io.BufferedReader(_Ranges(self._place(name), self._size(name), self._ranges(name)), _READ_AHEAD)

    def _ranges(self, name: str) -> Callable[[int, int], bytes]:
        """A function that gives so many bytes from that offset."""
        raise NotImplementedError


class _Ranges(io.RawIOBase):
    """A remote object that is read by ranges; whoever wraps it in a BufferedReader may share it between threads."""

    def __init__(self, place: str, size: int, read_range: Callable[[int, int], bytes]) -> None:
        self._place, self._size, self._read_range, self._offset = place, size, read_range, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._offset = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self._size}[whence])
        return self._offset

    def tell(self) -> int:
        return self._offset

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(len(buffer), self._size - self._offset))
        if not wanted:
            return 0
        with failures_named(self._place):
            found = self._read_range(self._offset, wanted)
        if len(found) != wanted:  # an end too early would pass for a shorter object
            raise InputOutput(self._place, f"the server gave {len(found)} of {wanted} bytes", "read it again")
        buffer[:wanted] = found
        self._offset += wanted
        return wanted

    def readall(self) -> bytes:
        """In chunks of ours: io's own would be 8 kB, each one a request."""
        content = bytearray(max(0, self._size - self._offset))
        view = memoryview(content)
        for place in range(0, len(content), CHUNK):
            self.readinto(view[place : place + CHUNK])
        view.release()
        return bytes(content)
