"""Links and queue in one database that stays in the hospital: a visit is linked and its document queued in one transaction.

The hospital's ids are sealed with AES-SIV (RFC 5297), which makes them unique, findable and unreadable without the key file. The
documents that wait hold no personal data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from toolkit.core.database import READING, ensure_tables, failures_named, open_database, place_of
from toolkit.core.errors import BadData, NotPermitted, TryLater
from toolkit.core.keys import Key, Keyring
from toolkit.hospital.dicom.cleaning.pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from toolkit.hospital.links.queue import Message, Status

KINDS = ("visit", "patient", "accession")


class Identified(Protocol):
    """What links are made of: the ids of a visit and its patient as in the document, the OIDs that give them their meaning, and the
    accession numbers of its examinations."""

    @property
    def visit_id(self) -> str: ...
    @property
    def visit_root(self) -> str: ...
    @property
    def patient_id(self) -> str: ...
    @property
    def patient_root(self) -> str: ...
    @property
    def accession_numbers(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Link:
    """A visit, patient or examination of the hospital and its id in the data centre.

    Visits and patients have a root (OID) and an id. An accession number has no root, as in DICOM, and its partner is the token
    that stands for it in documents and images alike.
    """

    kind: str
    root: str
    id: str
    mdc: str


@dataclass(frozen=True)
class Outgoing:
    """A document that may leave, with what `Links.queue` says of it."""

    visit: Identified
    mdc_visit: str
    mdc_patient: str
    message_id: str
    document: bytes
    source: str


def open_links(url: str, keyring: Keyring, *, create: bool = True, patience: float = 60.0) -> Links:
    """The links in the database `url` (a path, ``sqlite:///PATH`` or ``postgresql://...``), made unless `create` is off.

    `patience` is how many seconds to wait while another process writes. Raises what `open_database` raises, and NotPermitted when they
    were written with other keys of the same ids, or with a newer one than the key file holds.
    """
    engine = open_database(url, create=create, patience=patience)
    try:
        return Links(engine, keyring, create)
    except BaseException:
        engine.dispose()
        raise


class Links:
    """Open links; a context manager. Several processes and threads may use them at a time; a process opens them after it was forked."""

    def __init__(self, engine: Engine, keyring: Keyring, create: bool = True) -> None:
        from toolkit.hospital.links import queue, tables
        from toolkit.hospital.links.senders import FileSender, ServerSender, sender_on

        self.engine, self.keyring, self.place = engine, keyring, place_of(engine)
        self._queue, self._tables, self._sender_on = queue, tables, sender_on
        self._sender: FileSender | ServerSender | None = None
        ensure_tables(engine, "links", tables.VERSION, tables.METADATA, create=create)
        self._check_keys()

    def __enter__(self) -> Links:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what was taken and not answered, and close the connections."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        self.engine.dispose()

    def queue(self, visit: Identified, mdc_visit: str, mdc_patient: str, message_id: str, document: bytes, source: str) -> bool:
        """Link the visit, its patient and its accession numbers and queue `document`, in one transaction, on disk when this returns.

        False when that very document waits or was acknowledged; a dead one is queued again. `source` is its place, for messages.
        Raises BadData when an id is linked to another one, TryLater when it was linked under an older key (rotate), NotPermitted when
        another process opened the links with a newer key.
        """
        return self.queue_all([Outgoing(visit, mdc_visit, mdc_patient, message_id, document, source)])[0]

    def queue_all(self, documents: Sequence[Outgoing]) -> list[bool]:
        """As `queue`, several documents in one transaction: all of them or, when it raises, none."""
        key = self.keyring.current
        with failures_named(self.place), self.engine.begin() as connection:
            self.start_writing(connection)
            fresh = []
            for one in documents:
                visit = self.link(connection, Link("visit", one.visit.visit_root, one.visit.visit_id, one.mdc_visit))
                patient = self.link(connection, Link("patient", one.visit.patient_root, one.visit.patient_id, one.mdc_patient))
                for number in filter(None, map(accession, one.visit.accession_numbers)):
                    self.link(connection, Link("accession", "", number, pseudonyms(key).token("accession", number)))
                sealed = key.seal("link source", one.source) if one.source else ""
                fresh.append(self._queue.add(connection, self.place, visit, patient, one.message_id, one.document, sealed))
            return fresh

    def take(self, limit: int, now: float, lease_seconds: float) -> list[Message]:
        """At most `limit` messages that are due at `now` (seconds since 1970), leased to this object.

        No other sender gets them until this one answers, closes, dies, or `lease_seconds` have gone by on a clock that cannot be set. Of
        each visit only the oldest message that waits is given: its next version follows when that one is answered.
        """
        sender = self._own_sender()
        sender.lives(sender.number)  # a server that was restarted forgot its lock: it gets another one
        with failures_named(self.place), self.engine.begin() as connection:
            return self._queue.take(connection, sender, limit, now, lease_seconds)

    def sent(self, *message_ids: str) -> None:
        """They are on their way. A sender says so before the first byte leaves, of many in one transaction."""
        with failures_named(self.place), self.engine.begin() as connection:
            self._queue.known(connection, self.place, message_ids)
            self._queue.sent(connection, message_ids)

    def acknowledged(self, message_id: str, digest: bytes, answer: str) -> None:
        """The data centre has the document with this SHA-256. Raises BadData, and changes nothing, when another one was sent."""
        self.acknowledged_all([(message_id, digest, answer)])

    def acknowledged_all(self, answers: Sequence[tuple[str, bytes, str]]) -> None:
        """As `acknowledged`, several messages in one transaction: all of them or, when it raises, none."""
        with failures_named(self.place), self.engine.begin() as connection:
            self._queue.known(connection, self.place, [message_id for message_id, _, _ in answers])
            for message_id, digest, answer in answers:
                self._queue.acknowledged(connection, self.place, message_id, digest, answer)

    def retry(self, message_id: str, reason: str, due: float) -> None:
        """It failed for now; try again at `due` (seconds since 1970, on the clock of `take`). Nothing happens to one that has ended."""
        self._change(message_id, lambda connection: self._queue.retry(connection, self._own_sender(), message_id, reason, due))

    def dead(self, message_id: str, reason: str) -> None:
        """The data centre refused it for good. Nothing happens to one that was acknowledged."""
        self._change(message_id, lambda connection: self._queue.dead(connection, message_id, reason))

    def again(self, *message_ids: str) -> None:
        """Queue dead messages again, all or none. Raises NoInput, BadData for one that is none, or was made under a former key."""
        self._change_dead(self._queue.again, message_ids)

    def forget(self, *message_ids: str) -> None:
        """Remove dead messages, all or none; the links stay. Raises NoInput, BadData for one that is not dead."""
        self._change_dead(self._queue.forget, message_ids)

    def status(self) -> Status:
        """How many messages are in each state, since when the oldest waits, and the dead ones with their reasons."""
        with failures_named(self.place), self.engine.connect().execution_options(**READING) as connection:
            found = self._queue.status(connection)
        sealed = [(one, one.source) for one in found.dead]
        opened = [dataclasses.replace(one, source=source and self.keyring.unseal("link source", source)) for one, source in sealed]
        return dataclasses.replace(found, dead=opened)

    def waiting(self) -> int:
        """How many messages are queued or sent."""
        with failures_named(self.place), self.engine.connect().execution_options(**READING) as connection:
            return self._queue.waiting(connection)

    def lookup(self, his: str | None = None, mdc: str | None = None) -> list[Link]:
        """The links of a hospital's id (``ROOT|ID``, or the id alone under any root; an accession number) or of a data centre's id, a
        former one too."""
        from sqlalchemy import or_, select

        links, renamed = self._tables.LINKS.c, self._tables.RENAMED.c
        if his:
            keys = self.keyring.keys
            whole = [links.his.in_([key.seal(f"link {kind}", his) for key in keys]) for kind in KINDS]
            condition = or_(*whole, links.extension.in_([key.seal("link extension", his) for key in keys]))
            names = {his}
        elif mdc:
            names = {mdc}
            with failures_named(self.place), self.engine.connect().execution_options(**READING) as connection:
                while more := set(connection.scalars(select(renamed.new).where(renamed.old.in_(names)))) - names:
                    names |= more
            condition = links.mdc.in_(names)
        else:
            return []
        with failures_named(self.place), self.engine.connect().execution_options(**READING) as connection:
            rows = connection.execute(select(self._tables.LINKS).where(condition).order_by(links.number)).all()
        return [self.opened(row) for row in rows]

    def __iter__(self) -> Iterator[Link]:
        """All links, in the order in which they were made."""
        from sqlalchemy import select

        with failures_named(self.place), self.engine.connect().execution_options(**READING) as connection:
            for row in connection.execute(select(self._tables.LINKS).order_by(self._tables.LINKS.c.number)):
                yield self.opened(row)

    def opened(self, row: Any) -> Link:
        """The link in a row of its table. Raises BadData when it was changed, or the key file lacks its key."""
        root, _, extension = self.keyring.unseal(f"link {row.kind}", row.his).partition("|")
        return Link(row.kind, root, extension, row.mdc)

    def link(self, connection: Connection, link: Link) -> int:
        """The number of `link`, which is made unless it is there, after `start_writing`.

        Raises BadData or TryLater when either of its ids has another one.
        """
        sealed = [sealed_link(link, key) for key in self.keyring.keys]
        same = [values["his"] for values in sealed]
        rows = connection.execute(self._tables.EITHER, {"kind": link.kind, "same": same, "mdc": link.mdc}).all()
        if not rows:
            made = connection.execute(self._tables.LINKS.insert(), {**sealed[-1], "mdc": link.mdc})
            return int(made.inserted_primary_key[0])  # type: ignore[index]  # there always is one after an insert
        if len(rows) == 1 and rows[0].mdc == link.mdc and rows[0].his in same:
            return int(rows[0].number)
        for row in rows:
            if row.mdc != link.mdc and is_older(self.opened(row), self.keyring):
                problem = f"this {link.kind} is linked under an older key"
                raise TryLater(self.place, problem, "run hl7-send --drain and his-mdc rotate, then the same command again")
        problem = f"the {link.kind} of {link.mdc} is linked to another id"
        raise BadData(self.place, problem, "look at both with his-mdc lookup; his-mdc rotate replaces ids that were imported")

    def start_writing(self, connection: Connection) -> None:
        """Wait until no other process enters links: as in SQLite, one does at a time, so that no two wait for each other.

        Raises NotPermitted when the links have been opened with a newer key than this process holds.
        """
        from sqlalchemy import select

        if self.engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('link'))")
        newest = _newest(connection.scalars(select(self._tables.KEYS.c.id)))
        if newest != self.keyring.current.id:
            problem = f"was written with {newest}, and {self.keyring.path} ends with {self.keyring.current.id}"
            raise NotPermitted(self.place, problem, "copy the rotated key file to this machine and run it again")

    def _change(self, message_id: str, work: Callable[[Connection], None]) -> None:
        with failures_named(self.place), self.engine.begin() as connection:
            self._queue.known(connection, self.place, [message_id])
            work(connection)

    def _change_dead(self, work: Callable[[Connection, str, Sequence[str]], None], message_ids: Sequence[str]) -> None:
        with failures_named(self.place), self.engine.begin() as connection:
            self._queue.known(connection, self.place, message_ids)
            work(connection, self.place, message_ids)

    def _own_sender(self) -> Any:
        if self._sender is None:
            self._sender = self._sender_on(self.engine)
        return self._sender

    def _check_keys(self) -> None:
        """Refuse a key file whose keys have the ids of the links' keys and are others; enter the current key."""
        from sqlalchemy import insert, select

        table, current = self._tables.KEYS, self.keyring.current
        with failures_named(self.place), self.engine.begin() as connection:
            if self.engine.dialect.name == "postgresql":  # two that open it at once would both enter the key
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('link_key'))")
            known = {row.id: row.fingerprint for row in connection.execute(select(table))}
            for key in self.keyring.keys:
                if known.get(key.id, key.fingerprint) != key.fingerprint:
                    words = f"fingerprint {known[key.id]}; that of {self.keyring.path} is {key.fingerprint}"
                    problem = f"was written with another {key.id}, {words}"
                    raise NotPermitted(self.place, problem, "name the key file that belongs to these links")
            if known and _newest(known) not in {key.id for key in self.keyring.keys}:
                problem = f"was written with {_newest(known)}, which {self.keyring.path} lacks"
                raise NotPermitted(self.place, problem, "copy the rotated key file to this machine")
            if current.id not in known:
                connection.execute(insert(table).values(id=current.id, fingerprint=current.fingerprint))


def sealed_link(link: Link, key: Key) -> dict[str, str]:
    """The columns of a link that depend on the key."""
    whole = key.seal(f"link {link.kind}", f"{link.root}|{link.id}")
    return {"kind": link.kind, "his": whole, "extension": key.seal("link extension", link.id)}


def pseudonym(link: Link, key: Key) -> str:
    """The id in the data centre that `key` gives what `link` links."""
    if link.kind == "accession":
        return pseudonyms(key).token("accession", link.id)
    return key.seal(link.kind, f"{link.root}|{link.id}")


def accession(number: str) -> str:
    """An accession number without the padding that DICOM allows around it (PS3.5 section 6.2), which its token leaves out too."""
    return number.strip("\0 ")


@lru_cache(maxsize=8)
def pseudonyms(key: Key) -> Pseudonyms:
    """Those of `key`: its sub-keys are derived once."""
    return Pseudonyms(key)


def is_older(link: Link, keyring: Keyring) -> bool:
    """Whether the data centre knows this link by the pseudonym of one of the older keys."""
    return any(link.mdc == pseudonym(link, key) for key in keyring.keys[:-1])


def _newest(identifiers: Any) -> str:
    return max(identifiers, key=lambda identifier: (len(identifier), identifier))
