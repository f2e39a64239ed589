"""Which senders still live. Each holds a lock that its system or server takes away when it dies, however it dies: no clock can err.

SQLite has no locks that a process may hold between transactions, so there it is one byte of a file beside the database, at the
sender's number (an open file description lock, fcntl(2)); PostgreSQL has advisory locks of a session.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import struct
import threading
import time
from typing import TYPE_CHECKING

from toolkit.core.database import failures_named, place_of
from toolkit.core.errors import CannotCreate

if TYPE_CHECKING:
    from sqlalchemy import Engine


class FileSender:
    """A sender on an SQLite database: all of them are on one machine."""

    def __init__(self, path: str) -> None:
        self.number = secrets.randbits(62)
        name = os.path.realpath(path) + "-senders"
        try:
            self._file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotCreate(name, error.strerror or str(error), "make it writable, or remove it") from error
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _byte(fcntl.F_WRLCK, self.number))

    def lives(self, number: int) -> bool:
        """Whether the sender of this number still holds its lock."""
        if number == self.number:
            return True
        answer = fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, _byte(fcntl.F_WRLCK, number))
        return struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._file)


class ServerSender:
    """A sender on a PostgreSQL database, from any machine; its lock goes with its connection."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._place = engine, place_of(engine)
        self._one_at_a_time = threading.Lock()
        self.number = 0
        self._take_number()

    def lives(self, number: int) -> bool:
        """Whether the sender of this number still holds its lock. A sender that lost its connection has a new number afterwards."""
        from sqlalchemy.exc import DBAPIError

        with self._one_at_a_time:
            try:
                return self._holds(number)
            except DBAPIError:  # the server was restarted, and forgot all locks
                self._connection.close()
                self._take_number()
            with failures_named(self._place):
                return self._holds(number)

    def _holds(self, number: int) -> bool:
        from sqlalchemy import text

        # a lock of one 64-bit key stands there in two halves, with objsubid 1 (PostgreSQL manual, pg_locks)
        statement = """SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND classid::bigint = :high AND objid::bigint = :low"""
        return bool(self._connection.scalar(text(statement), {"high": number >> 32, "low": number & 0xFFFFFFFF}))

    def _take_number(self) -> None:
        from sqlalchemy.exc import DBAPIError

        self.number = secrets.randbits(62)
        with failures_named(self._place):
            try:
                self._lock()
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                self._lock()  # that connection was from before the server's restart; the next one is new

    def _lock(self) -> None:
        from sqlalchemy import text

        self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            self._connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": self.number})
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Give the lock back."""
        from sqlalchemy import text
        from sqlalchemy.exc import DBAPIError

        with self._one_at_a_time:
            with contextlib.suppress(DBAPIError):  # a server takes a moment to see that a client is gone: it is told
                self._connection.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": self.number})
            self._connection.invalidate()  # a pooled connection would keep its lock
            self._connection.close()


def sender_on(engine: Engine) -> FileSender | ServerSender:
    """A new sender on the database of `engine`."""
    return FileSender(place_of(engine)) if engine.dialect.name == "sqlite" else ServerSender(engine)


def steady_clock() -> tuple[str, float]:
    """A clock that nobody can set: the name of this start of the machine, and the seconds since it."""
    with open("/proc/sys/kernel/random/boot_id") as stream:
        return stream.read().strip(), time.clock_gettime(time.CLOCK_BOOTTIME)


def _byte(kind: int, number: int) -> bytes:
    """struct flock of Linux for the byte at `number`."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, number, 1, 0)
