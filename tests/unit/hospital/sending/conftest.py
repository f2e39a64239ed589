"""A data centre on loopback: HTTP over real TLS, which asks for client certificates and does as the test says."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .authority import Authority

Reply = tuple[int, dict[str, str], bytes]


def acknowledge(message_id: str, document: bytes) -> Reply:
    said = {"id": "k1.X", "message_id": message_id, "digest": "sha256:" + sha256(document).hexdigest(), "received": "2026-01-01T00:00:00Z"}
    return 201, {}, json.dumps(said).encode()


class DataCentre:
    """What arrived, and how the next request is answered: a function, or "hang up" or "say nothing"."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.connections = 0
        self.answer: Callable[[str, bytes], Reply] | str = acknowledge
        self.port = 0
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


def _handler(centre: DataCentre) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            centre.connections += 1
            super().setup()

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            document = self.rfile.read(length)
            if len(document) < length:  # the sender was killed on the way: nothing has arrived
                self.close_connection = True
                return
            name = self.headers["X-Message-Id"]
            centre.received.append((name, document))
            if centre.answer == "say nothing":
                centre.released.wait(30)
            if isinstance(centre.answer, str):
                self.close_connection = True
                return
            status, headers, body = centre.answer(name, document)
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    context: ssl.SSLContext | None = None
    daemon_threads = True

    def finish_request(self, request: Any, client_address: Any) -> None:  # in the request's own thread, as a real server does
        if self.context is None:
            super().finish_request(request, client_address)
            return
        with contextlib.suppress(OSError), self.context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None) -> Iterator[DataCentre]:
    centre = DataCentre()
    with _Server(("127.0.0.1", 0), _handler(centre)) as server:
        server.context, centre.port = context, server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield centre
        finally:
            centre.released.set()
            server.shutdown()
            thread.join()


def server_context(certificate: Path, client_ca: Path | None, highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.maximum_version = highest
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The data centre's authority; localhost.pem and hospital.pem are signed by it."""
    made = Authority(tmp_path_factory.mktemp("certificates"), "authority")
    made.certificate("localhost", ("localhost", "127.0.0.1"))
    made.certificate("hospital", client=True)
    return made


@pytest.fixture
def centre(authority: Authority) -> Iterator[DataCentre]:
    with serving(server_context(authority.directory / "localhost.pem", authority.path)) as running:
        yield running
