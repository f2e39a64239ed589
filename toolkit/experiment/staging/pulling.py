"""The direction from the far side. What it says of its names and links is checked before anything is written here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress

from toolkit.core.errors import CannotCreate, InputOutput, NoInput, NotPermitted, ToolError
from toolkit.core.streams import atomic_output
from toolkit.experiment.staging import manifest, remote_tree
from toolkit.experiment.staging.attempt import Errors, ManifestOf
from toolkit.experiment.staging.engine import Get, Result, part_name, pull
from toolkit.experiment.staging.entries import Entry
from toolkit.experiment.staging.patterns import excluder
from toolkit.experiment.staging.pushing import CHANNELS, far_tree, further_channels, join, lengths, of
from toolkit.experiment.staging.session import Session
from toolkit.experiment.staging.tree import Tree, above, is_ours, local_tree, shown
from toolkit.experiment.staging.verification import digest_here, far_prefixes, prefixes_here
from toolkit.experiment.staging.wishes import Wishes

Wanted = Callable[[bytes], bool]


class Pull:
    """From `far` (a directory, or a file that goes into `local` under its own name) to the directory `local`.

    `wanted` chooses files and links by their paths; directories are then made only where they hold some.
    """

    def __init__(
        self,
        session: Session,
        far: bytes,
        local: bytes,
        wishes: Wishes,
        on_bytes: Callable[[int], None],
        wanted: Wanted | None = None,
    ) -> None:
        self._session, self.far_top, self._local = session, far, local
        self._wishes, self._on_bytes, self._wanted = wishes, on_bytes, wanted

    def look(self) -> tuple[Tree, Tree, dict[bytes, str]]:
        """Both trees, at the same time."""
        channel = self._session.channel
        self._channels = further_channels(self._session, self._wishes.channels, CHANNELS)
        top = self._session.soon(remote_tree.status, channel, [self.far_top])
        walking = self._session.soon(far_tree, self._session, self.far_top)
        target = self._target()
        known = {}
        with suppress(OSError), open(os.path.join(self._local, manifest.NAME), "rb") as file:
            known = manifest.read(file.read())
        (status,) = top.result()
        if isinstance(status, ToolError):
            raise status
        if status.kind == "file":
            path = self.far_top.rsplit(b"/", 1)[-1]
            self.far_top = self.far_top[: -len(path) - 1] or (b"/" if self.far_top.startswith(b"/") else b".")
            source = Tree({path: Entry(path, "file", status.size, status.mode & 0o777, status.mtime)}, complete=False)
        else:
            source = self._chosen(walking.result())
        return source, target, known

    def _target(self) -> Tree:
        if not os.path.lexists(self._local):
            return Tree()
        if not os.path.isdir(self._local):
            raise CannotCreate(shown(self._local), "is no directory", "name another")
        return local_tree(self._local, excluder([]), sending=False)

    def _chosen(self, found: Tree) -> Tree:
        """What of the far side is to be fetched."""
        left_out, out = excluder(self._wishes.exclude), set[bytes]()
        chosen = Tree(problems=found.problems, complete=found.complete and self._wanted is None)
        for path, entry in found.entries.items():
            if any(directory in out for directory in above(path)) or left_out(path, entry.kind == "directory"):
                out.add(path)
            elif is_ours(path):
                if entry.kind == "file" and path != manifest.NAME:
                    chosen.passed_over[path] = "has the name of a file that is only partly there"
            elif entry.kind == "other":
                chosen.passed_over[path] = "is neither file, directory nor link"
            elif self._wanted is None or entry.kind == "directory" or self._wanted(path):
                chosen.entries[path] = entry
        if self._wanted is not None:
            used = {directory for path, entry in chosen.entries.items() if entry.kind != "directory" for directory in above(path)}
            chosen.entries = {path: entry for path, entry in chosen.entries.items() if entry.kind != "directory" or path in used}
            chosen.passed_over = {path: why for path, why in chosen.passed_over.items() if self._wanted(path)}
        if self._wishes.follow:
            self._follow(chosen)
        return chosen

    def _follow(self, chosen: Tree) -> None:
        """Files in the place of links to them."""
        links = [path for path, entry in chosen.entries.items() if entry.kind == "link"]
        found = remote_tree.status(self._session.channel, [join(self.far_top, path) for path in links])
        for path, status in zip(links, found, strict=True):
            if isinstance(status, remote_tree.Status) and status.kind == "file":
                chosen.entries[path] = Entry(path, "file", status.size, status.mode & 0o777, status.mtime)
            else:
                del chosen.entries[path]
                chosen.problems[path] = NoInput(shown(path), "is no link to a file", "fetch what it points to by itself, or --exclude it")

    def digest(self, path: bytes) -> str:
        """SHA-256 of the target's file."""
        return digest_here(self._here(path))

    def make_directories(self, entries: Sequence[Entry]) -> Future[Errors]:
        """With what leads to the top; writable to the owner until all is in them."""
        try:
            os.makedirs(self._local, exist_ok=True)
        except OSError as error:
            raise CannotCreate(shown(self._local), error.strerror or str(error), "choose a directory that can be written") from error
        made: Future[Errors] = Future()
        made.set_result(self._each(entries, lambda entry: os.mkdir(self._here(entry.path), entry.mode | 0o700)))
        return made

    def copy(self, files: Sequence[Entry], target: Tree, _: ManifestOf, /) -> Iterator[tuple[Entry, Result]]:
        """Fetch files, those that are partly here from where they are right."""
        offsets = self._offsets(files, target)
        gets = [self._get(entry, offsets.get(entry.path, 0)) for entry in files]
        entries = {get.remote: entry for get, entry in zip(gets, files, strict=True)}
        wishes, more = self._wishes, self._channels
        for result in pull([self._session.channel], gets, self._on_bytes, wishes.limit, wishes.synchronise, more):
            yield entries[bytes(result.file.remote)], result

    def _get(self, entry: Entry, offset: int) -> Get:
        return Get(join(self.far_top, entry.path), self._here(entry.path), entry.size, entry.mode & 0o777, entry.mtime, offset)

    def _offsets(self, files: Sequence[Entry], target: Tree) -> dict[bytes, int]:
        """How much of each file is here already under its partial name and the same as there."""
        asked: list[tuple[bytes, int]] = []
        for entry in files:
            part = target.entries.get(part_name(entry.path))
            if part is not None and part.kind == "file" and part.size <= entry.size:
                asked += [(entry.path, length) for length in lengths(part.size)]
        if not asked:
            return {}
        far = self._session.soon(far_prefixes, self._session, self.far_top, asked)
        here = {path: prefixes_here(self._here(part_name(path)), of(path, asked)) for path in dict(asked)}
        digests: Sequence[str | ToolError] | None = far.result()
        if digests is None and self._wishes.verify == "read-back":
            digests = remote_tree.digest(self._session.channel, [(join(self.far_top, path), length) for path, length in asked])
        return {path: length for (path, length), digest in zip(asked, digests or [], strict=False) if here[path][length] == digest}

    def make_links(self, entries: Sequence[Entry]) -> Errors:
        """Links, in the place of files and links."""
        return self._each(entries, self._make_link)

    def _make_link(self, entry: Entry) -> None:
        place = self._here(entry.path)
        temporary = os.path.join(os.path.dirname(place), b"." + os.urandom(6).hex().encode() + b".part")
        os.symlink(entry.target, temporary)
        try:
            os.replace(temporary, place)
        except OSError:
            os.unlink(temporary)
            raise

    def set_attributes(self, entries: Sequence[Entry]) -> Errors:
        """Permissions and times."""
        return self._each(entries, self._set_attributes)

    def _set_attributes(self, entry: Entry) -> None:
        os.chmod(self._here(entry.path), entry.mode & 0o777)
        os.utime(self._here(entry.path), (entry.mtime, entry.mtime))

    def remove(self, entries: Sequence[Entry]) -> Errors:
        """Files, links and empty directories."""
        return self._each(entries, self._remove)

    def _remove(self, entry: Entry) -> None:
        (os.rmdir if entry.kind == "directory" else os.unlink)(self._here(entry.path))

    def keep(self, content: bytes) -> ToolError | None:
        """Write the manifest."""
        try:
            os.makedirs(os.path.join(self._local, manifest.DIRECTORY), exist_ok=True)
            with atomic_output(os.fsdecode(os.path.join(self._local, manifest.NAME))) as output:
                output.write(content)
        except ToolError as error:
            return error
        except OSError as error:
            return CannotCreate(shown(manifest.NAME), error.strerror or str(error), "")
        return None

    def read_back(self, entries: Sequence[Entry]) -> list[str | ToolError]:
        """Read what was written here."""
        return [self._read(entry) for entry in entries]

    def _read(self, entry: Entry) -> str | ToolError:
        try:
            return digest_here(self._here(entry.path))
        except OSError as error:
            return InputOutput(shown(entry.path), error.strerror or str(error))

    def _here(self, path: bytes) -> bytes:
        return os.path.join(self._local, path)

    def _each(self, entries: Sequence[Entry], work: Callable[[Entry], None]) -> Errors:
        """Do something to each, and say where it failed."""
        errors: dict[bytes, ToolError] = {}
        for entry in entries:
            try:
                work(entry)
            except PermissionError as error:
                errors[entry.path] = NotPermitted(shown(entry.path), error.strerror or str(error), "change its permissions here")
            except OSError as error:
                errors[entry.path] = CannotCreate(shown(entry.path), error.strerror or str(error), "")
        return errors
