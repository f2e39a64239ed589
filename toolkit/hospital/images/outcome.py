"""What became of each file: counts, lines for a person, and the report."""

from __future__ import annotations

import json
import logging
from collections import Counter
from enum import Enum

from toolkit.core.errors import ToolError, TryLater
from toolkit.hospital.dicom.batch.report import Sink

logger = logging.getLogger(__name__)
_TOLD = 20  # lines about files of one state


class State(Enum):
    """As in the report. REFUSED_HERE is a file that must not leave."""

    SENT = "sent"
    WARNED = "warned"
    COMMITTED = "committed"
    KNOWN = "known"
    DUPLICATE = "duplicate"
    SKIPPED = "skipped"
    WAITS = "waits"
    REFUSED = "refused"
    REFUSED_HERE = "not sent"
    FAILED = "failed"


_LOUD = {State.WARNED, State.REFUSED, State.REFUSED_HERE, State.FAILED}


class Outcome:
    """Collects what became of the files of a run; `report` takes a JSON line for each."""

    def __init__(self, report: Sink | None = None) -> None:
        self.counts: Counter[State] = Counter()
        self._report = report

    def enter(self, path: str, state: State, what: str = "", instance: str = "", *, remedy: str = "") -> None:
        """A file came to this state; a word to a person, where it is one that asks for it."""
        self.counts[state] += 1
        if self._report is not None:
            line = {"path": path, "instance": instance, "status": state.value, "what": what}
            self._report.write(json.dumps(line, ensure_ascii=True).encode() + b"\n")
        if state in _LOUD and self.counts[state] <= _TOLD:
            logger.warning("%s: %s%s", _printable(path), _printable(what), f"; {remedy}" if remedy else "")
        elif state is State.WAITS and what and self.counts[state] <= _TOLD:
            logger.info("%s: %s", _printable(path), _printable(what))

    def finish(self) -> int:
        """Tell how many there were; the exit status: 1 where something was refused or failed, 75 where something waits, or 0."""
        for state in sorted(_LOUD, key=lambda state: state.value):
            if self.counts[state] > _TOLD:
                logger.warning("%d more files: %s; --report lists them", self.counts[state] - _TOLD, state.value)
        logger.info("%s", ", ".join(f"{self.counts[state]} {state.value}" for state in State if self.counts[state]) or "nothing to send")
        waiting = self.counts[State.WAITS]
        if waiting:
            logger.warning("%d %s; the next run sends what waits", waiting, "file waits" if waiting == 1 else "files wait")
        if any(self.counts[state] for state in (State.REFUSED, State.REFUSED_HERE, State.FAILED)):
            return ToolError.exit_status
        return TryLater.exit_status if waiting else 0


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
