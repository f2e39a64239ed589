"""The tables of the data centre's index; see `toolkit.datacentre.index`."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, UniqueConstraint

VERSION = 1
METADATA = MetaData()

DOCUMENTS = Table(
    "documents",
    METADATA,
    Column("message_id", String, primary_key=True),
    Column("mdc_visit", String, nullable=False, index=True),
    Column("digest", String, nullable=False),  # sha256: and 64 hexadecimal digits
    Column("size", BigInteger, nullable=False),  # bytes
    Column("client", String, nullable=False),
    Column("received", String, nullable=False),
    Column("place", String, nullable=False, index=True),
    Column("pack", String, index=True),  # the pack that it is in or is planned for
    UniqueConstraint("mdc_visit", "digest"),
)

# A pack is planned, then stored: its documents are fixed before its first byte is written, so a run that was killed is
# repeated with the same result.
PACKS = Table(
    "packs",
    METADATA,
    Column("name", String, primary_key=True),
    Column("stored", Boolean, nullable=False),
    Column("created", String, nullable=False),
)

OBJECTS = Table(
    "objects",
    METADATA,
    Column("name", String, primary_key=True),
    Column("pack", String, nullable=False, index=True),
    Column("digest", String, nullable=False),
    Column("size", BigInteger, nullable=False),
)

PATIENTS = Table(
    "patients",
    METADATA,
    Column("patient", String, primary_key=True),
    Column("sex", String, nullable=False),
)

VISITS = Table(
    "visits",
    METADATA,
    Column("mdc_visit", String, primary_key=True),
    Column("message_id", String, nullable=False),  # the newest document of the visit
    Column("received", String, nullable=False),
    Column("patient", String, nullable=False, index=True),
    Column("sex", String, nullable=False),
    Column("age", Float),
    Column("city", String, nullable=False),
    Column("start", String, nullable=False, index=True),
    Column("end", String, nullable=False),
    Column("kind", String, nullable=False),
)


def _of_a_visit(name: str, *columns: Column[Any] | Index) -> Table:
    """A table with several rows a visit, numbered as they stand in the document."""
    return Table(
        name,
        METADATA,
        Column("mdc_visit", String, primary_key=True),
        Column("number", Integer, primary_key=True),
        *columns,
    )


DIAGNOSES = _of_a_visit(
    "diagnoses",
    Column("code", String, nullable=False),
    Column("system", String, nullable=False),
    Column("plain", String, nullable=False),
    Index("diagnoses_by_code", "plain", "mdc_visit"),
)
PROCEDURES = _of_a_visit(
    "procedures",
    Column("code", String, nullable=False),
    Column("system", String, nullable=False),
    Column("time", String, nullable=False),
    Index("procedures_by_code", "code", "mdc_visit"),
)
RESULTS = _of_a_visit(
    "results",
    Column("code", String, nullable=False),
    Column("system", String, nullable=False),
    Column("time", String, nullable=False),
    Column("value", Float),
    Column("unit", String, nullable=False),
    Column("text", String, nullable=False),
    Column("low", Float),
    Column("high", Float),
    Column("low_inclusive", Boolean, nullable=False),
    Column("high_inclusive", Boolean, nullable=False),
    Column("interpretation", String, nullable=False),
    Column("printed", String, nullable=False),
    Index("results_by_code", "code", "mdc_visit"),
)
ACCESSIONS = _of_a_visit("accessions", Column("accession", String, nullable=False), Index("accessions_by_token", "accession"))

STUDIES = Table(
    "studies",
    METADATA,
    Column("study_uid", String(64), primary_key=True),
    Column("patient", String, nullable=False, index=True),
    Column("accession", String, nullable=False, index=True),
    Column("date", String, nullable=False),
)
SERIES = Table(
    "series",
    METADATA,
    Column("series_uid", String(64), primary_key=True),
    Column("study_uid", String(64), nullable=False, index=True),
    Column("modality", String, nullable=False),
)
INSTANCES = Table(
    "instances",
    METADATA,
    Column("instance_uid", String(64), primary_key=True),
    Column("series_uid", String(64), nullable=False, index=True),
    Column("sop_class", String(64), nullable=False),
    Column("digest", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("place", String, nullable=False),
)
