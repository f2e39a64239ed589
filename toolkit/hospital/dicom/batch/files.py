"""Which files a run takes: those named, those below a directory, those that a DICOMDIR lists; never what the run writes itself."""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from toolkit.core.errors import BadData, NoInput
from toolkit.hospital.dicom.batch.staging import NAME as UNFINISHED

logger = logging.getLogger(__name__)

_SPECIAL = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a named pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
_SQLITE_SIDECARS = ("", "-wal", "-shm", "-journal")


class Input(NamedTuple):
    """A file to work on. `relative` is its name below the argument that led to it; `size` in bytes, `changed` in ns since 1970."""

    path: str
    relative: str
    size: int
    changed: int


class OwnFiles:
    """The files and directories that a run writes or must not take for images: output, quarantine, journal, vault, maps, report, key.

    They are recognised by the directory they stand in, so they need not exist yet, and by their own inode, whatever link leads to them.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._names: dict[tuple[int, int], set[str]] = {}
        self._directories: set[tuple[int, int]] = set()
        for path in paths:
            target = os.path.realpath(path)
            parent, name = os.path.split(target)
            try:
                place = os.stat(parent)
            except OSError:
                continue  # what has no directory yet cannot stand in an input
            names = self._names.setdefault((place.st_dev, place.st_ino), set())
            names.update(name + ending for ending in _SQLITE_SIDECARS)
            if os.path.isdir(target):
                status = os.stat(target)
                self._directories.add((status.st_dev, status.st_ino))

    def in_directory(self, status: os.stat_result) -> re.Pattern[str] | None:
        """Matches the names in this directory that are the run's own, the temporary ones of outputs among them."""
        names = self._names.get((status.st_dev, status.st_ino))
        if not names:
            return None
        return re.compile("|".join(rf"{re.escape(name)}|\.{re.escape(name[:40])}\.[0-9a-f]{{12}}" for name in sorted(names)))

    def has_directory(self, status: os.stat_result) -> bool:
        """Whether this directory is one that the run writes to."""
        return (status.st_dev, status.st_ino) in self._directories


class Finder:
    """Walks the arguments of a run in sorted order. `skipped` counts what was passed over with a line, `directories` the DICOMDIR met."""

    def __init__(self, paths: Iterable[str], own: OwnFiles) -> None:
        self._paths, self._own = list(paths), own
        self._visited: set[tuple[int, int]] = set()
        self.skipped = self.directories = 0

    def __iter__(self) -> Iterator[Input]:
        for path in self._paths:
            if os.path.isdir(path):
                yield from self._below(path)
            elif self._is_own(path):
                continue
            elif is_directory_file(path) and os.path.isfile(path):
                yield from self._listed(path)
            else:
                found = self._look(path, os.path.basename(path))
                if isinstance(found, Input):
                    yield found

    def _is_own(self, path: str) -> bool:
        """Whether an argument is one of the run's own files: the key or the vault among the names of a shell's pattern."""
        directory, name = os.path.split(os.path.realpath(path))
        own = self._own.in_directory(os.stat(directory)) if os.path.isdir(directory) else None
        return own is not None and own.fullmatch(name) is not None

    def _below(self, top: str) -> Iterator[Input]:
        """Depth first without recursion: a tree may be deeper than Python's stack. Each level holds one directory's names."""
        levels = [self._names(top, "")]
        while levels:
            found = next(levels[-1], None)
            if found is None:
                levels.pop()
            elif isinstance(found, Input):
                yield found
            else:
                levels.append(self._names(*found))

    def _names(self, directory: str, relative: str) -> Iterator[Input | tuple[str, str]]:
        try:
            status = os.stat(directory)
            if self._own.has_directory(status):
                return
            if (status.st_dev, status.st_ino) in self._visited:
                self._pass_over(directory, "was visited already, a symbolic link leads back to it")
                return
            self._visited.add((status.st_dev, status.st_ino))
            names = sorted(os.listdir(directory))
        except OSError:
            yield Input(directory, relative, -1, 0)  # opening it will fail the same way, and be reported as every other file
            return
        own = self._own.in_directory(status)
        for name in names:
            if name == UNFINISHED or (own is not None and own.fullmatch(name)):
                continue
            path = f"{directory}/{name}" if directory != "/" else f"/{name}"
            found = self._look(path, f"{relative}/{name}" if relative else name)
            if found is None:
                continue
            if isinstance(found, Input) and is_directory_file(name):
                self.directories += 1  # an index of the files beside it, with names in clear: it is not an object
                continue
            yield found

    def _look(self, path: str, relative: str) -> Input | tuple[str, str] | None:
        try:
            status = os.stat(path)
        except OSError as error:
            if error.errno == errno.ELOOP:
                self._pass_over(path, "is a symbolic link to itself")
                return None
            return Input(path, relative, -1, 0)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFREG:
            return Input(path, relative, status.st_size, status.st_mtime_ns)
        if kind == stat.S_IFDIR:
            return path, relative
        self._pass_over(path, f"is {_SPECIAL.get(kind, 'no regular file')}")
        return None

    def _pass_over(self, path: str, why: str) -> None:
        self.skipped += 1
        logger.warning("%s: %s; it is left out", path, why)

    def _listed(self, path: str) -> Iterator[Input]:
        """The files that a DICOMDIR refers to (PS3.3 F.3.2.2, ReferencedFileID), each once."""
        base = os.path.dirname(path)
        seen = set()
        for components in referenced_files(path):
            relative = _on_disk(base, components)
            if relative in seen:
                continue
            seen.add(relative)
            found = self._look(os.path.join(base, relative), relative)
            if isinstance(found, Input):
                yield found


def is_directory_file(path: str) -> bool:
    """Whether a file is called as the index of a DICOM medium (PS3.10 8.6)."""
    return os.path.basename(path).upper() == "DICOMDIR"


def referenced_files(path: str) -> list[tuple[str, ...]]:
    """The ReferencedFileID of every record of the DICOMDIR at `path`: components of a path below its directory.

    Raises BadData when it is no DICOMDIR, or when it points outside its directory.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with open(path, "rb") as stream:
            index = pydicom.dcmread(stream)
        records = index.get("DirectoryRecordSequence")
        identifiers = [record.get("ReferencedFileID") for record in records or []]
    except OSError as error:
        raise NoInput(path, error.strerror or str(error), "name a DICOMDIR that can be read") from error
    except (InvalidDicomError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError, EOFError) as error:
        raise BadData(path, "is not a DICOMDIR that can be read", "name the directory instead") from error
    if records is None:
        raise BadData(path, "is called DICOMDIR and lists no files", "name the directory instead")
    found = []
    for identifier in identifiers:
        if not identifier:
            continue
        components = (identifier,) if isinstance(identifier, str) else tuple(map(str, identifier))
        if any(part in ("", ".", "..") or "/" in part or "\0" in part for part in components):
            raise BadData(path, "refers to a file outside its own directory", "name the directory instead")
        found.append(components)
    return found


def _on_disk(base: str, components: tuple[str, ...]) -> str:
    """The name of a listed file on this disk: media keep upper case, and copies of them are often in lower case."""
    for parts in (components, [part.lower() for part in components]):
        if os.path.lexists(os.path.join(base, *parts)):
            return os.path.join(*parts)
    return os.path.join(*components)
