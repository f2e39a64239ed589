"""Certificates for all tests of this directory, and the other programs, or a skip that names their packages."""

from __future__ import annotations

import pytest

from tests.peers import dcmtk, orthanc
from tests.peers.dcmtk import Tls
from tests.visits import certificates as made
from tests.visits.certificates import Certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return made.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, certificates: Certificates) -> tuple[Tls | None, Tls | None]:
    """What a receiver and a sender are given: nothing, or certificates on both sides."""
    if request.param == "plain":
        return None, None
    return Tls(certificates.server, certificates.ca), Tls(certificates.client, certificates.ca)


@pytest.fixture
def needs_dcmtk() -> None:
    for name in ("storescu", "storescp", "echoscu", "findscu"):
        if dcmtk.binary(name) is None:
            pytest.skip(f"needs {name}: apt-get install {dcmtk.PACKAGE}")


@pytest.fixture
def needs_orthanc() -> None:
    if orthanc.program() is None:
        pytest.skip(f"needs Orthanc: apt-get install {orthanc.PACKAGE}")
