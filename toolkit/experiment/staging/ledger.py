"""What became of each file, over all attempts: each is told of once, when it is known for certain."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from toolkit.core.errors import ToolError
from toolkit.core.progress import Bar
from toolkit.experiment.staging.tree import shown

_log = logging.getLogger(__name__)
Status = Literal["sent", "resumed", "skipped", "deleted", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What became of one file or link."""

    path: bytes
    status: Status
    bytes: int = 0  # that went over the network
    seconds: float = 0.0
    sha256: str | None = None
    error: ToolError | None = None

    def record(self) -> dict[str, Any]:
        """As a JSON object; bytes of names that are no text are as Python's surrogateescape has them."""
        told = {"path": shown(self.path), "bytes": self.bytes, "seconds": round(self.seconds, 6), "sha256": self.sha256}
        return {**told, "status": self.status, "error": str(self.error) if self.error is not None else None}


@dataclass
class Ledger:
    """Keeps what is known of each file; `report` is called with each outcome that is final."""

    report: Callable[[Outcome], None]
    failed: int = 0
    done: int = 0  # bytes and files: grows whenever something has been achieved
    digests: dict[bytes, str] = field(default_factory=dict)  # of files here that are whole there
    waiting: dict[bytes, Outcome] = field(default_factory=dict)  # whole there, but not verified yet
    bar: Bar = field(default_factory=lambda: Bar(None))  # shows the bytes of the attempt that runs
    _told: set[bytes] = field(default_factory=set)
    _said: set[str] = field(default_factory=set)

    def advance(self, count: int) -> None:
        """So many bytes more have arrived."""
        self.done += count
        self.bar.update(count)

    def arrived(self, outcome: Outcome) -> None:
        """A file is whole on the receiving side; it is reported when it is `verified`."""
        self.done += 1
        self.waiting[outcome.path] = outcome
        if outcome.sha256:
            self.digests[outcome.path] = outcome.sha256

    def verified(self) -> None:
        """All that waits is right, or cannot be verified."""
        for outcome in self.waiting.values():
            self.tell(outcome)
        self.waiting.clear()

    def fail(self, path: bytes, error: ToolError) -> None:
        """Something of this name was not done."""
        waited = self.waiting.pop(path, Outcome(path, "failed"))
        self.digests.pop(path, None)
        if path not in self._told:
            self.failed += 1
            _log.error("%s", error)
        self.tell(replace(waited, status="failed", sha256=None, error=error))

    def tell(self, outcome: Outcome) -> None:
        """Report an outcome, unless one of that name has been."""
        if outcome.path not in self._told:
            self._told.add(outcome.path)
            self.report(outcome)

    def warn(self, words: str) -> None:
        """Say something once, however many attempts are made."""
        if words not in self._said:
            self._said.add(words)
            _log.warning("%s", words)
