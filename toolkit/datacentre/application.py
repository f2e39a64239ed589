"""The gateway's requests, as an ASGI application: visits are posted, read and searched for; health and metrics are told.

The server puts the subject of the client's certificate into ``scope["client_name"]``: without one nothing is answered.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from toolkit.core.errors import InputOutput, NoInput, ToolError, TryLater, Unavailable, UsageError
from toolkit.datacentre import soap
from toolkit.datacentre.audit import Audit, Event
from toolkit.datacentre.faults import report
from toolkit.datacentre.gateway import Answer, Receiver
from toolkit.datacentre.limits import Rate, Room
from toolkit.datacentre.metrics import Metrics
from toolkit.datacentre.reading import Reader

PART_SECONDS = 30.0  # that a client may stay silent within a document, or take nothing of one
BODY_SECONDS = 300.0  # that it may take for the whole of it
_LINGER_SECONDS = 5.0  # for which the rest of a document that is too large is still taken, so that its sender reads why
_PORTION = 1 << 16  # bytes
_MESSAGE_ID = re.compile(r"[A-Za-z0-9._:-]{8,128}")
_CONTENT_TYPES = ("application/xml", "text/xml", "application/soap+xml")
_log = logging.getLogger(__name__)
_Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Parts:
    """What answers. `largest`: bytes of a document."""

    receiver: Receiver
    reader: Reader
    audit: Audit
    metrics: Metrics
    rate: Rate
    room: Room
    largest: int


def application(parts: Parts) -> Starlette:
    """The ASGI application: ``POST /visits``, ``GET /visits``, ``GET /visits/{id}``, ``GET /health`` and ``GET /metrics``, and HEAD."""

    async def post(request: Request) -> Response:
        answer, message_id = await _received(parts, request)
        if answer.status not in (200, 201, 409):  # those the receiver has taken down itself
            await _note(parts, request, "receive", answer.status, message_id)
        again = {503: "10", 507: "60"}.get(answer.status) or answer.said.get("retry_after")
        headers = {"Retry-After": again} if again else {}
        kind = _Lingering if answer.status == 413 else Response
        if answer.soap:
            content = soap.answer(answer.soap, answer.status, answer.said)
            return kind(content, answer.status, {**headers, "Content-Type": soap.CONTENT_TYPES[answer.soap]})
        return _json(answer.said, answer.status, headers, kind)

    async def read(request: Request) -> Response:
        visit, message_id = request.path_params["visit"], request.query_params.get("message", "")
        found = await asyncio.to_thread(parts.reader.find, visit, message_id)
        tag = f'"{found.digest}"'
        headers = {"ETag": tag, "X-Message-Id": found.message_id, "X-Received": found.received, "Content-Type": "application/xml"}
        same = tag in [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
        if same or request.method == "HEAD":
            response = Response(status_code=304 if same else 200, headers=headers)
            if not same:
                response.headers["Content-Length"] = str(found.size)
        else:
            response = _Portioned(await asyncio.to_thread(parts.reader.read, found), headers=headers)
        await _note(parts, request, "read", response.status_code, found.message_id, visit, found.digest, found.size)
        return response

    async def search(request: Request) -> Response:
        filters = dict(request.query_params)
        page, after = await asyncio.to_thread(parts.reader.search, filters)
        await _note(parts, request, "search", 200)
        following = f"/visits?{urlencode({**filters, 'after': after})}" if after else None
        return _json({"visits": page, "next": following})

    async def health(request: Request) -> Response:
        problems = parts.receiver.problems()
        return _json({"status": "failing" if problems else "ok", "problems": problems}, 503 if problems else 200)

    async def metrics(request: Request) -> Response:
        text = await asyncio.to_thread(parts.metrics.text)
        return Response(text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    def route(path: str, method: str, action: str, handler: _Handler) -> Route:
        return Route(path, _observed(parts, action, handler), methods=[method])

    return Starlette(
        routes=[
            route("/visits", "POST", "receive", post),
            route("/visits", "GET", "search", search),
            route("/visits/{visit}", "GET", "read", read),
            route("/health", "GET", "health", health),
            route("/metrics", "GET", "metrics", metrics),
        ]
    )


class _Portioned(Response):
    """An answer in portions, each when the client has taken those before it; one that takes none for long is cut off."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            for begin in range(0, len(self.body), _PORTION):
                async with asyncio.timeout(PART_SECONDS):
                    await send({"type": "http.response.body", "body": bytes(self.body[begin : begin + _PORTION]), "more_body": True})
        except TimeoutError:
            return  # without its end: the server closes the connection
        await send({"type": "http.response.body", "body": b""})


