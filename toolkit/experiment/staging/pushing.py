"""The direction to the far side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

from toolkit.core.errors import CannotCreate, NoInput, NotPermitted, ToolError
from toolkit.experiment.staging import manifest, remote_tree
from toolkit.experiment.staging.attempt import Errors, ManifestOf
from toolkit.experiment.staging.channel import Channel
from toolkit.experiment.staging.engine import IN_FLIGHT, Put, Result, part_name, push
from toolkit.experiment.staging.entries import Entry
from toolkit.experiment.staging.questions import MOST_QUESTIONS
from toolkit.experiment.staging.remote_file import LateFile
from toolkit.experiment.staging.session import Session, result_or_error
from toolkit.experiment.staging.tree import Tree, shown
from toolkit.experiment.staging.verification import digest_here, far_prefixes, prefixes_here
from toolkit.experiment.staging.wishes import Wishes

VOLUME = 8 << 20  # bytes for each of which a channel is opened: that takes the four round trips in which OpenSSH takes so much on one
CHANNELS = 6  # at most
STEPS = (0, 4 << 20, IN_FLIGHT)  # bytes before a broken file's end from which on it may have gaps
_MANY = 5000  # entries: so many are looked up one by one rather than with all that is in their directories


class Push:
    """From the directory `local`, of which `tree` is known, to the directory `far_top`."""

    def __init__(self, session: Session, tree: Tree, local: bytes, far_top: bytes, wishes: Wishes, on_bytes: Callable[[int], None]) -> None:
        self._session, self._tree, self._local, self.far_top = session, tree, local, far_top
        self._wishes, self._on_bytes = wishes, on_bytes
        self._missing: list[bytes] = []  # what leads to the top and is not there, and the top
        self._has_manifest = False
        self._kept: LateFile | None = None  # the manifest, opened while files are sent

    def look(self) -> tuple[Tree, Tree, dict[bytes, str]]:
        """The source is known; the target is looked at, with what else can be asked for in the same round trip."""
        channel, wishes = self._session.channel, self._wishes
        volume = sum(entry.size for entry in self._tree.entries.values())
        tops = self._session.soon(remote_tree.status, channel, [b".", *leading(self.far_top)])
        self._channels = further_channels(self._session, wishes.channels, min(CHANNELS, 1 + volume // VOLUME))
        kept = self._session.soon(remote_tree.read_bytes, channel, join(self.far_top, manifest.NAME), 1 << 28)
        entries = self._tree.entries
        by_name = not wishes.delete and len(entries) <= _MANY and all(entry.kind != "link" for entry in entries.values())
        target = self._look_up() if by_name else self._walk()
        for top, status in zip([b".", *leading(self.far_top)], tops.result(), strict=True):
            if isinstance(status, ToolError):
                self._missing.append(top)
            elif status.kind != "directory":
                raise CannotCreate(shown(top), "is no directory there", "name another")
        content = result_or_error(kept)
        self._has_manifest = isinstance(content, bytes)
        return self._tree, target, manifest.read(content) if isinstance(content, bytes) else {}

    def _look_up(self) -> Tree:
        """The target's entries that have names of the source's, or of their parts."""
        files = [path for path, entry in self._tree.entries.items() if entry.kind == "file"]
        paths = [*self._tree.entries, *map(part_name, files)]
        found = remote_tree.status(self._session.channel, [join(self.far_top, path) for path in paths], follow=False)
        target = Tree(complete=False)
        for path, status in zip(paths, found, strict=True):
            if isinstance(status, remote_tree.Status):
                target.entries[path] = Entry(path, status.kind, status.size, status.mode, status.mtime)  # type: ignore[arg-type]
        return target

    def _walk(self) -> Tree:
        try:
            return far_tree(self._session, self.far_top)
        except NoInput:
            return Tree()

    def digest(self, path: bytes) -> str:
        """SHA-256 of the source's file."""
        return digest_here(os.path.join(self._local, path))

    def make_directories(self, entries: Sequence[Entry]) -> Future[Errors]:
        """With what leads to the top where that does not exist; writable to the owner until all is in them."""
        tops = [(path, 0o777) for path in self._missing]
        if self._wishes.manifest and not self._has_manifest:
            tops.append((join(self.far_top, manifest.DIRECTORY), 0o777))
            self._has_manifest = True
        wanted = [*tops, *((join(self.far_top, entry.path), entry.mode | 0o700) for entry in entries)]
        made = remote_tree.begin_directories(self._session.channel, wanted)

        def end() -> Errors:
            errors = made()
            for error in errors[: len(self._missing)]:
                if error is not None:
                    raise error if isinstance(error, NotPermitted) else CannotCreate(error.place, error.problem, error.remedy)
            return {entry.path: error for entry, error in zip(entries, errors[len(tops) :], strict=True) if error is not None}

        self._made = self._session.soon(end)
        if len(wanted) > MOST_QUESTIONS:  # the last ones have not been asked for yet
            self._made.exception()
        return self._made

    def copy(self, files: Sequence[Entry], target: Tree, manifest_of: ManifestOf, /) -> Iterator[tuple[Entry, Result]]:
        """Send files, those that are partly there from where they are right."""
        offsets = self._offsets(files, target)
        puts = [self._put(entry, offsets.get(entry.path, 0)) for entry in files]
        entries = {put.remote: entry for put, entry in zip(puts, files, strict=True)}
        wishes, more = self._wishes, self._session.soon(self._channels_that_find_directories)
        if wishes.manifest and puts:
            self._kept = self._late_manifest()
        arrived = False
        digests: dict[bytes, str] = {}

        def on_whole(put: Put, sha256: str) -> None:
            digests[entries[put.remote].path] = sha256
            if self._kept is not None and len(digests) == len(puts):  # it goes with the last names; should one fail it is written again
                self._kept.write(manifest_of(digests))

        for result in push([self._session.channel], puts, self._on_bytes, wishes.limit, wishes.synchronise, more, on_whole):
            arrived = arrived or result.error is None
            yield entries[result.file.remote], result
        if self._kept is not None and not arrived:
            self._kept.abandon()
            self._kept = None

    def _channels_that_find_directories(self) -> Sequence[Channel]:
        """The first channel's requests are behind those for directories; the others know nothing of these."""
        self._made.exception()
        return self._channels.result()

    def _put(self, entry: Entry, offset: int) -> Put:
        time = entry.mtime * 10**9 + entry.nanoseconds
        return Put(os.path.join(self._local, entry.path), join(self.far_top, entry.path), entry.size, entry.mode, time, offset)

    def _offsets(self, files: Sequence[Entry], target: Tree) -> dict[bytes, int]:
        """How much of each file is there already under its partial name and the same as here."""
        parts = {part_name(entry.path): entry for entry in files}
        asked: list[tuple[bytes, int]] = []
        for part, entry in parts.items():
            there = target.entries.get(part)
            if there is not None and there.kind == "file" and there.size <= entry.size:
                asked += [(part, length) for length in lengths(there.size)]
        return {parts[part].path: length for part, length in self._right(asked, parts)}

    def _right(self, asked: list[tuple[bytes, int]], parts: dict[bytes, Entry]) -> Iterator[tuple[bytes, int]]:
        """Those of the prefixes that are the same on both sides, the longest of each file last."""
        if not asked:
            return
        far = self._session.soon(far_prefixes, self._session, self.far_top, asked)
        here = {part: prefixes_here(os.path.join(self._local, parts[part].path), of(part, asked)) for part in dict(asked)}
        digests: Sequence[str | ToolError] | None = far.result()
        if digests is None and self._wishes.verify == "read-back":
            digests = remote_tree.digest(self._session.channel, [(join(self.far_top, part), length) for part, length in asked])
        for (part, length), digest in zip(asked, digests or [], strict=False):
            if here[part][length] == digest:
                yield part, length

    def make_links(self, entries: Sequence[Entry]) -> Errors:
        """Links, in the place of files and links."""
        links = [(join(self.far_top, entry.path), entry.target) for entry in entries]
        return _errors(entries, remote_tree.make_links(self._session.channel, links))

    def set_attributes(self, entries: Sequence[Entry]) -> Errors:
        """Permissions and times."""
        wanted = [(join(self.far_top, entry.path), entry.mode, entry.mtime) for entry in entries]
        return _errors(entries, remote_tree.set_attributes(self._session.channel, wanted))

    def remove(self, entries: Sequence[Entry]) -> Errors:
        """Files, links and empty directories."""
        wanted = [(join(self.far_top, entry.path), entry.kind == "directory") for entry in entries]
        return _errors(entries, remote_tree.remove(self._session.channel, wanted))

    def keep(self, content: bytes) -> ToolError | None:
        """Write the manifest."""
        if not self._has_manifest:
            remote_tree.make_directories(self._session.channel, [(join(self.far_top, manifest.DIRECTORY), 0o777)])
        kept, self._kept = self._kept or self._late_manifest(), None
        return kept.finish(content)

    def _late_manifest(self) -> LateFile:
        return LateFile(self._session.channel, join(self.far_top, manifest.NAME), 0o644)

    def read_back(self, entries: Sequence[Entry]) -> list[str | ToolError]:
        """Read from the far side what was sent."""
        return remote_tree.digest(self._session.channel, [(join(self.far_top, entry.path), entry.size) for entry in entries])


