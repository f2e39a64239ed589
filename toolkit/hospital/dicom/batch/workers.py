"""Batches of files worked on by several processes; a process that is killed takes nothing with it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait

from toolkit.core import forking
from toolkit.core.errors import ToolError
from toolkit.hospital.dicom.batch.chain import Chain
from toolkit.hospital.dicom.batch.files import Input
from toolkit.hospital.dicom.batch.outcome import Outcome
from toolkit.hospital.dicom.cleaning.quarantine import Quarantine, Reason

logger = logging.getLogger(__name__)

_Failure = tuple[type[ToolError], str, str, str]


class _Worker:
    """A process, and the batches it has that are not settled."""

    def __init__(self, chain: Chain, others: list[_Worker]) -> None:
        self.connection, theirs = forking.context.Pipe()
        inherited = [self.connection, *(other.connection for other in others)]
        # The chain is made once and inherited; the connections to journal and vault are opened in each process.
        self.process = forking.forked(_work, chain, theirs, inherited, os.getpid())
        theirs.close()
        self.files: list[Input] = []
        self.last = False

    def give(self, batch: list[Input] | None, settle: bool) -> None:
        """Hand over a batch; None, with `settle`, asks for the last word."""
        self.files += batch or []
        self.last = batch is None
        with contextlib.suppress(OSError):  # it has died: its connection is ready with its end, and the files are still its own
            self.connection.send((batch or [], settle))

    def result(self) -> Outcome | None:
        """What the process says; None when it died instead. Raises the ToolError that it ended with."""
        try:
            said: tuple[Outcome, bool] | _Failure = self.connection.recv()
        except (EOFError, OSError):
            return None
        if len(said) == 2:
            if said[1]:
                self.files.clear()
            return said[0]
        kind, place, problem, remedy = said
        raise kind(place, problem, remedy)

    def dismiss(self) -> None:
        """Let the process end, and wait for it."""
        self.connection.close()
        self.process.join()

    def end(self) -> str:
        """How the process ended."""
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def each(chain: Chain, batches: Iterator[list[Input]], number: int) -> Iterator[Outcome]:
    """The outcomes of `batches`, done by `number` processes, in the order in which they come.

    Files whose process was killed, because memory ran out for instance, are done again one at a time; a file that costs a second process
    its life goes to quarantine. Raises the ToolError that a process ended with.
    """
    workers: list[_Worker] = []
    again: deque[Input] = deque()

    def feed(worker: _Worker) -> None:
        if again:
            worker.give([again.popleft()], settle=True)
        else:
            batch = next(batches, None)
            worker.give(batch, settle=batch is None)

    try:
        for _ in range(number):
            workers.append(_Worker(chain, workers))
            feed(workers[-1])
        while workers:
            ready = wait([worker.connection for worker in workers])
            for worker in [worker for worker in workers if worker.connection in ready]:
                outcome = worker.result()
                if outcome is not None:
                    yield outcome
                    if not worker.last or again:
                        feed(worker)
                        continue
                workers.remove(worker)
                worker.dismiss()
                if worker.files:
                    yield from _lost(chain, worker, again)
                    workers.append(_Worker(chain, workers))
                    feed(workers[-1])
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.dismiss()


def _lost(chain: Chain, worker: _Worker, again: deque[Input]) -> Iterator[Outcome]:
    """A process was killed: its files are to be done again; the only one it had goes to quarantine."""
    if len(worker.files) > 1:
        logger.info("a process ended by %s; its %d files are done again one by one", worker.end(), len(worker.files))
        again.extend(worker.files)
        return
    outcome = Outcome()
    item = worker.files[0]
    why = Quarantine(Reason.INTERNAL, f"the process that worked on it ended by {worker.end()}", "give it more memory, or fewer --jobs")
    chain.put_into_quarantine(item, chain.key(item), why, outcome)
    yield outcome


def _work(chain: Chain, connection: Connection, inherited: list[Connection], parent: int) -> None:
    """The life of a process: a batch in, an outcome out, until the connection ends."""
    for other in inherited:
        other.close()  # with a copy of its end in here, another process would not notice that the parent is gone
    chain.wanted = lambda: os.getppid() == parent
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # nobody is left to be told
        try:
            with chain.connected(), contextlib.suppress(EOFError):
                while True:
                    batch, settle = connection.recv()
                    connection.send((chain.process(batch, settle), chain.settled))
        except ToolError as error:
            connection.send((type(error), error.place, error.problem, error.remedy))
