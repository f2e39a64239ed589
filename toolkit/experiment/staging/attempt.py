"""One attempt to make a tree like another, in either direction: look, plan, send, verify, write down what is there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol

from toolkit.core.errors import BadData, CannotCreate, ToolError, Unavailable
from toolkit.core.progress import progress
from toolkit.experiment.staging import manifest
from toolkit.experiment.staging.engine import Result
from toolkit.experiment.staging.entries import Entry
from toolkit.experiment.staging.ledger import Ledger, Outcome, Status
from toolkit.experiment.staging.patterns import excluder
from toolkit.experiment.staging.plan import Plan, plan, unchanged
from toolkit.experiment.staging.session import Session
from toolkit.experiment.staging.tree import Tree, above, is_ours, shown
from toolkit.experiment.staging.verification import FarCheck
from toolkit.experiment.staging.wishes import Wishes

_log = logging.getLogger(__name__)
Errors = Mapping[bytes, ToolError]  # by path
ManifestOf = Callable[[Mapping[bytes, str]], bytes]  # of the digests of what is being copied, by path


class Direction(Protocol):
    """To the far side, or from it: paths are relative to the two tops."""

    far_top: bytes

    def look(self) -> tuple[Tree, Tree, dict[bytes, str]]:
        """The source, the target, and the manifest that the target has."""

    def digest(self, path: bytes) -> str:
        """SHA-256 of the local file. Raises OSError."""

    def make_directories(self, entries: Sequence[Entry]) -> Future[Errors]:
        """Make them in the target, and the target itself. As long as that is not done, what is copied follows behind."""

    def copy(self, files: Sequence[Entry], target: Tree, manifest_of: ManifestOf, /) -> Iterator[tuple[Entry, Result]]:
        """Send files; what is partly there and right is not sent again. With `manifest_of` the manifest can go before all have arrived."""

    def make_links(self, entries: Sequence[Entry]) -> Errors:
        """Make links in the target, in the place of files and links."""

    def set_attributes(self, entries: Sequence[Entry]) -> Errors:
        """Give what is in the target these permissions and times."""

    def remove(self, entries: Sequence[Entry]) -> Errors:
        """Remove from the target, in this order."""

    def keep(self, content: bytes) -> ToolError | None:
        """Write the target's manifest."""

    def read_back(self, entries: Sequence[Entry]) -> list[str | ToolError]:
        """SHA-256 of what the target has, all of it read again."""


def transfer(session: Session, direction: Direction, wishes: Wishes, ledger: Ledger) -> Plan:
    """Make the target like the source; what becomes of each file goes to the ledger. With `dry_run` nothing is done.

    Raises Lost when the connection breaks: then another attempt goes on where this one ended. Raises what makes all of it impossible.
    """
    source, target, known = direction.look()
    same = _equal_contents(session, direction, source, target, ledger) if wishes.checksum else unchanged
    made = plan(source, target, delete=wishes.delete, left_out=excluder(wishes.exclude), same=same)
    if not wishes.dry_run:
        with progress(session.name, made.bytes, "B") as bar:
            ledger.bar = bar
            _Attempt(session, direction, wishes, ledger, source, target, made, known).run()
    return made


