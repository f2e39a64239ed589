"""A run of hl7-send: documents lose their personal data and go into the queue; the queue goes to the data centre.

What is in the queue is safe: a run may be killed at any moment and the next one takes up what is left. A document becomes
acknowledged only by an answer that names the SHA-256 of what was sent.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID

from toolkit.core.errors import BadData, NoInput, ToolError, TryLater, Unavailable
from toolkit.core.progress import progress
from toolkit.hospital.sending.client import Answer, Fate
from toolkit.hospital.sending.lanes import Lanes
from toolkit.hospital.sending.sources import Source

if TYPE_CHECKING:
    from toolkit.core.keys import Key
    from toolkit.hospital.links.database import Links, Outgoing
    from toolkit.hospital.links.queue import Message
    from toolkit.hospital.sending.client import Gateway
    from toolkit.hospital.visits.profile import Profile

logger = logging.getLogger(__name__)

AT_ONCE = 16  # messages queued in one transaction or leased in one go
_TOGETHER = 16 << 20  # bytes of documents in memory
FIRST_WAIT, LONGEST_WAIT = 30.0, 3600.0  # seconds before a message is tried again
LEASE_MARGIN = 60.0  # seconds
_TOLD = 10  # lines about messages that died in one run
_RETRIES = (0.5, 2.0)  # seconds between tries to reach the data centre within one run


@dataclass
class Tally:
    """What a run did: counts of documents, the ids of messages that died, and the errors of documents that were refused
    here. With `queued_only` nothing was meant to be sent."""

    queued: int = 0
    known: int = 0
    acknowledged: int = 0
    died: list[str] = field(default_factory=list)
    refused: list[ToolError] = field(default_factory=list)
    queued_only: bool = False


def message_id(mdc_visit: str, document: bytes) -> str:
    """The id of a message: a UUID of version 8 (RFC 9562, 5.8) from SHA-256 over visit and document: the same again at every try."""
    name = mdc_visit.encode()
    digest = sha256(len(name).to_bytes(4, "big") + name + document).digest()
    number = int.from_bytes(digest[:16], "big") & ~(0xF << 76) & ~(0x3 << 62) | 8 << 76 | 2 << 62
    return str(UUID(int=number))


def backoff(attempts: int, after: float | None = None, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after a try, when `attempts` failed before it: doubling from 30 to 3600, of which half is left to `chance`, so that
    many senders do not come back at once. `after` is what the data centre asked for; it is honoured up to the same bound.
    """
    ceiling = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempts, 16))
    wait = ceiling * (0.5 + 0.5 * chance())
    return wait if after is None else max(wait, min(after, LONGEST_WAIT))


def queue_documents(sources: Iterable[Source], links: Links, key: Key, profile: Profile, xsd: str | None, tally: Tally) -> None:
    """Rebuild each document without personal data and put link and message into the queue, some together in one transaction.

    A document that cannot be read, rebuilt or is not valid is refused with a warning and the others go on. A failure of
    the database ends it.
    """
    ready: list[Outgoing] = []
    with progress("queueing", 0, " documents") as bar:
        for source in bar.each(sources):
            try:
                ready.append(_prepared(source, key, profile, xsd))
            except (BadData, NoInput) as error:
                _refuse(error, tally)
            if len(ready) >= AT_ONCE or sum(len(one.document) for one in ready) > _TOGETHER:
                _enter(ready, links, tally)
                ready = []
        _enter(ready, links, tally)


def _enter(ready: list[Outgoing], links: Links, tally: Tally) -> None:
    try:
        fresh = links.queue_all(ready) if ready else []
    except BadData as error:
        if len(ready) == 1:
            return _refuse(error, tally)
        for one in ready:  # the others are queued all the same
            _enter([one], links, tally)
        return
    tally.queued += sum(fresh)
    tally.known += len(fresh) - sum(fresh)


def _refuse(error: ToolError, tally: Tally) -> None:
    logger.warning("%s", error)
    tally.refused.append(error)


def _prepared(source: Source, key: Key, profile: Profile, xsd: str | None) -> Outgoing:
    from toolkit.core.xml import parse_safely
    from toolkit.hospital.links.database import Outgoing
    from toolkit.hospital.visits.rebuild import rebuild
    from toolkit.hospital.visits.validate import validate

    if source.error is not None:
        raise source.error
    rebuilt = rebuild(parse_safely(source.data, source.place), key, profile, source.place)
    problems = validate(rebuilt.document, xsd)
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise BadData(
            source.place, f"is not valid once rebuilt: {problems[0]}{more}", "correct the document or the profile; nothing was sent"
        )
    identifier = message_id(rebuilt.mdc_visit, rebuilt.document)
    return Outgoing(rebuilt.visit, rebuilt.mdc_visit, rebuilt.mdc_patient, identifier, rebuilt.document, source.place)


