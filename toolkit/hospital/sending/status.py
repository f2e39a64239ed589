"""What is in the queue: counts, the oldest that waits, and what the data centre refused, for people and for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from toolkit.core.errors import ToolError, TryLater

if TYPE_CHECKING:
    from toolkit.hospital.links.queue import Status


def exit_status(status: Status) -> int:
    """1 when something died, 75 when something waits, otherwise 0."""
    if status.counts["dead"]:
        return ToolError.exit_status
    return TryLater.exit_status if status.counts["queued"] or status.counts["sent"] else 0


def as_text(status: Status) -> str:
    """One line for each state, tab-separated, one for the oldest that waits, one for each dead letter with its reason."""
    lines = [f"{state}\t{count}" for state, count in status.counts.items()]
    if status.oldest_waiting is not None:
        lines.append(f"oldest waiting\t{_time(status.oldest_waiting)}")
    lines += [f"dead letter\t{letter.message_id}\t{_line(letter.source)}\t{_line(letter.reason)}" for letter in status.dead]
    return "".join(line + "\n" for line in lines)


def as_json(status: Status) -> str:
    """One object: a number for each state, ``oldest_waiting`` (ISO 8601, or null), ``dead_letters`` with id, source and reason."""
    oldest = None if status.oldest_waiting is None else _time(status.oldest_waiting)
    letters = [{"message_id": letter.message_id, "source": letter.source, "reason": letter.reason} for letter in status.dead]
    return json.dumps({**status.counts, "oldest_waiting": oldest, "dead_letters": letters}, ensure_ascii=False) + "\n"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _line(text: str) -> str:
    """Reasons come from outside and names of files hold anything: one line, no tabs."""
    return "".join(c if c.isprintable() else " " for c in text)
