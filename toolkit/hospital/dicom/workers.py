"""Batches of files worked on by several processes; a process that is killed takes nothing with it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from toolkit.core.errors import ToolError
from toolkit.hospital.dicom.chain import Chain, Outcome
from toolkit.hospital.dicom.files import Input
from toolkit.hospital.dicom.quarantine import Quarantine, Reason

logger = logging.getLogger(__name__)

# The chain is made once and inherited; the connections to journal and vault are opened in each process.
_processes = multiprocessing.get_context("fork")
_Failure = tuple[type[ToolError], str, str, str]


class _Worker:
    """A process and the batch it has."""

    def __init__(self, chain: Chain, others: list[_Worker]) -> None:
        self.connection, theirs = _processes.Pipe()
        inherited = [self.connection, *(other.connection for other in others)]
        self.process: BaseProcess = _processes.Process(target=_work, args=(chain, theirs, inherited, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()
        self.batch: list[Input] = []

    def give(self, batch: list[Input]) -> None:
        self.batch = batch
        self.connection.send(batch)


def each(chain: Chain, batches: Iterator[list[Input]], number: int) -> Iterator[Outcome]:
    """The outcomes of `batches`, done by `number` processes, in the order in which they come.

    A batch whose process was killed, because memory ran out for instance, is done again one file at a time; a file that costs a second process its life goes
    to quarantine. Raises the ToolError that a process ended with.
    """
    workers: list[_Worker] = []
    again: deque[list[Input]] = deque()

    def following() -> list[Input] | None:
        return again.popleft() if again else next(batches, None)

    try:
        while True:
            while len(workers) < number and (batch := following()) is not None:
                worker = _Worker(chain, workers)
                workers.append(worker)
                _hand_over(worker, batch)
            if not workers:
                return
            ready = wait([worker.connection for worker in workers])
            for worker in [worker for worker in workers if worker.connection in ready]:
                outcome = _result(worker)
                if outcome is not None:
                    batch = following()
                    if batch is None:
                        workers.remove(worker)
                        _dismiss(worker)
                    else:
                        _hand_over(worker, batch)
                    yield outcome
                    continue
                workers.remove(worker)
                _dismiss(worker)
                if len(worker.batch) > 1:
                    logger.info("a process was killed (%s); its %d files are done again one by one", _how(worker), len(worker.batch))
                    again.extend([item] for item in worker.batch)
                else:
                    yield _lost(chain, worker)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            _dismiss(worker)


def _hand_over(worker: _Worker, batch: list[Input]) -> None:
    try:
        worker.give(batch)
    except OSError:
        pass  # it died between two batches: the connection is ready with its end, and the batch is still its own


def _result(worker: _Worker) -> Outcome | None:
    """What the process says of its batch; None when it died instead."""
    try:
        said: Outcome | _Failure = worker.connection.recv()
    except (EOFError, OSError):
        return None
    if isinstance(said, Outcome):
        return said
    kind, place, problem, remedy = said
    raise kind(place, problem, remedy)


def _dismiss(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.join()


def _how(worker: _Worker) -> str:
    code = worker.process.exitcode or 0
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _lost(chain: Chain, worker: _Worker) -> Outcome:
    outcome = Outcome()
    item = worker.batch[0]
    why = Quarantine(Reason.INTERNAL, f"the process that worked on it ended by {_how(worker)}", "give it more memory, or fewer --jobs")
    chain.put_into_quarantine(item, chain.key(item), why, outcome)
    return outcome


def _work(chain: Chain, connection: Connection, inherited: list[Connection], parent: int) -> None:
    """The life of a process: a batch in, an outcome out, until the connection ends."""
    # Interrupts are the parent's to handle: it ends its processes by SIGTERM, which needs no cleaning up here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for other in inherited:
        other.close()  # with a copy of its end in here, another process would not notice that the parent is gone
    chain.wanted = lambda: os.getppid() == parent
    try:
        with chain.connected():
            while True:
                try:
                    batch = connection.recv()
                except EOFError:
                    return
                connection.send(chain.process(batch))
    except ToolError as error:
        connection.send((type(error), error.place, error.problem, error.remedy))
    except OSError:
        if os.getppid() == parent:
            raise
