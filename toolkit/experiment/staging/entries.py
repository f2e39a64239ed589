"""What a tree holds, here or on the far side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Entry:
    """A file, directory or link in a tree. Names are bytes: no file system promises that they are text."""

    path: bytes  # relative to the tree's top, with slashes, never with ".."
    kind: Literal["file", "directory", "link", "other"]  # other: devices, sockets, named pipes
    size: int = 0  # bytes
    mode: int = 0o644  # permission bits
    mtime: int = 0  # seconds since 1970
    target: bytes = b""  # of a link, as it is written there
    nanoseconds: int = 0  # of a local file's time, beyond the second
