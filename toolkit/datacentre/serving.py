"""The gateway as an HTTPS server: uvicorn's protocol and application, our own way of letting clients in.

uvicorn says nothing of handshakes that fail, has no limit on how long a client takes for them or for a request's head, and cannot
change certificates; so connections are accepted here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from toolkit.core.errors import NotPermitted, ToolError, Unavailable, UsageError
from toolkit.datacentre.application import Parts, application
from toolkit.datacentre.faults import report
from toolkit.datacentre.tls import ServerContext, explained, server_context, subject

HANDSHAKE_SECONDS = 10.0
HEAD_SECONDS = 20.0  # for a request's line and headers
IDLE_SECONDS = 75.0  # between two requests
FINISH_SECONDS = 30.0  # that running requests get when the gateway is ended
_LARGEST_HEAD = 1 << 16  # bytes
_WARNING_DAYS = 14
_CARE_SECONDS = 5.0  # between two rounds of what has to be done all the time
_QUIET_SECONDS = 60.0  # for which the same failure of the same client is not logged again
_ALERT_SECONDS = 2.0  # for the last words on a connection
_PLAIN_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 29\r\n\r\nThis port speaks HTTPS only.\n"
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Door:
    """Where clients come in: an address, PEM files of our certificate, its key and the clients' authority, and how many connections
    there may be at once."""

    host: str
    port: int
    cert: str
    key: str
    client_ca: str
    connections: int

    def context(self) -> ServerContext:
        """The files as they are now, with a warning when our certificate ends soon. Raises what `server_context` raises."""
        context = server_context(self.cert, self.key, self.client_ca)
        left = context.days_left()
        if left < _WARNING_DAYS:
            ends = f"ends within {left + 1} days" if left >= 0 else "has expired, and clients refuse it"
            _log.warning("%s: %s; renew it, then send SIGHUP", self.cert, ends)
        return context


def bound(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of `host`; nothing is accepted yet.

    Raises UsageError when there is no such host, Unavailable when another program has the port, NotPermitted when we may not have it.
    """
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise UsageError("--listen", f"{host}: {error.strerror}", "name an address of this machine") from error
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sockets.append(one := socket.socket(family, kind, protocol))
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
    except OSError as error:
        for one in sockets:
            one.close()
        if isinstance(error, PermissionError):
            raise NotPermitted(place, error.strerror or "not permitted", "take a port from 1024 on") from error
        remedy = "end the other program, or choose another port with --listen"
        raise Unavailable(place, os.strerror(error.errno or 0) if error.errno else str(error), remedy) from error
    return sockets


def serve(parts: Parts, door: Door, context: ServerContext, sockets: Sequence[socket.socket]) -> None:
    """Serve until SIGTERM, which is a good end, or SIGINT (KeyboardInterrupt); both let running requests finish.

    SIGHUP loads certificates and opens the audit log anew. `context` and `sockets` are what `Door.context` and `bound` gave.
    """
    settings: dict[str, Any] = {"log_config": None, "access_log": False, "lifespan": "off", "ws": "none", "server_header": False}
    # uvicorn's own clock for idle connections is off: `_Protocol.overdue` minds those that never ask, too
    settings |= {"timeout_keep_alive": 86_400, "timeout_graceful_shutdown": int(FINISH_SECONDS), "proxy_headers": False}
    server = _Server(uvicorn.Config(application(parts), http=_Protocol, **settings), parts, door, context, sockets)
    server.run()
    if signal.SIGINT in server.signals:
        raise KeyboardInterrupt


