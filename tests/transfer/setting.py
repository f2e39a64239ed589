"""A hospital and a data centre for visits and images, with their commands as real processes; for the demonstration and the tests."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from tests.forking import Forge
from tests.transfer.places import Places, read_places
from tests.visits.places import rows
from tests.visits.setting import Process, Setting


class Transfer:
    """What images need, beside what `both` has for visits: outbox, journal, vault and the receiver's port, all below the same home."""

    def __init__(self, home: Path, forge: Forge | None = None) -> None:
        self.both = Setting(home, forge=forge)
        self.outbox, self.vault, self.journal = home / "outbox", home / "vault.db", home / "sent.db"
        self.audit = home / "pacs-audit.jsonl"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @property
    def home(self) -> Path:
        """Where everything is."""
        return self.both.home

    @property
    def serving(self) -> list[str | Path]:
        """The words of mdc-pacs."""
        certs, both = self.both.certificates, self.both
        names = ["--cert", certs.server.cert, "--key", certs.server.key, "--client-ca", certs.ca]
        kept = ["--spool", both.spool, "--index", both.index, "--store", both.store]
        return ["serve", "--listen", f"127.0.0.1:{self.port}", *names, *kept, "--audit", self.audit]

    @property
    def way(self) -> list[str | Path]:
        """The options of dicom-send for the way to the data centre."""
        certs = self.both.certificates
        return ["--to", f"localhost:{self.port}", "--cert", certs.client.cert, "--key", certs.client.key, "--ca", certs.ca]

    @property
    def sending(self) -> list[str | Path]:
        """The words of dicom-send, but for what is sent."""
        return [*self.way, "--journal", self.journal]

    def anonymise(self, images: Path) -> None:
        """dicom-anon, all of `images` into the outbox."""
        words = [images, "-o", self.outbox, "--key", self.both.key, "--vault", str(self.vault), "--clean-pixels"]
        self.both.run("dicom-anon", *words)

    def start_pacs(self) -> Process:
        """mdc-pacs, once it answers."""
        pacs = self.both.start("mdc-pacs", *self.serving)
        self.wait_for(pacs)
        return pacs

    def wait_for(self, pacs: Process, seconds: float = 60.0) -> None:
        """Until it answers. Raises RuntimeError with its words when it ends instead."""
        deadline = time.monotonic() + seconds
        while self.both.ended("dicom-send", "--echo", *self.way).returncode:
            if pacs.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mdc-pacs did not start:\n{self.both.log('mdc-pacs')}")

    def received(self) -> int:
        """How many images the index knows."""
        return len(rows(self.both.index, "instances", "instance_uid"))

    def sent(self) -> int:
        """How many images the journal knows as sent."""
        return len(rows(str(self.journal), "instances", "instance"))

    def stored(self) -> int:
        """How many images lie in store and archive."""
        return sum(1 for place in (self.both.store, self.both.archive) for _ in place.glob("images/*/*/*.dcm"))

    def places(self) -> Places:
        """Which image is where, read from the files themselves and not by asking the commands."""
        return read_places(str(self.journal), self.both.index, self.both.spool, self.both.store, self.both.archive)
