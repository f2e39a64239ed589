from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from toolkit.core.database import failures_named, open_database
from toolkit.core.errors import BadData, CannotCreate, NoInput, NotPermitted, Unavailable, UsageError


def query(url: str, words: str) -> object:
    engine = open_database(url)
    try:
        with engine.begin() as connection:
            return connection.scalar(text(words))
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    ("form", "name"),
    [("{}", "vault.db"), ("{}", "with space?and#marks%20.db"), ("{}", "żółw.db"), ("sqlite:///{}", "vault.db")],
)
def test_a_sqlite_file_is_private_and_careful(tmp_path: Path, form: str, name: str) -> None:
    url = form.format(tmp_path / name)
    assert query(url, "PRAGMA journal_mode") == "wal"
    assert query(url, "PRAGMA synchronous") == 2  # FULL
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("mysql://host/db", UsageError, "not supported"),
        ("postgresql+asyncpg://host/db", UsageError, "not supported"),
        ("sqlite://", UsageError, "not supported"),
        ("sqlite://host/db", UsageError, "not supported"),
        ("://", UsageError, "cannot be understood"),
        ("postgresql://host:port/db", UsageError, "cannot be understood"),
        ("postgresql://anna:geheim@host/db", UsageError, "pgpass"),
        ("postgresql://anna@host/db?password=geheim", UsageError, "pgpass"),
        ("postgresql://anna@127.0.0.1:1/db", Unavailable, "127.0.0.1:1/db: .*start the server"),
        ("postgresql://anna@/db?host=/nonexistent", Unavailable, "start the server"),
        ("/nonexistent/vault.db", CannotCreate, "No such file"),
        ("/proc/vault.db", CannotCreate, "/proc/vault.db: "),
        ("/tmp", CannotCreate, "is a directory"),
        ("/dev/null/vault.db", CannotCreate, "Not a directory"),
    ],
)
def test_what_cannot_be_opened(url: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        open_database(url)
    assert "geheim" not in str(caught.value) and "\n" not in str(caught.value)


MAKING = """
import sys, time
import sqlalchemy
from toolkit.core.database import open_database
for number in range(150):
    while time.time() < float(sys.argv[1]) + number * 0.03:
        pass
    open_database(f"{number}.db").dispose()
"""


def test_several_processes_make_a_database_at_once(root: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", MAKING, str(time.time() + 3)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    processes = [subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60)[1] for process in processes] == [""] * 3


def test_what_must_exist(tmp_path: Path) -> None:
    with pytest.raises(NoInput):
        open_database(str(tmp_path / "absent.db"), create=False)
    assert os.listdir(tmp_path) == []


def test_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to have a head\n" * 50)
    with pytest.raises(BadData, match="not a database"):
        open_database(str(tmp_path / "text"))


@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_may_not_be_written(what: str) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own is closed to other users, root's included
        path = os.path.join(place, "vault.db")
        query(path, "SELECT 1")
        os.chmod(path, 0o444 if what == "file" else 0o666)
        os.chmod(place, 0o555 if what == "directory" else 0o777)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if os.geteuid() == 0:  # root may write everything: become somebody else
                    os.setuid(65534)
                open_database(path)
            except NotPermitted:
                status = 0
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.chmod(place, 0o700)
        assert status == 0


def test_a_fault_of_the_program_is_not_blamed_on_the_database(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="no such table"), failures_named("place"):
        query(str(tmp_path / "vault.db"), "SELECT * FROM absent")


def test_a_server_with_careless_defaults(postgresql: str) -> None:
    engine = open_database(postgresql)
    with engine.begin() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar()
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
        connection.exec_driver_sql(f"""ALTER DATABASE "{name}" SET default_transaction_isolation = 'repeatable read'""")
    engine.dispose()
    engine = open_database(postgresql)
    with engine.begin() as connection:
        settings = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in ("synchronous_commit", "transaction_isolation")]
    engine.dispose()
    assert settings == ["on", "read committed"]
