"""A hospital and a data centre in one directory, with their commands as real processes; for the demonstration and the tests of both."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.visits import certificates
from tests.visits.certificates import Certificates

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Places:
    """Message id -> digest (sha256: and hexadecimal digits) of the documents in each place, as far as each place knows."""

    queued: dict[str, str]
    acknowledged: dict[str, str]
    spool: dict[str, str]
    store: dict[str, str]
    archive: dict[str, str]
    index: dict[str, str]
    index_places: dict[str, str]
    doubled: list[str]

    def problems(self) -> list[str]:
        """What does not agree; empty when every acknowledged document exists exactly once wherever it must."""
        found = [f"doubled: {one}" for one in self.doubled]
        for message, digest in self.acknowledged.items():
            if self.index.get(message) != digest:
                found.append(f"{message}: acknowledged, and the index has {self.index.get(message)}")
        for message, place in self.index_places.items():
            digest = self.index[message]
            holders = (self.spool,) if place.startswith("spool:") else (self.store, self.archive)
            found += [f"{message}: {place}, and it is not there" for holder in holders if holder.get(message) != digest]
        if self.store != self.archive:
            found.append(f"store and archive differ in {sorted(set(self.store.items()) ^ set(self.archive.items()))[:3]}")
        found += [f"{message}: in the store and not in the index" for message in self.store if message not in self.index]
        return found


class Setting:
    """Everything is below `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.key, self.links, self.index = home / "hospital.key", home / "links.db", home / "index.db"
        self.spool, self.store, self.archive = home / "spool", home / "store", home / "archive"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.run("hospital-key", "new", self.key)
        self.certificates  # noqa: B018 - made now

    @cached_property
    def certificates(self) -> Certificates:
        return certificates.make(self.home)

    @property
    def kept(self) -> list[str | Path]:
        """Where the data centre keeps documents, as options."""
        return ["--spool", self.spool, "--store", self.store, "--archive", self.archive, "--index", self.index]

    @property
    def sending(self) -> list[str | Path]:
        """The hospital's options for the way to the data centre."""
        certs = self.certificates
        way = ["--to", f"https://localhost:{self.port}", "--cert", certs.client.cert, "--client-key", certs.client.key, "--ca", certs.ca]
        return [*way, "--links", self.links, "--key", self.key]

    def start(self, name: str, *words: str | Path) -> subprocess.Popen[bytes]:
        """A command of bin/ in a process of its own; its words go to NAME.log in `home`."""
        with (self.home / f"{name}.log").open("ab") as log:
            command = [sys.executable, ROOT / "bin" / name, *words]
            return subprocess.Popen(command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def run(self, name: str, *words: str | Path, expected: tuple[int, ...] = (0,)) -> str:
        """A command to its end; its standard output. Raises RuntimeError with its words on any other exit status."""
        command = [sys.executable, ROOT / "bin" / name, *words]
        done = subprocess.run(command, cwd=self.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
        if done.returncode not in expected:
            raise RuntimeError(f"{name} {' '.join(map(str, words))}: exit status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def start_gateway(self) -> subprocess.Popen[bytes]:
        """The gateway, once it answers."""
        certs = self.certificates
        names = ["--listen", f"127.0.0.1:{self.port}", "--cert", certs.server.cert, "--key", certs.server.key, "--client-ca", certs.ca]
        gateway = self.start("mdc-gateway", "serve", *names, *self.kept)
        deadline = time.monotonic() + 60
        while not self._answers():
            if gateway.poll() is not None or time.monotonic() > deadline:
                gateway.kill()
                gateway.wait()
                raise RuntimeError(f"mdc-gateway did not start:\n{(self.home / 'mdc-gateway.log').read_text()[-2000:]}")
            time.sleep(0.05)
        return gateway

    def _answers(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.certificates.ca))
        context.load_cert_chain(self.certificates.client.cert, self.certificates.client.key)
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as plain, context.wrap_socket(plain, server_hostname="localhost"):
                return True
        except OSError:
            return False

    def drain(self, seconds: float = 180.0) -> None:
        """hl7-send --drain until nothing waits. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while True:
            self.run("hl7-send", "--drain", *self.sending, expected=(0, 75))
            status = self.status()
            if not status["queued"] and not status["sent"]:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"still waiting: {status}")
            time.sleep(1.0)

    def status(self) -> dict[str, int]:
        """What hl7-send --status counts."""
        words = self.run("hl7-send", "--status", "--format", "json", "--links", self.links, "--key", self.key, expected=(0, 1, 75))
        return json.loads(words)  # type: ignore[no-any-return]

    def pack(self) -> None:
        """mdc-store pack."""
        self.run("mdc-store", "pack", *self.kept)

    def places(self) -> Places:
        """What is where, read from the files themselves and not by asking the commands."""
        doubled: list[str] = []
        links = {str(row[0]): row[1:] for row in _rows(self.links, "SELECT message_id, state, digest, acknowledged FROM link_message")}
        acknowledged = {one: "sha256:" + row[2].hex() for one, row in links.items() if row[0] == "acknowledged"}
        queued = {one: "sha256:" + row[1].hex() for one, row in links.items() if row[0] != "acknowledged"}
        index = _rows(self.index, "SELECT message_id, digest, place, mdc_visit FROM documents")
        doubled += [f"{one} in the index" for one, count in Counter(row[3] + row[1] for row in index).items() if count > 1]
        return Places(
            queued, acknowledged, _spooled(self.spool), _packed(self.store, doubled), _packed(self.archive, doubled),
            {row[0]: row[1] for row in index}, {row[0]: row[2] for row in index}, doubled,
        )  # fmt: skip

    def leaks(self, words: list[str]) -> list[str]:
        """Which of `words` stand in anything that the data centre holds, its logs too; packs are read as the documents they hold."""
        held = [body for _, body in _bodies(self.store)] + [path.read_bytes() for path in _files(self.spool)]
        held += [path.read_bytes() for path in (self.index, self.home / "mdc-gateway.log") if path.exists()]
        everything = b"\n".join(held)
        return [word for word in words if word.encode() in everything or word.encode("iso-8859-2", "ignore") in everything]


def _rows(database: Path, statement: str) -> list[tuple]:  # type: ignore[type-arg]
    if not database.exists():
        return []
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file()) if directory.exists() else iter(())


def _spooled(directory: Path) -> dict[str, str]:
    from toolkit.datacentre.spool import Spool

    if not directory.exists():
        return {}
    with Spool(str(directory)) as spool:
        return {entry.message_id: entry.digest for _, entry in spool}


def _bodies(store: Path) -> Iterator[tuple[str, bytes]]:
    """Message id and document of every row of the packs whose list is there."""
    from pyarrow import parquet

    for manifest in sorted((store / "packs").glob("*.json")):
        table = parquet.read_table(manifest.with_suffix(".parquet"), columns=["message_id", "document"])
        yield from zip(table["message_id"].to_pylist(), table["document"].to_pylist(), strict=True)


def _packed(store: Path, doubled: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for message, body in _bodies(store):
        if message in found:
            doubled.append(f"{message} in {store.name}")
        found[message] = "sha256:" + hashlib.sha256(body).hexdigest()
    return found


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9, and wait until it is gone."""
    if process.poll() is None:
        os.kill(process.pid, 9)
    process.wait()
