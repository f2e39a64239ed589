"""The tables of links and queue, for SQLite and PostgreSQL alike. Imported when they are opened: SQLAlchemy takes long to import."""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, UniqueConstraint

VERSION = 1
METADATA = MetaData()
_NUMBER = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER PRIMARY KEY counts up by itself in SQLite

KEYS = Table(
    "link_key",
    METADATA,
    Column("id", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
)

# `his` is root|extension, sealed; `extension` a sealed copy of the extension alone, to find it without its root.
LINKS = Table(
    "link",
    METADATA,
    Column("number", _NUMBER, primary_key=True),
    Column("kind", String, nullable=False),
    Column("his", String, nullable=False),
    Column("extension", String, nullable=False, index=True),
    Column("mdc", String, nullable=False),
    UniqueConstraint("kind", "his"),
    UniqueConstraint("kind", "mdc"),
)

# What the data centre has to rename after a rotation, in order; rows are never changed.
RENAMED = Table(
    "link_renamed",
    METADATA,
    Column("number", _NUMBER, primary_key=True),
    Column("kind", String, nullable=False),
    Column("old", String, nullable=False, index=True),
    Column("new", String, nullable=False),
    sqlite_autoincrement=True,
)

# `document` is there until the data centre has it. `due` and `taken` are seconds since 1970 by the sender's clock, which may jump;
# `lease_ends` is seconds by the clock `lease_boot`, which does not.
MESSAGES = Table(
    "link_message",
    METADATA,
    Column("number", _NUMBER, primary_key=True),
    Column("message_id", String, nullable=False, unique=True),
    Column("visit", _NUMBER, ForeignKey("link.number"), nullable=False),
    Column("patient", _NUMBER, ForeignKey("link.number"), nullable=False),
    Column("state", String, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("document", LargeBinary),
    Column("source", String, nullable=False),
    Column("queued", Float, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("due", Float, nullable=False, default=0.0),
    Column("taken", Float),
    Column("sender", BigInteger),
    Column("lease_boot", String),
    Column("lease_ends", Float),
    Column("reason", String, nullable=False, default=""),
    Column("answer", String, nullable=False, default=""),
    Column("acknowledged", LargeBinary),
    Index("link_message_state", "state", "number"),
    Index("link_message_visit", "visit", "state"),
    sqlite_autoincrement=True,
)
