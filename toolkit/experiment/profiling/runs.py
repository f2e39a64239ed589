"""The id that the commands of one pipe share, though each is started by itself and none knows of the others.

A pipe has an inode, which its writer and its reader both see. Each command notes its ends in a file of the user's, and takes as its own
run whatever has noted the other end; when a command in the middle starts last, two runs that were apart become one, so that a command
asks for its run as late as it can. A program between two of them that is not wrapped is found in /proc.

Commands that only write to the same pipe, or only read from it, are not of one run: all that a script writes to ``tee`` is not.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping

TYPE_CHECKING = False  # typing's, which takes a tenth of the whole start to load
if TYPE_CHECKING:
    from typing import Any

VARIABLE = "TOOLKIT_RUN"
_FORGOTTEN_SECONDS = 600  # the commands of a pipe start together
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}"


def new_identifier() -> str:
    """An id that no other run has, the moment in UTC first."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.urandom(4).hex()}"


class Membership:
    """This process' place among the commands of a pipe."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        named = environment.get(VARIABLE, "")
        self._identifier = named if named and re.fullmatch(_NAME, named) else new_identifier()
        self._state = None if named == self._identifier else _state_file(environment)
        reads, self._writes = _pipe("self", 0), _pipe("self", 1)
        self.is_shared = self._state is not None and bool(reads or self._writes)
        self._change(lambda state: _join(state, self._identifier, reads, self._writes))

    def settle(self) -> str:
        """The id of the run, which from now on is the run's also for those that join later."""
        self._change(self._settle)
        self.is_shared = False
        return self._identifier

    def _settle(self, state: dict[str, Any]) -> None:
        ends = state["pipes"].get(self._writes)
        if ends is not None and not ends["readers"]:
            readers = _readers()
            _join(state, self._identifier, "", *_onward(readers, self._writes))
            if any(_is_wrapped(process) for process, _ in readers.get(self._writes, ())):  # it has not come to noting its end yet
                for writer in ends["writers"]:
                    _unite(state["runs"], self._identifier, writer)
        self._identifier = _root(state["runs"], self._identifier)
        state["runs"].setdefault(self._identifier, {"since": time.time()})["settled"] = True

    def _change(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change what is noted of pipes; where that cannot be written, the command is a run by itself."""
        if self.is_shared and self._state is not None:
            self.is_shared = False
            with contextlib.suppress(OSError):
                with _state(self._state) as state:
                    change(state)
                self.is_shared = True


def _join(state: dict[str, Any], identifier: str, reads: str, *writes: str) -> None:
    runs, pipes = state["runs"], state["pipes"]
    runs.setdefault(identifier, {"since": time.time()})
    for pipe, own, other in ((reads, "readers", "writers"), *((pipe, "writers", "readers") for pipe in writes)):
        if pipe:
            ends = pipes.setdefault(pipe, {"readers": [], "writers": [], "since": time.time()})
            ends[own].append(identifier)
            for neighbour in ends[other]:
                _unite(runs, identifier, neighbour)


def _readers() -> dict[str, list[tuple[str, str]]]:
    """By pipe: the processes whose standard input it is, each with the pipe that its standard output is, if it is one."""
    found: dict[str, list[tuple[str, str]]] = {}
    for process in filter(str.isdigit, os.listdir("/proc")):
        if reads := _pipe(process, 0):
            found.setdefault(reads, []).append((process, _pipe(process, 1)))
    return found


def _onward(readers: Mapping[str, list[tuple[str, str]]], pipe: str) -> set[str]:
    """The pipes that what is written to `pipe` goes on to, through programs that are not wrapped: ``profile-wrap a | gzip | ...``."""
    found: set[str] = set()
    todo = [pipe]
    for one in todo:  # it grows meanwhile
        onward = {writes for _, writes in readers.get(one, ())} - found - {"", pipe}
        todo += sorted(onward)
        found |= onward
    return found


def _is_wrapped(process: str) -> bool:
    try:
        with open(f"/proc/{process}/cmdline", "rb") as stream:
            return any(os.path.basename(word) == b"profile-wrap" for word in stream.read().split(b"\0")[:4])
    except OSError:
        return False


def _unite(runs: dict[str, Any], one: str, other: str) -> None:
    first, second = _root(runs, one), _root(runs, other)
    if first == second or first not in runs or second not in runs:  # or one has been forgotten
        return
    rank = {root: (not runs[root].get("settled"), runs[root]["since"]) for root in (first, second)}
    kept, merged = sorted(rank, key=lambda root: rank[root])
    runs[merged]["of"] = kept


def _root(runs: dict[str, Any], identifier: str) -> str:
    while identifier in runs and "of" in runs[identifier]:
        identifier = runs[identifier]["of"]
    return identifier


def _pipe(process: str, descriptor: int) -> str:
    """The inode of the pipe that a process' descriptor is an end of; nothing for a file, a terminal or a pipe with a name."""
    try:
        target = os.readlink(f"/proc/{process}/fd/{descriptor}")
    except OSError:
        return ""
    return target if target.startswith("pipe:") else ""


@contextlib.contextmanager
def _state(path: str) -> Iterator[dict[str, Any]]:
    """What is noted of pipes, to be changed by one process at a time; what is older than some minutes is forgotten.

    It is replaced whole: a process that is killed while it writes must not part the commands of others.
    """
    lock = os.open(path + "-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            with open(path, "rb") as stream:
                state = json.loads(stream.read())
            oldest = time.time() - _FORGOTTEN_SECONDS
            state = {part: {name: one for name, one in state[part].items() if one["since"] > oldest} for part in ("runs", "pipes")}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # new, or somebody else's writing
            state = {"runs": {}, "pipes": {}}
        yield state
        descriptor = os.open(path + "-new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as stream:
            stream.write(json.dumps(state, separators=(",", ":")).encode())
        os.replace(path + "-new", path)
    finally:
        os.close(lock)


def _state_file(environment: Mapping[str, str]) -> str | None:
    """A file in a directory that is only this user's; None where there is no such place: the command is then a run by itself."""
    shared = [os.path.join(place, f"scape-toolkit-{os.getuid()}") for place in ("/dev/shm", environment.get("TMPDIR") or "/tmp")]
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as stream:
        name = f"scape-toolkit-pipes-{stream.read().strip()}.json"
        for place in (environment.get("XDG_RUNTIME_DIR", ""), *shared):
            if place in shared:
                with contextlib.suppress(OSError):
                    os.mkdir(place, 0o700)
            if _is_private(place):
                return os.path.join(place, name)
    return None


def _is_private(place: str) -> bool:
    try:
        found = os.lstat(place)
    except OSError:
        return False
    return found.st_uid == os.getuid() and found.st_mode & 0o170077 == 0o040000 and os.access(place, os.W_OK | os.X_OK)
