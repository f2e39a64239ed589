"""What several of these tests need once."""

from __future__ import annotations

import pytest

from tests.visits import certificates


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificates:
    """An authority, a server and clients, good and bad ones."""
    return certificates.make(tmp_path_factory.mktemp("certificates"))
