"""The tables of the data centre's index; see `toolkit.datacentre.index`."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Connection, Float, Index, Integer, MetaData, String, Table, text
from sqlalchemy.dialects import postgresql

VERSION = 2  # 2: images
METADATA = MetaData()
# Compared byte by byte, as SQLite does: places are looked for by their beginnings, which no locale may reorder.
TEXT = String().with_variant(postgresql.TEXT(collation="C"), "postgresql")

DOCUMENTS = Table(
    "documents",
    METADATA,
    Column("message_id", TEXT, primary_key=True),
    Column("mdc_visit", TEXT, nullable=False),
    Column("digest", TEXT, nullable=False),  # sha256: and 64 hexadecimal digits
    Column("size", BigInteger, nullable=False),  # bytes
    Column("client", TEXT, nullable=False),
    Column("received", TEXT, nullable=False),
    Column("place", TEXT, nullable=False, index=True),
    Column("pack", TEXT),  # the pack that it is in or is planned for
    # not unique: where an index was lost, the same content may have been received and packed under two message ids
    Index("documents_by_visit", "mdc_visit", "digest"),
    Index("documents_by_pack", "pack", "received", "message_id"),
)

# A pack is planned, then stored: its documents are fixed before its first byte is written, so a run that was killed is
# repeated with the same result.
PACKS = Table(
    "packs",
    METADATA,
    Column("name", TEXT, primary_key=True),
    Column("stored", Boolean, nullable=False),
    Column("created", TEXT, nullable=False),
)

OBJECTS = Table(
    "objects",
    METADATA,
    Column("name", TEXT, primary_key=True),
    Column("pack", TEXT, nullable=False, index=True),
    Column("digest", TEXT, nullable=False),
    Column("size", BigInteger, nullable=False),
)

# Pseudonyms that the hospital replaced, each by the newest one of its visit or patient.
ALIASES = Table(
    "aliases",
    METADATA,
    Column("kind", TEXT, primary_key=True),  # visit, patient or accession
    Column("old", TEXT, primary_key=True),
    Column("new", TEXT, nullable=False),
    Index("aliases_by_new", "kind", "new"),
)

PATIENTS = Table(
    "patients",
    METADATA,
    Column("patient", TEXT, primary_key=True),
    Column("sex", TEXT, nullable=False),  # as the newest document says it
    Column("received", TEXT, nullable=False),
    Column("message_id", TEXT, nullable=False),
    sqlite_with_rowid=False,
)

VISITS = Table(
    "visits",
    METADATA,
    Column("mdc_visit", TEXT, primary_key=True),
    Column("message_id", TEXT, nullable=False),  # the newest document of the visit
    Column("received", TEXT, nullable=False),
    Column("patient", TEXT, nullable=False, index=True),
    Column("sex", TEXT, nullable=False),
    Column("age", Float),
    Column("city", TEXT, nullable=False),
    Column("start", TEXT, nullable=False, index=True),
    Column("end", TEXT, nullable=False),
    Column("kind", TEXT, nullable=False),
    sqlite_with_rowid=False,
)


def _of_a_visit(name: str, *columns: Column[Any] | Index) -> Table:
    """A table with several rows a visit, numbered as they stand in the document."""
    return Table(
        name,
        METADATA,
        Column("mdc_visit", TEXT, primary_key=True),
        Column("number", Integer, primary_key=True),
        *columns,
        sqlite_with_rowid=False,  # stored in the order of their keys: one tree less to fill
    )


DIAGNOSES = _of_a_visit(
    "diagnoses",
    Column("code", TEXT, nullable=False),
    Column("system", TEXT, nullable=False),
    Column("plain", TEXT, nullable=False),
    Index("diagnoses_by_code", "plain", "mdc_visit"),
)
PROCEDURES = _of_a_visit(
    "procedures",
    Column("code", TEXT, nullable=False),
    Column("system", TEXT, nullable=False),
    Column("time", TEXT, nullable=False),
)
RESULTS = _of_a_visit(
    "results",
    Column("code", TEXT, nullable=False),
    Column("system", TEXT, nullable=False),
    Column("time", TEXT, nullable=False),
    Column("value", Float),
    Column("unit", TEXT, nullable=False),
    Column("text", TEXT, nullable=False),
    Column("low", Float),
    Column("high", Float),
    Column("low_inclusive", Boolean, nullable=False),
    Column("high_inclusive", Boolean, nullable=False),
    Column("interpretation", TEXT, nullable=False),
    Column("printed", TEXT, nullable=False),
)
ACCESSIONS = _of_a_visit("accessions", Column("accession", TEXT, nullable=False), Index("accessions_by_token", "accession"))

# A study, and a series, is what the newest of its instances says: the one with the greatest (received, instance_uid).
STUDIES = Table(
    "studies",
    METADATA,
    Column("study_uid", TEXT, primary_key=True),
    Column("received", TEXT, nullable=False),
    Column("instance_uid", TEXT, nullable=False),
    Column("patient", TEXT, nullable=False, index=True),
    Column("accession", TEXT, nullable=False, index=True),
    Column("date", TEXT, nullable=False, index=True),  # DICOM's: 20261122
)
# The study is part of the key: a series UID that a sender uses in two studies must not move an object's place in the store.
SERIES = Table(
    "series",
    METADATA,
    Column("study_uid", TEXT, primary_key=True),
    Column("series_uid", TEXT, primary_key=True),
    Column("received", TEXT, nullable=False),
    Column("instance_uid", TEXT, nullable=False),
    Column("modality", TEXT, nullable=False),
)
INSTANCES = Table(
    "instances",
    METADATA,
    Column("instance_uid", TEXT, primary_key=True),
    Column("study_uid", TEXT, nullable=False),
    Column("series_uid", TEXT, nullable=False),
    Column("sop_class", TEXT, nullable=False),
    Column("transfer_syntax", TEXT, nullable=False),
    Column("digest", TEXT, nullable=False),  # sha256: and 64 hexadecimal digits, of the Part 10 file
    Column("size", BigInteger, nullable=False),  # bytes
    Column("client", TEXT, nullable=False),
    Column("received", TEXT, nullable=False),
    Column("place", TEXT, nullable=False),  # spool: or object:LIST
    Index("instances_by_series", "study_uid", "series_uid"),
    Index("instances_by_place", "place", "received", "instance_uid"),
)


def upgrade(connection: Connection, version: int) -> None:
    """Bring the tables of an earlier version up to this one, within the transaction of `connection`."""
    if version < 2:  # until then no image came: these three were empty, and had other columns
        for table in ("instances", "series", "studies"):
            connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
        METADATA.create_all(connection, tables=[STUDIES, SERIES, INSTANCES])
