"""The receiver's door: connections up to a limit, TLS handshakes each in a thread of its own, then associations."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import sys
import threading
import time
import warnings
from typing import Any, cast

from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from toolkit.core.dicom_network import no_delay, tls_failure
from toolkit.datacentre.faults import report
from toolkit.datacentre.images.instances import Keeper
from toolkit.datacentre.pacs.connections import Connection, put_to_sleep
from toolkit.datacentre.pacs.streaming import StreamingProvider
from toolkit.datacentre.tls import subject

HANDSHAKE_SECONDS = 10.0
IDLE_SECONDS = 120.0
ASKING_SECONDS = 20.0  # between a connection and what it asks for
_FINISH_SECONDS = 20.0  # that objects get which are complete when the receiver is ended
_QUIET_SECONDS = 60.0  # for which the same trouble with the same peer is not logged again
_log = logging.getLogger(__name__)


class Entity(AE):
    """pynetdicom's application entity, whose limit on associations counts those that asked for one, not those that only connected."""

    @property
    def active_associations(self) -> list[Association]:
        """Those that asked, and have not ended."""
        return [one for one in super().active_associations if one.requestor.primitive is not None]


class Quiet:
    """A log that says the same of the same peer once a minute: one that tries again and again does not fill it."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def warn(self, peer: str, words: str) -> None:
        """One line, ``PEER: WORDS``, unless it was said just now."""
        now = time.monotonic()
        with self._lock:
            if now - self._said.get((peer, words), -_QUIET_SECONDS) < _QUIET_SECONDS:
                return
            self._said = {key: at for key, at in self._said.items() if now - at < _QUIET_SECONDS}
            self._said[peer, words] = now
        _log.warning("%s: %s", peer, words)


class Handler(RequestHandler):
    """An association with our provider and connection."""

    server: Server

    def _create_association(self) -> Association:
        assoc = super()._create_association()
        request, news = cast(Any, self.request), threading.Event()
        client = subject(request.getpeercert()) if isinstance(request, ssl.SSLSocket) else ""
        connection, provider = Connection(assoc, request, client), StreamingProvider(assoc, self.server.keeper, news)
        put_to_sleep(assoc, connection, news)
        assoc.dimse = provider
        run = assoc.run

        def run_and_leave() -> None:
            try:
                run()
            finally:
                connection.hang_up()
                assoc.dul.kill_dul()
                assoc.dul.join(_FINISH_SECONDS)
                provider.end()
                if not assoc.dul.is_alive():
                    connection.finish()
                self.server.left(request)

        cast(Any, assoc).run = run_and_leave
        self.server.entered(request, assoc)
        return assoc


class Server(ThreadedAssociationServer):
    """pynetdicom's, with at most `connections` at once; `tls` may be replaced at any time."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, *words: Any, keeper: Keeper, tls: ssl.SSLContext | None, connections: int, **more: Any) -> None:
        self.keeper, self.tls, self.quiet = keeper, tls, Quiet()
        self._most, self._lock = connections, threading.Lock()
        self._open: dict[Any, Association | None] = {}
        more["request_handler"] = Handler
        super().__init__(*words, **more)

    @property
    def connections(self) -> int:
        """How many there are, with those that did not ask for anything yet."""
        return len(self._open)

    def get_request(self) -> Any:
        """The next connection. When there are too many open files, listening goes on a little later."""
        try:
            return super().get_request()
        except OSError as error:
            self.quiet.warn("a peer", f"cannot be let in: {error.strerror}")
            time.sleep(0.1)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Let a connection in, unless there are too many."""
        with self._lock:
            room = len(self._open) < self._most
            if room:
                self._open[request] = None
        if not room:
            request.close()
            self.quiet.warn(str(client_address[0]), f"is turned away: there are {self._most} connections already")
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As the base class does it, after the handshake."""
        plain = request
        try:
            no_delay(request)
            if self.tls is not None:
                request.settimeout(HANDSHAKE_SECONDS)
                request = self.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
                with self._lock:
                    self._open[request] = self._open.pop(plain)
                plain = request
                deadline = threading.Timer(HANDSHAKE_SECONDS, _shut, [request])  # also for one that sends a byte now and then
                deadline.daemon = True
                deadline.start()
                try:
                    request.do_handshake()
                finally:
                    deadline.cancel()
            request.settimeout(self.ae.network_timeout)
        except (OSError, ValueError) as error:
            self.quiet.warn(str(client_address[0]), "; ".join(tls_failure(error)))
            _shut(request)
            request.close()
            self.left(plain)
            return
        super().process_request_thread(request, client_address)
        with self._lock:
            failed = self._open.get(request, "") is None
        if failed:  # no association came of it
            self.left(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A fault of ours, in one line instead of a traceback."""
        error = sys.exc_info()[1]
        if error is not None:
            report(_log, error, "a connection was lost")
        self.left(request)

    def entered(self, request: Any, assoc: Association) -> None:
        """A connection has become an association's."""
        with self._lock:
            self._open[request] = assoc

    def left(self, request: Any) -> None:
        """A connection has ended."""
        with self._lock:
            self._open.pop(request, None)

    def end(self) -> None:
        """Accept nobody any more; let objects that are complete be kept and answered, abort the rest."""
        self.shutdown()
        with self._lock:
            left = dict(self._open)
        for request, assoc in left.items():
            if assoc is not None and assoc.is_established:
                cast(StreamingProvider, assoc.dimse).close()
            else:
                _shut(request)
        deadline = time.monotonic() + _FINISH_SECONDS
        for assoc in left.values():
            if assoc is not None and assoc.is_alive():
                assoc.join(max(0.0, deadline - time.monotonic()))


def _shut(connection: Any) -> None:
    with contextlib.suppress(OSError, ValueError):
        connection.shutdown(socket.SHUT_RDWR)


def accept_every_storage_class() -> None:
    """Let pynetdicom take any SOP class and transfer syntax, and say nothing of what it sees: its settings are the process's, and its
    messages hold peers' words."""
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    for name in ("pynetdicom", "pydicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        warnings.filterwarnings("ignore", module=name)
