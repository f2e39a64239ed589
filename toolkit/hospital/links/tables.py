"""The tables of links and queue, for SQLite and PostgreSQL alike. Imported when they are opened: SQLAlchemy takes long to import."""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    or_,
    select,
    text,
)

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

# The links that have either id of one; made once, since every document asks for several.
EITHER = select(LINKS).where(
    LINKS.c.kind == bindparam("kind"), or_(LINKS.c.his.in_(bindparam("same", expanding=True)), LINKS.c.mdc == bindparam("mdc"))
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

# As `queue.take` says them, literally: only then SQLite uses the index of the few that wait among the many that are done.
_WAITING = text("state IN ('queued', 'sent')")
_LEASED = text("sender IS NOT NULL")

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
    Column("document", LargeBinary),  # last: SQLite would read through it to whatever stood behind
    Index("link_message_waiting", "number", sqlite_where=_WAITING, postgresql_where=_WAITING),
    Index("link_message_visit", "visit", "number", sqlite_where=_WAITING, postgresql_where=_WAITING),
    Index("link_message_sender", "sender", sqlite_where=_LEASED, postgresql_where=_LEASED),
    sqlite_autoincrement=True,
)
