"""What tests of the SFTP engine share: a real server on loopback and connections to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers import sshd
from toolkit.experiment.staging.connection import Connection, connect

TRANSPORTS = ("ssh", "paramiko")


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    """OpenSSH as most machines have it."""
    with sshd.server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(scope="module", params=TRANSPORTS)
def connection(server: sshd.Server, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """One that lasts for a whole file of tests."""
    with connect(server.host, server.access(request.param)) as made:
        yield made


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A directory here and one that stands for the far side."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    return here, there
