"""Commands that the far side's shell runs in a directory, with this process's standard streams or for their answer."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from concurrent.futures import Future, TimeoutError, wait
from typing import BinaryIO

from toolkit.core.errors import ToolError, TryLater, Unavailable
from toolkit.experiment.staging.connection import Lost
from toolkit.experiment.staging.far_shell import GREETING, INTERRUPT, RUN, directory_line, escaped_line
from toolkit.experiment.staging.session import Machine, Session


def answer_of(machine: Machine, top: bytes, command: bytes) -> tuple[int, bytes]:
    """Exit status and standard output of a short command; its messages go to standard error. Raises Unavailable, Lost."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as answer, _standard_error() as messages:
        given.write(directory_line(top) + escaped_line(command))
        given.seek(0)
        status = machine.session().connection.execute(RUN, given, answer, messages)
        answer.seek(0)
        return status, _without_head(machine.name, answer)


def run_in_foreground(machine: Machine, top: bytes, command: bytes) -> int:
    """Run a command with this process's standard streams; gives its exit status. An interrupt here is one there.

    Raises TryLater when the connection breaks, BrokenPipeError when nobody reads standard output any more, Unavailable.
    """
    foreground = _Foreground(machine.session(), directory_line(top) + escaped_line(command))
    try:
        return foreground.run()
    except Lost as error:
        problem = f"{error.problem} while the command ran: what became of it is not known"
        raise TryLater(error.place, problem, "look there before running it again") from error


class _Foreground:
    """One command and the threads that carry its standard input and output."""

    def __init__(self, session: Session, head: bytes) -> None:
        self._session, self._head, self._process = session, head, b""
        self._begun = threading.Event()  # the process number is known, or there is none
        self._broken: OSError | None = None

    def run(self) -> int:
        given, to_give = os.pipe()
        to_answer, answer = os.pipe()
        threading.Thread(target=self._carry_input, args=(to_give,), daemon=True).start()  # may wait for a terminal for ever
        output = threading.Thread(target=self._carry_output, args=(to_answer,), daemon=True)
        output.start()
        with _standard_error() as messages:
            running = self._session.soon(self._execute, given, answer, messages)
            try:
                wait([running])
            except BaseException:
                self._interrupt(running)
                raise
            status = running.result()
        output.join()
        if self._broken is not None:
            raise self._broken
        if not self._process:
            raise _no_shell(self._session.name)
        return status

    def _execute(self, given: int, answer: int, messages: BinaryIO) -> int:
        with os.fdopen(given, "rb", buffering=0) as reading, os.fdopen(answer, "wb", buffering=0) as writing:
            return self._session.connection.execute(RUN, reading, writing, messages)

    def _carry_input(self, to_give: int) -> None:
        try:
            with os.fdopen(to_give, "wb", buffering=0) as giving:
                giving.write(self._head)
                while sys.stdin is not None and (piece := os.read(0, 1 << 16)):
                    giving.write(piece)
        except OSError:
            pass  # the command does not read it, or there is none

    def _carry_output(self, to_answer: int) -> None:
        with os.fdopen(to_answer, "rb") as answering:
            if answering.readline() == GREETING:
                self._process = answering.readline().strip()
            self._begun.set()
            try:
                while piece := answering.read1(1 << 16):
                    sys.stdout.buffer.write(piece)
                    sys.stdout.buffer.flush()
            except OSError as error:
                self._broken = error
                self._stop()

    def _stop(self) -> None:
        with tempfile.TemporaryFile() as given:
            given.write(directory_line(b".") + self._process + b"\n")
            given.seek(0)
            with contextlib.suppress(ToolError):  # it has ended already, or the connection
                self._session.connection.execute(INTERRUPT, given)

    def _interrupt(self, running: Future[int]) -> None:
        if self._begun.wait(5.0) and self._process:
            self._stop()
            with contextlib.suppress(TimeoutError, ToolError):
                running.result(timeout=5.0)


def _standard_error() -> BinaryIO:
    """Standard error as a stream of bytes with a descriptor of its own."""
    return os.fdopen(os.dup(2), "wb", buffering=0)


def _without_head(name: str, answer: BinaryIO) -> bytes:
    if answer.readline() != GREETING:
        raise _no_shell(name)
    answer.readline()
    return answer.read()


def _no_shell(name: str) -> Unavailable:
    return Unavailable(name, "runs no commands", "ask its administrator, or use another machine")
