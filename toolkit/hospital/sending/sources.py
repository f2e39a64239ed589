"""Where visit documents come from: files, directories, standard input."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from toolkit.core.errors import BadData, NoInput, ToolError
from toolkit.core.streams import open_input, stream_name

LARGEST = 64 << 20  # bytes; a visit without its scans has some hundred kilobytes
_UNFINISHED = (".part", ".tmp")  # how other programs call a file that they are still writing


@dataclass(frozen=True)
class Source:
    """One document: the `place` that messages name and its bytes, or the error that reading it ended with."""

    place: str
    data: bytes = b""
    error: ToolError | None = None


def read_sources(paths: Iterable[str], largest: int = LARGEST) -> Iterator[Source]:
    """The documents in `paths`: files, directories down to their bottom, ``-`` for one on standard input, at most `largest` bytes each.

    In a directory files whose names begin with a point or end in ``.part`` or ``.tmp`` are left: somebody is still writing them.
    """
    for path in paths:
        for name in [path] if path == "-" else _files(path):
            try:
                yield Source(stream_name(name), _content(name, largest))
            except ToolError as error:
                yield Source(stream_name(name), error=error)


def _files(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
        return
    failures: list[OSError] = []
    for directory, inner, names in os.walk(path, onerror=failures.append):
        inner.sort()
        for name in sorted(names):
            if not name.startswith(".") and not name.endswith(_UNFINISHED):
                yield os.path.join(directory, name)
    for failure in failures:  # open() says what is wrong with the directory
        yield str(failure.filename)


def _content(path: str, largest: int) -> bytes:
    if path != "-":
        try:
            found = os.stat(path)
        except OSError as error:
            raise NoInput(path, error.strerror or str(error), "name a file that exists and can be read") from error
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISFIFO(found.st_mode):
            problem = "this directory cannot be read" if stat.S_ISDIR(found.st_mode) else "is neither a file nor a directory"
            raise NoInput(path, problem, "name files and directories that can be read")
        if found.st_size > largest:
            raise _too_large(path, largest)
    with open_input(path) as stream:
        try:
            data = stream.read(largest + 1)
        except OSError as error:
            raise NoInput(stream_name(path), error.strerror or str(error), "repair the disk, or fetch the document again") from error
    if len(data) > largest:
        raise _too_large(stream_name(path), largest)
    if not data.strip():
        raise BadData(stream_name(path), "is empty", "export the document again")
    return data


def _too_large(place: str, largest: int) -> BadData:
    return BadData(place, f"has more than {largest >> 20} MiB", "leave its scans out: they are not sent anyway")
