"""The tables of the vault, for SQLite and PostgreSQL alike. Imported when a vault is opened: SQLAlchemy takes long to import."""

from sqlalchemy import DDL, Boolean, Column, Integer, LargeBinary, MetaData, String, Table, event

VERSION = 1
METADATA = MetaData()

KEYS = Table(
    "vault_key",
    METADATA,
    Column("id", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
)

# `serial` makes the encryption key of this entry; `patient` is encrypted, `patient_token` is a keyed hash of it.
ENTRIES = Table(
    "vault_entry",
    METADATA,
    Column("instance_uid", String, primary_key=True),
    Column("series_uid", String, nullable=False),
    Column("study_uid", String, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("key_id", String, nullable=False),
    Column("serial", LargeBinary, nullable=False),
    Column("patient", LargeBinary, nullable=False),
    Column("patient_token", String, nullable=False, index=True),
)

# The encrypted inverse patch, in order from 0 to the one that is marked as the last.
CHUNKS = Table(
    "vault_chunk",
    METADATA,
    Column("instance_uid", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("last", Boolean, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

# PostgreSQL would try to compress each chunk, and ciphertext does not shrink.
event.listen(CHUNKS, "after_create", DDL("ALTER TABLE vault_chunk ALTER COLUMN data SET STORAGE EXTERNAL").execute_if(dialect="postgresql"))

AUDIT = Table(
    "vault_audit",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", String, nullable=False),
    Column("who", String, nullable=False),
    Column("what", String, nullable=False),
    Column("instance_uid", String, nullable=False, index=True),
    Column("key_id", String, nullable=False),
    Column("seal", LargeBinary, nullable=False),
)
