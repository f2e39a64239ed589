"""Tasks on this machine's processors, in place of mrjob's pool of processes, which waits for ever now and then when a task has failed.

A task is a process of its own already: threads are enough to wait for it.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar


class _Result:
    """What becomes of a function."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def get(self) -> Any:
        """What it gave, or the exception that it raised."""
        return self._future.result()


class Tasks:
    """As much of multiprocessing.Pool as mrjob uses."""

    _running: ClassVar[set[subprocess.Popen[bytes]]] = set()
    _ending: ClassVar[bool] = False

    def __init__(self, processes: int) -> None:
        Tasks._ending = False
        self._threads = ThreadPoolExecutor(processes)

    def apply_async(self, function: Callable[[], Any]) -> _Result:
        """Have a function called by the next thread that is free."""
        return _Result(self._threads.submit(function))

    def close(self) -> None:
        """No function comes any more."""
        self._threads.shutdown(wait=False)

    def terminate(self) -> None:
        """End what runs, and begin nothing else."""
        Tasks._ending = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in list(Tasks._running):
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    def join(self) -> None:
        """Wait for all threads."""
        self._threads.shutdown(wait=True)

    @staticmethod
    def call(words: Sequence[str], **settings: Any) -> int:
        """As subprocess.check_call, of a process that `terminate` ends."""
        with subprocess.Popen(words, **settings) as process:
            Tasks._running.add(process)
            try:
                if Tasks._ending:  # since it was begun
                    process.kill()
                status = process.wait()
            finally:
                Tasks._running.discard(process)
        if status:
            raise subprocess.CalledProcessError(status, words)
        return status
