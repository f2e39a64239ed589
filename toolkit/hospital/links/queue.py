"""The queue's steps, each within a transaction of its caller.

A message is queued, sent (on its way, or its answer was lost), acknowledged or dead. A sender leases what it takes. The lease
ends when the sender dies or gives it up, and otherwise after its time on a clock that nobody can set. Wall clocks only say
when a retry is due, and a retry whose clock was put back is due at once.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, delete, func, insert, or_, select, update

from toolkit.core.errors import BadData, NoInput
from toolkit.hospital.links.senders import FileSender, ServerSender, steady_clock
from toolkit.hospital.links.tables import LINKS, MESSAGES

QUEUED, SENT, ACKNOWLEDGED, DEAD = STATES = ("queued", "sent", "acknowledged", "dead")
WAITING = (QUEUED, SENT)
_FREE = {"sender": None, "lease_boot": None, "lease_ends": None}
_OF = MESSAGES.c


@dataclass(frozen=True)
class Message:
    """One message that its taker has to send: `attempts` counts the earlier tries, `digest` is SHA-256 of `document`."""

    message_id: str
    mdc_visit: str
    document: bytes
    digest: bytes
    attempts: int


@dataclass(frozen=True)
class DeadMessage:
    """A message that will not be sent again: why, and the document's place in the hospital."""

    message_id: str
    reason: str
    source: str


@dataclass(frozen=True)
class Status:
    """How many messages are in each state (all four are named), since when the oldest waits (seconds since 1970), and the dead ones."""

    counts: dict[str, int]
    oldest_waiting: float | None
    dead: list[DeadMessage]


def add(connection: Connection, place: str, visit: int, patient: int, message_id: str, document: bytes, source: str) -> bool:
    """Queue `document` unless it is queued or acknowledged already; a dead one gets another life."""
    row = connection.execute(select(MESSAGES).where(_OF.message_id == message_id)).one_or_none()
    digest = hashlib.sha256(document).digest()
    values = {"source": source, "queued": time.time(), "attempts": 0, "due": 0.0, "taken": None, "reason": "", **_FREE}
    if row is None:
        more = {"message_id": message_id, "visit": visit, "patient": patient, "digest": digest, "document": document}
        connection.execute(insert(MESSAGES).values(**values, **more, state=QUEUED))
        return True
    if not hmac.compare_digest(row.digest, digest) or row.visit != visit:
        raise BadData(f"{place}: message {message_id}", "is known with another content", "each document has a message id of its own")
    if row.state != DEAD:
        return False
    again = update(MESSAGES).where(_OF.number == row.number, _OF.state == DEAD).values(**values, document=document, state=QUEUED)
    return connection.execute(again).rowcount == 1


def take(connection: Connection, sender: FileSender | ServerSender, limit: int, now: float, lease_seconds: float) -> list[Message]:
    """Lease at most `limit` due messages, the oldest first; of each visit only its oldest that waits, so that versions keep their order."""
    boot, seconds = steady_clock()
    leased = connection.scalars(select(_OF.sender).where(_OF.sender.is_not(None)).distinct()).all()
    gone = [number for number in leased if not sender.lives(number)]
    free = or_(_OF.sender.is_(None), _OF.sender.in_(gone), and_(_OF.lease_boot == boot, _OF.lease_ends <= seconds))
    due = or_(_OF.due <= now, _OF.taken > now)
    earlier = MESSAGES.alias()
    first = ~select(earlier.c.number).where(earlier.c.visit == _OF.visit, _waits(earlier.c.state), earlier.c.number < _OF.number).exists()
    chosen = (
        select(_OF.number, _OF.message_id, LINKS.c.mdc, _OF.document, _OF.digest, _OF.attempts)
        .join_from(MESSAGES, LINKS, LINKS.c.number == _OF.visit)
        .where(_waits(_OF.state), free, due, first)
        .order_by(_OF.number)
        .limit(limit)
        .with_for_update(skip_locked=True, of=MESSAGES)  # SQLite has one writer at a time, and leaves this out
    )
    rows = connection.execute(chosen).all()
    lease = {"sender": sender.number, "lease_boot": boot, "lease_ends": seconds + lease_seconds, "taken": now}
    if rows:
        connection.execute(update(MESSAGES).where(_OF.number.in_([row.number for row in rows])).values(**lease))
    return [Message(row.message_id, row.mdc, row.document, row.digest, row.attempts) for row in rows]


def sent(connection: Connection, message_ids: Sequence[str]) -> None:
    """They are on their way: from now on the data centre may have them."""
    connection.execute(update(MESSAGES).where(_OF.message_id.in_(message_ids), _OF.state == QUEUED).values(state=SENT))


