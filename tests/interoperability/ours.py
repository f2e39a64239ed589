"""Our own two commands as processes, as users start them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.peers.dcmtk import Tls, free_port, running


@dataclass(frozen=True)
class Pacs:
    """A running mdc-pacs; `spool` is where it keeps what it gets."""

    port: int
    process: subprocess.Popen[bytes]
    spool: Path
    log: Path
    title: str = "MDC"

    def kept(self) -> dict[str, Path]:
        """The file of each instance UID, conflicts and what is still arriving apart."""
        files = [path for path in self.spool.rglob("*.dcm") if not {"conflicts", "incoming"} & set(path.parts)]
        return {path.stem: path for path in files}

    def end(self) -> int:
        """Its exit status after SIGTERM."""
        self.process.terminate()
        return self.process.wait(30)


@contextlib.contextmanager
def mdc_pacs(home: Path, tls: Tls | None = None, *words: str) -> Iterator[Pacs]:
    """Run a receiver until the body ends, all it keeps below `home`."""
    home.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), home / "mdc-pacs.log"
    command = [sys.executable, str(ROOT / "bin/mdc-pacs"), "serve", "--listen", f"127.0.0.1:{port}", "--spool", str(home / "spool")]
    command += ["--index", str(home / "index.db"), *words]
    if tls is not None:
        command += ["--cert", str(tls.own.cert), "--key", str(tls.own.key), "--client-ca", str(tls.ca)]
    with running(command, log, port) as process:
        yield Pacs(port, process, home / "spool", log)


@dataclass(frozen=True)
class Sent:
    """What dicom-send did: its exit status, its warnings, its report's lines, and what it took."""

    status: int
    stderr: str
    report: list[dict[str, Any]]
    peak: int = field(compare=False)  # bytes of memory
    seconds: float = field(compare=False)  # of processor

    @property
    def states(self) -> dict[str, str]:
        """What became of each file in the end, by its name."""
        return {Path(line["path"]).name: line["status"] for line in self.report}


def dicom_send(home: Path, port: int, *words: str | Path, tls: Tls | None = None, called: str = "MDC") -> Sent:
    """Send to a port of this machine."""
    home.mkdir(parents=True, exist_ok=True)
    report, errors = home / "report.jsonl", home / "stderr"
    command = [*sending(port, tls, called), "--report", str(report), *map(str, words)]
    with open(errors, "wb") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=err)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    spent = used.ru_utime + used.ru_stime
    return Sent(process.returncode, errors.read_text(errors="replace"), lines, used.ru_maxrss * 1024, spent)


def sending(port: int, tls: Tls | None, called: str = "MDC") -> list[str]:
    """The words of dicom-send to a port of this machine, but for what it sends."""
    certificates = ["--cert", str(tls.own.cert), "--key", str(tls.own.key), "--ca", str(tls.ca)] if tls else []
    return [sys.executable, str(ROOT / "bin/dicom-send"), "--to", f"localhost:{port}", "--called", called, *certificates]


def peak_memory(pid: int) -> int:
    """Bytes of the largest resident set that a running process had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def kill(process: subprocess.Popen[bytes]) -> None:
    """As a power cut ends it."""
    process.send_signal(signal.SIGKILL)
    process.wait()
