"""Whose key a host has: unknown ones are named with how to accept them, changed ones never pass."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.core.errors import CannotCreate, NotPermitted
from toolkit.experiment.staging.connection import Access, Host


@dataclass
class KnownKeys:
    """What known_hosts has about a host."""

    right: set[tuple[str, str]] = field(default_factory=set)  # kinds and keys in base64 of which it may have any
    revoked: set[str] = field(default_factory=set)  # keys in base64 that nobody may have


def known_keys(name: str, access: Access) -> KnownKeys:
    """The keys of a host called `name`, [NAME]:PORT where the port is not 22 (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).

    Authorities of host certificates are passed over. Raises NotPermitted for a file that exists and cannot be read.
    """
    known = KnownKeys()
    for path in access.known_hosts or (Path.home() / ".ssh" / "known_hosts", Path("/etc/ssh/ssh_known_hosts")):
        try:
            lines = path.read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise NotPermitted(str(path), error.strerror or str(error), "make it readable") from error
        for line in lines:
            words = line.split()
            marker = words.pop(0) if words and words[0].startswith("@") else ""
            if len(words) < 3 or words[0].startswith("#") or not _matches(name, words[0]):
                continue
            if marker == "@revoked":
                known.revoked.add(words[2])
            elif not marker:
                known.right.add((words[1], words[2]))
    return known


def _matches(name: str, names: str) -> bool:
    """Is a host among the names, patterns or the hashed name of a line?"""
    if names.startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(word) for word in names[3:].split("|"))
        except (binascii.Error, ValueError):
            return False
        return hmac.digest(salt, name.encode(), "sha1") == digest
    found = False
    for pattern in names.lower().split(","):
        wanted = pattern.removeprefix("!").replace("[", "[[]")  # only * and ? are special
        if fnmatch.fnmatchcase(name.lower(), wanted):
            if pattern.startswith("!"):
                return False
            found = True
    return found


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
