"""Directories, links and names on the far side: many questions at a time, each call a few round trips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from toolkit.core.errors import ToolError
from toolkit.experiment.staging.channel import Channel
from toolkit.experiment.staging.entries import Entry


@dataclass(frozen=True)
class Status:
    """Of something on the far side."""

    kind: str  # as in Entry
    size: int
    mode: int
    mtime: int
    owner: tuple[int, int] | None = None  # user, group


def walk(channel: Channel, top: bytes) -> Iterator[Entry | ToolError]:
    """All that is below the directory `top`, parents before what is in them; a directory that cannot be read is an error in its place.

    Raises NoInput when `top` does not exist, NotPermitted when it cannot be read, BadData when the server sends names that no
    directory can hold (with "/", "..", NUL), Lost. Several calls at a time on one channel or on several are possible.
    """
    raise NotImplementedError


def status(channel: Channel, paths: Sequence[bytes], follow: bool = True) -> list[Status | ToolError]:
    """What each path is; NoInput for what does not exist."""
    raise NotImplementedError


def real_path(channel: Channel, path: bytes) -> bytes:
    """`path` from the root on: "." is where the session begins."""
    raise NotImplementedError


def make_directories(channel: Channel, paths: Iterable[tuple[bytes, int]]) -> list[ToolError | None]:
    """Make directories, parents before what is in them, with these permission bits; one that exists is no error."""
    raise NotImplementedError


def set_attributes(channel: Channel, paths: Iterable[tuple[bytes, int, int]]) -> list[ToolError | None]:
    """Set permission bits and time of modification (s) of each path."""
    raise NotImplementedError


def make_links(channel: Channel, links: Iterable[tuple[bytes, bytes]]) -> list[ToolError | None]:
    """Make symbolic links (path, target), each in the place of a link or file that may be there."""
    raise NotImplementedError


def remove(channel: Channel, entries: Iterable[tuple[bytes, bool]]) -> list[ToolError | None]:
    """Remove (path, is it a directory), in this order; what is not there is no error."""
    raise NotImplementedError


def read_bytes(channel: Channel, path: bytes, most: int = 1 << 20) -> bytes:
    """A small file's contents. Raises NoInput when it does not exist, BadData when it is longer than `most`."""
    raise NotImplementedError


def digest(channel: Channel, paths: Sequence[tuple[bytes, int]]) -> list[str | ToolError]:
    """SHA-256 (hexadecimal) of the first so many bytes of each file, read back through the channel."""
    raise NotImplementedError
