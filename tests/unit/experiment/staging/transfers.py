"""Files to send and fetch, made for tests."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

from toolkit.experiment.staging.engine import Get, Put


def contents(size: int, seed: int = 0) -> bytes:
    """Bytes that no shift or exchange of blocks leaves as they are."""
    return random.Random(seed * 1_000_003 + size).randbytes(size)


def put(local: Path | bytes, remote: Path | bytes, mode: int = 0o640, offset: int = 0) -> Put:
    """Send a file as it is now."""
    status = os.stat(local)
    return Put(local, os.fsencode(remote), status.st_size, mode, status.st_mtime_ns, offset)


def get(remote: Path | bytes, local: Path | bytes, mode: int = 0o640, offset: int = 0) -> Get:
    """Fetch a file as it is now; "remote" is on this machine."""
    status = os.stat(remote)
    return Get(os.fsencode(remote), local, status.st_size, mode, int(status.st_mtime), offset)


def sha256(path: Path | bytes) -> str:
    """Of a whole file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