class _Protocol(HttpToolsProtocol):
    """uvicorn's, and who the client is, and how long and how large its request's head has become."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._name = subject(transport.get_extra_info("peercert"))
        self.heard = time.monotonic()
        self._begun, self._head = 0.0, 0

    def data_received(self, data: bytes) -> None:
        self.heard = time.monotonic()
        super().data_received(data)
        if self._begun:
            self._head += len(data)
            if self._head > _LARGEST_HEAD:
                self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["client_name"] = self._name  # type: ignore[typeddict-unknown-key]
        self._begun, self._head = time.monotonic(), 0

    def on_headers_complete(self) -> None:
        self._begun = 0.0
        super().on_headers_complete()

    def overdue(self, now: float) -> bool:
        """Whether the client is too slow with a request's head, or silent while nothing of its is being done."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy:  # what the client has not taken yet of an answer that is through is lost with its connection
            self.heard = now
        return (self._begun > 0 and now - self._begun > HEAD_SECONDS) or now - self.heard > IDLE_SECONDS


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, parts: Parts, door: Door, context: ServerContext, sockets: Sequence[socket.socket]) -> None:
        super().__init__(config)
        self._parts, self._door, self._context, self._sockets = parts, door, context, sockets
        self.signals: list[int] = []
        self._coming = 0  # connections that are not with uvicorn yet
        self._tasks: set[asyncio.Task[None]] = set()
        self._said: dict[tuple[str, str], float] = {}

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's own, which dies of SIGTERM in the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._leave, number)
        loop.add_signal_handler(signal.SIGHUP, self._renew)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        await self._parts.receiver.start()
        self._parts.metrics.watch_door(self.connections, lambda: self._context.days_left())
        self.servers = []
        for one in self._sockets:
            one.listen(1024)
            self._spawn(self._accept(one))
        self._spawn(self._every(_CARE_SECONDS, self._sweep))
        # a task of its own: the index may keep it waiting
        self._spawn(self._every(_CARE_SECONDS, lambda: asyncio.to_thread(self._parts.receiver.look_after)))
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in self._sockets:
            one.close()
        await super().shutdown()
        await self._parts.receiver.end()

    def connections(self) -> int:
        """How many there are, with those that have not shown their certificate yet."""
        return self._coming + len(self.server_state.connections)

    def _leave(self, number: int) -> None:
        self.signals.append(number)
        self.should_exit = True
        if len(self.signals) > 1 and number == signal.SIGINT:
            self.force_exit = True

    def _renew(self) -> None:
        try:
            self._context = self._door.context()
            self._parts.audit.reopen()
        except ToolError as error:
            _log.error("%s; the old one is used on", error)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            report(_log, error, "a connection was lost")

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, address = await loop.sock_accept(listening)
            except OSError as error:  # too many open files, or a client that went before it was let in
                self._complain("a client", "not accepted", f"cannot be let in: {error.strerror}")
                await asyncio.sleep(0.1)
                continue
            if self.connections() >= self._door.connections:
                client.close()
                self._complain(address[0], "too many", f"is turned away: there are {self._door.connections} connections already")
                continue
            self._coming += 1
            self._spawn(self._let_in(client, address[0]))

    async def _let_in(self, client: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        last_words = None
        try:
            last_words = client.dup()  # the loop closes its own when the handshake fails
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            patience = {"ssl_handshake_timeout": HANDSHAKE_SECONDS, "ssl_shutdown_timeout": _ALERT_SECONDS}
            await loop.connect_accepted_socket(self._protocol, client, ssl=self._context, **patience)
        except OSError as error:  # TimeoutError and SSLError, too
            reason, words = explained(error)
            self._complain(address, reason, words)
            with contextlib.suppress(OSError):
                alert = _PLAIN_ANSWER if reason == "plain HTTP" else getattr(error, "alert", b"")
                if last_words is None:  # too many open files
                    client.close()
                else:
                    await asyncio.wait_for(_say_and_wait(last_words, alert), _ALERT_SECONDS)
        finally:
            if last_words is not None:
                last_words.close()
            self._coming -= 1

    def _protocol(self) -> _Protocol:
        return _Protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _complain(self, address: str, reason: str, words: str) -> None:
        """One line for each client and reason a minute: a client that tries again and again does not fill the log."""
        self._parts.metrics.refused(reason)
        now = time.monotonic()
        if now - self._said.get((address, words), -_QUIET_SECONDS) < _QUIET_SECONDS:
            return
        self._said = {key: at for key, at in self._said.items() if now - at < _QUIET_SECONDS}
        self._said[address, words] = now
        level = logging.INFO if reason in ("hung up", "silence") else logging.WARNING
        _log.log(level, "%s: %s", address, words)

    async def _every(self, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except Exception as error:  # a gateway whose care has ended would go on uncared for
                report(_log, error, "it is tried again")
            await asyncio.sleep(seconds)

    async def _sweep(self) -> None:
        """Close what is overdue."""
        now = time.monotonic()
        for connection in list(self.server_state.connections):
            if isinstance(connection, _Protocol) and connection.overdue(now):
                connection.transport.abort()


async def _say_and_wait(client: socket.socket, words: bytes) -> None:
    """Say the last words and wait until the client has heard them: closing at once would reset the connection."""
    if not words:
        return
    loop = asyncio.get_running_loop()
    client.setblocking(False)
    await loop.sock_sendall(client, words)
    client.shutdown(socket.SHUT_WR)
    while await loop.sock_recv(client, 1 << 16):
        pass
