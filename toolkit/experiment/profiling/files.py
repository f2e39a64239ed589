"""The files that a command reads and writes, by their SHA-256."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence

from toolkit.core.errors import InputOutput, NoInput

TYPE_CHECKING = False  # typing's, which takes a tenth of the whole start to load
if TYPE_CHECKING:
    from typing import Any

_STREAMS = ("stdin", "stdout", "stderr")


def described(role: str, paths: Sequence[str]) -> list[dict[str, Any]]:
    """One record for each regular file; of a directory, for each below it, in the order of their names.

    Raises NoInput where one does not exist or cannot be read, InputOutput where reading fails.
    """
    return [_described(role, path) for given in paths for path in _regular(given)]


def standard_streams() -> dict[str, Any]:
    """What this process' stdin, stdout and stderr are: a path, ``pipe:[INODE]`` as the kernel names a pipe, None where closed.

    ``appended`` names those that are written behind what a file holds already, as the shell's ``>>`` does.
    """
    found: dict[str, Any] = {name: _target(descriptor) for descriptor, name in enumerate(_STREAMS)}
    return found | {"appended": [name for number, name in enumerate(_STREAMS) if found[name] is not None and _appends(number)]}


def _target(descriptor: int) -> str | None:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return None


def _appends(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND)


def _regular(given: str) -> Iterator[str]:
    try:
        mode = os.stat(given).st_mode
    except OSError as error:
        raise NoInput(given, error.strerror or str(error), "name a file that exists") from error
    if stat.S_ISREG(mode):
        yield given
    elif stat.S_ISDIR(mode):
        for place, directories, names in os.walk(given, onerror=_refuse):
            directories.sort()
            yield from (path for path in (os.path.join(place, name) for name in sorted(names)) if os.path.isfile(path))
    else:
        raise NoInput(given, "is no regular file", "name a file or a directory")


def _refuse(error: OSError) -> None:
    raise NoInput(str(error.filename), error.strerror or str(error), "name a directory that can be read")


def _described(role: str, path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = os.fstat(stream.fileno()).st_size
    except PermissionError as error:
        raise NoInput(path, error.strerror or str(error), "make it readable") from error
    except OSError as error:
        raise InputOutput(path, error.strerror or str(error)) from error
    return {"role": role, "path": path, "bytes": size, "sha256": digest}
