"""Which files are to be sent or fetched, and what became of each."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from toolkit.core.errors import ToolError

LocalPath = str | bytes | os.PathLike[str]


@dataclass(frozen=True)
class Put:
    """A file to send. It must have this size and time from the first byte to the last."""

    local: LocalPath
    remote: bytes
    size: int  # bytes
    mode: int  # permission bits
    mtime_ns: int  # since 1970; whole seconds are compared and set
    offset: int = 0  # so many bytes of the remote `part_name` are there and right


@dataclass(frozen=True)
class Get:
    """A file to fetch. It must have this size and time from the first byte to the last."""

    remote: bytes
    local: LocalPath
    size: int  # bytes
    mode: int  # permission bits
    mtime: int  # s since 1970
    offset: int = 0  # so many bytes of the local `part_name` are there and right


@dataclass(frozen=True)
class Result:
    """What became of one file."""

    file: Put | Get
    bytes: int  # that were sent or fetched now, without those that were there
    seconds: float  # from its opening to its renaming
    sha256: str  # of the whole file, hexadecimal; "" with an error
    error: ToolError | None = None


def part_name(path: bytes) -> bytes:
    """The name, beside `path`, that a file has until it is whole: .NAME.part, shortened where NAME is long (NAME_MAX is 255)."""
    directory, slash, name = path.rpartition(b"/")
    if len(name) > 249:
        name = name[:200] + b"." + hashlib.sha256(name).hexdigest()[:16].encode()
    return directory + slash + b"." + name + b".part"


def shown(path: LocalPath) -> str:
    """A name for messages."""
    return os.fsdecode(path)
