"""Are links and queue sound? Everything that a fault, a hand or a bad backup could have changed is looked at."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.core.database import READING, failures_named
from toolkit.core.errors import BadData
from toolkit.hospital.links.database import KINDS, Links, pseudonym

if TYPE_CHECKING:
    from sqlalchemy import Connection

_TOKEN = re.compile("[A-Z2-7]{16}")  # as this program makes them; others were imported


@dataclass(frozen=True)
class Problem:
    """What is wrong with which row: ``link 7`` or ``message ID``."""

    row: str
    problem: str


def check(links: Links) -> Iterator[Problem]:
    """All that is wrong, in one look at the database: links that are not one to one, not of their key, or changed; messages
    whose document is not that of their digest, that were acknowledged without a digest, or belong to no link."""
    with failures_named(links.place), links.engine.connect().execution_options(**READING) as connection:
        if links.engine.dialect.name == "sqlite":
            words = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
            yield from (Problem("database", word) for word in words if word != "ok")
        else:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        kinds: dict[int, str] = {}
        yield from _check_links(links, connection, kinds)
        yield from _check_messages(connection, kinds)


def _check_links(links: Links, connection: Connection, kinds: dict[int, str]) -> Iterator[Problem]:
    from sqlalchemy import select

    from toolkit.hospital.links.tables import LINKS

    own, seen = {key.id for key in links.keyring.keys}, set()
    for row in connection.execute(select(LINKS).order_by(LINKS.c.number)):
        name = f"link {row.number}"
        kinds[row.number] = row.kind
        if row.kind not in KINDS:
            yield Problem(name, f"is of no known kind: {row.kind}")
            continue
        try:
            link = links.opened(row)
            his = f"{link.root}|{link.id}"
            if links.keyring.unseal("link extension", row.extension) != link.id:
                yield Problem(name, "is found by another id than it holds")
            if row.kind == "accession":
                if _TOKEN.fullmatch(row.mdc) and row.mdc not in {pseudonym(link, key) for key in links.keyring.keys}:
                    yield Problem(name, f"{row.mdc} is not the token of its accession number")
            elif row.mdc.partition(".")[0] in own and links.keyring.unseal(row.kind, row.mdc) != his:
                yield Problem(name, f"{row.mdc} is the pseudonym of another {row.kind}")
        except BadData as error:
            yield Problem(name, error.problem)
            continue
        for what in (("his", row.kind, hashlib.sha256(his.encode("utf-8", "surrogatepass")).digest()), ("mdc", row.kind, row.mdc)):
            if what in seen:
                yield Problem(name, "its id in the " + ("hospital" if what[0] == "his" else "data centre") + " has another link too")
            seen.add(what)


def _check_messages(connection: Connection, kinds: dict[int, str]) -> Iterator[Problem]:
    from sqlalchemy import select

    from toolkit.hospital.links.tables import MESSAGES

    for row in connection.execute(select(MESSAGES).order_by(MESSAGES.c.number).execution_options(yield_per=100)):
        for problem in _faults(row, kinds):
            yield Problem(f"message {row.message_id}", problem)


def _faults(row: Any, kinds: dict[int, str]) -> Iterator[str]:
    from toolkit.hospital.links.queue import ACKNOWLEDGED, DEAD, STATES

    if row.state not in STATES:
        yield f"is in no known state: {row.state}"
    if kinds.get(row.visit) != "visit" or kinds.get(row.patient) != "patient":
        yield "belongs to no visit or patient that is linked"
    if row.state == ACKNOWLEDGED:
        if row.acknowledged is None:
            yield "was acknowledged without a digest"
        elif row.acknowledged != row.digest:
            yield "was acknowledged with another digest"
    elif row.document is None:
        if row.state != DEAD:  # that of a dead one goes with its key
            yield "its document is missing"
    elif hashlib.sha256(row.document).digest() != row.digest:
        yield "its document was changed"
