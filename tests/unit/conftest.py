"""What the unit tests of several families share: a PostgreSQL server, started when the first test asks for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from tests.peers import postgresql as peer


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a server's database, for the whole run."""
    if peer.binaries() is None:
        pytest.skip(f"needs a PostgreSQL server: apt-get install {peer.PACKAGE}")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("needs psycopg: pip install 'scape-toolkit[postgresql]'")
    with peer.server("fsync = off") as url:  # no test cuts the power
        yield url


@pytest.fixture
def postgresql(postgresql_server: str) -> str:
    """The URL of an empty database."""
    peer.empty(postgresql_server)
    return postgresql_server
