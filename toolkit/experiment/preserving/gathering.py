"""What belongs into a crate: the files that run records name, each checked against what its command read or wrote."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from toolkit.core.errors import BadData, NoInput, UsageError
from toolkit.experiment.preserving.places import Root, absolute, payload_name
from toolkit.experiment.run_record import Command


@dataclass(frozen=True)
class Version:
    """One state of a file: what a command read or wrote, and when (UTC)."""

    time: datetime
    role: str
    sha256: str
    size: int
    command: Command


@dataclass(frozen=True)
class Kept:
    """A file of the crate: the path by which commands knew it, where it is now, its name in the payload, what the records say of it."""

    path: str
    source: str
    name: str
    sha256: str
    size: int
    url: str | None = None  # kept by reference: where it can be fetched from


@dataclass(frozen=True)
class Gathered:
    """All that a crate holds of the commands' files; `overwritten` are states of which only the digest is left."""

    commands: Sequence[Command]
    root: Root
    kept: Mapping[tuple[str, str], Kept] = field(default_factory=dict)  # by absolute path and SHA-256
    overwritten: Mapping[tuple[str, str], Version] = field(default_factory=dict)


@dataclass(frozen=True)
class References:
    """Which files are kept by reference: single ones by their path, and all larger than a size below a URL."""

    single: Mapping[str, str] = field(default_factory=dict)  # absolute path to URL
    larger_than: int | None = None
    base: str = ""

    def url(self, path: str, name: str, size: int) -> str | None:
        """Where the file at `path`, of that name in the payload, can be fetched from; None where it is copied."""
        from urllib.parse import quote

        if path in self.single:
            return self.single[path]
        if self.larger_than is not None and size > self.larger_than:
            return f"{self.base.rstrip('/')}/{quote(name.partition('/')[2])}"
        return None


def began(command: Command) -> datetime:
    """When a command began, to the microsecond. Raises BadData where its record does not say."""
    try:
        text = command.began.replace("Z", "+00:00")
        head, dot, rest = text.partition(".")
        fraction = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        moment = datetime.fromisoformat(f"{head}{dot}{fraction[:6].ljust(6, '0')}{rest[len(fraction) :]}" if dot else head)
    except ValueError as error:
        raise BadData(command.source, f"the command {command.command} began at {command.began!r}", "repair the record") from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def ended(command: Command) -> datetime | None:
    """When a command ended; None where its record does not say."""
    if command.exit is None:
        return None
    try:
        return began(command) + timedelta(microseconds=command.exit.wall_ns / 1000)
    except OverflowError as error:
        raise BadData(command.source, f"the command {command.command} took {command.exit.wall_ns} ns", "repair the record") from error


def common_root(commands: Iterable[Command]) -> Root:
    """The directory that all commands ran in or below."""
    directories = [absolute("/", command.directory) for command in commands if command.directory]  # none where it had been removed
    return Root(os.path.commonpath(directories or ["/"]))


def gather(commands: Sequence[Command], root: Root, moved: Mapping[str, str], references: References) -> Gathered:
    """Find the files of `commands`, which begin below `moved`'s values where they were recorded below its keys.

    The newest state of each file must be there still; an older one may be gone if a command wrote it, since it can be written again.
    Nothing is read yet but lengths. Raises NoInput, BadData with the file's name; UsageError for a reference that is no file of theirs.
    """
    versions: dict[str, list[Version]] = {}
    for command in sorted(commands, key=began):
        for file in command.files:
            time = began(command) if file.role == "input" else ended(command) or began(command)
            version = Version(time, file.role, file.sha256, file.bytes, command)
            versions.setdefault(absolute(command.directory, file.path), []).append(version)
    references = _as_recorded(references, versions, moved)
    kept: dict[tuple[str, str], Kept] = {}
    overwritten: dict[tuple[str, str], Version] = {}
    for path, states in sorted(versions.items()):
        states.sort(key=lambda version: version.time)
        newest = states[-1]
        kept[path, newest.sha256] = _kept(path, newest, root, moved, references)
        overwritten |= _overwritten(path, states)
    _refuse_twins(kept.values())
    return Gathered(commands, root, kept, overwritten)


def _as_recorded(references: References, paths: Iterable[str], moved: Mapping[str, str]) -> References:
    """The references by the paths of the records; they may have been named by the places where the files are now."""
    named = {path: next((one for one in (path, _now_at(path, moved)) if one in references.single), None) for path in paths}
    for path in set(references.single) - set(named.values()):
        raise UsageError(path, "is no file that the commands read or wrote", "name it as the run records do")
    return replace(references, single={path: references.single[name] for path, name in named.items() if name is not None})


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern of the shell's means a file of the crate, by its whole place or by its last name."""
    within = name.partition("/")[2]
    return fnmatch.fnmatchcase(within, pattern) or fnmatch.fnmatchcase(os.path.basename(within), pattern)


def _kept(path: str, newest: Version, root: Root, moved: Mapping[str, str], references: References) -> Kept:
    source = _now_at(path, moved)
    try:
        size = os.stat(source).st_size
    except (OSError, ValueError) as error:  # ValueError: a name with NUL
        problem = getattr(error, "strerror", None) or str(error)
        told = f"{problem}; {os.path.basename(newest.command.argv[0])} {'read' if newest.role == 'input' else 'wrote'} it"
        raise NoInput(source, told, "put it back, or tell with --moved where it is now") from error
    if not os.path.isfile(source):
        raise BadData(source, "is no regular file", "leave the run record out that names it")
    name = payload_name(root.place(path))
    kept = Kept(path, source, name, newest.sha256, newest.size, references.url(path, name, newest.size))
    if size != newest.size:
        raise changed(kept, f"{size} bytes long, not {newest.size}")
    return kept


def changed(kept: Kept, how: str) -> BadData:
    """The refusal of a file that is not any more what its record says."""
    return BadData(kept.source, f"has changed since it was recorded: it is {how}", "put the recorded file back, or run its command again")


def _now_at(path: str, moved: Mapping[str, str]) -> str:
    for old in sorted(moved, key=len, reverse=True):
        if Root(old).contains(path):
            return os.path.normpath(os.path.join(moved[old], os.path.relpath(path, old)))
    return path


def _overwritten(path: str, states: Sequence[Version]) -> dict[tuple[str, str], Version]:
    """The states before the newest, by digest; each must have been written by a command before any read it."""
    found: dict[tuple[str, str], Version] = {}
    written: set[str] = set()
    for version in states:
        if version.role == "output":
            written.add(version.sha256)
        elif version.sha256 not in written and version.sha256 != states[-1].sha256:
            problem = f"has changed since {os.path.basename(version.command.argv[0])} read it, and nothing recorded writes it"
            raise BadData(path, problem, "put back what it was")
        if version.sha256 != states[-1].sha256:
            found.setdefault((path, version.sha256), version)
    return found


def _refuse_twins(kept: Iterable[Kept]) -> None:
    names: dict[str, str] = {}
    for one in kept:
        other = names.setdefault(one.name, one.path)
        if other != one.path:
            raise BadData(one.path, f"would have the same name in the crate as {other}", "rename one")
