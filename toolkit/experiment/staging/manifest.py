"""The list of digests that is kept beside what was staged: the format of sha256sum(1), so that ``sha256sum -c`` reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping

DIRECTORY = b".sftp-stage"  # at the top of a tree that was staged; never staged itself
NAME = DIRECTORY + b"/manifest.sha256"
_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)")
_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}
_MEANINGS = {escape: character for character, escape in _ESCAPES.items()}


def line(path: bytes, digest: str) -> bytes:
    """A file's line: digest, two spaces, name. Where something in the name has to be escaped, the line begins with a backslash."""
    escaped = re.sub(rb"[\\\n\r]", lambda found: _ESCAPES[found[0]], path)
    return (b"\\" if escaped != path else b"") + digest.encode() + b"  " + escaped + b"\n"


def write(digests: Mapping[bytes, str]) -> bytes:
    """A manifest: a line for each path, in the order of their bytes. The name - alone would be standard input."""
    return b"".join(line(b"./-" if path == b"-" else path, digests[path]) for path in sorted(digests))


def read(content: bytes) -> dict[bytes, str]:
    """The digests of a manifest, by path. Lines that are none are passed over: a manifest only saves work, it proves nothing."""
    found = {}
    for text in content.split(b"\n"):
        match = _LINE.fullmatch(text)
        if match:
            escaped, digest, path = match.groups()
            found[b"-" if path == b"./-" else unescape(path) if escaped else path] = digest.decode()
    return found


def unescape(path: bytes) -> bytes:
    """A name as it was before it was escaped."""
    return re.sub(rb"\\[\\nr]", lambda found: _MEANINGS[found[0]], path)
