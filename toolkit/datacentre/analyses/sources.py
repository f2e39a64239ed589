"""Where visit documents come from: directories, files, stores and standard input; what cannot be read is told and left out."""

from __future__ import annotations

import itertools
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote, urlsplit

from toolkit.core.errors import InputOutput, NoInput, ToolError, Unavailable
from toolkit.core.xml import LARGEST

_AT_ONCE = 16  # documents on their way from a store
_SUFFIX = ".xml"
_READABLE = "name what exists and can be read"


def check(sources: Sequence[str]) -> None:
    """Raise NoInput, naming it, when a directory or file does not exist."""
    for source in sources:
        if source != "-" and (path := _path(source)) is not None and not os.path.exists(path):
            raise NoInput(source, "No such file or directory", _READABLE)


def count(sources: Sequence[str]) -> int:
    """How many documents there seem to be; those of standard input are not known."""
    return sum(1 for source in sources if source != "-" for _ in _names(source, lambda _: None))


def documents(sources: Sequence[str], bad: Callable[[ToolError], None]) -> Iterator[tuple[str, bytes]]:
    """Every document with what messages call it. Of one that is too large only so much is read that this is seen.

    What cannot be read goes to `bad`. Raises Unavailable when a store does not answer, InputOutput when standard input fails.
    """
    for source in sources:
        if source == "-":
            yield from _standard_input()
        elif _path(source) is None:
            yield from _stored(source, bad)
        else:
            for path in _names(source, bad):
                try:
                    yield path, _read(path, named=path == source)
                except ToolError as error:
                    bad(error)


def _path(source: str) -> str | None:
    """The path of a file or directory; None for a store elsewhere."""
    if "://" not in source:
        return source
    parts = urlsplit(source)
    return unquote(parts.path) if parts.scheme == "file" and parts.netloc in ("", "localhost") else None


def _names(source: str, bad: Callable[[ToolError], None]) -> Iterator[str]:
    """The documents of a directory and those below in a fixed order, a file, or the objects of a store."""
    path = _path(source)
    if path is None:
        from toolkit.core.storage import open_store

        yield from (entry.name for entry in open_store(source).list() if entry.name.casefold().endswith(_SUFFIX))
    elif os.path.isdir(path):
        for directory, inner, files in os.walk(path, onerror=lambda error: bad(_failure(str(error.filename), error))):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            for name in sorted(files):
                if name.casefold().endswith(_SUFFIX) and not name.startswith("."):
                    yield os.path.join(directory, name)
    else:
        yield path


def _read(path: str, named: bool) -> bytes:
    """A file's bytes; a pipe is read when the user named it, and never waited for when it lies in a directory."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if named else os.O_NONBLOCK)), "rb", buffering=0) as stream:
            state = os.fstat(stream.fileno())
            if stat.S_ISREG(state.st_mode):
                return stream.read(min(state.st_size, LARGEST) + 1)
            if named:
                return b"".join(_pieces(stream.read))
    except OSError as error:
        raise _failure(path, error) from error
    raise NoInput(path, "is no regular file", "remove it, or name it alone")


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    left = LARGEST + 1
    while left > 0 and (piece := read(min(left, 1 << 20))):
        left -= len(piece)
        yield piece


def _failure(place: str, error: OSError) -> NoInput:
    return NoInput(place, error.strerror or str(error), _READABLE)


def _stored(url: str, bad: Callable[[ToolError], None]) -> Iterator[tuple[str, bytes]]:
    """The documents of a store, several on their way at once."""
    from toolkit.core.storage import open_store

    store = open_store(url)

    def get(name: str) -> bytes | ToolError:
        try:
            with store.open(name) as stream:
                return b"".join(_pieces(stream.read))
        except Unavailable:
            raise
        except ToolError as error:
            return error

    names = _names(url, bad)
    with ThreadPoolExecutor(_AT_ONCE) as workers:
        while some := list(itertools.islice(names, 4 * _AT_ONCE)):
            for name, found in zip(some, workers.map(get, some), strict=True):
                if isinstance(found, ToolError):
                    bad(found)
                else:
                    yield f"{store.url}/{name}", found


def _standard_input() -> Iterator[tuple[str, bytes]]:
    from toolkit.datacentre.analyses.splitting import split

    if sys.stdin is None:
        raise NoInput("standard input", "is closed", "name a directory or use a pipe")
    try:
        for number, body in enumerate(split(sys.stdin.buffer), 1):
            yield f"standard input, document {number}", body
    except OSError as error:
        raise InputOutput("standard input", error.strerror or str(error), "run it again") from error
