"""The report of a run: what was done to each object, in JSON lines, never a value of the original."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Protocol

from toolkit.core.errors import CannotCreate, InputOutput
from toolkit.core.streams import stream_name


class Sink(Protocol):
    """What takes the lines."""

    def write(self, lines: bytes | bytearray) -> None: ...


class _Descriptor:
    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor, self._name = descriptor, name

    def write(self, lines: bytes | bytearray) -> None:
        """Write whole lines, unbuffered: what a killed run has reported stays."""
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise InputOutput(self._name, error.strerror or str(error), "make room and start again") from error


@contextlib.contextmanager
def report_to(path: str | None) -> Iterator[Sink | None]:
    """A sink for the report at `path`; ``-`` is standard output, None is no report.

    Lines go to `path`.partial, which takes the name `path` when the run ends, also by an error. After a kill the next run with the same
    `path` goes on with what is there, because it will not do again what was done. Raises CannotCreate, InputOutput.
    """
    if path is None:
        yield None
        return
    if path == "-":
        sys.stdout.flush()
        yield _Descriptor(sys.stdout.fileno(), stream_name(path))
        return
    partial = path + ".partial"
    try:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotCreate(path, error.strerror or str(error), "choose a directory that exists and can be written") from error
    try:
        _seek_behind_last_line(descriptor)
        yield _Descriptor(descriptor, path)
    finally:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
        os.close(descriptor)
        os.replace(partial, path)


def _seek_behind_last_line(descriptor: int) -> None:
    """Cut off a line that a kill left unfinished."""
    position = os.fstat(descriptor).st_size
    while position:
        start = max(0, position - 65536)
        index = os.pread(descriptor, position - start, start).rfind(b"\n")
        position = start + index + 1 if index >= 0 else start
        if index >= 0:
            break
    os.ftruncate(descriptor, position)
    os.lseek(descriptor, position, os.SEEK_SET)
