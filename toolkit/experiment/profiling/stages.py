"""Stages of a command, put together from the lines that its processes write at the begin and at the end of each.

A line may bring the figures of its process (toolkit.core.stages does); those that it lacks are read from /proc when the line arrives.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

from toolkit.experiment.profiling.sampling import peak_of, reset_peak, times_of, transfers_of

TYPE_CHECKING = False  # typing's, which takes a tenth of the whole start to load
if TYPE_CHECKING:
    from typing import Any

_LONGEST_LINE = 65536


class Stages:
    """The stages that are open, and those that have ended. Times are ns since `begin_ns` of CLOCK_MONOTONIC."""

    def __init__(self, begin_ns: int, is_ours: Callable[[int], bool]) -> None:
        self._begin, self._is_ours = begin_ns, is_ours
        self._open: list[dict[str, Any]] = []
        self.ended: list[dict[str, Any]] = []
        self.peak_bytes = 0  # what was seen before high-water marks were reset
        self.warnings: list[str] = []
        self._rest = b""
        self._count, self._order = 0, dict[int, int]()  # by id(): as they began
        self._unread: dict[int, list[dict[str, Any]]] = {}  # by process: reset at the begin, gone when the end was read

    def take(self, received: bytes) -> None:
        """Take bytes from the descriptor; lines may come in pieces. What is no stage is named in a warning, once."""
        *whole, self._rest = (self._rest + received).split(b"\n")
        for text in whole:
            if text.strip():
                self._take_line(text)
        if len(self._rest) > _LONGEST_LINE:
            self._refuse(self._rest)
            self._rest = b""

    def _take_line(self, text: bytes) -> None:
        try:
            told = json.loads(text)
            name, event, pid = str(told["stage"]), told["event"], int(told["pid"])
            time_ns = int(told.get("time_ns") or time.monotonic_ns()) - self._begin
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return self._refuse(text)
        if event == "begin":
            self.begin(name, pid, time_ns, told)
        elif event == "end":
            self.end(name, pid, time_ns, told)
        else:
            self._refuse(text)

    def begin(self, name: str, pid: int, time_ns: int, told: dict[str, Any]) -> None:
        """A stage begins: note where its process stands, and let its high-water mark begin anew."""
        before = told if "peak_rss_bytes" in told else _figures(pid) if self._is_ours(pid) else {}
        self._note_peak(pid, before.get("peak_rss_bytes"))
        exact = bool(told.get("reset")) if before is told else bool(before) and reset_peak(pid)
        self._unread.pop(pid, None)
        self._count += 1
        stage = {"stage": name, "pid": pid, "begin_ns": time_ns, "before": before, "exact": exact, "peak": 0, "tree": 0}
        self._open.append({**stage, "number": self._count})

    def end(self, name: str, pid: int, time_ns: int, told: dict[str, Any]) -> None:
        """The latest stage of that name and process ends; an end without a begin is named in a warning."""
        for stage in reversed(self._open):
            if (stage["stage"], stage["pid"]) == (name, pid):
                break
        else:
            self.warnings.append(f"stage {name!r} of process {pid} ends without having begun; it is left out")
            return
        after = told if "peak_rss_bytes" in told else _figures(pid) if self._is_ours(pid) else {}
        self._note_peak(pid, after.get("peak_rss_bytes"))
        self._open.remove(stage)
        self._close(stage, time_ns, after)

    def sampled(self, pid: int, rss_bytes: int) -> None:
        """A process was seen to have so much memory."""
        for stage in self._open:
            if stage["pid"] == pid:
                stage["peak"] = max(stage["peak"], rss_bytes)

    def sampled_tree(self, rss_bytes: int) -> None:
        """All processes together were seen to have so much memory."""
        for stage in self._open:
            stage["tree"] = max(stage["tree"], rss_bytes)

    def finish(self, time_ns: int, pid: int, peak_bytes: int) -> list[dict[str, Any]]:
        """All stages; those still open end with the command, and what only an end tells is unknown of them.

        The command's own process, `pid`, often ends before the end of its last stage is read; the kernel has kept its high-water
        mark since that stage's begin, `peak_bytes`; 0 where it is unknown.
        """
        if self._rest.strip():
            self._refuse(self._rest)
        for stage in self._open:
            self._close(stage, time_ns, {})
        self._open = []
        for ended in self._unread.get(pid, []):
            if peak_bytes:
                ended.update(peak_rss_bytes=max(peak_bytes, ended["peak_rss_bytes"] or 0), peak_source="VmHWM")
        for ended in self.ended:
            ended.update(begin_ns=min(ended["begin_ns"], time_ns), end_ns=min(ended["end_ns"], time_ns))
        return sorted(self.ended, key=lambda stage: (stage["begin_ns"], self._order[id(stage)]))

    def _note_peak(self, pid: int, peak: int | None) -> None:
        """A high-water mark holds for all stages of that process that are open."""
        self.peak_bytes = max(self.peak_bytes, peak or 0)
        self.sampled(pid, peak or 0)

    def _close(self, stage: dict[str, Any], time_ns: int, after: dict[str, Any]) -> None:
        before = stage["before"]
        names = ("user_ns", "system_ns", "read_bytes", "written_bytes")
        taken = {name: max(0, after[name] - before[name]) if name in before and name in after else None for name in names}
        read = "peak_rss_bytes" in after
        ended = {
            "stage": stage["stage"],
            "pid": stage["pid"],
            "begin_ns": max(0, stage["begin_ns"]),
            "end_ns": max(0, time_ns),
            "user_ns": taken["user_ns"],
            "system_ns": taken["system_ns"],
            "peak_rss_bytes": stage["peak"] or None,
            "peak_source": ("VmHWM" if stage["exact"] and read else "sampled") if stage["peak"] else None,
            "peak_tree_rss_bytes": stage["tree"] or None,
            "read_bytes": taken["read_bytes"],
            "written_bytes": taken["written_bytes"],
        }
        if stage["exact"] and not read:
            self._unread.setdefault(stage["pid"], []).append(ended)
        self.ended.append(ended)
        self._order[id(ended)] = stage["number"]

    def _refuse(self, text: bytes) -> None:
        if not any(warning.startswith("the descriptor") for warning in self.warnings):
            shown = text[:60].decode(errors="replace")
            self.warnings.append(f"the descriptor of stages got a line that is no stage, {shown!r}; such lines are left out")


class Phrases:
    """Stages of a program that knows of none, found in what it writes to standard error: each match begins one, and ends the last.

    The name is the group ``stage`` of the expression, or its first group, or the whole match.
    """

    def __init__(self, expression: re.Pattern[str], stages: Stages, pid: int) -> None:
        self._expression = expression
        self._stages, self._pid = stages, pid
        self._rest, self._name = b"", ""

    def take(self, received: bytes, time_ns: int) -> None:
        """Look at what was written; a line ends with a newline or a carriage return."""
        *whole, self._rest = re.split(rb"[\r\n]+", self._rest + received)
        self._rest = self._rest[-_LONGEST_LINE:]
        for text in whole:
            self._look(text, time_ns)

    def finish(self, time_ns: int) -> None:
        """The last stage ends."""
        self._look(self._rest, time_ns)
        if self._name:
            self._stages.end(self._name, self._pid, time_ns, {})

    def _look(self, text: bytes, time_ns: int) -> None:
        match = self._expression.search(text.decode(errors="replace"))
        if not match:
            return
        if self._name:
            self._stages.end(self._name, self._pid, time_ns, {})
        named = match.groupdict().get("stage")
        self._name = named or next((group for group in match.groups() if group), match.group()) or "unnamed"
        self._stages.begin(self._name, self._pid, time_ns, {})


def _figures(pid: int) -> dict[str, int]:
    """What /proc tells of a process; nothing when it has ended."""
    peak, times = peak_of(pid), times_of(pid)
    if peak is None or times is None:
        return {}
    moved = transfers_of(pid) or {}
    moved = {name: moved[name] for name in ("read_bytes", "written_bytes") if name in moved}
    return {"peak_rss_bytes": peak, "user_ns": times[0], "system_ns": times[1], **moved}
