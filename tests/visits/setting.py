"""A hospital and a data centre in one directory, with their commands as real processes; for the demonstration and the tests of both."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tests.forking import Forge, Started
from tests.visits import certificates
from tests.visits.certificates import Pair
from tests.visits.places import Places, held_by_the_data_centre, leaks, read_places, rows

ROOT = Path(__file__).resolve().parents[2]
Process = subprocess.Popen[bytes] | Started


class Setting:
    """Everything is below `home`, but links and index where `links` and `index` say so (URLs of PostgreSQL); with a `forge`, commands
    that are started are forked from it."""

    def __init__(self, home: Path, links: str = "", index: str = "", forge: Forge | None = None) -> None:
        self.home, self.forge = home, forge
        home.mkdir(parents=True, exist_ok=True)
        self.key, self.links, self.index = home / "hospital.key", links or str(home / "links.db"), index or str(home / "index.db")
        self.spool, self.store, self.archive = home / "spool", home / "store", home / "archive"
        self.audit = home / "audit.jsonl"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.run("hospital-key", "new", self.key)
        self.certificates = certificates.make(home)

    @property
    def kept(self) -> list[str | Path]:
        """Where the data centre keeps documents, as options."""
        return ["--spool", self.spool, "--store", self.store, "--archive", self.archive, "--index", self.index]

    @property
    def linked(self) -> list[str | Path]:
        """Where the hospital keeps links and key, as options."""
        return ["--links", self.links, "--key", self.key]

    @property
    def sending(self) -> list[str | Path]:
        """The hospital's options for the way to the data centre."""
        return [*self.way(self.certificates.client), *self.linked]

    @property
    def serving(self) -> list[str | Path]:
        """The gateway's words."""
        certs = self.certificates
        names = ["--listen", f"127.0.0.1:{self.port}", "--cert", certs.server.cert, "--key", certs.server.key, "--client-ca", certs.ca]
        return ["serve", *names, *self.kept, "--audit", self.audit]

    def way(self, client: Pair, ca: Path | None = None) -> list[str | Path]:
        """The options for the way to the data centre with this certificate, trusting this authority."""
        to: list[str | Path] = ["--to", f"https://localhost:{self.port}"]
        return [*to, "--cert", client.cert, "--client-key", client.key, "--ca", ca or self.certificates.ca]

    def start(self, name: str, *words: str | Path) -> Process:
        """A command of bin/ in a process of its own; its words go to NAME.log in `home`."""
        with (self.home / f"{name}.log").open("ab") as log:
            if self.forge is not None:
                return self.forge.start(name, *words, home=self.home, log=log.fileno())
            command = [sys.executable, ROOT / "bin" / name, *words]
            return subprocess.Popen(command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ended(self, name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """A command of bin/, once it has ended."""
        command = [sys.executable, ROOT / "bin" / name, *words]
        return subprocess.run(command, cwd=self.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)

    def run(self, name: str, *words: str | Path, expected: tuple[int, ...] = (0,)) -> str:
        """A command to its end; its standard output. Raises RuntimeError with its words on any other exit status."""
        done = self.ended(name, *words)
        if done.returncode not in expected:
            raise RuntimeError(f"{name} {' '.join(map(str, words))}: exit status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def start_gateway(self) -> Process:
        """The gateway, once it answers."""
        gateway = self.start("mdc-gateway", *self.serving)
        try:
            self.wait_for(gateway)
        except BaseException:
            kill(gateway)
            raise
        return gateway

    def wait_for(self, gateway: Process, seconds: float = 60.0) -> None:
        """Until it answers. Raises RuntimeError with its words when it ends instead."""
        deadline = time.monotonic() + seconds
        while not self._answers():
            if gateway.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mdc-gateway did not start:\n{self.log('mdc-gateway')}")
            time.sleep(0.02)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None,
            client: Pair | None = None) -> tuple[int, http.client.HTTPMessage, bytes]:  # fmt: skip
        """What the gateway answers over HTTPS: status, headers and body."""
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=30, context=self._context(client))
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.msg, answer.read()
        finally:
            connection.close()

    def drain(self, seconds: float = 180.0) -> None:
        """hl7-send --drain until nothing waits. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while self.ended("hl7-send", "--drain", *self.sending).returncode:
            if time.monotonic() > deadline:
                raise TimeoutError(f"still waiting: {self.status()}")
            time.sleep(1.0)

    def status(self) -> dict[str, int]:
        """What hl7-send --status counts."""
        words = self.run("hl7-send", "--status", "--format", "json", *self.linked, expected=(0, 1, 75))
        return json.loads(words)

    def pack(self) -> None:
        """mdc-store pack."""
        self.run("mdc-store", "pack", *self.kept)

    def check(self) -> None:
        """Both sides' own checks. Raises RuntimeError with what they say."""
        self.run("mdc-store", "verify", *self.kept)
        self.run("his-mdc", "check", *self.linked)

    def places(self) -> Places:
        """What is where, read from the files themselves and not by asking the commands."""
        return read_places(self.links, self.index, self.spool, self.store, self.archive)

    def received(self) -> int:
        """How many documents the index knows."""
        return len(rows(self.index, "documents", "message_id"))

    def packs(self) -> int:
        """How many objects lie in store and archive."""
        return sum(1 for place in (self.store, self.archive) if place.exists() for path in place.rglob("*") if path.is_file())

    def leaks(self, words: Iterable[str]) -> list[str]:
        """Which of `words` stand, in any form, in anything that the data centre holds, its logs too."""
        files = [self.home / "mdc-gateway.log", self.home / "mdc-store.log", self.audit]
        return leaks(words, held_by_the_data_centre(self.index, self.spool, (self.store, self.archive), files))

    def log(self, name: str) -> str:
        """The last words of a command that was started."""
        path = self.home / f"{name}.log"
        return path.read_text()[-3000:] if path.exists() else ""

    def _context(self, client: Pair | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.certificates.ca))
        chosen = client or self.certificates.client
        context.load_cert_chain(chosen.cert, chosen.key)
        return context

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/health")[0] in (200, 503)
        except OSError:
            return False


def kill(*processes: Process) -> None:
    """kill -9, of all of them before the first is waited for, and wait until they are gone."""
    for process in processes:
        process.send_signal(signal.SIGKILL)  # which may have ended by itself in the meantime
    for process in processes:
        process.wait()


def hours_later(links: str) -> None:
    """What was put off until later is due, in links kept in SQLite."""
    connection = sqlite3.connect(links, timeout=60)
    with connection:
        connection.execute("UPDATE link_message SET due = 0")
    connection.close()
