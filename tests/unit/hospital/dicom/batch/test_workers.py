"""Several processes: every file has one outcome, whatever kills a process."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from toolkit.core.errors import InputOutput
from toolkit.hospital.dicom.batch.files import Input
from toolkit.hospital.dicom.batch.outcome import Outcome
from toolkit.hospital.dicom.batch.workers import each
from toolkit.hospital.dicom.cleaning.quarantine import Quarantine


class Deadly:
    """A chain whose work is to count, and to die of some files."""

    settled = True

    @contextmanager
    def connected(self) -> Iterator[None]:
        yield

    def process(self, batch: list[Input], settle: bool = False) -> Outcome:
        outcome = Outcome()
        for item in batch:
            if item.path == "deadly":
                os.kill(os.getpid(), signal.SIGKILL)
            if item.path == "full":
                raise InputOutput("out", "No space left on device", "make room")
            outcome.counts["written"] += 1
            outcome.report += item.path.encode() + b"\n"
        return outcome

    def key(self, item: Input) -> bytes:
        return item.path.encode()

    def put_into_quarantine(self, item: Input, key: bytes, why: Quarantine, outcome: Outcome) -> None:
        outcome.counts["quarantined"] += 1
        outcome.report += f"{item.path}: {why.detail}\n".encode()


def batches(names: list[str]) -> Iterator[list[Input]]:
    for start in range(0, len(names), 7):
        yield [Input(name, name, 1, 1) for name in names[start : start + 7]]


def work(names: list[str], number: int) -> tuple[Counter[str], list[str]]:
    total, lines = Outcome(), []
    for outcome in each(Deadly(), batches(names), number):  # type: ignore[arg-type]
        total.add(outcome)
        lines += outcome.report.decode().splitlines()
    return total.counts, sorted(lines)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_every_file_is_done_once(number: int) -> None:
    names = [f"{n:03}" for n in range(100)]
    assert work(names, number) == (Counter(written=100), names)


def test_a_file_that_kills_goes_to_quarantine_and_all_others_pass() -> None:
    names = [f"{n:03}" for n in range(30)]
    counts, lines = work([*names[:10], "deadly", *names[10:]], 2)
    assert counts == Counter(written=30, quarantined=1)
    assert lines == [*names, "deadly: the process that worked on it ended by SIGKILL"]


def test_nothing_to_do() -> None:
    assert work([], 3) == (Counter(), [])


def test_what_ends_the_work_is_raised_here() -> None:
    with pytest.raises(InputOutput, match="out: No space left on device; make room"):
        work(["a", "full", "b"], 2)
