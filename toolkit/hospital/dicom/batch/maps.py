"""Maps from original to new identifiers, as CSV files that grow from run to run."""

from __future__ import annotations

import contextlib
import csv
import os
import sqlite3
from collections.abc import Iterable, Iterator

from toolkit.core.errors import BadData, CannotCreate, InputOutput
from toolkit.core.streams import atomic_output

HEADING = ["id_old", "id_new"]
_REMEMBERED = 100_000
_TABLE = "CREATE TABLE IF NOT EXISTS {} (number INTEGER PRIMARY KEY, id_old TEXT NOT NULL, id_new TEXT NOT NULL, UNIQUE (id_old, id_new))"


class PairMap:
    """The CSV file at `path`, columns id_old and id_new.

    Pairs are collected in `path`.pending, a database that several processes may write to and that outlives a run that is killed; `merge`
    adds those that are new to the file, which is replaced as a whole. Both are readable by their owner alone: they tell who is who.
    """

    def __init__(self, path: str) -> None:
        self.path, self.pending = path, path + ".pending"
        self._seen: set[tuple[str, str]] = set()
        self._connection: sqlite3.Connection | None = None

    def check(self) -> None:
        """Raise BadData when the file at `path` is something else, CannotCreate when it cannot be written."""
        for _ in self._rows():
            break
        try:
            with self._failures_named(), self._opened():
                self.close()
        except OSError as error:
            raise CannotCreate(self.path, error.strerror or str(error), "choose a directory that can be written") from error

    def add(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Keep these pairs until the merge; each call is one transaction."""
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._seen]
        if not new:
            return
        with self._failures_named(), self._opened() as database, database:
            database.executemany("INSERT OR IGNORE INTO pairs (id_old, id_new) VALUES (?, ?)", new)
        if len(self._seen) > _REMEMBERED:
            self._seen.clear()
        self._seen.update(new)

    def merge(self) -> None:
        """Write the file: its old rows in their order, then the new ones. The collected pairs are gone then."""
        with self._failures_named():
            with self._opened() as database:
                with database:
                    database.execute("DROP TABLE IF EXISTS merged")
                    database.execute(_TABLE.format("merged"))
                    database.executemany("INSERT OR IGNORE INTO merged (id_old, id_new) VALUES (?, ?)", self._rows())
                    database.execute("INSERT OR IGNORE INTO merged (id_old, id_new) SELECT id_old, id_new FROM pairs ORDER BY number")
                with _private(), atomic_output(self.path) as sink:
                    sink.write(",".join(HEADING).encode() + b"\n")
                    for row in database.execute("SELECT id_old, id_new FROM merged ORDER BY number"):
                        sink.write(_line(row))
            self.close()
            for ending in ("", "-wal", "-shm", "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.pending + ending)

    def close(self) -> None:
        """Close the collection; it stays on the disk until it is merged."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rows(self) -> Iterator[tuple[str, str]]:
        """The rows of the file as it stands; none when there is no file yet."""
        try:
            stream = open(self.path, newline="", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 - closed below
        except FileNotFoundError:
            return
        except OSError as error:
            raise CannotCreate(self.path, error.strerror or str(error), "choose a file that can be read and written") from error
        with stream:
            os.fchmod(stream.fileno(), 0o600)
            rows = csv.reader(stream)
            if next(rows, HEADING) != HEADING:
                raise BadData(self.path, f"its first line is not {','.join(HEADING)}", "name a new file")
            for number, row in enumerate(rows, 2):
                if len(row) != 2:
                    raise BadData(f"{self.path}: line {number}", "is not two columns", "mend it, or name a new file")
                yield row[0], row[1]

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        if self._connection is None:
            os.close(os.open(self.pending, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = sqlite3.connect(self.pending, timeout=60.0)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(_TABLE.format("pairs"))
        yield self._connection

    @contextlib.contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise InputOutput(self.pending, str(error), "make room; what was collected is merged by the next run") from error


@contextlib.contextmanager
def _private() -> Iterator[None]:
    """Files made in the body are readable by their owner alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _line(row: tuple[str, str]) -> bytes:
    """One line of CSV (RFC 4180), ended as lines of Unix are."""
    quoted = ['"' + value.replace('"', '""') + '"' if any(c in value for c in ',"\r\n') else value for value in row]
    return ",".join(quoted).encode("utf-8", "surrogateescape") + b"\n"