def further_channels(session: Session, wished: int | None, most: int) -> Future[Sequence[Channel]]:
    """Channels that come while work has begun on the first: as many as are wished, or useful."""
    return session.soon(session.useful_channels, most) if wished is None else session.soon(session.channels, wished)


def far_tree(session: Session, top: bytes) -> Tree:
    """All below a directory of the far side. Raises NoInput when it does not exist, NotPermitted, BadData, Lost."""
    tree = Tree()
    for found in remote_tree.walk(session.channel, top):
        if isinstance(found, ToolError):
            tree.problems[os.fsencode(found.place)] = found
            tree.complete = False
        else:
            tree.entries[found.path] = found
    return tree


def join(top: bytes, path: bytes) -> bytes:
    """A path below the directory `top` of the far side; the top itself for an empty one."""
    if not path:
        return top
    return path if top == b"." else top.rstrip(b"/") + b"/" + path


def leading(top: bytes) -> list[bytes]:
    """The directories that lead to `top`, and itself, from the first on."""
    words = top.split(b"/")
    return [b"/".join(words[: count + 1]) for count in range(len(words)) if words[count] not in (b"", b".")]


def lengths(size: int) -> list[int]:
    """How many first bytes of a broken file of `size` are compared, rising."""
    return [size - step for step in reversed(STEPS) if size > step]


def of(part: bytes, asked: Sequence[tuple[bytes, int]]) -> list[int]:
    """The lengths that are asked of one file."""
    return [length for other, length in asked if other == part]


def _errors(entries: Sequence[Entry], found: Sequence[ToolError | None]) -> Errors:
    return {entry.path: error for entry, error in zip(entries, found, strict=True) if error is not None}
