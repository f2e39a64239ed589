"""Links on SQLite and on a real PostgreSQL server alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from toolkit.core.database import open_database
from toolkit.core.keys import Key, Keyring, create_keys
from toolkit.hospital.links.database import Links, open_links

PESEL, HIS = "2.16.840.1.113883.3.4424.1.1.616", "1.2.3"


@dataclass(frozen=True)
class Ids:
    """What a document says of its visit, as far as links need it."""

    visit_id: str
    patient_id: str = "80010112345"
    visit_root: str = HIS
    patient_root: str = PESEL
    accession_numbers: tuple[str, ...] = ()


def mdc_ids(visit: Ids, key: Key) -> tuple[str, str]:
    return key.seal("visit", f"{visit.visit_root}|{visit.visit_id}"), key.seal("patient", f"{visit.patient_root}|{visit.patient_id}")


def queue(
    links: Links, number: int | str, document: bytes = b"<document/>", version: str = "1", accession_numbers: tuple[str, ...] = ()
) -> bool:
    """Queue a version of the document of a visit; the id of its message is NUMBER/VERSION."""
    visit = Ids(f"V{number}", accession_numbers=accession_numbers)
    return links.queue(visit, *mdc_ids(visit, links.keyring.current), f"{number}/{version}", document, f"/export/{number}.xml")


def execute(url: str, *statements: str) -> int:
    """Change the database behind the program's back; how many rows were changed."""
    engine = open_database(url)
    try:
        with engine.begin() as connection:
            return sum(connection.execute(text(statement)).rowcount for statement in statements)
    finally:
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "links.db") if request.param == "sqlite" else request.getfixturevalue("postgresql")


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return create_keys(str(tmp_path / "hospital.key"))


@pytest.fixture
def links(url: str, keyring: Keyring) -> Iterator[Links]:
    with open_links(url, keyring) as opened:
        yield opened
