"""Files that appear whole or not at all, many at a time: written in a directory of their own, made durable together, then renamed."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

from toolkit.core.errors import CannotCreate, InputOutput

NAME = ".partial"
REMEDY = "make room and start again, what is done stays done"


class Staging:
    """The temporary files of one run below `directory`; what a killed run left there is removed by `clear`."""

    def __init__(self, directory: str, name: str = NAME) -> None:
        self.directory, self.path = directory, os.path.join(directory, name)
        self._count = 0
        self._descriptor = -1

    def prepare(self, mode: int = 0o777) -> None:
        """Make the directories. Raises CannotCreate."""
        try:
            os.makedirs(self.directory, mode, exist_ok=True)
            os.makedirs(self.path, 0o700, exist_ok=True)
        except OSError as error:
            problem = error.strerror or str(error)
            raise CannotCreate(error.filename or self.directory, problem, "choose a directory that can be made") from error

    def clear(self) -> None:
        """Remove every temporary file, of this run and of one that was killed, and their directory."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.path):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self.path, name))
            os.rmdir(self.path)

    @contextlib.contextmanager
    def create(self, mode: int = 0o666) -> Iterator[tuple[str, int]]:
        """A new temporary file (path, descriptor); removed when the body fails. A full disk is InputOutput."""
        self._count += 1
        path = os.path.join(self.path, f"{os.getpid()}-{self._count}")
        with self.failures_named():
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
            try:
                yield path, descriptor
            except BaseException:
                os.close(descriptor)
                self.discard(path)
                raise
            os.close(descriptor)

    def discard(self, path: str) -> None:
        """Remove a temporary file that is not wanted."""
        with contextlib.suppress(OSError):
            os.unlink(path)

    @contextlib.contextmanager
    def failures_named(self) -> Iterator[None]:
        """The operating system's errors of writing, as InputOutput that names the directory."""
        try:
            yield
        except OSError as error:
            raise InputOutput(self.directory, error.strerror or str(error), REMEDY) from error

    def synchronise(self) -> None:
        """Wait until everything written to this file system is on the disk: one call for many files, where an fsync for each would cost
        a hundred times as much."""
        if self._descriptor < 0:
            self._descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            synchronise = ctypes.CDLL(None, use_errno=True).syncfs
        except AttributeError:  # not Linux
            os.sync()
            return
        if synchronise(self._descriptor) != 0:
            number = ctypes.get_errno()
            raise InputOutput(self.directory, os.strerror(number), "check the disk")