class _Attempt:
    """What one attempt knows."""

    def __init__(
        self,
        session: Session,
        direction: Direction,
        wishes: Wishes,
        ledger: Ledger,
        source: Tree,
        target: Tree,
        made: Plan,
        known: dict[bytes, str],
    ) -> None:
        self._session, self._direction, self._wishes, self._ledger = session, direction, wishes, ledger
        self._source, self._target, self._plan, self._known = source, target, made, known
        self._asked: dict[bytes, str] = {}  # digests that have to be found on the far side
        self._check: FarCheck | None = None
        self._directories: Future[Errors] | None = None  # that are being made
        self._homeless: set[bytes] = set()  # what has no directory

    def run(self) -> None:
        made = self._plan
        self._tell_what_is_left_out()
        unknown = [entry for entry in made.same if entry.kind == "file" and self._must_be_read(entry)]
        try:
            if made.files or unknown:
                self._start_check()
            if made.directories or made.files or made.links:
                self._directories = self._direction.make_directories(made.directories)
            for entry in unknown:
                self._ask(entry.path, self._ledger.digests.get(entry.path) or self._read(entry.path))
            if self._directories is not None and self._directories.done():
                self._wait_for_directories()
            self._copy()
            self._wait_for_directories()
            finishing = self._session.soon(self._finish)
            if self._check is not None:
                self._check.close()  # nothing more to ask: it ends while the manifest is written
            self._keep_manifest()
            wrong = self._wrong()
            self._end(finishing, wrong)
        finally:
            if self._check is not None:
                self._check.close()

    def _tell_what_is_left_out(self) -> None:
        for path, error in self._plan.problems.items():
            self._ledger.fail(path, error)
        for path, why in self._source.passed_over.items():
            self._ledger.warn(f"{shown(path)}: {why}: it is left out")
            self._ledger.tell(Outcome(path, "skipped", error=BadData(shown(path), why)))

    def _must_be_read(self, entry: Entry) -> bool:
        """Is it there, but arrived in an attempt whose end was not seen, or is missing in the manifest?"""
        return entry.path in self._ledger.waiting or (self._wishes.manifest and entry.path not in self._known)

    def _read(self, path: bytes) -> str:
        try:
            self._ledger.digests[path] = self._direction.digest(path)
            return self._ledger.digests[path]
        except OSError as error:
            self._ledger.fail(path, CannotCreate(shown(path), error.strerror or str(error), "make it readable"))
            return ""

    def _start_check(self) -> None:
        if self._wishes.verify == "auto":
            self._check = FarCheck(self._session, self._direction.far_top)

    def _ask(self, path: bytes, digest: str) -> None:
        if digest:
            self._asked[path] = digest
            if self._check is not None:
                self._check.add(path, digest)

    def _wait_for_directories(self) -> None:
        errors, self._directories = self._directories.result() if self._directories else {}, None
        for path, error in errors.items():
            self._ledger.fail(path, error)
        if not errors:
            return
        for entries in (self._plan.files, self._plan.links, self._plan.attributes):
            for entry in [entry for entry in entries if any(directory in errors for directory in above(entry.path))]:
                entries.remove(entry)
                self._homeless.add(entry.path)
                self._ledger.fail(entry.path, CannotCreate(shown(entry.path), "its directory cannot be made", ""))

    def _copy(self) -> None:
        files = list(self._plan.files)
        for entry, result in self._direction.copy(files, self._target, self._manifest_of) if files else ():
            self._wait_for_directories()
            if entry.path in self._homeless:
                continue
            if result.error is not None:
                self._ledger.fail(entry.path, result.error)
                continue
            status: Status = "resumed" if result.file.offset else "sent"
            self._ledger.arrived(Outcome(entry.path, status, result.bytes, result.seconds, result.sha256))
            self._ask(entry.path, result.sha256)

    def _finish(self) -> Errors:
        """Links, deletions, permissions and times; directories at the very end, for all else changes their times."""
        made, direction, errors = self._plan, self._direction, dict[bytes, ToolError]()
        if made.deletions:
            errors |= direction.remove(made.deletions)
        if made.links:
            errors |= direction.make_links(made.links)
        files = [entry for entry in made.attributes if entry.kind == "file"]
        touched = {path for entry in (*made.files, *made.links, *made.deletions) for path in above(entry.path)}
        touched.update(entry.path for entry in (*made.directories, *made.attributes) if entry.kind == "directory")
        directories = [self._source.entries[path] for path in sorted(touched, reverse=True) if path in self._source.entries]
        for entries in (files, directories):
            if entries:
                errors |= direction.set_attributes(entries)
        return errors

    def _keep_manifest(self, wrong: Iterable[bytes] = ()) -> None:
        if not self._wishes.manifest:
            return
        digests = self._digests(self._ledger.digests, wrong)
        if digests != self._known:
            error = self._direction.keep(manifest.write(digests))
            if error is not None:
                self._ledger.fail(manifest.NAME, error)
            self._known = digests

    def _manifest_of(self, digests: Mapping[bytes, str]) -> bytes:
        return manifest.write(self._digests({**self._ledger.digests, **digests}))

    def _digests(self, found: Mapping[bytes, str], wrong: Iterable[bytes] = ()) -> dict[bytes, str]:
        """What the manifest is to say, of the digests that were found."""
        sent = {entry.path for entry in self._plan.files}
        gone = {entry.path for entry in self._plan.deletions} | sent | set(wrong)
        here = (sent | {entry.path for entry in self._plan.same}) - set(wrong)
        kept = {path: digest for path, digest in self._known.items() if path not in gone and self._still_there(path)}
        return kept | {path: found[path] for path in here if path in found}

    def _still_there(self, path: bytes) -> bool:
        """Is a file of the old manifest one that may still be? Of what was not looked at nothing is known."""
        there = self._target.entries.get(path)
        return (there.kind == "file") if there is not None else not self._target.complete

    def _wrong(self) -> list[bytes]:
        """The files that are there otherwise than here; warns where nobody can say."""
        if not self._asked or self._wishes.verify == "none":
            return []
        if self._check is not None:
            verdicts = self._check.verdicts()
            if verdicts is None:
                words = "runs no sha256sum: nothing was read again there; --verify read-back does, --verify none says nothing"
                self._ledger.warn(f"{self._session.name}: {words}")
                return []
            return [path for path in self._asked if verdicts.get(path) is False]
        entries = [self._source.entries[path] for path in self._asked]
        read = self._direction.read_back(entries)
        return [entry.path for entry, digest in zip(entries, read, strict=True) if digest != self._asked[entry.path]]

    def _end(self, finishing: Future[Errors], wrong: Sequence[bytes]) -> None:
        errors = finishing.result()
        for path, error in errors.items():
            self._ledger.fail(path, error)
        ours = [path for path in wrong if path in self._ledger.waiting]
        if ours:  # of the right size and time: it would be taken for whole the next time
            self._direction.remove([self._source.entries[path] for path in ours])
        for path in ours:
            self._ledger.fail(path, BadData(shown(path), "is there otherwise than it was sent; it was removed", "run the same again"))
        for path in set(wrong) - set(ours):
            problem = "has other contents there, of the same size and time"
            self._ledger.fail(path, BadData(shown(path), problem, "--checksum sends it"))
        if wrong:
            self._keep_manifest(wrong)
        self._ledger.verified()
        done: list[tuple[list[Entry], Status]] = [(self._plan.links, "sent"), (self._plan.deletions, "deleted")]
        for entries, status in done:
            for entry in entries:
                if entry.path not in errors:
                    self._ledger.tell(Outcome(entry.path, status))
        for entry in self._plan.same:
            digest = self._ledger.digests.get(entry.path) or self._known.get(entry.path)
            self._ledger.tell(Outcome(entry.path, "skipped", sha256=digest))


def _equal_contents(
    session: Session, direction: Direction, source: Tree, target: Tree, ledger: Ledger
) -> Callable[[Entry, Entry], bool]:
    """A function that compares two files by their digests, found out before for all of the same size."""
    check = FarCheck(session, direction.far_top)
    try:
        for path, entry in source.entries.items():
            there = target.entries.get(path)
            if entry.kind == "file" and there is not None and (there.kind, there.size) == ("file", entry.size) and not is_ours(path):
                if path not in ledger.digests:
                    try:
                        ledger.digests[path] = direction.digest(path)
                    except OSError as error:
                        _log.info("%s: %s", shown(path), error.strerror)
                        continue
                check.add(path, ledger.digests[path])
        verdicts = check.verdicts()
    finally:
        check.close()
    if verdicts is None and target.entries:
        raise Unavailable(session.name, "runs no sha256sum, which --checksum needs", "leave --checksum out")
    equal = {path for path, verdict in (verdicts or {}).items() if verdict}
    return lambda entry, there: entry.path in equal
