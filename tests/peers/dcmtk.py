"""DCMTK's programs for tests and benchmarks: its receiver ``storescp`` on loopback, and its clients, plain or with TLS on both sides."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.visits.certificates import Pair

PACKAGE = "dcmtk"  # Debian's name
NO_DELAY = {"TCP_NODELAY": "1"}  # without it DCMTK's programs leave Nagle's algorithm on: 11 small files a second


@dataclass(frozen=True)
class Tls:
    """Who one side is, and the authority of the other's certificate, PEM."""

    own: Pair
    ca: Path

    @property
    def words(self) -> list[str]:
        """As DCMTK's programs are told; both sides want the other's certificate."""
        return ["+tls", str(self.own.key), str(self.own.cert), "+cf", str(self.ca)]


@dataclass(frozen=True)
class Server:
    """A running receiver; it keeps what it gets in `directory`."""

    port: int
    process: subprocess.Popen[bytes]
    directory: Path


@contextlib.contextmanager
def storescp(directory: Path, tls: Tls | None = None, syntaxes: str = "+xa", environment: dict[str, str] | None = None) -> Iterator[Server]:
    """Run a receiver until the body ends, a process for each association; data sets are written as they came.

    `syntaxes`: the option of storescp that says which transfer syntaxes it takes; all that it knows, unless told otherwise.
    `environment`: variables beside this process's, as NO_DELAY.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [binary("storescp") or "storescp", "--fork", syntaxes, "+B", "-od", str(directory), *(tls.words if tls else []), str(port)]
    with running(command, directory.parent / f"storescp-{port}.log", port, environment=environment) as process:
        yield Server(port, process, directory)


def client(program: str, port: int, *options: str, files: Iterable[Path] = (), tls: Tls | None = None) -> subprocess.CompletedProcess[str]:
    """Run storescu, echoscu or findscu against a port of this machine."""
    command = [binary(program) or program, *(tls.words if tls else []), *options, "localhost", str(port), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)


def binary(name: str) -> str | None:
    """One of DCMTK's programs; pynetdicom's scripts of the same names, beside this interpreter, are not what is looked for."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join(one for one in os.get_exec_path() if os.path.abspath(one) != beside))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], log: Path, *ports: int, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A program that listens on `ports` once it is ready; it does not outlive the body, nor this process.

    Raises RuntimeError with the end of its output when it does not come up.
    """
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(command[0])
    with open(log, "wb") as out:
        ours = {**os.environ, **(environment or {})}
        words = ["setpriv", "--pdeathsig", "KILL", *command]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=ours, start_new_session=True)
    try:
        for port in ports:
            _wait(port, process, log)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # storescp has a child for each association
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args}: {log.read_text(errors='replace')[-2000:]}")