def drain(links: Links, gateway: Gateway, tally: Tally, *, timeout: float, clock: Callable[[], float] = time.time) -> None:
    """Send every message that is due, of each visit the older version first.

    Ends when none is left, or when the data centre cannot be reached or is overloaded: that is told once, and the messages stay as they
    are. What this run holds is free again when `links` is closed.
    """
    # long enough for all of them to time out: nobody else sends a message that this run still holds
    lease = AT_ONCE * 2 * timeout + LEASE_MARGIN
    with Lanes(gateway) as lanes, progress("sending", links.waiting(), " documents") as bar:
        while not lanes.stopped and (messages := links.take(AT_ONCE, clock(), lease)):
            try:
                _connect(gateway)
            except Unavailable as error:
                _settle(links, [(messages[0], error)], tally, clock)
                return logger.warning("%s", error)
            links.sent(*(message.message_id for message in messages))  # before the first byte leaves: from now on they may have arrived
            answers = lanes.post(messages)
            _settle(links, zip(messages, answers, strict=True), tally, clock)
            bar.update(len(messages))
            if lanes.stopped:
                _tell(gateway, answers)


def _connect(gateway: Gateway) -> None:
    """Connect; a data centre that is just being started gets a second and a third chance."""
    for wait in _RETRIES:
        try:
            return gateway.connect()
        except Unavailable as error:
            if not isinstance(error.__cause__, ConnectionError):
                raise
            logger.info("%s; trying again", error)
            time.sleep(wait * (0.5 + 0.5 * random.random()))
    gateway.connect()


def _settle(
    links: Links, answered: Iterable[tuple[Message, Answer | Unavailable | None]], tally: Tally, clock: Callable[[], float]
) -> None:
    """Keep what came of messages. The acknowledgements are one commit: what a crash takes of them is sent again, and known there."""
    done = []
    for message, answer in answered:
        if answer is None:
            continue
        if isinstance(answer, Unavailable):
            links.retry(message.message_id, f"{answer.place} {answer.problem}", clock() + backoff(message.attempts))
        elif answer.fate is Fate.ACKNOWLEDGED:
            done.append((message.message_id, answer.digest, answer.text))
        elif answer.fate is Fate.REFUSED:
            links.dead(message.message_id, answer.reason)
            tally.died.append(message.message_id)
        else:
            links.retry(message.message_id, answer.reason, clock() + backoff(message.attempts, answer.after))
            logger.info("message %s: %s; it is sent again later", message.message_id, answer.reason)
    if done:
        links.acknowledged_all(done)
        tally.acknowledged += len(done)


def _tell(gateway: Gateway, answers: list[Answer | Unavailable | None]) -> None:
    """One line about why sending ended before its time."""
    for answer in answers:
        if isinstance(answer, Unavailable):
            return logger.warning("%s", answer)
    reason = next(answer.reason for answer in reversed(answers) if isinstance(answer, Answer) and answer.fate is Fate.LATER)
    logger.warning("%s: takes nothing at present: %s; what waits is sent by a later run", gateway.place, reason)


def finish(links: Links, tally: Tally) -> int:
    """Tell what died in this run and how many wait; the exit status: 1 after a death or a refusal, 75 when something waits, or 0.

    When nothing but refusals happened, all of one kind, the status is theirs.
    """
    status = links.status()
    ours = set(tally.died)
    died = [letter for letter in status.dead if letter.message_id in ours]
    for letter in died[:_TOLD]:
        logger.warning("%s: the data centre refuses it for good: %s; correct it and send it again", letter.source, letter.reason)
    if len(died) > _TOLD:
        logger.warning("%d more were refused for good; --status lists them", len(died) - _TOLD)
    waiting = status.counts["queued"] + status.counts["sent"]
    logger.info("%d queued, %d known already, %d acknowledged", tally.queued, tally.known, tally.acknowledged)
    if waiting and not tally.queued_only:
        logger.warning("%d %s; hl7-send --drain sends what waits", waiting, "document waits" if waiting == 1 else "documents wait")
    if tally.died or tally.refused:
        kinds = {error.exit_status for error in tally.refused}
        return kinds.pop() if len(kinds) == 1 and not (tally.died or tally.queued or tally.known) else 1
    return TryLater.exit_status if waiting and not tally.queued_only else 0
