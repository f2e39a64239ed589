"""A real PostgreSQL server for tests and benchmarks: its own cluster in a temporary directory, reached by a Unix socket only."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "postgresql"  # Debian's name


def binaries() -> Path | None:
    """The directory of initdb and pg_ctl of the newest installed version (Debian keeps them out of PATH); None without any."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parent.parent.name))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(os.path.realpath(on_path)).parent if on_path else None


@contextlib.contextmanager
def server(settings: str = "") -> Iterator[str]:
    """Run a server until the body ends; gives the URL of its database. `settings`: further lines for postgresql.conf."""
    programs = binaries()
    if programs is None:
        raise FileNotFoundError(f"initdb: apt-get install {PACKAGE}")
    home = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        if os.geteuid() == 0:  # the server refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(home, user.pw_uid, user.pw_gid)
        data = home / "data"
        _run(home, programs / "initdb", "--pgdata", data, "--username", "tester", "--auth", "trust", "--encoding", "UTF8", "--no-sync")
        with open(data / "postgresql.conf", "a") as configuration:
            configuration.write(f"listen_addresses = ''\nunix_socket_directories = '{home}'\n{settings}\n")
        _run(home, programs / "pg_ctl", "start", "--pgdata", data, "--log", home / "log", "--wait", "--silent")
        try:
            yield f"postgresql://tester@/postgres?host={home}"
        finally:
            _run(home, programs / "pg_ctl", "stop", "--pgdata", data, "--mode", "immediate", "--wait", "--silent")
    finally:
        shutil.rmtree(home)


def empty(url: str) -> None:
    """Remove everything from the database `url`, however a test left it; quicker than a new database for each test."""
    import psycopg

    with psycopg.connect(url) as connection:
        others = "FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
        connection.execute(f"SELECT pg_terminate_backend(pid) {others}".encode())
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def _run(home: Path, *words: str | Path) -> None:
    ahead = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"] if os.geteuid() == 0 else []
    result = subprocess.run([*ahead, *words], cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    if result.returncode:
        raise RuntimeError(f"{words[0]}: {result.stderr.strip()}")
