"""How a path becomes a stream: ``-`` is stdin or stdout, and a file appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from toolkit.core.errors import CannotCreate, InputOutput, NoInput


def stream_name(path: str) -> str:
    """The name that messages give a path: ``-`` is called ``standard input``."""
    return "standard input" if path == "-" else str(path)


@contextlib.contextmanager
def open_input(path: str) -> Iterator[BinaryIO]:
    """Open `path` for reading bytes; ``-`` is standard input.

    Raises NoInput when it does not exist, is a directory or may not be read.
    """
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed below, errors of the body must not be caught here
    except OSError as error:
        raise NoInput(path, error.strerror or str(error), "name a file that exists and can be read") from error
    with stream:
        yield stream


@contextlib.contextmanager
def atomic_output(path: str) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes; ``-`` is standard output.

    A file is written under a temporary name in its own directory, synchronised, and renamed when the body ends without
    an exception; otherwise nothing is left behind and an older file of that name stays as it was.

    Raises CannotCreate when the directory does not take a file, InputOutput when it cannot be written to the end.
    """
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if os.path.exists(path) and not os.path.isfile(path):  # /dev/null, a named pipe: nothing to rename
        with open(path, "wb") as stream:
            yield stream
        return
    directory = os.path.dirname(os.path.abspath(path))
    try:
        descriptor, temporary = tempfile.mkstemp(dir=directory, prefix="." + os.path.basename(path) + ".")
    except OSError as error:
        raise CannotCreate(path, error.strerror or str(error), "choose a directory that exists and can be written") from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp makes 0600; a result is as readable as any file the user makes
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError) and error.filename is None:
            raise InputOutput(path, error.strerror or str(error), "nothing was left behind") from error
        raise
