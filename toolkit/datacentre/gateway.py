"""The data centre's receiver of visits: a document is acknowledged when spool, index and audit log hold it on disk.

Documents that wait at the same time share one fsync of the spool, one transaction of the index and one fsync of the audit log.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from toolkit.core.errors import InputOutput, ToolError, Unavailable
from toolkit.datacentre.audit import Audit, Event
from toolkit.datacentre.faults import report
from toolkit.datacentre.index import Document, Index
from toolkit.datacentre.looking import Workers
from toolkit.datacentre.metrics import Metrics
from toolkit.datacentre.spool import Entry, Spool

RESERVE = 512 << 20  # bytes of the spool's disk that stay free, for the index and the packer
_PART_FREE = 0.05  # of a small disk
_GATHER_SECONDS = 0.015  # that a document waits for others, when others are on their way
_PROBE_SECONDS = 30.0  # after which an index that gives no answer counts as failing, and a failure as old
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"  # texts that sort as the times do
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """An HTTP status and what is said with it; `soap` is the version of the envelope that the question came in."""

    status: int
    said: dict[str, str] = field(default_factory=dict)
    soap: str = ""


class Receiver:
    """Takes documents into `spool`, `index` and `audit`, many at once, after `workers` have looked at them."""

    def __init__(self, spool: Spool, index: Index, audit: Audit, metrics: Metrics, workers: Workers) -> None:
        self._spool, self._index, self._audit, self._metrics, self._workers = spool, index, audit, metrics, workers
        self._waiting: list[tuple[Entry, str, asyncio.Future[Answer]]] = []
        self._looking = 0
        self._working: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "commit")
        self._index_answered, self._index_problem = time.monotonic(), ""
        self._failure, self._failed_at = "", 0.0

    async def start(self) -> None:
        """Raises Unavailable when the workers do not start."""
        await self._workers.start()

    async def end(self) -> None:
        """After the last document: wait for what is being written, and let the workers end."""
        await asyncio.to_thread(self._thread.shutdown)
        await self._workers.close()

    async def receive(self, message_id: str, client: str, address: str, data: bytes) -> Answer:
        """The answer to one document: 201 new, 200 known, 409 another one under its message id, 400 malformed, 422 personal data found,
        503 or 507 not kept because something here fails."""
        self._looking += 1
        try:
            looked = await self._workers.look(data)
        except Unavailable as error:
            return Answer(503, {"error": str(error)})
        finally:
            self._looking -= 1
        if looked.status:
            return Answer(looked.status, {"error": looked.problem}, looked.soap)
        body = data if looked.end - looked.begin == len(data) else data[looked.begin : looked.end]
        received = datetime.now(UTC).strftime(_TIME)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((Entry(message_id, looked.visit, client, received, body), address, future))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._commit())
        answer = await future
        return Answer(answer.status, answer.said, looked.soap)

    def problems(self) -> list[str]:
        """Why documents cannot be kept at present; empty when all is well."""
        found = [self._failure] if self._failure and time.monotonic() - self._failed_at < _PROBE_SECONDS else []
        if self.nearly_full():
            found.append("the spool's disk is nearly full")
        if self._index_problem:
            found.append(f"the index cannot be written: {self._index_problem}")
        elif time.monotonic() - self._index_answered > _PROBE_SECONDS:
            found.append("the index gives no answer")
        return found

    def nearly_full(self) -> bool:
        """Whether less of the spool's disk is free than has to be."""
        disk = shutil.disk_usage(self._spool.directory)
        return disk.free < min(RESERVE, disk.total * _PART_FREE)

    def look_after(self) -> None:
        """What has to be done every few seconds, in a thread: whether the index can be written, the spool's segment, the audit log."""
        self._spool.end_old_segment()
        try:
            self._index.add([])  # begins a writer's transaction
            self._index_answered, self._index_problem = time.monotonic(), ""
        except ToolError as error:
            if self._index_problem != error.problem:
                _log.error("%s", error)
            self._index_problem = error.problem
        try:
            self._audit.synchronise()
        except InputOutput as error:
            self._failed(error)

    async def _commit(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            if self._looking:  # more are coming: what they share costs each of them less
                await asyncio.sleep(_GATHER_SECONDS)
            some, self._waiting = self._waiting, []
            try:
                answers = await loop.run_in_executor(self._thread, self._keep, [entry for entry, _, _ in some], [at for _, at, _ in some])
                self._failure = ""
            except Exception as error:  # whatever it was: nobody may wait for ever, and nothing was acknowledged
                answers = [self._failed(error)] * len(some)
            for (_, _, future), answer in zip(some, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    def _failed(self, error: Exception) -> Answer:
        """The answer for documents that were not kept. Our paths and addresses are for the log, not for clients."""
        problem = "documents cannot be written" if isinstance(error, InputOutput) else "documents cannot be kept"
        if not self._failure:  # once, not for each of thousands
            if isinstance(error, ToolError):
                _log.error("%s; clients are told to wait", error)
            else:
                report(_log, error, "clients are told to wait")
        self._failure, self._failed_at = problem, time.monotonic()
        return Answer(507 if isinstance(error, InputOutput) else 503, {"error": f"{problem} at present; send it again later"})

    def _rising(self, entries: list[Entry], known: Container[str]) -> list[Entry]:
        """The entries, the new ones later than all of their visit: a clock that was set back must not hide a correction behind what it
        corrects."""
        latest: dict[str, str] = {}
        found = []
        for entry in entries:
            if entry.message_id not in known:
                visit = entry.mdc_visit
                if visit not in latest:
                    latest[visit] = max((one.received for one in self._index.find(visit)), default="")
                if entry.received <= latest[visit]:
                    later = datetime.strptime(latest[visit], _TIME) + timedelta(microseconds=1)
                    entry = replace(entry, received=later.strftime(_TIME))
                latest[visit] = entry.received
            found.append(entry)
        return found

    def _keep(self, entries: list[Entry], addresses: list[str]) -> list[Answer]:
        known = {document.message_id: document for document in self._index.messages(entry.message_id for entry in entries)}
        entries = self._rising(entries, known)
        new = [entry for entry in entries if entry.message_id not in known]
        receipts = self._spool.add_all(new) if new else []
        documents = [
            Document(one.message_id, one.mdc_visit, receipt.digest, len(one.body), one.client, one.received, receipt.place)
            for one, receipt in zip(new, receipts, strict=True)
        ]
        standing = iter(zip(documents, self._index.add(documents) if documents else [], strict=True))
        answers = []
        for entry, address in zip(entries, addresses, strict=True):
            if entry.message_id in known:
                digest, fresh, held = entry.digest, False, known[entry.message_id]
            else:
                mine, held = next(standing)
                digest, fresh = mine.digest, mine == held
            if held.digest != digest or held.mdc_visit != entry.mdc_visit:
                answer = Answer(409, {"error": f"{entry.message_id}: another document came with this message id; it is not kept"})
            else:
                said = {"id": held.mdc_visit, "message_id": held.message_id, "digest": held.digest, "received": held.received}
                answer = Answer(201 if fresh else 200, said)
            answers.append(answer)
            event = Event("receive", entry.client, address, answer.status, entry.message_id, entry.mdc_visit, digest, len(entry.body))
            self._audit.write(event)
        self._audit.synchronise()
        self._metrics.committed(len(entries))
        return answers
