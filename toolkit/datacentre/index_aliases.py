"""How the index goes by the lists of replaced pseudonyms: rows name visits and patients by the newest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from toolkit.core.errors import BadData
from toolkit.datacentre.cda import VisitRows
from toolkit.datacentre.index import portions
from toolkit.datacentre.index_rows import CHILDREN, lock_rows, refresh_patients
from toolkit.datacentre.index_tables import ACCESSIONS, ALIASES, STUDIES, VISITS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from toolkit.datacentre.aliases import Alias


def names_of(connection: Connection, kind: str, one: str) -> list[str]:
    """All pseudonyms of the visit or patient, all tokens of the accession number, the newest first."""
    newest = newest_of(connection, kind, [one]).get(one, one)
    old = connection.scalars(select(ALIASES.c.old).where(ALIASES.c.kind == kind, ALIASES.c.new == newest))
    return [newest, *sorted(old)]


def newest_of(connection: Connection, kind: str, ids: Iterable[str]) -> dict[str, str]:
    """The newest pseudonyms of those that were replaced."""
    found: dict[str, str] = {}
    for some in portions(list(ids)):
        rows = connection.execute(select(ALIASES.c.old, ALIASES.c.new).where(ALIASES.c.kind == kind, ALIASES.c.old.in_(some)))
        found.update((row.old, row.new) for row in rows)
    return found


def renamed(connection: Connection, rows: list[VisitRows]) -> list[VisitRows]:
    """The rows under the newest pseudonyms."""
    if connection.execute(select(ALIASES.c.old).limit(1)).first() is None:
        return rows
    visits = newest_of(connection, "visit", {one.visit.mdc_visit for one in rows})
    patients = newest_of(connection, "patient", {one.visit.patient for one in rows})
    tokens = newest_of(connection, "accession", {token for one in rows for token in one.visit.accessions})
    found = []
    for one in rows:
        visit, patient = one.visit.mdc_visit, one.visit.patient
        news = visits.get(visit, visit), patients.get(patient, patient), tuple(tokens.get(token, token) for token in one.visit.accessions)
        found.append(one._replace(visit=one.visit._replace(mdc_visit=news[0], patient=news[1], accessions=news[2])))
    return found


def check_aliases(connection: Connection, aliases: Sequence[Alias]) -> None:
    """Raises BadData when a pseudonym would be replaced by two others, or in the end by itself."""
    known: dict[tuple[str, str], str] = {}
    for kind in {alias.kind for alias in aliases}:
        ids = {one for alias in aliases if alias.kind == kind for one in (alias.old, alias.new)}
        known.update(((kind, old), new) for old, new in newest_of(connection, kind, ids).items())
    for kind, old, new in aliases:
        while (kind, new) in known:
            new = known[kind, new]
        earlier = old
        while (kind, earlier) in known:
            earlier = known[kind, earlier]
        if new != earlier:
            if earlier != old:
                raise _contradiction(old)
            known[kind, old] = new
        elif earlier == old:
            raise _contradiction(old)


def enter_aliases(connection: Connection, aliases: Iterable[Alias]) -> None:
    """Enter them within the transaction of `connection`, and rename the rows. What is known already changes nothing. Raises what
    `check_aliases` raises."""
    lock_rows(connection)
    for kind, old, new in aliases:
        known = newest_of(connection, kind, [old, new])
        newest = known.get(new, new)
        if known.get(old) == newest:
            continue
        if newest == old or old in known:
            raise _contradiction(old)
        same = ALIASES.c.kind == kind
        connection.execute(update(ALIASES).where(same, ALIASES.c.new == old).values(new=newest))
        connection.execute(insert(ALIASES).values(kind=kind, old=old, new=newest))
        if kind == "visit":
            _rename_visit(connection, old, newest)
        elif kind == "accession":
            connection.execute(update(ACCESSIONS).where(ACCESSIONS.c.accession == old).values(accession=newest))
            connection.execute(update(STUDIES).where(STUDIES.c.accession == old).values(accession=newest))
        else:
            connection.execute(update(VISITS).where(VISITS.c.patient == old).values(patient=newest))
            connection.execute(update(STUDIES).where(STUDIES.c.patient == old).values(patient=newest))
            refresh_patients(connection, [old, newest])


def _contradiction(old: str) -> BadData:
    return BadData(old, "is replaced by two others, or by itself", "apply the lists of one hospital, the oldest first")


def _rename_visit(connection: Connection, old: str, new: str) -> None:
    """Rows of both mean that the visit was sent again after its renaming: the newer document's stay."""
    both = {row.mdc_visit: row for row in connection.execute(select(VISITS).where(VISITS.c.mdc_visit.in_([old, new])))}
    if old not in both:
        return
    if new in both:
        loser = min(both.values(), key=lambda row: (row.received, row.message_id))
        for table in (*CHILDREN, VISITS):
            connection.execute(delete(table).where(table.c.mdc_visit == loser.mdc_visit))
        refresh_patients(connection, [loser.patient])
        if loser.mdc_visit == old:
            return
    for table in (*CHILDREN, VISITS):
        connection.execute(update(table).where(table.c.mdc_visit == old).values(mdc_visit=new))
