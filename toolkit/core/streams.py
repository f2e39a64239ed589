"""How a path becomes a stream: ``-`` is stdin or stdout, and a file appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
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
        if sys.stdin is None:
            raise NoInput("standard input", "is closed", "name a file or use a pipe")
        yield sys.stdin.buffer
        return
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed below, errors of the body must not be caught here
    except OSError as error:
        raise NoInput(path, error.strerror or str(error), "name a file that exists and can be read") from error
    with stream:
        yield stream


@contextlib.contextmanager
def atomic_output(path: str, permissions: int = 0o666) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes; ``-`` is standard output.

    A file is written under a temporary name in its own directory, synchronised, and renamed when the body ends without
    an exception; otherwise nothing is left behind and an older file of that name stays as it was. Where `path` is a
    symbolic link the file it points to is replaced; an older file's permissions are kept, a new one has `permissions` as far as the
    user's mask allows. A device or a named pipe is written to as it stands.

    Raises CannotCreate when the directory does not take a file or the older file may not be written, InputOutput when
    the output cannot be written to the end.
    """
    if path == "-":
        if sys.stdout is None:
            raise CannotCreate("standard output", "is closed", "redirect it to a file or a pipe")
        yield sys.stdout.buffer
        with _failures_named("standard output"):
            sys.stdout.buffer.flush()
        return
    target = os.path.realpath(path)
    try:
        mode = os.stat(target).st_mode if os.path.exists(target) else None
        if mode is not None and not stat.S_ISREG(mode):
            stream: BinaryIO = open(target, "wb")  # noqa: SIM115 - closed below
            temporary = ""
        else:
            if mode is not None and not os.access(target, os.W_OK):
                raise PermissionError(errno.EACCES, "is write-protected")
            stream, temporary = _create_beside(target, permissions)
    except OSError as error:
        raise CannotCreate(path, error.strerror or str(error), "choose a directory that exists and can be written") from error
    if not temporary:
        with _failures_named(path), stream:
            yield stream
        return
    try:
        with _failures_named(path, "nothing was left behind"):
            with stream:
                yield stream
                stream.flush()
                if mode is not None:
                    os.fchmod(stream.fileno(), stat.S_IMODE(mode))
                os.fsync(stream.fileno())
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def synchronise(directory: str) -> None:
    """Put the names in `directory` on disk: a file that was made or renamed there is found after a power failure."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create_beside(target: str, permissions: int) -> tuple[BinaryIO, str]:
    """A new file in the directory of `target`, and its name."""
    directory, name = os.path.split(target)
    temporary = os.path.join(directory, f".{name[:40]}.{os.urandom(6).hex()}")
    return os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, permissions), "w+b"), temporary


@contextlib.contextmanager
def _failures_named(path: str, remedy: str = "") -> Iterator[None]:
    """Turn an operating system's error that names no file into one that names `path`; a closed pipe stays one."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is not None:  # some other file of the body
            raise
        raise InputOutput(path, error.strerror or str(error), remedy) from error
