"""A forked process ends when it is told to, however early, and does nothing of its parent's."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from toolkit.core.forking import forked


@pytest.fixture
def raising() -> Iterator[None]:
    """SIGTERM unwinds this process, as it does commands."""

    def unwind(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, unwind)
    yield
    signal.signal(signal.SIGTERM, before)


def test_one_that_is_ended_at_once_ends(raising: None) -> None:
    for _ in range(200):
        process = forked(time.sleep, 60)
        process.terminate()
        process.join(30)
        assert process.exitcode == -signal.SIGTERM


def test_interrupts_are_not_for_it_and_the_signals_of_this_process_are_as_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    process = forked(signal.raise_signal, signal.SIGINT)
    process.join(30)
    assert process.exitcode == 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
