"""What a local tree holds that can be staged, and what of it is refused, each with its reason."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from toolkit.core.errors import BadData, NoInput, ToolError, UsageError
from toolkit.experiment.staging import manifest
from toolkit.experiment.staging.entries import Entry

LeftOut = Callable[[bytes, bool], bool]
_PARTIAL = re.compile(rb"\..+\.part", re.DOTALL)


@dataclass
class Tree:
    """Entries by path, parents before what is in them."""

    entries: dict[bytes, Entry] = field(default_factory=dict)
    problems: dict[bytes, ToolError] = field(default_factory=dict)  # what is refused or cannot be read
    passed_over: dict[bytes, str] = field(default_factory=dict)  # what is no file: why
    complete: bool = True  # it is a directory and all in it could be read: what is not in entries is not there


def is_ours(path: bytes) -> bool:
    """Is it what this program itself keeps in a tree: the manifest's directory, or a file that is only partly there?"""
    return path.split(b"/", 1)[0] == manifest.DIRECTORY or _PARTIAL.fullmatch(path.rsplit(b"/", 1)[-1]) is not None


def shown(path: bytes) -> str:
    """A name for messages."""
    return path.decode("utf-8", "surrogateescape") or "."


def local_tree(top: bytes, left_out: LeftOut, follow: bool = False, sending: bool = True) -> Tree:
    """The tree below the directory `top`, or the one file `top`, without what is `left_out`.

    Links that stay in the tree are kept, others are problems; with `follow` all are replaced by what they point to. Where the tree is
    not `sending` but receives, links are as they are and files half there belong to it. Raises NoInput without `top`.
    """
    tree = Tree()
    try:
        status = os.stat(top)
    except OSError as error:
        raise NoInput(shown(top), error.strerror or str(error), "name a directory or file that can be read") from error
    if stat.S_ISREG(status.st_mode):
        name = os.path.basename(top)
        tree.entries[name] = _entry(name, status)
        tree.complete = False
    elif stat.S_ISDIR(status.st_mode):
        walk = _Walk(tree, top, left_out, follow, sending)
        walk.read(b"", ((status.st_dev, status.st_ino),))
    else:
        raise BadData(shown(top), "is neither a file nor a directory", "name one")
    return tree


def chosen_tree(names: Sequence[bytes]) -> Tree:
    """What has these names below the present directory, whole directories too, with the directories that lead there.

    Raises UsageError for names that are elsewhere, NoInput.
    """
    tree = Tree(complete=False)
    for name in names:
        path = os.path.normpath(name)
        if path.startswith((b"/", b"../")) or path == b"..":
            raise UsageError(shown(name), "is not below the present directory", "change to a directory above it, or push it first")
        for directory in reversed([*above(path)]):
            tree.entries.setdefault(directory, _entry(directory, os.stat(directory)))
        found = local_tree(path, lambda path, directory: False)
        prefix = b""
        if os.path.isdir(path) and path != b".":
            tree.entries[path], prefix = _entry(path, os.stat(path)), path + b"/"
        elif path != b".":
            prefix = path[: -len(os.path.basename(path))]
        for inner, entry in found.entries.items():
            tree.entries[prefix + inner] = replace(entry, path=prefix + inner)
        tree.problems |= {prefix + inner: error for inner, error in found.problems.items()}
        tree.passed_over |= {prefix + inner: why for inner, why in found.passed_over.items()}
    return tree


class _Walk:
    """One pass over a tree: what it is told and what it has found."""

    def __init__(self, tree: Tree, top: bytes, left_out: LeftOut, follow: bool, sending: bool) -> None:
        self._tree, self._top, self._left_out, self._follow, self._sending = tree, top, left_out, follow, sending
        self._real_top = os.path.realpath(top)

    def read(self, directory: bytes, above: tuple[tuple[int, int], ...]) -> None:
        """All that is in a directory; `above`: device and inode of those that lead to it, so that links make no circles."""
        try:
            with os.scandir(os.path.join(self._top, directory)) as found:
                items = sorted(found, key=lambda item: item.name)
        except OSError as error:
            self._tree.problems[directory] = NoInput(shown(directory), error.strerror or str(error), "make the directory readable")
            self._tree.complete = False
            return
        for item in items:
            path = os.path.join(directory, item.name)
            if self._sending and is_ours(path):
                if path != manifest.DIRECTORY:
                    self._tree.passed_over[path] = "has the name of a file that is only partly there"
            else:
                self._take(path, item, above)

    def _take(self, path: bytes, item: os.DirEntry[bytes], above: tuple[tuple[int, int], ...]) -> None:
        try:
            link = item.is_symlink() and not self._follow
            status = item.stat(follow_symlinks=not link)
        except OSError as error:
            if not self._left_out(path, False):
                self._tree.problems[path] = NoInput(shown(path), error.strerror or str(error), "mend or exclude it")
            return
        directory = stat.S_ISDIR(status.st_mode)
        if self._left_out(path, directory):
            return
        if link:
            self._take_link(path, status)
        elif directory:
            inode = (status.st_dev, status.st_ino)
            if inode in above:
                self._tree.problems[path] = BadData(shown(path), "is a link to a directory above it", "exclude it")
                return
            self._tree.entries[path] = _entry(path, status)
            self.read(path, (*above, inode))
        elif stat.S_ISREG(status.st_mode):
            self._tree.entries[path] = _entry(path, status)
        elif self._sending:
            self._tree.passed_over[path] = "is neither file, directory nor link"
        else:
            self._tree.entries[path] = _entry(path, status)

    def _take_link(self, path: bytes, status: os.stat_result) -> None:
        place = os.path.join(self._top, path)
        try:
            target = os.readlink(place)
        except OSError as error:
            self._tree.problems[path] = NoInput(shown(path), error.strerror or str(error), "mend or exclude it")
            return
        really = os.path.realpath(place)
        inside = really == self._real_top or really.startswith(self._real_top.rstrip(b"/") + b"/")
        if self._sending and not (inside and stays(path, target)):
            problem = f"is a link out of the tree, to {shown(target)}"
            self._tree.problems[path] = BadData(shown(path), problem, "--follow sends what it points to, --exclude leaves it out")
            return
        self._tree.entries[path] = _entry(path, status, target)


def stays(path: bytes, target: bytes) -> bool:
    """Does the link `path`, relative to the top of its tree, point to something in the tree, by the words of its target?"""
    if target.startswith(b"/") or not target or b"\0" in target:
        return False
    depth = path.count(b"/")
    for word in target.split(b"/"):
        depth += {b"": 0, b".": 0, b"..": -1}.get(word, 1)
        if depth < 0:
            return False
    return True


def above(path: bytes) -> Iterator[bytes]:
    """The directories that lead to a path, the nearest first, without the top."""
    while b"/" in path:
        path = path.rsplit(b"/", 1)[0]
        yield path


def _entry(path: bytes, status: os.stat_result, target: bytes = b"") -> Entry:
    seconds, nanoseconds = divmod(status.st_mtime_ns, 10**9)
    mode = status.st_mode & 0o777
    if stat.S_ISREG(status.st_mode):
        return Entry(path, "file", status.st_size, mode, seconds, nanoseconds=nanoseconds)
    if stat.S_ISDIR(status.st_mode):
        return Entry(path, "directory", 0, mode, seconds)
    return Entry(path, "link" if stat.S_ISLNK(status.st_mode) else "other", 0, mode, seconds, target)
