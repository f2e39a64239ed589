"""The gateway's audit log: who did what and when, one JSON object a line, never what a document says.

Events are appended and put on disk together; that a document was received is on disk before it is acknowledged.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from toolkit.core.errors import CannotCreate, InputOutput
from toolkit.core.streams import synchronise

_MOST_WAITING = 10_000  # lines


@dataclass(frozen=True)
class Event:
    """One event. `action`: receive, read or search; `client`: the subject of its certificate; `outcome`: the HTTP status; the rest
    as far as it is known: message id, the visit's pseudonym, ``sha256:<hex>`` and size in bytes of the document."""

    action: str
    client: str
    address: str
    outcome: int
    message_id: str = ""
    id: str = ""
    digest: str = ""
    size: int = 0


class Audit:
    """The log in the file `path`, made with permissions 0600 when it is missing; without a path nothing is kept. For several threads.

    Raises CannotCreate when the file cannot be written.
    """

    def __init__(self, path: str | None) -> None:
        self._path, self._lock = path, threading.Lock()
        self._lines: list[bytes] = []
        self._descriptor = -1
        self.reopen()

    def reopen(self) -> None:
        """Go on in the file that now has the name: a program that rotates logs has moved the other one."""
        if self._path is None:
            return
        self.synchronise()
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":  # the machine stopped in the middle of a line
                os.write(descriptor, b"\n")
            synchronise(os.path.dirname(os.path.abspath(self._path)))
        except OSError as error:
            raise CannotCreate(self._path, error.strerror or str(error), "name a file that the gateway can write with --audit") from error
        with self._lock:
            self._descriptor, old = descriptor, self._descriptor
        if old >= 0:
            os.close(old)

    def write(self, event: Event) -> None:
        """Take down an event; the next `synchronise` puts it on disk. Raises InputOutput when too many wait for a disk that fails."""
        if self._path is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        known = {name: value for name, value in asdict(event).items() if value not in ("", 0)}
        line = json.dumps({"time": now, **known}, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            if len(self._lines) >= _MOST_WAITING:
                raise InputOutput(self._path, "could not be written for long", "make room or repair the disk")
            self._lines.append(line)

    def synchronise(self) -> None:
        """All events taken down so far are on disk when this returns.

        Raises InputOutput when they cannot be written: they are kept, and written by a later call.
        """
        with self._lock:
            if not self._lines or self._descriptor < 0:
                return
            data = b"".join(self._lines)
            end = os.fstat(self._descriptor).st_size
            try:
                written = 0
                while written < len(data):
                    written += os.write(self._descriptor, data[written:])
                os.fdatasync(self._descriptor)
            except OSError as error:
                with contextlib.suppress(OSError):  # no half line, and none twice
                    os.ftruncate(self._descriptor, end)
                raise InputOutput(str(self._path), error.strerror or str(error), "make room or repair the disk") from error
            self._lines.clear()

    def close(self) -> None:
        """Put what is left on disk."""
        try:
            self.synchronise()
        finally:
            with self._lock:
                if self._descriptor >= 0:
                    os.close(self._descriptor)
                    self._descriptor = -1
