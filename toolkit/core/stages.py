"""Named stages: what a profiler needs to tell one phase of a command from the next.

A profiler starts a command with TOOLKIT_STAGES_FD naming an open file descriptor; each stage then writes one JSON line at
its begin and one at its end. Without the variable a stage costs nothing and writes nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

VARIABLE = "TOOLKIT_STAGES_FD"


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Bracket a phase of the work called `name`: ``{"stage", "event": "begin"|"end", "time_ns", "pid"}``, CLOCK_MONOTONIC."""
    descriptor = os.environ.get(VARIABLE, "")
    if not descriptor.isdigit():
        yield
        return
    _report(int(descriptor), name, "begin")
    try:
        yield
    finally:
        _report(int(descriptor), name, "end")


def _report(descriptor: int, name: str, event: str) -> None:
    import json

    line = json.dumps({"stage": name, "event": event, "time_ns": time.monotonic_ns(), "pid": os.getpid()})
    with contextlib.suppress(OSError):  # a profiler that went away must not stop the work
        os.write(descriptor, line.encode() + b"\n")
