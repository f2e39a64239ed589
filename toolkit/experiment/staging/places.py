"""Where the far side is: ``[USER@]HOST:PATH`` as scp has it, or ``sftp://[USER@]HOST[:PORT]/PATH``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from toolkit.core.errors import UsageError
from toolkit.experiment.staging.connection import Host

_HOST = r"(?:(?P<user>[^@/:]+)@)?(?:\[(?P<v6>[^\]/]+)\]|(?P<host>[^@/:\[\]]+))"
_URL = re.compile(rf"sftp://{_HOST}(?::(?P<port>\d+))?(?P<path>/.*)?", re.DOTALL)
_SHORT = re.compile(rf"{_HOST}(?P<rest>:.*)?", re.DOTALL)
_EXAMPLES = "write USER@HOST:PATH, [::1]:PATH or sftp://USER@HOST:PORT/PATH"


@dataclass(frozen=True)
class Place:
    """A directory or file on another machine."""

    user: str  # empty: whom the configuration names
    host: str  # a name or address, without brackets
    port: int | None  # None: what the configuration says
    path: bytes  # from the root with a first slash, else from the user's home
    has_path: bool = True  # it was written, and not only left out

    def __str__(self) -> str:
        """As a person would write it, without the path."""
        return (f"{self.user}@" if self.user else "") + self.host + (f":{self.port}" if self.port else "")


def is_place(text: str) -> bool:
    """Is it on another machine? As for scp, a colon before any slash says so."""
    match = _SHORT.fullmatch(text)
    return text.startswith("sftp://") or (match is not None and match["rest"] is not None)


def parse_place(text: str, path_needed: bool = True) -> Place:
    """Read an address; without `path_needed`, HOST alone is one too, and its path the home. Raises UsageError."""
    match = _URL.fullmatch(text) or (None if "://" in text else _SHORT.fullmatch(text))
    found = match.groupdict() if match is not None else {}
    host = found.get("v6") or found.get("host") or ""
    user = found.get("user") or ""
    rest = found.get("rest")
    path = unquote_to_bytes(found["path"] or "/~/") if "path" in found else os.fsencode((rest or ":")[1:])
    port = int(found["port"]) if found.get("port") else None
    wrong = not host or host.startswith("-") or user.startswith("-") or (path_needed and "rest" in found and rest is None)
    if wrong or b"\0" in path or (port is not None and not 0 < port < 65536):
        raise UsageError(repr(text), "is no address of another machine", _EXAMPLES)
    if "path" in found and re.match(rb"/~(/|$)", path):
        path = path[1:]
    if path == b"~" or path.startswith(b"~/"):
        path = path[2:].lstrip(b"/")
    has_path = bool(rest if "rest" in found and rest != ":" else found.get("path"))
    return Place(user, host, port, re.sub(rb"(?<=.)/+$", b"", path, flags=re.DOTALL) or b".", has_path)


def host_of(place: Place, port: int | None) -> Host:
    """The machine of a place, at another `port` where one is given. Raises UsageError for two ports."""
    if place.port and port:
        raise UsageError("--port", f"is in sftp://{place.host}:{place.port} already", "leave one out")
    return Host(place.host, place.port or port, place.user or None)
