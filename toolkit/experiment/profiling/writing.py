"""Writing a run record: whole lines at the end of a file that several commands may share."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping

from toolkit.core.errors import CannotCreate, InputOutput

TYPE_CHECKING = False  # typing's, which takes a tenth of the whole start to load
if TYPE_CHECKING:
    from typing import Any

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # of some network file systems; one write is whole there too


class Record:
    """A file that lines are added to; nothing of another writer comes between the lines of one call, and none is torn by it.

    Raises CannotCreate where the file cannot be opened for writing.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._descriptor = _opened(path)
        except OSError as error:
            raise CannotCreate(path, error.strerror or str(error), "choose a file in a directory that exists and can be written") from error
        self._regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    def add(self, records: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Append one line for each record, its kind and its content.

        Raises InputOutput where it cannot be written; a file is then as long as before.
        """
        text = b"".join(json.dumps({"record": kind, **content}, separators=(",", ":")).encode() + b"\n" for kind, content in records)
        try:
            if not self._regular:
                self._write(text)
                return
            self._lock(fcntl.LOCK_EX)
            try:
                self._append(text)
            finally:
                self._lock(fcntl.LOCK_UN)
        except OSError as error:
            raise InputOutput(self.path, error.strerror or str(error), "the record is incomplete") from error

    def _lock(self, how: int) -> None:
        try:
            fcntl.flock(self._descriptor, how)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise

    def _append(self, text: bytes) -> None:
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            text = b"\n" + text  # a writer that was killed left a torn line
        try:
            self._write(text)
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise

    def _write(self, text: bytes) -> None:
        view = memoryview(text)
        while view:
            view = view[os.write(self._descriptor, view) :]


class LateRecord:
    """A record in the working directory whose name is known only when there is something to write.

    Raises CannotCreate where the directory takes no file.
    """

    def __init__(self, name: Callable[[], str]) -> None:
        self._name = name
        self._record: Record | None = None
        if not os.access(".", os.W_OK | os.X_OK):
            raise CannotCreate(".", "Permission denied", "name a file that can be written with -o")

    def add(self, records: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """As Record does."""
        self._record = self._record or Record(self._name())
        self._record.add(records)


def _opened(path: str) -> int:
    flags = os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_RDWR, 0o666)
    except OSError:
        if not os.path.exists(path) or stat.S_ISREG(os.stat(path).st_mode):
            raise
        return os.open(path, flags | os.O_WRONLY, 0o666)  # a terminal's or a pipe's end
