"""A few processes that share out a list of work; the first one gets the results in the order of the list."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeVar

from toolkit.core import forking
from toolkit.core.errors import Internal, ToolError

Result = TypeVar("Result")


class _Stopped(NamedTuple):
    """An error that ends the work, on its way between processes."""

    kind: type[ToolError]
    place: str
    problem: str
    remedy: str


@contextlib.contextmanager
def processes(serve: Callable[..., Iterator[Result]], work: Sequence[Any], jobs: int, *arguments: Any) -> Iterator[Iterator[Result]]:
    """The results of ``serve(share, *arguments)`` for every piece of `work`, one for each, from `jobs` processes.

    When the body ends the processes have ended too, whatever they were doing. A ToolError of theirs is raised here.
    """
    pipes: list[Connection] = []
    started = []
    jobs = min(jobs, len(work))
    try:
        for number in range(jobs):
            here, there = forking.context.Pipe(duplex=False)
            pipes.append(here)
            started.append(forking.forked(_work, serve, work[number::jobs], arguments, there, pipes))
            there.close()
        yield _results(pipes, len(work))
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.join()
        for pipe in pipes:
            pipe.close()


def _results(pipes: list[Connection], count: int) -> Iterator[Any]:
    for number in range(count):
        try:
            result = pipes[number % len(pipes)].recv()
        except EOFError:
            raise Internal("a process of --jobs", "was killed", "run it again; was the memory exhausted?") from None
        if isinstance(result, _Stopped):
            raise result.kind(result.place, result.problem, result.remedy)
        yield result


def _work(
    serve: Callable[..., Iterator[Any]], share: Sequence[Any], arguments: tuple[Any, ...], there: Connection, others: list[Connection]
) -> None:
    """In a new process."""
    for pipe in others:  # so that writing fails when the first process is gone
        pipe.close()
    with contextlib.suppress(BrokenPipeError):
        try:
            for result in serve(share, *arguments):
                there.send(result)
        except ToolError as error:
            there.send(_Stopped(type(error), error.place, error.problem, error.remedy))
        except Exception as error:  # a fault of this program, told by the first process
            problem = f"{type(error).__name__}: {error}"
            there.send(_Stopped(Internal, "internal error", problem, "run it with --jobs 1 -vv and report what it prints"))