def acknowledged(connection: Connection, place: str, message_id: str, digest: bytes, answer: str) -> None:
    """The data centre has it, by whichever sender: this is final, and the document goes. Only for the digest of what was sent."""
    row = connection.execute(select(_OF.digest).where(_OF.message_id == message_id)).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, digest):
        raise BadData(f"{place}: message {message_id}", "was acknowledged with another digest", "look into the data centre's log")
    values = {"state": ACKNOWLEDGED, "acknowledged": digest, "answer": answer, "document": None, "reason": "", **_FREE}
    connection.execute(update(MESSAGES).where(_OF.message_id == message_id, _OF.state != ACKNOWLEDGED).values(values))


def retry(connection: Connection, sender: FileSender | ServerSender, message_id: str, reason: str, due: float) -> None:
    """Try again at `due`, unless it came to its end or another living sender leased it in the meantime."""
    row = connection.execute(select(_OF.sender).where(_OF.message_id == message_id).with_for_update()).one_or_none()
    if row is None or (row.sender not in (None, sender.number) and sender.lives(row.sender)):
        return
    values = {"attempts": _OF.attempts + 1, "due": due, "reason": reason, **_FREE}
    connection.execute(update(MESSAGES).where(_OF.message_id == message_id, _OF.state.in_(WAITING)).values(values))


def dead(connection: Connection, message_id: str, reason: str) -> None:
    """The data centre will never take it, unless it has it already."""
    values = {"state": DEAD, "attempts": _OF.attempts + 1, "reason": reason, **_FREE}
    connection.execute(update(MESSAGES).where(_OF.message_id == message_id, _OF.state.in_(WAITING)).values(values))


def again(connection: Connection, place: str, message_ids: Sequence[str]) -> None:
    """Give dead messages another life. One that was dead when the links got a new key has no document any more: see `drop_dead`."""
    for row in _dead(connection, place, message_ids):
        if row.document is None:
            problem, remedy = "was made under a former key", "send its source again with hl7-send, then forget this message"
            raise BadData(f"{place}: message {row.message_id}", problem, remedy)
    values = {"state": QUEUED, "queued": time.time(), "attempts": 0, "due": 0.0, "taken": None, "reason": "", **_FREE}
    connection.execute(update(MESSAGES).where(_OF.message_id.in_(message_ids), _OF.state == DEAD).values(values))


def forget(connection: Connection, place: str, message_ids: Sequence[str]) -> None:
    """Remove dead messages."""
    _dead(connection, place, message_ids)
    connection.execute(delete(MESSAGES).where(_OF.message_id.in_(message_ids), _OF.state == DEAD))


def drop_dead(connection: Connection) -> None:
    """Take the documents of dead messages away: they hold ids of a former key, which the data centre no longer knows."""
    connection.execute(update(MESSAGES).where(_OF.state == DEAD).values(document=None))


def _dead(connection: Connection, place: str, message_ids: Sequence[str]) -> Sequence[Row[Any]]:
    rows = connection.execute(select(MESSAGES).where(_OF.message_id.in_(message_ids)).with_for_update()).all()
    for row in rows:
        if row.state != DEAD:
            raise BadData(
                f"{place}: message {row.message_id}", f"was not refused: it is {row.state}", "name those that hl7-send --status lists"
            )
    return rows


def known(connection: Connection, place: str, message_ids: Sequence[str]) -> None:
    """Raise NoInput for a message id that never was queued: only a fault of the caller names one."""
    missing = set(message_ids) - set(connection.scalars(select(_OF.message_id).where(_OF.message_id.in_(message_ids))))
    if missing:
        raise NoInput(f"{place}: message {min(missing)}", "is not in the queue", "queue it first")


def status(connection: Connection) -> Status:
    """The state of the queue in one look; `source` of dead messages is still sealed."""
    counts = dict.fromkeys(STATES, 0)
    for state, number in connection.execute(select(_OF.state, func.count()).group_by(_OF.state)):
        counts[state] = number
    oldest = connection.scalar(select(func.min(_OF.queued)).where(_waits(_OF.state)))
    rows = connection.execute(select(_OF.message_id, _OF.reason, _OF.source).where(_OF.state == DEAD).order_by(_OF.number))
    return Status(counts, oldest, [DeadMessage(*row) for row in rows])


def waiting(connection: Connection) -> int:
    """How many messages are queued or sent."""
    return connection.scalar(select(func.count()).where(_waits(_OF.state))) or 0


def _waits(state: ColumnElement[str]) -> ColumnElement[bool]:
    """Written out, not bound: see the indexes of the table."""
    return state.in_(bindparam(None, WAITING, expanding=True, literal_execute=True))
