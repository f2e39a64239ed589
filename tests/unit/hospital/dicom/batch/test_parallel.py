"""Work shared out to processes: the order, the errors, and no process that stays."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator

import pytest

from toolkit.core.errors import InputOutput, Internal
from toolkit.hospital.dicom.batch.parallel import processes


def squares(numbers: list[int], factor: int) -> Iterator[tuple[int, int]]:
    for number in numbers:
        time.sleep(0.01 * (number % 3))
        yield number * number * factor, os.getpid()


def failing(numbers: list[int]) -> Iterator[int]:
    for number in numbers:
        if number == 5:
            raise InputOutput("disk", "is full", "make room")
        if number == 15:
            raise ZeroDivisionError("a fault")
        if number == 25:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 35:
            time.sleep(1000)
        yield number


def test_results_come_in_order_from_several_processes() -> None:
    with processes(squares, range(20), 3, 2) as results:
        found = list(results)
    assert [value for value, _ in found] == [2 * number * number for number in range(20)]
    assert len({process for _, process in found}) == 3
    assert os.getpid() not in {process for _, process in found}


@pytest.mark.parametrize(
    ("start", "kind", "words"), [(4, InputOutput, "disk: is full; make room"), (14, Internal, "a fault"), (24, Internal, "killed")]
)
def test_an_error_there_is_an_error_here(start: int, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words), processes(failing, range(start, start + 4), 2) as results:
        assert next(results) == start
        next(results)
    assert not multiprocessing.active_children()


def test_nobody_is_waited_for_when_the_body_ends() -> None:
    begin = time.monotonic()
    with processes(failing, range(34, 38), 2) as results:
        assert next(results) == 34
    assert time.monotonic() - begin < 10
    assert not multiprocessing.active_children()
