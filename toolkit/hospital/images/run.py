"""A run of dicom-send: look at everything, leave out what must not leave, send the rest, keep what was acknowledged."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from toolkit.core.errors import ToolError, Unavailable
from toolkit.core.progress import Bar, progress
from toolkit.core.stages import stage
from toolkit.hospital.images import journal as journals
from toolkit.hospital.images.contexts import Pair, grouped
from toolkit.hospital.images.inputs import each_once, expand, images
from toolkit.hospital.images.journal import Entry, Journal
from toolkit.hospital.images.objects import Image
from toolkit.hospital.images.outcome import Outcome, State
from toolkit.hospital.images.peer import Peer
from toolkit.hospital.images.statuses import Fate

if TYPE_CHECKING:
    from toolkit.hospital.images.send import Result

logger = logging.getLogger(__name__)
_OFTEN = 0.5  # seconds after which acknowledgements are entered into the journal
_STATES = {Fate.STORED: State.SENT, Fate.WARNED: State.WARNED, Fate.LATER: State.WAITS, Fate.REFUSED: State.REFUSED}


def send(paths: Sequence[str], own: Sequence[str], peer: Peer, journal: Journal, outcome: Outcome, jobs: int) -> list[Image]:
    """Send the images below `paths` that the `journal` does not know as sent; the images that the receiver has acknowledged, now or
    earlier, and not committed itself to. `own` are files of this run, which are not sent.

    Raises Unavailable when the receiver cannot be reached at all: nothing was sent then.
    """
    with stage("look"):
        found = each_once(images(list(expand(paths)), own, outcome), outcome)
        there, todo = _split(found, journal, outcome)
    with stage("send"), progress("sending", len(todo), " files") as bar:
        unreachable: Unavailable | None = None
        ended = False  # before its time: the other groups wait, too
        acknowledgements = _Acknowledgements(journal, outcome, there)
        for number, (pairs, some) in enumerate(grouped(todo)):
            if not ended:
                try:
                    ended = not _send_group(peer, pairs, some, jobs, acknowledgements, outcome, bar)
                    continue
                except Unavailable as error:
                    ended = True
                    unreachable = error if number == 0 else None
                    if number:
                        logger.warning("%s", error)
            _wait(some, outcome)
        if unreachable is not None:
            raise unreachable
    return there


def _split(found: list[Image], journal: Journal, outcome: Outcome) -> tuple[list[Image], list[Image]]:
    """What is there already, and what is to be sent."""
    known = journal.known(image.instance for image in found)
    there, todo, moved = [], [], []
    for image in found:
        entry = known.get(image.instance)
        if entry is None or entry.state == journals.REFUSED:
            todo.append(image)
        elif entry.stamp == image.stamp and entry.path == image.path:
            there += [image] if entry.state == journals.SENT else []
            outcome.enter(image.path, State.KNOWN, f"{entry.state} earlier", image.instance)
        else:
            try:
                same = image.digest() == entry.digest
            except ToolError as error:
                outcome.enter(image.path, State.FAILED, error.problem, image.instance, remedy=error.remedy)
                continue
            if same:
                there += [image] if entry.state == journals.SENT else []
                moved.append(entry._replace(path=image.path, stamp=image.stamp))
                outcome.enter(image.path, State.KNOWN, f"{entry.state} earlier", image.instance)
            else:
                what = f"has the instance UID of {entry.path}, which was sent earlier, and other content"
                outcome.enter(image.path, State.REFUSED_HERE, what, image.instance, remedy="find out which one is right")
    journal.write(moved)
    return there, todo


class _Acknowledgements:
    """Enters what became of images into the journal, some at a time, and into the outcome; `there` are those that arrived."""

    def __init__(self, journal: Journal, outcome: Outcome, there: list[Image]) -> None:
        self._journal, self._outcome, self.there = journal, outcome, there
        self._entries: list[Entry] = []
        self._written = time.monotonic()

    def enter(self, result: Result) -> None:
        """One result; first into what is written to the journal."""
        image, state = result.image, State.FAILED if result.unfit else _STATES[result.fate]
        if result.fate in (Fate.STORED, Fate.WARNED):
            self.there.append(image)
            self._entries.append(Entry(image.instance, result.digest, image.path, image.stamp, journals.SENT, result.what))
        elif result.fate is Fate.REFUSED and result.digest:
            self._entries.append(Entry(image.instance, result.digest, image.path, image.stamp, journals.REFUSED, result.what))
        if time.monotonic() - self._written > _OFTEN:
            self.write()
        self._outcome.enter(image.path, state, result.what, image.instance)

    def write(self) -> None:
        """Write to the journal what is not there yet."""
        entries, self._entries, self._written = self._entries, [], time.monotonic()
        self._journal.write(entries)


def _send_group(
    peer: Peer, pairs: list[Pair], some: list[Image], jobs: int, acknowledgements: _Acknowledgements, outcome: Outcome, bar: Bar
) -> bool:
    """Send what fits into one kind of association. False when the receiver is to be left in peace."""
    from toolkit.hospital.images.send import Sending  # and pynetdicom: where there is nothing to send, a quarter of a second is saved

    sending = Sending(peer, pairs, some, jobs)
    try:
        with sending:
            for result in sending:
                acknowledgements.enter(result)
                bar.update()
        if sending.left:
            logger.warning("%s", sending.ended)
            _wait(sending.left, outcome)
    finally:
        for result in sending.unheard():  # what was acknowledged while this run was told to end
            acknowledgements.enter(result)
        acknowledgements.write()
    return sending.ended is None or not sending.left


def _wait(some: list[Image], outcome: Outcome) -> None:
    for image in some:
        outcome.enter(image.path, State.WAITS, "", image.instance)
