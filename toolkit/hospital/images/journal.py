"""What was sent where, kept so that the next run goes on where this one ended, however it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from toolkit.core.errors import BadData, CannotCreate, InputOutput, TryLater

SENT, COMMITTED, REFUSED = "sent", "committed", "refused"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS instances (
    receiver TEXT NOT NULL, instance TEXT NOT NULL, digest BLOB NOT NULL, path BLOB NOT NULL, stamp TEXT NOT NULL,
    state TEXT NOT NULL, at REAL NOT NULL, what TEXT NOT NULL,
    PRIMARY KEY (receiver, instance)
) WITHOUT ROWID;
"""


class Entry(NamedTuple):
    """An instance as it was sent: SHA-256 of its data set, where its file stood, and how that looked (size, time, inode)."""

    instance: str
    digest: bytes
    path: str
    stamp: tuple[int, int, int]
    state: str
    what: str = ""


class Journal:
    """The journal in the file `path` for one `receiver`, AE@HOST:PORT; used by one run and one thread.

    An entry is written after the acknowledgement that it tells of: what a kill takes of the last ones is sent again, and known there.
    """

    def __init__(self, path: str, receiver: str) -> None:
        self.path, self._receiver = path, receiver
        try:
            self._database = sqlite3.connect(path, timeout=60.0, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise CannotCreate(path, str(error), "name a file in a directory that can be written") from error
            raise BadData(path, f"is no journal: {error}", "name a new file") from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def known(self, instances: Iterable[str]) -> dict[str, Entry]:
        """The entries of these instances."""
        found, wanted = {}, list(instances)
        with self._failures_named():
            for start in range(0, len(wanted), 500):
                some = wanted[start : start + 500]
                rows = self._database.execute(
                    "SELECT instance, digest, path, stamp, state, what FROM instances "
                    f"WHERE receiver = ? AND instance IN ({','.join('?' * len(some))})",
                    [self._receiver, *some],
                )
                for instance, digest, path, stamp, state, what in rows:
                    size, changed, inode = map(int, stamp.split())
                    found[instance] = Entry(instance, digest, os.fsdecode(path), (size, changed, inode), state, what)
        return found

    def write(self, entries: Iterable[Entry]) -> None:
        """Enter them, or what is new about them, in one transaction."""
        rows = [
            (
                self._receiver,
                one.instance,
                one.digest,
                os.fsencode(one.path),
                " ".join(map(str, one.stamp)),
                one.state,
                time.time(),
                one.what,
            )
            for one in entries
        ]
        if not rows:
            return
        with self._failures_named(), self._database:  # commits, or rolls back
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT OR REPLACE INTO instances VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def forget(self, instances: Iterable[str]) -> None:
        """Let them be sent again: the receiver says that it does not have them."""
        with self._failures_named():
            self._database.executemany(
                "DELETE FROM instances WHERE receiver = ? AND instance = ?", [(self._receiver, instance) for instance in instances]
            )

    @contextlib.contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise InputOutput(self.path, str(error), "make room; what was sent since is sent again, which does no harm") from error


@contextlib.contextmanager
def open_journal(path: str | None, receiver: str) -> Iterator[Journal]:
    """The journal at `path`, held for this run; without a path one that is forgotten.

    Raises TryLater when another run holds it, CannotCreate when it cannot be made, BadData when the file is something else.
    """
    if path is None:
        with contextlib.closing(Journal(":memory:", receiver)) as journal:
            yield journal
        return
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        descriptor = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotCreate(path, error.strerror or str(error), "name a file in a directory that can be written") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TryLater(path, "another dicom-send uses it", "wait until that one has ended") from None
        with contextlib.closing(Journal(path, receiver)) as journal:
            yield journal
    finally:
        os.close(descriptor)
