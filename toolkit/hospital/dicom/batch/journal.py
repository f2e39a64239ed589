"""What a run has done, kept beside the output so that the next run goes on where this one ended, however it ended.

The journal holds keyed hashes of the inputs' paths and contents and the names in the output: nothing that tells who is on the images.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from toolkit.core.errors import CannotCreate, InputOutput, TryLater

_PATIENCE = 3.0  # seconds: processes of a run that was killed need this long at most to notice it
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (number INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE IF NOT EXISTS claims (
    name BLOB PRIMARY KEY, owner BLOB NOT NULL, content BLOB NOT NULL, run INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inputs (
    input BLOB PRIMARY KEY, stamp BLOB NOT NULL, output BLOB NOT NULL
) WITHOUT ROWID;
"""


class Verdict(Enum):
    """What the journal says to an object that wants a name in the output."""

    GRANTED = "granted"
    DUPLICATE = "duplicate"  # another input of the same content has it
    TAKEN = "taken"  # something else has it


class Claim(NamedTuple):
    """An object that wants a name in the output.

    `instance`: its new SOPInstanceUID, by which the vault knows it; `output`: its name; `owner`, `content`: keyed hashes of its input's
    path and content.
    `same` tells whether the file that has the name holds just what this object would put there.
    """

    instance: bytes
    output: bytes
    owner: bytes
    content: bytes
    same: Callable[[], bool]


@contextlib.contextmanager
def locked(directory: str, output: str) -> Iterator[None]:
    """Hold the journal `directory` for one run, and its worker processes; it is made when it is missing.

    Raises TryLater when another run holds it, CannotCreate when it cannot be made.
    """
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        descriptor = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotCreate(directory, error.strerror or str(error), "choose an output beside which files can be made") from error
    try:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TryLater(output, "another dicom-anon writes to it", "wait until that one has ended") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


class Journal:
    """The journal in `directory`; every process opens its own. Failures of its file are InputOutput."""

    def __init__(self, directory: str, run: int = 0) -> None:
        self.path = os.path.join(directory, "journal.db")
        with self._failures_named():
            self._database = sqlite3.connect(self.path, timeout=60.0, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")  # what a power cut takes from it is done again; it stays consistent
            self._database.executescript(_SCHEMA)
            self.run = run or self._database.execute("INSERT INTO runs DEFAULT VALUES").lastrowid or 0

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def unchanged(self, stamps: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """Those of the inputs (path's hash -> stamp of size, time and settings) that were done with this very stamp, and their outputs."""
        marks = ",".join("?" * len(stamps))
        with self._failures_named():
            rows = self._database.execute(f"SELECT input, stamp, output FROM inputs WHERE input IN ({marks})", list(stamps)).fetchall()
        return {key: output for key, stamp, output in rows if stamps[key] == stamp}

    def claim(self, claims: Sequence[Claim], exists: Callable[[bytes], bool]) -> list[Verdict]:
        """Decide who gets which name; what is granted is recorded before any file of that name appears.

        `exists` tells whether a file of an output's name stands there now.
        """
        with self._failures_named(), self._transaction():
            return [self._claim_one(claim, exists) for claim in claims]

    def _claim_one(self, claim: Claim, exists: Callable[[bytes], bool]) -> Verdict:
        instance, name = b"instance " + claim.instance, b"name " + claim.output
        known, held = self._claimed(instance), self._claimed(name)
        for row in (known, held):
            if row is not None and row[0] != claim.owner and row[1] != claim.content:
                return Verdict.TAKEN
        if held is None:
            if exists(claim.output) and not claim.same():  # a file that no run of this journal has made
                return Verdict.TAKEN
        elif held[0] != claim.owner and (held[2] == self.run or exists(claim.output)):
            return Verdict.DUPLICATE
        rows = [(each, claim.owner, claim.content, self.run) for each in (instance, name)]
        self._database.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)", rows)
        return Verdict.GRANTED

    def _claimed(self, name: bytes) -> tuple[bytes, bytes, int] | None:
        row: tuple[bytes, bytes, int] | None
        row = self._database.execute("SELECT owner, content, run FROM claims WHERE name = ?", (name,)).fetchone()
        return row

    def done(self, rows: Iterable[tuple[bytes, bytes, bytes]]) -> None:
        """Record (path's hash, stamp, output) of inputs whose outputs stand in their place."""
        with self._failures_named(), self._transaction():
            self._database.executemany("INSERT OR REPLACE INTO inputs VALUES (?, ?, ?)", rows)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextlib.contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise InputOutput(self.path, str(error), "make room, or remove the journal and start again into a new output") from error
