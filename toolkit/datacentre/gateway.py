"""The data centre's receiver of visits: an ASGI application. A document is acknowledged when spool and index hold it on disk.

Requests that wait at the same time share one fsync of the spool and one transaction of the index.
"""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from toolkit.core.errors import BadData, ToolError
from toolkit.core.xml import parse_safely
from toolkit.datacentre.index import Document, Index
from toolkit.datacentre.personal_data import find_personal_data
from toolkit.datacentre.spool import Entry, Spool

LARGEST = 64 << 20  # bytes of a document
_MESSAGE_ID = re.compile(r"[A-Za-z0-9._:-]{8,128}")
_VISIT = "{urn:hl7-org:v3}componentOf/{urn:hl7-org:v3}encompassingEncounter/{urn:hl7-org:v3}id"
_Answer = tuple[int, dict[str, str]]


class Receiver:
    """Takes documents into `spool` and `index`, many at once."""

    def __init__(self, spool: Spool, index: Index, largest: int = LARGEST) -> None:
        self._spool, self._index, self.largest = spool, index, largest
        self._waiting: list[tuple[Entry, asyncio.Future[_Answer]]] = []
        self._working: asyncio.Task[None] | None = None

    async def receive(self, message_id: str, client: str, body: bytes) -> _Answer:
        """The HTTP status and the answer for one document: 201 new, 200 known, 409 another one under its message id, 400, 422 or 503."""
        try:
            visit = await run_in_threadpool(checked_visit, body, self.largest)
        except BadData as error:
            return 422 if error.place == "personal data" else 400, {"error": str(error)}
        received = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((Entry(message_id, visit, client, received, body), future))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._commit())
        return await future

    async def _commit(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting, []
            try:
                answers = await run_in_threadpool(self._keep, [entry for entry, _ in some])
            except Exception as error:  # whatever it was: nobody may wait for ever, and nothing was acknowledged
                problem = str(error) if isinstance(error, ToolError) else "internal error"
                answers = [(503, {"error": problem})] * len(some)
            for (_, future), answer in zip(some, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    def _keep(self, entries: list[Entry]) -> list[_Answer]:
        known = {document.message_id: document for document in self._index.messages(entry.message_id for entry in entries)}
        new = [entry for entry in entries if entry.message_id not in known]
        receipts = self._spool.add_all(new) if new else []
        documents = [
            Document(one.message_id, one.mdc_visit, receipt.digest, len(one.body), one.client, one.received, receipt.place)
            for one, receipt in zip(new, receipts, strict=True)
        ]
        standing = iter(zip(documents, self._index.add(documents) if documents else [], strict=True))
        answers = []
        for entry in entries:
            mine, held = (None, known[entry.message_id]) if entry.message_id in known else next(standing)
            if held.digest != entry.digest or held.mdc_visit != entry.mdc_visit:
                answers.append((409, {"error": "another document came with this message id"}))
                continue
            answer = {"id": held.mdc_visit, "message_id": held.message_id, "digest": held.digest, "received": held.received}
            answers.append((201 if mine == held else 200, answer))
        return answers


def checked_visit(body: bytes, largest: int = LARGEST) -> str:
    """The pseudonym of the document's visit. Raises BadData when it is no CDA document with one visit, or holds personal data."""
    tree = parse_safely(body, "document", largest)
    ids = [one.get("extension") for one in tree.getroot().findall(_VISIT) if one.get("extension")]
    if tree.getroot().tag != "{urn:hl7-org:v3}ClinicalDocument" or len(ids) != 1:
        raise BadData("document", "is no ClinicalDocument with one visit id", "send documents that hl7-send made")
    if found := find_personal_data(tree):
        raise BadData("personal data", "; ".join(found[:5]), "correct the profile and rebuild the document")
    return str(ids[0])


def application(receiver: Receiver) -> Starlette:
    """The ASGI application: ``POST /visits`` and ``GET /health``. The server puts the certificate's subject into scope["client_name"]."""

    async def post(request: Request) -> JSONResponse:
        message_id = request.headers.get("x-message-id", "")
        if not _MESSAGE_ID.fullmatch(message_id):
            return JSONResponse({"error": "X-Message-Id is missing or malformed"}, 400)
        if request.headers.get("content-type", "").split(";")[0].strip() not in ("application/xml", "text/xml"):
            return JSONResponse({"error": "the content is not application/xml"}, 415)
        client: Any = request.scope.get("client_name")
        if not client:
            return JSONResponse({"error": "no client certificate"}, 403)
        body = bytearray()
        try:
            async for part in request.stream():
                body += part
                if len(body) > receiver.largest:
                    return JSONResponse({"error": f"larger than {receiver.largest} bytes"}, 413)
        except ClientDisconnect:
            return JSONResponse({"error": "the document ended early"}, 400)
        status, answer = await receiver.receive(message_id, client, bytes(body))
        return JSONResponse(answer, status, {"Retry-After": "10"} if status == 503 else None)

    async def health(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    return Starlette(routes=[Route("/visits", post, methods=["POST"]), Route("/health", health)])
