"""Named stages: what a profiler needs to tell one phase of a command from the next.

A profiler starts a command with TOOLKIT_STAGES_FD naming an open file descriptor; each stage then writes one JSON line at
its begin and one at its end. Without the variable a stage costs nothing and writes nothing. See run-record(5).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

VARIABLE = "TOOLKIT_STAGES_FD"
INODE = "TOOLKIT_STAGES_INODE"  # of that descriptor: a process started without it may have another file of that number


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Bracket a phase of the work called `name`: ``{"stage", "event": "begin"|"end", "time_ns", "pid"}``, CLOCK_MONOTONIC.

    Where the system tells, a line has ``user_ns``, ``system_ns``, ``peak_rss_bytes``, ``read_bytes`` and ``written_bytes`` of this
    process too. At the begin its high-water mark of memory begins anew (``reset``), so that the peak at the end is the stage's own.
    """
    descriptor = os.environ.get(VARIABLE, "")
    if not descriptor.isdigit() or not _is_the_profilers(int(descriptor)):
        yield
        return
    _report(int(descriptor), name, "begin")
    try:
        yield
    finally:
        _report(int(descriptor), name, "end")


def _is_the_profilers(descriptor: int) -> bool:
    inode = os.environ.get(INODE)
    with contextlib.suppress(OSError, OverflowError):
        return inode is None or str(os.fstat(descriptor).st_ino) == inode
    return False


def _report(descriptor: int, name: str, event: str) -> None:
    import json

    told = {"stage": name, "event": event, "time_ns": time.monotonic_ns(), "pid": os.getpid(), **_figures()}
    if event == "begin" and "peak_rss_bytes" in told:
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "wb", buffering=0) as marks:
            told["reset"] = marks.write(b"5") == 1
        told["time_ns"] = time.monotonic_ns()
    with contextlib.suppress(OSError):  # a profiler that went away must not stop the work
        os.write(descriptor, json.dumps(told).encode() + b"\n")


def _figures() -> dict[str, int]:
    """What this process and the children that it has waited for took until now; see proc(5)."""
    import resource

    found = {}
    own, waited = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    with contextlib.suppress(OSError, ValueError, KeyError):
        with open("/proc/self/status", "rb") as stream:
            status = dict(row.split(b":", 1) for row in stream)
        found["peak_rss_bytes"] = int(status[b"VmHWM"].split()[0]) * 1024
        found["user_ns"] = round((own.ru_utime + waited.ru_utime) * 1e9)
        found["system_ns"] = round((own.ru_stime + waited.ru_stime) * 1e9)
        with open("/proc/self/io", "rb") as stream:
            moved = dict(row.split(b":") for row in stream)
        found["read_bytes"], found["written_bytes"] = int(moved[b"read_bytes"]), int(moved[b"write_bytes"])
    return found
