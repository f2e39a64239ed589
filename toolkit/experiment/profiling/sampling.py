"""The memory and the counters of a command's processes, read from /proc while they run.

A process is watched through its `status` file, which stays open (proc(5)): VmRSS is what it has, VmHWM the most that it has had.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

_PAGE = 1024  # /proc writes kB and means KiB
SHORTEST_NS, LONGEST_NS = 1_000_000, 50_000_000
_SHARE = 25  # a sample that took t is followed by 25 t of peace
_KEPT = 8192  # samples; twice as long a run keeps each second one


class Process:
    """One process: its `status`, and the most that was seen of it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.rss_bytes = self.peak_bytes = 0
        try:
            self._descriptor = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # it has ended, or as many files are open as may be
            self._descriptor = -1

    def read(self) -> bool:
        """Take its memory as it is; False when it has ended."""
        try:
            status = os.pread(self._descriptor, 4096, 0) if self._descriptor >= 0 else _text(f"/proc/{self.pid}/status")
        except OSError:
            return False
        if not status:
            return False
        self.rss_bytes = _field(status, b"\nVmRSS:")
        self.peak_bytes = max(self.peak_bytes, _field(status, b"\nVmHWM:"))
        return True

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


class Tree:
    """All processes that a command has started, those included that have left their parents.

    `roots` names the processes to start from, anew for each look.
    """

    def __init__(self, roots: Callable[[], list[int]]) -> None:
        self._roots = roots
        self._known: dict[int, Process] = {}
        self.peak_bytes = 0  # of any single process, ended ones included

    def read(self) -> tuple[int, int]:
        """The sum of their resident memory in bytes, and how many they are."""
        found: dict[int, Process] = {}
        for pid in self._pids():
            process = self._known.pop(pid, None) or Process(pid)
            if process.read():
                found[pid] = process
                self.peak_bytes = max(self.peak_bytes, process.peak_bytes)
            else:
                process.close()
        for process in self._known.values():
            process.close()
        self._known = found
        return sum(process.rss_bytes for process in found.values()), len(found)

    def read_pss(self) -> int | None:
        """The sum of their proportional memory in bytes: shared pages count once. None where the kernel tells of none."""
        told = [pss for pss in map(_pss, self._known) if pss is not None]
        return sum(told) if told else None

    def memory(self) -> list[tuple[int, int]]:
        """Each process that was seen last, and its resident memory in bytes."""
        return [(process.pid, process.rss_bytes) for process in self._known.values()]

    def __contains__(self, pid: int) -> bool:
        return pid in self._known or pid in set(self._pids())

    def __iter__(self) -> Iterator[int]:
        return iter(self._known)

    def close(self) -> None:
        for process in self._known.values():
            process.close()
        self._known = {}

    def _pids(self) -> list[int]:
        found = self._roots()
        for pid in found:  # it grows meanwhile
            found += children(pid)
        return found


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that have it for a parent still: of all its threads."""
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            descriptor = os.open(f"/proc/{pid}/task/{thread}/children", os.O_RDONLY | os.O_CLOEXEC)
            try:
                while words := os.read(descriptor, 65536):
                    found += [int(word) for word in words.split()]
            finally:
                os.close(descriptor)
    except OSError:
        pass  # it has ended
    return found


def peak_of(pid: int) -> int | None:
    """The high-water mark of a process' resident memory in bytes; None when it has ended."""
    text = _text(f"/proc/{pid}/status")
    return _field(text, b"\nVmHWM:") if text and b"\nVmHWM:" in text else None


def reset_peak(pid: int) -> bool:
    """Let the high-water mark begin anew from what the process has now (proc(5), clear_refs); False where that is not allowed."""
    try:
        descriptor = os.open(f"/proc/{pid}/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.write(descriptor, b"5") == 1
    except OSError:
        return False
    finally:
        os.close(descriptor)


def times_of(pid: int) -> tuple[int, int] | None:
    """User and system time in ns of a process and the children that it has waited for; steps of a clock tick, mostly 10 ms."""
    text = _text(f"/proc/{pid}/stat")
    if not text:
        return None
    words = text[text.rindex(b")") + 2 :].split()
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return (int(words[11]) + int(words[13])) * tick, (int(words[12]) + int(words[14])) * tick


def transfers_of(pid: int) -> dict[str, int] | None:
    """The bytes that a process and the children that it has waited for moved; None where the system does not tell.

    ``read_bytes`` and ``written_bytes`` went to and from devices, ``read_call_bytes`` and ``written_call_bytes`` through read(2),
    write(2) and their like, pipes and caches included.
    """
    return transfers_in(_text(f"/proc/{pid}/io"))


def transfers_in(text: bytes) -> dict[str, int] | None:
    """The same from what /proc/PID/io says."""
    told = dict(row.split(b": ") for row in text.splitlines())
    names = {"read_bytes": b"read_bytes", "written_bytes": b"write_bytes", "read_call_bytes": b"rchar", "written_call_bytes": b"wchar"}
    return {name: int(told[key]) for name, key in names.items()} if told else None


class Rhythm:
    """When the next sample is due: after 1, 2, 4 ... 50 ms, or always after `fixed_ns`; never so often that it would weigh."""

    def __init__(self, fixed_ns: int | None) -> None:
        self._fixed = fixed_ns
        self.restart()

    def restart(self) -> None:
        """Look closely again: something has begun."""
        self._next = SHORTEST_NS

    def after(self, cost_ns: int) -> int:
        """The ns to wait after a sample that took `cost_ns` of processor time."""
        if self._fixed is not None:
            return self._fixed
        pause = max(self._next, _SHARE * cost_ns)
        self._next = min(2 * self._next, LONGEST_NS)
        return pause


class Series:
    """The samples of a run, thinned as they become many; of those that are put together the greatest stays, so that peaks stay."""

    def __init__(self) -> None:
        self.samples: list[dict[str, int]] = []
        self._waiting: dict[str, int] | None = None
        self._together, self._count = 1, 0

    def add(self, sample: dict[str, int]) -> None:
        self._waiting = _greater(self._waiting, sample)
        self._count += 1
        if self._count >= self._together:
            self.flush()
        if len(self.samples) > _KEPT:
            pairs = zip(self.samples[::2], [*self.samples[1::2], None], strict=False)
            self.samples = [_greater(second, first) for first, second in pairs]
            self._together *= 2

    def flush(self) -> None:
        """Take what was being put together as it stands."""
        if self._waiting is not None:
            self.samples.append(self._waiting)
        self._waiting, self._count = None, 0


def _greater(one: dict[str, int] | None, other: dict[str, int]) -> dict[str, int]:
    if one is None:
        return other
    chosen = dict(one if one["rss_bytes"] >= other["rss_bytes"] else other)
    known = [sample["pss_bytes"] for sample in (one, other) if "pss_bytes" in sample]
    return {**chosen, "pss_bytes": max(known)} if known else chosen


def _pss(pid: int) -> int | None:
    text = _text(f"/proc/{pid}/smaps_rollup")
    return _field(text, b"\nPss:") if text else None


def _text(path: str) -> bytes:
    """What a file of /proc says; nothing when the process has ended or it is another user's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 16384)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _field(text: bytes, name: bytes) -> int:
    """The bytes that a line ``NAME:   1234 kB`` tells; 0 where it is missing, as of a process without memory of its own."""
    at = text.find(name)
    return int(text[at + len(name) : text.index(b"kB", at)]) * _PAGE if at >= 0 else 0