class _Lingering(Response):
    """An answer before the request is over. A connection that is closed while data arrives can be reset before the client reads the
    answer; so what comes is thrown away for a while."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers["Connection"] = "close"
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                    pass
        except TimeoutError:
            pass
        await send({"type": "http.response.body", "body": b""})


async def _received(parts: Parts, request: Request) -> tuple[Answer, str]:
    """The answer to a posted document, and its message id."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    version = "1.2" if kind == "application/soap+xml" else "1.1" if "soapaction" in request.headers else ""
    message_id = request.headers.get("x-message-id", "")

    def refused(status: int, problem: str, **more: str) -> tuple[Answer, str]:
        return Answer(status, {"error": problem, **more}, version), message_id

    if not _MESSAGE_ID.fullmatch(message_id):
        message_id = ""
        return refused(400, "X-Message-Id is missing or malformed: 8 to 128 letters, digits and ._:-")
    if kind not in _CONTENT_TYPES:
        return refused(415, f"the content must be one of {', '.join(_CONTENT_TYPES)}")
    if "content-encoding" in request.headers:
        return refused(415, "the content must not be compressed")
    too_large = f"the document is larger than {parts.largest} bytes"
    length = request.headers.get("content-length")
    if length is not None and int(length) > parts.largest:  # the server has checked that it is a number
        return refused(413, too_large)
    if parts.receiver.nearly_full():
        return refused(507, "the data centre's disk is nearly full; send it again later")
    client = request.scope["client_name"]
    wait = parts.rate.wait(client)
    if wait:
        return refused(429, "too many documents a second; send it again later", retry_after=str(wait))
    with parts.room.taken(int(length) if length is not None else parts.largest) as fits:
        if not fits:
            return refused(503, "too many documents at once; send it again later")
        body = bytearray()
        try:
            clock = asyncio.get_running_loop().time
            end = clock() + BODY_SECONDS
            async with asyncio.timeout(PART_SECONDS) as patience:
                async for part in request.stream():
                    patience.reschedule(min(clock() + PART_SECONDS, end))
                    body += part
                    if len(body) > parts.largest:
                        return refused(413, too_large)
        except ClientDisconnect:
            return refused(400, "the document ended early")
        except TimeoutError:
            return refused(408, "the document did not come in time")
        request.scope["received_bytes"] = len(body)
        answer = await parts.receiver.receive(message_id, client, _address(request), bytes(body))
    return Answer(answer.status, answer.said, answer.soap or version), message_id


def _observed(parts: Parts, action: str, handler: _Handler) -> _Handler:
    """The handler, with errors as answers of one line, and counted."""

    async def observed(request: Request) -> Response:
        began = time.monotonic()
        try:
            nobody = {"error": "the client certificate names nobody"}
            response = await handler(request) if request.scope.get("client_name") else _json(nobody, 403)
        except Exception as error:
            response = _failure(error)
            if action != "receive" and isinstance(error, NoInput | UsageError):
                await _note(parts, request, action, response.status_code, id=request.path_params.get("visit", "")[:200])
        parts.metrics.answered(action, response.status_code, time.monotonic() - began, request.scope.get("received_bytes", 0))
        return response

    return observed


def _failure(error: Exception) -> Response:
    if isinstance(error, NoInput):
        return _json({"error": f"{error.place}: {error.problem}"}, 404)
    if isinstance(error, UsageError):
        return _json({"error": str(error)}, 400)
    if isinstance(error, Unavailable | TryLater | InputOutput):
        _log.warning("%s", error)
        return _json({"error": "the data centre cannot read it at present; ask again later"}, 503, {"Retry-After": "10"})
    if isinstance(error, ToolError):
        _log.error("%s", error)
        return _json({"error": "the document cannot be read; the data centre has to run mdc-store verify"}, 500)
    report(_log, error, "one request was not answered")
    return _json({"error": "a fault of the data centre's program"}, 500)


async def _note(
    parts: Parts, request: Request, action: str, outcome: int, message_id: str = "", id: str = "", digest: str = "", size: int = 0
) -> None:
    """Into the audit log. What somebody read is on disk before it is sent; refusals follow with the next event that is synchronised."""
    parts.audit.write(Event(action, request.scope["client_name"], _address(request), outcome, message_id, id, digest, size))
    if action != "receive":
        await asyncio.to_thread(parts.audit.synchronise)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _json(content: object, status: int = 200, headers: dict[str, str] | None = None, kind: type[Response] = Response) -> Response:
    text = json.dumps(content, ensure_ascii=False) + "\n"
    return kind(text, status, {**(headers or {}), "Content-Type": "application/json"})
