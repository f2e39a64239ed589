"""What processes took in all, as the kernel tells when they are reaped."""

from __future__ import annotations

import os

from toolkit.experiment.profiling.sampling import times_of, transfers_of

TYPE_CHECKING = False  # typing's, which takes a tenth of the whole start to load
if TYPE_CHECKING:
    from typing import Any


class Totals:
    """Times, faults, switches and bytes of some processes, and the greatest peak of their memory."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._sums: dict[str, int] = dict.fromkeys(
            ["user_ns", "system_ns", "major_faults", "minor_faults", "voluntary_switches", "involuntary_switches"], 0
        )
        self._moved: dict[str, int] | None = None

    def reap(self, pid: int) -> int:
        """Take an ended process; its exit status, or less than 0 for the signal that killed it."""
        _, status, usage = os.wait4(pid, 0)
        self.peak_bytes = max(self.peak_bytes, usage.ru_maxrss * 1024)
        found = [usage.ru_utime * 1e9, usage.ru_stime * 1e9, usage.ru_majflt, usage.ru_minflt, usage.ru_nvcsw, usage.ru_nivcsw]
        self._sums = {name: total + round(more) for (name, total), more in zip(self._sums.items(), found, strict=True)}
        return os.waitstatus_to_exitcode(status)

    def add_running(self, pid: int) -> None:
        """Take what a process has used that goes on running."""
        self.add_moved(transfers_of(pid))
        user, system = times_of(pid) or (0, 0)
        self._sums["user_ns"] += user
        self._sums["system_ns"] += system

    def with_others(self, others: Totals) -> dict[str, Any]:
        """The sums as the `exit` line names them."""
        self.add_moved(others._moved)
        names = ("read_bytes", "written_bytes", "read_call_bytes", "written_call_bytes")
        moved = {name: self._moved[name] if self._moved else None for name in names}
        return {**{name: total + others._sums[name] for name, total in self._sums.items()}, **moved}

    def add_moved(self, moved: dict[str, int] | None) -> None:
        """Take the bytes that a process moved, where they are known."""
        if moved:
            self._moved = {name: total + (self._moved or {}).get(name, 0) for name, total in moved.items()}
