"""The gateway with its index in PostgreSQL, which breaks all connections once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import postgresql
from tests.unit.datacentre.gateways import Running, digest
from tests.unit.datacentre.test_personal_data import SEALED, document
from tests.visits.certificates import Certificates
from toolkit.datacentre.index import open_index


@pytest.mark.skipif(postgresql.binaries() is None, reason=f"needs PostgreSQL: apt-get install {postgresql.PACKAGE}")
def test_with_postgresql(tmp_path: Path, certs: Certificates) -> None:
    import psycopg

    bodies = {f"postgres-{n}": document(text=str(n)).encode() for n in range(6)}
    names = iter(bodies)
    with postgresql.server() as url:
        gateway = Running(tmp_path, certs, "--workers", "1", constants={"serving._CARE_SECONDS": 0.2})
        gateway.index = url
        with gateway:
            for name in (next(names), next(names)):
                assert gateway.post(bodies[name], name).status == 201
                assert gateway.post(bodies[name], name).status == 200
            with psycopg.connect(url) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = current_user"
                )
            for name in names:
                tries = [gateway.post(bodies[name], name).status for _ in range(3)]
                assert tries[-1] == 200 and set(tries) <= {201, 200, 503} and tries.count(201) == 1
            said = gateway.ask("GET", f"/visits/{SEALED}?message=postgres-3")
            assert said.body == bodies["postgres-3"]
            assert gateway.ask("GET", "/health").status == 200
            assert gateway.end() == 0
        with open_index(url, create=False) as index:
            assert {one.message_id: one.digest for one in index.find(SEALED)} == {name: digest(body) for name, body in bodies.items()}
