"""One way to open a database: SQLite by path, PostgreSQL by URL; safe when several processes use it, errors in one line.

SQLAlchemy takes a quarter of a second to import, so it is imported by the functions that need it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from toolkit.core.errors import BadData, CannotCreate, InputOutput, NoInput, NotPermitted, ToolError, TryLater, Unavailable, UsageError
from toolkit.core.streams import synchronise

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, MetaData

PATIENCE = 60.0  # seconds that one process waits while another one writes
_WRITABLE = "run as its owner, or make the file and its directory writable"  # SQLite keeps its log in a file beside it
READING: dict[str, Any] = {"reading": True}  # execution options of a connection that does not write


def open_database(url: str, *, create: bool = True, patience: float = PATIENCE) -> Engine:
    """The SQLAlchemy engine for `url`: a path or ``sqlite:///PATH`` for SQLite, ``postgresql://...`` for PostgreSQL.

    A SQLite file that does not exist is made with permissions 0600, or is NoInput without `create`. It is used in WAL mode, so
    that readers and one writer do not wait for each other; each commit is on disk when it returns. A transaction begins
    as a writer's unless its connection has the execution options `READING`: waiting at the begin cannot deadlock. A process
    that forks must open the database afterwards.

    Raises UsageError for another kind of URL and for one that holds a password, Unavailable when the server does not answer or its
    driver is missing, CannotCreate, NotPermitted or BadData when the file cannot be made, opened, or is none of SQLite.
    """
    if "://" not in url:
        return _open_sqlite(url, create, patience)
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise UsageError("database", "its URL cannot be understood", "give a path or postgresql://USER@HOST/DATABASE") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database and not parsed.host:
        return _open_sqlite(parsed.database, create, patience)
    if backend not in ("postgresql", "postgres") or "+" in parsed.drivername:
        raise UsageError("database", f"{parsed.drivername}:// is not supported", "give a path or postgresql://USER@HOST/DATABASE")
    if parsed.password is not None or "password" in parsed.query:
        raise UsageError("database", "its URL holds a password, which every user can see in the list of processes", "put it in ~/.pgpass")
    return _open_postgresql(parsed, patience)


def place_of(engine: Engine) -> str:
    """What messages call the database."""
    return str(engine.url.database) if engine.url.get_backend_name() == "sqlite" else engine.url.render_as_string(hide_password=True)


def ensure_tables(
    engine: Engine,
    part: str,
    version: int,
    tables: MetaData,
    *,
    create: bool = True,
    upgrade: Callable[[Connection, int], None] | None = None,
) -> None:
    """Make the `tables` of `part` unless they are there; several processes may do so at once.

    The table ``toolkit_schema`` records their version; where an earlier release made them, `upgrade` gets a transaction and that
    version: what it changes is there whole or not at all. Raises BadData when a newer release made them, NoInput when they are missing
    and `create` is off.
    """
    from sqlalchemy import Column, Integer, MetaData, String, Table, insert, inspect, select, update

    place = place_of(engine)
    schema = Table("toolkit_schema", MetaData(), Column("part", String, primary_key=True), Column("version", Integer, nullable=False))

    def version_of(connection: Connection) -> int | None:
        known = inspect(connection).has_table(schema.name)
        return connection.scalar(select(schema.c.version).where(schema.c.part == part)) if known else None

    with failures_named(place), engine.connect().execution_options(**READING) as connection:
        found = version_of(connection)
    if found is None and not create:
        raise NoInput(place, f"holds no {part}", f"name the database that holds your {part}")
    if found is None:
        with failures_named(place), engine.begin() as connection:
            _lock_schema(connection)
            found = version_of(connection)  # another process may have been quicker
            if found is None:
                schema.create(connection, checkfirst=True)
                tables.create_all(connection)
                connection.execute(insert(schema).values(part=part, version=version))
    if found is not None and found < version and upgrade is not None:
        with failures_named(place), engine.begin() as connection:
            _lock_schema(connection)
            found = version_of(connection)
            if found is not None and found < version:
                upgrade(connection, found)
                connection.execute(update(schema).where(schema.c.part == part).values(version=version))
    if found is not None and found > version:
        raise BadData(place, f"its {part} was made by a newer release (version {found})", "install a newer scape-toolkit")


def _lock_schema(connection: Connection) -> None:
    """CREATE TABLE IF NOT EXISTS fails with PostgreSQL when two do it at once."""
    from sqlalchemy import text

    if connection.engine.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('toolkit_schema'))"))


@contextlib.contextmanager
def failures_named(place: str) -> Iterator[None]:
    """Turn the errors of a database into ours, one line each, which name `place` and what to do."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        named = _named(place, error.orig if isinstance(error, DBAPIError) else error)
        if named is None:
            raise
        raise named from error


