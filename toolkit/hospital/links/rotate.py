"""A new key for all links: every id in the data centre becomes the pseudonym of the current key, and what to rename there is listed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.core.database import READING, failures_named
from toolkit.core.errors import TryLater
from toolkit.hospital.links.database import Links, pseudonym, sealed_link

_AT_ONCE = 5000  # rows of one call to the database


@dataclass(frozen=True)
class Renamed:
    """One id that the data centre has to rename: the `number`-th ever; numbers only grow."""

    number: int
    kind: str
    old: str
    new: str


def rotate(links: Links) -> int:
    """Put all links under the current key in one transaction; how many ids of the data centre changed. Ids that were imported change too.

    Raises TryLater while documents wait: they carry ids of the older key, and would arrive after the renaming.
    """
    from sqlalchemy import bindparam, insert, select, update

    from toolkit.hospital.links import queue
    from toolkit.hospital.links.tables import LINKS, RENAMED

    key = links.keyring.current
    changed, last = 0, 0
    with failures_named(links.place), links.engine.begin() as connection:
        links.start_writing(connection)
        if links.engine.dialect.name == "postgresql":  # nobody changes messages until this is done; reading goes on
            connection.exec_driver_sql("LOCK TABLE link, link_message IN EXCLUSIVE MODE")
        if number := queue.waiting(connection):
            raise TryLater(links.place, f"{number} documents wait to be sent", "run hl7-send --drain until none waits, then rotate")
        change = update(LINKS).where(LINKS.c.number == bindparam("which"))
        change = change.values(his=bindparam("his"), extension=bindparam("extension"), mdc=bindparam("mdc"))
        while rows := connection.execute(select(LINKS).where(LINKS.c.number > last).order_by(LINKS.c.number).limit(_AT_ONCE)).all():
            last = rows[-1].number
            values, renamed = [], []
            for row in rows:
                link = links.opened(row)
                columns = {"mdc": pseudonym(link, key), **sealed_link(link, key)}
                if columns != {name: getattr(row, name) for name in columns}:
                    values.append({"which": row.number, **columns})
                if columns["mdc"] != row.mdc:
                    renamed.append({"kind": row.kind, "old": row.mdc, "new": columns["mdc"]})
            for statement, parameters in ((change, values), (insert(RENAMED), renamed)):
                if parameters:
                    connection.execute(statement, parameters)
            changed += len(renamed)
        if changed:
            queue.drop_dead(connection)
    return changed


def renamed_after(links: Links, number: int) -> Iterator[Renamed]:
    """What the data centre has to rename, in order, behind the `number`-th; the same list as often as it is asked for."""
    from sqlalchemy import select

    from toolkit.hospital.links.tables import RENAMED

    statement = select(RENAMED).where(RENAMED.c.number > number).order_by(RENAMED.c.number)
    with failures_named(links.place), links.engine.connect().execution_options(**READING) as connection:
        for row in connection.execute(statement):
            yield Renamed(row.number, row.kind, row.old, row.new)
