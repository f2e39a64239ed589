"""A gateway as a real process with certificates of its own, and clients of it over TLS; for tests."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.visits.certificates import Certificates, Pair


@dataclass(frozen=True)
class Said:
    """An answer: status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Running:
    """mdc-gateway below `home`; a context manager. `words` are more options, `before` is called in the new process, `constants` of its
    modules have other values (``serving.HEAD_SECONDS``), so that nobody has to wait for minutes."""

    def __init__(
        self,
        home: Path,
        certificates: Certificates,
        *words: str,
        before: Callable[[], None] | None = None,
        constants: dict[str, float] | None = None,
        **paths: Path,
    ) -> None:
        self.home, self.certificates = home, certificates
        self.spool, self.store, self.archive = home / "spool", home / "store", home / "archive"
        self.index: Path | str = home / "index.db"
        self.cert = paths.get("cert", certificates.server.cert)
        self.key = paths.get("key", certificates.server.key)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.words, self.before, self.constants = words, before, constants or {}

    def __enter__(self) -> Running:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def command(self) -> list[str]:
        places = ["--spool", self.spool, "--store", self.store, "--archive", self.archive, "--index", self.index]
        names = ["--listen", f"127.0.0.1:{self.port}", "--cert", self.cert, "--key", self.key, "--client-ca", self.certificates.ca]
        program = [str(ROOT / "bin/mdc-gateway")]
        if self.constants:
            changed = "".join(
                f"import toolkit.datacentre.{name.partition('.')[0]}\ntoolkit.datacentre.{name} = {value}\n"
                for name, value in self.constants.items()
            )
            program = ["-c", f"{changed}from toolkit.commands.mdc_gateway import mdc_gateway\nmdc_gateway()"]
        return [sys.executable, *program, "serve", *map(str, (*names, *places)), *self.words]

    def start(self) -> None:
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=self.before,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.ask("GET", "/health")
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.log()
                time.sleep(0.02)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def log(self) -> str:
        return (self.home / "log").read_text()

    def wait_for_log(self, words: str) -> str:
        """The line of the log that has these words."""
        deadline = time.monotonic() + 20
        while words not in self.log():
            assert time.monotonic() < deadline, f"{words!r} is not in: {self.log()}"
            time.sleep(0.05)
        return next(line for line in self.log().splitlines() if words in line)

    def context(self, client: Pair | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.certificates.ca))
        pair = client or self.certificates.client
        context.load_cert_chain(pair.cert, pair.key)
        return context

    @contextmanager
    def connection(self, context: ssl.SSLContext | None = None):  # type: ignore[no-untyped-def]
        one = http.client.HTTPSConnection("localhost", self.port, timeout=60, context=context or self.context())
        try:
            yield one
        finally:
            one.close()

    def ask(self, method: str, path: str, body: Any = None, context: ssl.SSLContext | None = None, **headers: str) -> Said:
        """One request on a connection of its own; underscores in the names of headers are hyphens."""
        with self.connection(context) as connection:
            return ask(connection, method, path, body, **headers)

    def post(self, body: Any, message_id: str, **headers: str) -> Said:
        return self.ask("POST", "/visits", body, **{"X_Message_Id": message_id, "Content_Type": "application/xml", **headers})


def ask(connection: http.client.HTTPSConnection, method: str, path: str, body: Any = None, **headers: str) -> Said:
    with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):  # refused before all was sent: the answer is there
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return Said(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def digest(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def children(pid: int) -> list[int]:
    """The processes that `pid` started."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(name))
    return found
