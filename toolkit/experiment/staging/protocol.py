"""SFTP version 3 and OpenSSH's extensions to it, as bytes.

Sources: draft-ietf-secsh-filexfer-02 and OpenSSH's PROTOCOL file. Names are bytes. What a server sends is not trusted: all that does
not fit raises BadData.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from dataclasses import dataclass

from toolkit.core.errors import BadData, InputOutput, NoInput, NotPermitted, ToolError, Unavailable

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT, OPENDIR, READDIR, REMOVE, MKDIR, RMDIR = range(1, 16)
REALPATH, STAT, RENAME, READLINK, SYMLINK = range(16, 21)
STATUS, HANDLE, DATA, NAME, ATTRS = range(101, 106)
EXTENDED, EXTENDED_REPLY = 200, 201

OK, END, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, NO_CONNECTION, CONNECTION_LOST, UNSUPPORTED = range(9)

FOR_READING, FOR_WRITING, APPENDING, CREATING, TRUNCATING, NEW_ONLY = 1, 2, 4, 8, 16, 32

_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES, _HAS_MORE = 1, 2, 4, 8, 0x80000000

LIMITS = b"limits@openssh.com"
POSIX_RENAME = b"posix-rename@openssh.com"
FSYNC = b"fsync@openssh.com"
STATVFS = b"statvfs@openssh.com"

_NUMBER = struct.Struct(">I")
_LONG = struct.Struct(">Q")


@dataclass(frozen=True)
class Attributes:
    """What is known of a file, or is to be set; None: nothing."""

    size: int | None = None  # bytes
    owner: tuple[int, int] | None = None  # user, group
    mode: int | None = None  # permission bits and kind
    times: tuple[int, int] | None = None  # of the last access and modification, s since 1970

    def encoded(self) -> bytes:
        """As in a packet."""
        flags, fields = 0, b""
        if self.size is not None:
            flags, fields = flags | _HAS_SIZE, fields + _LONG.pack(self.size)
        if self.owner is not None:
            flags, fields = flags | _HAS_OWNER, fields + struct.pack(">II", *self.owner)
        if self.mode is not None:
            flags, fields = flags | _HAS_MODE, fields + _NUMBER.pack(self.mode)
        if self.times is not None:
            flags, fields = flags | _HAS_TIMES, fields + struct.pack(">II", *(time & 0xFFFFFFFF for time in self.times))
        return _NUMBER.pack(flags) + fields

    @property
    def kind(self) -> str:
        """As in Entry; a server that does not say has files."""
        if self.mode is None or stat.S_ISREG(self.mode) or not stat.S_IFMT(self.mode):
            return "file"
        return "directory" if stat.S_ISDIR(self.mode) else "link" if stat.S_ISLNK(self.mode) else "other"


def text(value: bytes) -> bytes:
    """A string with its length before it."""
    return _NUMBER.pack(len(value)) + value


def number(value: int) -> bytes:
    """Four bytes."""
    return _NUMBER.pack(value)


def long_number(value: int) -> bytes:
    """Eight bytes."""
    return _LONG.pack(value)


class Fields:
    """Reads the fields of an answer one after another. Raises BadData, naming `place`, where they are not there."""

    def __init__(self, data: bytes | memoryview, place: str) -> None:
        self._data, self._at, self._place = bytes(data), 0, place

    def number(self) -> int:
        """Four bytes."""
        return int.from_bytes(self._take(4), "big")

    def long_number(self) -> int:
        """Eight bytes."""
        return int.from_bytes(self._take(8), "big")

    def text(self) -> bytes:
        """A string."""
        return self._take(self.number())

    def attributes(self) -> Attributes:
        """A file's attributes; those of extensions are passed over."""
        flags = self.number()
        size = self.long_number() if flags & _HAS_SIZE else None
        owner = (self.number(), self.number()) if flags & _HAS_OWNER else None
        mode = self.number() if flags & _HAS_MODE else None
        times = (self.number(), self.number()) if flags & _HAS_TIMES else None
        if flags & _HAS_MORE:
            for _ in range(self.number()):
                self.text(), self.text()
        return Attributes(size, owner, mode, times)

    @property
    def left(self) -> int:
        """Bytes that were not read."""
        return len(self._data) - self._at

    def _take(self, count: int) -> bytes:
        if count > self.left:
            raise broken(self._place, "an answer that ends before its last field")
        self._at += count
        return self._data[self._at - count : self._at]


def broken(place: str, what: str) -> BadData:
    """A server that does not keep to the protocol."""
    return BadData(place, f"its SFTP server sent {what}", "it is no SFTP server of version 3, or it is broken")


def failure(place: str, host: str, fields: Fields, doing: str = "") -> ToolError:
    """The error that a STATUS other than OK stands for; `place` is the file's name."""
    code = fields.number()
    said = fields.text().decode("utf-8", "replace").strip() if fields.left >= 4 else ""
    before = f"cannot be {doing}: " if doing else ""
    if code == NO_SUCH_FILE:
        return NoInput(place, f"{before}{os.strerror(errno.ENOENT)} on {host}", "check the path")
    if code == PERMISSION_DENIED:
        remedy = "check the permissions there, or whether the server only reads"
        return NotPermitted(place, f"{before}{os.strerror(errno.EACCES)} on {host}", remedy)
    if code == UNSUPPORTED:
        return Unavailable(place, f"{before}not supported by the server on {host}")
    return InputOutput(place, f"{before}{host} says {said or 'failure'!r} (code {code})")
