"""The gateway as an HTTPS server: mutual TLS 1.2 or newer (BCP 195); who asks is the subject of the client's certificate."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from toolkit.core.errors import NoInput
from toolkit.datacentre.gateway import Receiver, application
from toolkit.datacentre.index import Index
from toolkit.datacentre.pack import recover
from toolkit.datacentre.spool import Spool


class _Protocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        certificate = self.transport.get_extra_info("peercert") or {}
        named = (f"{name}={value}" for part in certificate.get("subject", ()) for name, value in part)
        self.scope["client_name"] = ",".join(named)  # type: ignore[typeddict-unknown-key]


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT let running requests finish; unlike uvicorn's own, SIGTERM is then a good end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield
        if signal.SIGINT in self._captured_signals:
            raise KeyboardInterrupt


def serve(spool: Spool, index: Index, host: str, port: int, cert: str, key: str, client_ca: str) -> None:
    """Serve until a signal ends it, after what a killed one left in the spool is in the index. `cert`, `key`, `client_ca`: PEM files.

    Raises NoInput when these cannot be read or do not belong together.
    """
    recover(index, spool)
    settings: dict[str, Any] = {"http": _Protocol, "host": host, "port": port, "log_config": None, "access_log": False, "lifespan": "off"}
    settings |= {"ssl_certfile": cert, "ssl_keyfile": key, "ssl_ca_certs": client_ca, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    config = uvicorn.Config(application(Receiver(spool, index)), server_header=False, **settings)
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise NoInput(f"{cert}, {key} or {client_ca}", error.strerror or str(error), "name a certificate, its key and an authority") from error
    assert config.ssl is not None
    config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    _Server(config).run()
