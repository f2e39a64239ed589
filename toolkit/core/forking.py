"""Processes that are forked: their parent's to end from their first moment, and never in its cleaning up when it is ended."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

context = multiprocessing.get_context("fork")  # the scripts in bin/ cannot be imported a second time, as other ways would do
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def forked(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process, started, that calls `target` and ends with this one.

    Interrupts are this process's to handle; SIGTERM and SIGHUP end the new one, however early they come: they are held back
    until the handlers that it has inherited are gone, which would else unwind this process's stack in there.
    """
    process = context.Process(target=_begin, args=(target, arguments), daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def _begin(target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    target(*arguments)
