"""Whose key a host has: unknown ones are named with how to accept them, changed ones never pass."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

from toolkit.core.errors import CannotCreate, NotPermitted
from toolkit.experiment.staging.connection import Access, Host


def fingerprint(key: str) -> str:
    """OpenSSH's name for a public key in base64: SHA256:..."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(base64.b64decode(key)).digest()).decode().rstrip("=")


def unknown(host: Host, line: str | None) -> NotPermitted:
    """The error for a host that is in no known_hosts; `line`: what would be in it."""
    if line is None:
        port = f"-p {host.port} " if host.port else ""
        command = f"ssh-keyscan {port}{host.host}"
        return NotPermitted(str(host), "its key is not known", f"compare what '{command}' prints and add it to known_hosts")
    _, kind, key = line.split()
    seen = fingerprint(key)
    return NotPermitted(
        str(host),
        f"its key {seen} ({kind}) is not known",
        f"if that is what its owners publish, add --accept-key {seen} once, or the line '{line}' to known_hosts",
    )


def changed(name: str) -> NotPermitted:
    """The error for a host with another key than known_hosts has."""
    return NotPermitted(
        name,
        "its key is another one than known_hosts has: somebody may be in between",
        "ask its owners; if the host is new, remove the old key by 'ssh-keygen -R'",
    )


def add_known_host(access: Access, line: str) -> None:
    """Write a line to the first known_hosts. Raises CannotCreate."""
    path = access.known_hosts[0] if access.known_hosts else Path.home() / ".ssh" / "known_hosts"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            end = file.seek(0, os.SEEK_END)
            ends_a_line = end == 0 or os.pread(descriptor, 1, end - 1) == b"\n"
            file.write((b"" if ends_a_line else b"\n") + line.encode() + b"\n")
    except OSError as error:
        raise CannotCreate(str(path), error.strerror or str(error), "name a file that can be written by --known-hosts") from error
