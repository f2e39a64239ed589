"""Many files over SFTP at a time, none waiting for another's round trip."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from toolkit.core.errors import ToolError
from toolkit.experiment.staging.channel import Channel

IN_FLIGHT = 32 << 20  # bytes: what is written of a file is whole but for the last so many before its end
LocalPath = str | bytes | os.PathLike[str]


@dataclass(frozen=True)
class Put:
    """A file to send. It must have this size and time from the first byte to the last."""

    local: LocalPath
    remote: bytes
    size: int  # bytes
    mode: int  # permission bits
    mtime_ns: int  # since 1970
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


def push(
    channels: Sequence[Channel],
    files: Iterable[Put],
    on_bytes: Callable[[int], None] | None = None,
    limit: float | None = None,
    synchronise: bool = False,
) -> Iterator[Result]:
    """Send `files` and yield what became of each, in the order in which they end.

    Each appears under its name when it is whole, with its permissions and time, and replaces what was there. `on_bytes` is told of
    bytes as the server confirms them; `limit`: bytes a second; `synchronise`: have each on the server's disk before it is renamed.
    Errors of a file are in its result and its part is removed; Lost is raised after the results of all files that were whole.
    """
    raise NotImplementedError


def pull(
    channels: Sequence[Channel],
    files: Iterable[Get],
    on_bytes: Callable[[int], None] | None = None,
    limit: float | None = None,
    synchronise: bool = False,
) -> Iterator[Result]:
    """Fetch `files` and yield what became of each, in the order in which they end; as `push`. Their directories must exist."""
    raise NotImplementedError
