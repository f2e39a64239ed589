"""A real Orthanc for tests and benchmarks: a DICOM server with its own storage, index and REST interface, on loopback."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.dcmtk import Tls, free_port, running

PACKAGE = "orthanc"  # Debian's name
TITLE = "ORTHANC"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Refused(Exception):
    """An answer that is no success."""


@dataclass(frozen=True)
class Server:
    """A running server: its DICOM port, its REST interface, and its process."""

    port: int
    address: str
    pid: int

    def ask(self, path: str, body: object = None, method: str | None = None) -> Any:
        """What the REST interface answers; `body` is sent as JSON, bytes as they are. Raises Refused with its words."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, method=method)
        try:
            with _DIRECT.open(request, timeout=30) as answer:
                found = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(f"{path}: {error.code} {error.read().decode(errors='replace')}") from error
        return json.loads(found) if answer.headers.get_content_type() == "application/json" else found

    def instances(self) -> int:
        """How many instances it holds."""
        return int(self.ask("/statistics")["CountInstances"])

    def know(self, name: str, title: str, port: int, tls: bool) -> None:
        """Make another server of this machine known to it under `name`."""
        there = {"AET": title, "Host": "localhost", "Port": port, "UseDicomTls": tls, "AllowStorageCommitment": True}
        self.ask(f"/modalities/{name}", there, "PUT")


def program() -> str | None:
    """Where it is installed; Debian keeps it out of users' PATH."""
    return shutil.which("Orthanc") or shutil.which("/usr/sbin/Orthanc")


@contextlib.contextmanager
def server(tls: Tls | None = None, **settings: object) -> Iterator[Server]:
    """Run a server until the body ends; with `tls` its DICOM port speaks TLS only and wants a certificate. `settings`: Orthanc's own."""
    found = program()
    if found is None:
        raise FileNotFoundError(f"Orthanc: apt-get install {PACKAGE}")
    home = Path(tempfile.mkdtemp(prefix="orthanc-"))
    dicom, rest = free_port(), free_port()
    configuration: dict[str, object] = {
        "Name": "peer",
        "StorageDirectory": str(home / "storage"),
        "IndexDirectory": str(home / "storage"),
        "DicomAet": TITLE,
        "DicomPort": dicom,
        "HttpPort": rest,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "UnknownSopClassAccepted": True,
        "DicomModalitiesInDatabase": True,  # those made known while it runs
        "DicomTlsEnabled": tls is not None,
        "Plugins": [],
        "LuaScripts": [],
        "Worklists": {"Enable": False},
    }
    if tls is not None:
        configuration |= {
            "DicomTlsCertificate": str(tls.own.cert),
            "DicomTlsPrivateKey": str(tls.own.key),
            "DicomTlsTrustedCertificates": str(tls.ca),
            "DicomTlsRemoteCertificateRequired": True,
        }
    try:
        (home / "orthanc.json").write_text(json.dumps(configuration | settings))
        with running([found, str(home / "orthanc.json")], home / "log", rest, dicom) as process:
            one = Server(dicom, f"http://127.0.0.1:{rest}", process.pid)
            _wait(one)
            yield one
    finally:
        shutil.rmtree(home)


def _wait(one: Server) -> None:
    for _ in range(100):
        with contextlib.suppress(urllib.error.URLError, OSError):
            one.ask("/system")
            return
        time.sleep(0.1)
    raise RuntimeError("Orthanc's REST interface does not answer")
