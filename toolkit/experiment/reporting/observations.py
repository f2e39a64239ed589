"""What one run record says to a report: a row of integers for the command and for each of its stages.

Rows are exact, so that statistics over them do not depend on how the records were divided among machines. Times are ns, sizes bytes.
"""

from __future__ import annotations

import heapq
import math
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from toolkit.experiment.run_record import Command, Stage

# What a row holds behind its command's id. `own_ns`: a stage's time without that of stages within it; a command's time outside its stages.
FIELDS = ("wall_ns", "user_ns", "system_ns", "peak_bytes", "tree_bytes", "read_bytes", "written_bytes", "own_ns")
MOST_POINTS = 300  # of a curve of memory over time
_TOO_MUCH = 1 << 63
_INTERPRETER = re.compile(r"python[\d.]*")


def program(argv: Sequence[str]) -> str:
    """What a command is called in a report: its file's name; for an interpreter of Python the script's or module's."""
    words = [*argv] or ["?"]
    name = os.path.basename(words[0])
    if not _INTERPRETER.fullmatch(name):
        return name
    for number, word in enumerate(words[1:], 1):
        if word == "-m" and len(words) > number + 1:
            return words[number + 1]
        if word in ("-c", "-"):
            break
        if not word.startswith("-"):
            return os.path.basename(word)
    return name


def resolution(text: str | None) -> int | float | None:
    """A tag's value as a positive number; None for anything else."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    if not (math.isfinite(value) and value > 0):
        return None
    return int(value) if value.is_integer() else value


def rows(command: Command) -> dict[str, list[int | None]]:
    """A row for each stage, and under the empty name one for the whole command; none for a command whose end is not known.

    A stage that ran several times, or in several processes at once, counts with the time in which it ran at all; processor times and
    bytes are added up, and of peaks the highest counts.
    """
    end = command.exit
    if end is None:
        return {}
    own = _own_times(command.stages)
    found: dict[str, list[int | None]] = {}
    for name in sorted({stage.stage for stage in command.stages}):
        some = [stage for stage in command.stages if stage.stage == name]
        found[name] = [
            _covered((stage.begin_ns, stage.end_ns) for stage in some),
            _total(stage.user_ns for stage in some),
            _total(stage.system_ns for stage in some),
            _highest(stage.peak_rss_bytes for stage in some),
            _highest(stage.peak_tree_rss_bytes for stage in some),
            _total(stage.read_bytes for stage in some),
            _total(stage.written_bytes for stage in some),
            own[name],
        ]
    outside = max(0, end.wall_ns - sum(own.values()))
    peaks = end.peak_rss_bytes, end.peak_tree_rss_bytes
    found[""] = [end.wall_ns, end.user_ns, end.system_ns, *peaks, end.read_bytes, end.written_bytes, outside]
    return found


def impossible(command: Command) -> str:
    """What no measurement can have given: a negative number, one of centuries or exabytes, a stage that ends before it begins."""
    parts = [*command.samples, *command.stages, *filter(None, [command.exit])]
    for part in parts:
        for name, value in vars(part).items():
            if name.endswith(("_ns", "_bytes")) and value is not None and not 0 <= value < _TOO_MUCH:
                return f"has an impossible {name}, {str(value)[:30]}"
    for stage in command.stages:
        if stage.end_ns < stage.begin_ns:
            return f"has a stage {stage.stage} that ends before it begins"
    return ""


def curve(command: Command) -> list[list[int]]:
    """Time since the begin and memory of all processes, [ns, bytes], at most `MOST_POINTS`: of neighbours the highest stays."""
    points = sorted([sample.time_ns, sample.rss_bytes] for sample in command.samples)
    if len(points) <= MOST_POINTS:
        return points
    first, last = points[0][0], points[-1][0]
    highest: dict[int, list[int]] = {}
    for point in points:
        place = (point[0] - first) * MOST_POINTS // (last - first + 1)
        if place not in highest or point[1] > highest[place][1]:
            highest[place] = point
    return [highest[place] for place in sorted(highest)]


def bands(command: Command) -> list[list[Any]]:
    """When the stages ran, [name, begin ns, end ns], each from its first begin to its last end, in the order of their begins."""
    spans: dict[str, tuple[int, int]] = {}
    for stage in command.stages:
        begin, end = spans.get(stage.stage, (stage.begin_ns, stage.end_ns))
        spans[stage.stage] = min(begin, stage.begin_ns), max(end, stage.end_ns)
    return sorted(([name, *span] for name, span in spans.items()), key=lambda band: (band[1], -band[2], band[0]))


def _total(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _highest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _covered(intervals: Iterable[tuple[int, int]]) -> int:
    """How long at least one of them lasted."""
    total, reached = 0, 0
    for begin, end in sorted(intervals):
        total += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _own_times(stages: Sequence[Stage]) -> dict[str, int]:
    """Every moment belongs to that stage of those running that began last."""
    own = dict.fromkeys((stage.stage for stage in stages), 0)
    begins = sorted((stage.begin_ns, stage.end_ns, stage.stage) for stage in stages if stage.end_ns > stage.begin_ns)
    moments = sorted({moment for begin, end, _ in begins for moment in (begin, end)})
    running: list[tuple[int, int, str]] = []
    upcoming = 0
    for moment, following in zip(moments, moments[1:], strict=False):
        while upcoming < len(begins) and begins[upcoming][0] <= moment:
            begin, end, name = begins[upcoming]
            heapq.heappush(running, (-begin, end, name))
            upcoming += 1
        while running and running[0][1] <= moment:
            heapq.heappop(running)
        if running:
            own[running[0][2]] += following - moment
    return own
