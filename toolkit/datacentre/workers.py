"""Work done by several processes, as on packs; these are forked before the first thread and connection: neither survives a fork."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from toolkit.core import forking
from toolkit.core.errors import ToolError, Unavailable

Task = TypeVar("Task")
Result = TypeVar("Result")
_PATIENCE = 10.0  # seconds
_Failure = tuple[type[ToolError], str, str, str]


class Workers(Generic[Task, Result]):
    """Processes that each open what they need by `opened`, a context manager that gives the work: task to result, both of them small.

    One alone is no process: the work is done by this one. A context manager; at its end no process is left. `name` is what messages
    call a process.
    """

    def __init__(
        self, opened: Callable[[], AbstractContextManager[Callable[[Task], Result]]], number: int, name: str = "a process that packs"
    ) -> None:
        self._opened, self._number, self._name = opened, number, name
        self._connections: dict[Connection, BaseProcess] = {}

    def __enter__(self) -> Workers[Task, Result]:
        if self._number > 1:
            life, self._life = os.pipe()  # its end tells that this process has ended, however it did
            try:
                for _ in range(self._number):
                    ours, theirs = forking.context.Pipe()
                    inherited = [*self._connections, ours]
                    self._connections[ours] = forking.forked(_live, self._opened, theirs, inherited, life, self._life)
                    theirs.close()
            finally:
                os.close(life)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._number == 1:
            return
        for connection, process in self._connections.items():
            connection.close()
            if kind is None:
                process.join(_PATIENCE)  # it closes what it has opened
        os.close(self._life)
        for process in self._connections.values():
            process.kill()  # it holds nothing that the next run could not repeat
            process.join()

    def each(self, tasks: Iterable[Task], last: Task | None = None) -> Iterator[Result]:
        """The results, as they come; a task is asked for when a process is free, and `last` is everyone's when there are no more.
        After a failure the others end what they have begun.

        Raises the ToolError of the first that failed, Unavailable when a process died.
        """
        if self._number == 1:
            with self._opened() as work:
                yield from map(work, tasks)
                if last is not None:
                    yield work(last)
            return
        queue = iter(tasks)
        left: dict[Connection, Task | None] = dict.fromkeys(self._connections, last)
        busy = [connection for connection in self._connections if _give(connection, queue, left)]
        failure: ToolError | None = None
        while busy:
            for connection in wait(busy):
                assert isinstance(connection, Connection)
                try:
                    result, failed = connection.recv()
                except (EOFError, OSError):
                    result, failed = None, self._death(connection)
                if failed is None:
                    yield result
                else:
                    failure = failure or failed[0](*failed[1:])
                if failure is not None or not _give(connection, queue, left):
                    busy.remove(connection)
        if failure is not None:
            raise failure

    def _death(self, connection: Connection) -> _Failure:
        process = self._connections[connection]
        process.join()
        code = process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return Unavailable, self._name, f"ended by {how}", "run it again, with fewer --jobs if memory ran out; nothing is lost"


def _give(connection: Connection, tasks: Iterator[Task], left: dict[Connection, Task | None]) -> bool:
    """Hand over the next task, then what is left for this process; False when there is none."""
    task = next(tasks, None)
    if task is None:
        task, left[connection] = left[connection], None
    if task is not None:
        with contextlib.suppress(OSError):  # it has died: its connection is ready with its end
            connection.send(task)
    return task is not None


def _live(
    opened: Callable[[], AbstractContextManager[Callable[[Task], Result]]],
    connection: Connection,
    inherited: list[Connection],
    life: int,
    other_end: int,
) -> None:
    """The life of a process: a task in, its result or its failure out."""
    for one in inherited:
        one.close()
    os.close(other_end)
    gc.disable()  # a pack's rows are a million objects without cycles: looking through them again and again costs a tenth of the time
    threading.Thread(target=_end_with_parent, args=(life,), daemon=True).start()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, EOFError):
        task = connection.recv()
        try:
            with opened() as work:
                while True:
                    connection.send((work(task), None))
                    gc.collect()
                    task = connection.recv()
        except ToolError as error:
            connection.send((None, (type(error), error.place, error.problem, error.remedy)))


def _end_with_parent(life: int) -> None:
    os.read(life, 1)  # nothing is ever written
    os._exit(1)
