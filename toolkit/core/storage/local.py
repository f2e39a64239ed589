"""A directory as a store."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO

from toolkit.core.errors import CannotCreate
from toolkit.core.storage.source import Source
from toolkit.core.storage.store import Entry, Store, is_temporary
from toolkit.core.streams import atomic_output, synchronise


class LocalStore(Store):
    """A directory. The object and every directory on its way are synchronised before `put` returns."""

    def __init__(self, path: str) -> None:
        self.url = self._root = os.path.abspath(path)

    def _path(self, name: str) -> str:
        return os.path.join(self._root, name)

    def _write(self, name: str, source: Source) -> str:
        target = self._path(name)
        if os.path.isdir(target):
            raise CannotCreate(target, "is a directory", "choose another name")
        _make_directories(os.path.dirname(target))
        with atomic_output(target) as output:
            for chunk in source:
                output.write(chunk)
            found = source.finish()
        synchronise(os.path.dirname(target))
        return found

    def _open(self, name: str) -> BinaryIO:
        return open(self._path(name), "rb")

    def _size(self, name: str) -> int:
        if not os.path.isfile(self._path(name)):
            raise FileNotFoundError(name)
        return os.path.getsize(self._path(name))

    def _delete(self, name: str) -> None:
        os.unlink(self._path(name))
        synchronise(os.path.dirname(self._path(name)))

    def _list(self, prefix: str) -> Iterator[Entry]:
        for path in self._files(prefix):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                yield Entry(os.path.relpath(path, self._root), os.path.getsize(path))

    def _tidy(self, before: float) -> int:
        removed = 0
        for path in self._files(""):
            with contextlib.suppress(FileNotFoundError):  # it has got its name meanwhile
                if is_temporary(path) and os.path.getmtime(path) < before:
                    os.unlink(path)
                    removed += 1
        return removed

    def _files(self, prefix: str) -> Iterator[str]:
        for directory, inner, files in os.walk(self._path(prefix), onerror=_unless_missing):
            inner[:] = sorted(word for word in inner if not word.startswith("."))
            yield from (os.path.join(directory, file) for file in sorted(files))


def _make_directories(path: str) -> None:
    """As os.makedirs, and each new name is on disk."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    _make_directories(parent)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
        synchronise(parent)
    except OSError as error:
        raise CannotCreate(path, error.strerror or str(error), "name a directory that can be written") from error


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