def _named(place: str, error: BaseException | None) -> ToolError | None:
    if isinstance(error, sqlite3.Error):
        return _named_sqlite(place, getattr(error, "sqlite_errorcode", 0) & 0xFF, str(error))
    from psycopg import Error, OperationalError

    if isinstance(error, Error) and (error.sqlstate is not None or isinstance(error, OperationalError)):
        return _named_postgresql(place, error.sqlstate, str(error))
    return None


def _named_sqlite(place: str, code: int, words: str) -> ToolError | None:
    """By primary result code, https://www.sqlite.org/rescode.html; None for a fault of this program."""
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return TryLater(place, "another program keeps the database locked", "run the command again when that has ended")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return NotPermitted(place, "the database may not be written", _WRITABLE)
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return InputOutput(place, words, "make room or repair the disk and run it again; what was committed is safe")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return BadData(place, words, "name a database that this program made, or restore it from its backup")
    if code == sqlite3.SQLITE_CANTOPEN:
        return CannotCreate(place, words, "name a file in a directory that exists and can be written")
    return None


def _named_postgresql(place: str, state: str | None, words: str) -> ToolError | None:
    """By SQLSTATE, PostgreSQL manual, appendix A; libpq gives none when no connection came about."""
    problem = " ".join((words.strip().splitlines() or ["the connection failed"])[0].split())
    if state is None or state[:2] in ("08", "57") or state == "53300":
        return Unavailable(place, problem, "start the server, or correct the URL, ~/.pgpass or the server's pg_hba.conf")
    if state[:2] in ("53", "58"):
        return InputOutput(place, problem, "make room on the server and run it again; what was committed is safe")
    if state in ("55P03", "40001", "40P01"):
        return TryLater(place, problem, "run the command again when the other program has ended")
    if state in ("42501", "25006") or state[:2] == "28":
        return NotPermitted(place, problem, "ask the server's administrator for the right to use it")
    if state == "3D000":
        return NoInput(place, problem, "make it with createdb, or name one that exists")
    return None


def _open_sqlite(path: str, create: bool, patience: float) -> Engine:
    from sqlalchemy import URL, create_engine, event
    from sqlalchemy.pool import QueuePool

    if os.path.isdir(path):
        raise CannotCreate(path, "is a directory", "name a file")
    if create:
        _create_private(path)
    elif not os.path.exists(path):
        raise NoInput(path, "No such file or directory", "name a database that exists")
    if not (os.access(path, os.R_OK | os.W_OK) and os.access(os.path.dirname(path) or ".", os.W_OK)):
        raise NotPermitted(path, "the database may not be written", _WRITABLE)

    def connect() -> sqlite3.Connection:
        return _connect_sqlite(path, patience)

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE")

    engine = create_engine(URL.create("sqlite", database=path), creator=connect, poolclass=QueuePool)
    event.listen(engine, "begin", begin)
    with failures_named(path), engine.connect().execution_options(**READING) as connection:
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")  # reads the file's head: is it SQLite at all?
    return engine


def _create_private(path: str) -> None:
    """An empty file for SQLite, which gives its -wal and -shm files the same permissions."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        synchronise(os.path.dirname(path) or ".")
    except FileExistsError:
        pass
    except OSError as error:
        raise CannotCreate(path, error.strerror or str(error), "name a file in a directory that exists and can be written") from error


def _connect_sqlite(path: str, patience: float) -> sqlite3.Connection:
    # isolation_level None: transactions begin where we say, not where Python's module thinks
    connection = sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        if _into_wal(connection, patience) != "wal":
            raise Unavailable(path, "this file system cannot share a database", "put it on a local disk or use PostgreSQL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _into_wal(connection: sqlite3.Connection, patience: float) -> str:
    """The journal's mode then. SQLite itself does not wait when another process makes the same change at the same moment."""
    end = time.monotonic() + patience
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(0.01)


def _open_postgresql(url: URL, patience: float) -> Engine:
    from sqlalchemy import create_engine

    # Whatever the server's or the user's defaults are: what was committed is on its disk, and others' commits are seen.
    careful = r"-c synchronous_commit=on -c default_transaction_isolation=read\ committed"
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={
                "connect_timeout": 10,
                "application_name": "scape-toolkit",
                "options": f"-c lock_timeout={int(patience * 1000)} -c client_min_messages=warning {careful}",
            },
        )
    except ModuleNotFoundError as error:
        raise Unavailable("Python package psycopg", "is not installed", "pip install 'scape-toolkit[postgresql]'") from error
    with failures_named(place_of(engine)), engine.connect():
        pass
    return engine
