"""A real OpenSSH sshd on loopback, with keys of its own, as strict or as poor as a test wants it."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from toolkit.experiment.staging.connection import Access, Host

SFTP_SERVER = "/usr/lib/openssh/sftp-server"


@dataclass
class Server:
    """One that runs."""

    port: int
    directory: Path  # its configuration, keys and log
    process: subprocess.Popen[bytes]

    @property
    def host(self) -> Host:
        """Where it is, for the user who runs the tests."""
        return Host("127.0.0.1", self.port, getpass.getuser())

    def access(self, transport: str, port: int | None = None) -> Access:
        """How its user gets in; `port` of a proxy that leads to it."""
        known = self.known_hosts(port) if port else self.directory / "known_hosts"
        return Access(transport, (self.directory / "user_key",), (known,), Path("none"), timeout=20)  # type: ignore[arg-type]

    def known_hosts(self, port: int) -> Path:
        """A known_hosts that knows its key at another port too."""
        path = self.directory / f"known_hosts_{port}"
        path.write_text(f"[127.0.0.1]:{port} " + (self.directory / "host_key.pub").read_text())
        return path

    def kill_sessions(self, name: str = "") -> None:
        """Kill the processes of its connections, or those of them with this name."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() == name or not name:
                    process.kill()

    def kill_oldest(self, name: str) -> int:
        """Kill the first of its newest connection's processes with this name; its number."""
        sessions = [one for one in psutil.Process(self.process.pid).children() if one.children(recursive=True)]
        newest = max(sessions, key=lambda one: one.pid)
        found = [process for process in newest.children(recursive=True) if process.name() == name]
        oldest = min(found, key=lambda process: (process.create_time(), process.pid))
        oldest.kill()
        return oldest.pid

    def ssh(self, port: int | None = None) -> list[str]:
        """The `ssh` with which other programs get in."""
        known = self.known_hosts(port) if port else self.directory / "known_hosts"
        options = ["-F", "none", "-i", str(self.directory / "user_key"), "-p", str(port or self.port)]
        return ["ssh", *options, "-o", f"UserKnownHostsFile={known}", "-o", "BatchMode=yes"]


def make_key(path: Path, kind: str = "ed25519") -> None:
    """A key pair without a passphrase."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path), "-C", ""], check=True)


@contextlib.contextmanager
def server(directory: Path, *settings: str, subsystem: str = SFTP_SERVER) -> Iterator[Server]:
    """Start one with further lines of sshd_config. Everything it writes is in `directory`."""
    program = shutil.which("sshd", path=f"/usr/sbin:/sbin:{os.environ.get('PATH', '')}")
    if program is None:
        pytest.skip("needs sshd: apt-get install openssh-server")
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    for name in ("host_key", "user_key"):
        make_key(directory / name)
    keys = directory / "authorized_keys"
    keys.write_bytes((directory / "user_key.pub").read_bytes())
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    lines = [
        *settings,  # the first value of a keyword counts
        f"ListenAddress 127.0.0.1:{port}",
        f"HostKey {directory}/host_key",
        f"AuthorizedKeysFile {keys}",
        f"PidFile {directory}/pid",
        f"Subsystem sftp {subsystem}",
        f"SetEnv HOME={directory}",  # what the user's shell reads at its start is no part of a test, and can be slow
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "UsePAM no",
        "StrictModes no",
        "MaxStartups 100",
        "LogLevel VERBOSE",
    ]
    (directory / "sshd_config").write_text("\n".join(lines) + "\n")
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} " + (directory / "host_key.pub").read_text())
    log = directory / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(directory / "sshd_config")], stderr=output, process_group=0)
    running = Server(port, directory, process)
    try:
        while b"Server listening" not in log.read_bytes():
            if process.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.01)
        yield running
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            running.kill_sessions()
        process.send_signal(signal.SIGTERM)
        process.wait()
