"""Receiving images: each is kept in the spool, then entered into the index, then acknowledged; never twice, never in another one's place.

A packer may be at work in another process. It removes a file from the spool only when store and archive gave back its digest and the index
knows the new place, so whoever finds the file gone looks the object up again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from toolkit.core.errors import BadData, InputOutput
from toolkit.datacentre.images.instances import Incoming, Instance, Outcome, read_instance
from toolkit.datacentre.images.rows import SPOOLED, Held, enter, held
from toolkit.datacentre.images.spool import ImageSpool, IncomingFile
from toolkit.datacentre.index import Index

_TRIES = 5
_AT_ONCE = 200  # files compared with the index at once
_LOCKS = 64
_ON_THE_WAY = 120.0  # seconds for the receiver to enter what it has kept; the index's own patience is 60
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


class ImageKeeper:
    """Keeps received objects in `spool`, which it must be the one to write to, and `index`; safe for several threads.

    What an earlier receiver kept and was killed before it entered it is entered first. Raises what spool and index raise.
    """

    def __init__(self, spool: ImageSpool, index: Index) -> None:
        self._spool, self._index = spool, index
        self._locks = [threading.Lock() for _ in range(_LOCKS)]  # for the objects of one UID: one after the other
        self._enter = _Together(self._entered)
        recover(index, spool, on_the_way=0.0)

    def begin(self) -> IncomingFile:
        """A new, empty file. Raises InputOutput."""
        return self._spool.begin()

    def receive(self, incoming: Incoming, instance: Instance, client: str) -> Outcome:
        """Keep it: in the spool and in the index, durable when this returns. Of an object whose UID other content has, both are kept, the
        later one apart.

        Raises InputOutput, BadData when its UIDs or other identifiers are none, and what the index raises: then nothing is acknowledged.
        """
        instance.check()
        with self._locks[hash(instance.instance_uid) % _LOCKS]:
            for _ in range(_TRIES):
                outcome = self._received(incoming, instance, client)
                if outcome is not None:
                    return outcome
        raise InputOutput(str(self._spool.path(instance.instance_uid)), "comes and goes", "send it again")

    def held(self, instance_uid: str, sop_class: str) -> bool:
        """Whether an object is durably here: in the index, and whole in the spool or in the stores (storage commitment, PS3.4, annex J).
        Raises what the index raises, InputOutput."""
        for _ in range(_TRIES):
            known = held(self._index, [instance_uid]).get(instance_uid)
            if known is None or known.instance.sop_class != sop_class:
                return False
            if known.place != SPOOLED:
                return True
            digest = self._spool.digest(instance_uid)
            if digest:
                return digest == known.instance.digest
        return False  # the index knows it from the spool, which does not have it

    def _received(self, incoming: Incoming, instance: Instance, client: str) -> Outcome | None:
        """None: something moved meanwhile; look again."""
        uid = instance.instance_uid
        known = held(self._index, [uid]).get(uid)
        if known is not None and known.instance.digest != instance.digest:
            return self._conflict(incoming, instance)
        if known is not None and known.place != SPOOLED:
            return Outcome.KNOWN
        incoming.flush()
        received = _time_of(incoming.path)
        if not self._spool.keep(incoming, uid):
            kept = self._spool.digest(uid)
            if not kept:
                return None  # the packer has just moved it
            if kept == instance.digest:
                if known is not None:
                    return Outcome.KNOWN
            elif known is None:
                return self._conflict(incoming, instance)
            elif self._spool.heal(incoming, uid, instance.digest):
                _log.warning("%s: was damaged; replaced by what was sent again", self._spool.path(uid))
            else:
                return None
        standing = self._enter(Held(instance, client, received, SPOOLED))
        if standing.instance.digest == instance.digest:
            if known is None or standing.place == SPOOLED:
                return Outcome.NEW
            self._spool.drop(uid)  # a packer moved it between our question and our keeping it
            return Outcome.KNOWN
        # another one was entered since we asked, by reindexing: the file is the later one, and kept apart
        self._spool.keep_apart(self._spool.path(uid), uid, instance.digest)
        return _told(instance)

    def _conflict(self, incoming: Incoming, instance: Instance) -> Outcome:
        incoming.flush()
        self._spool.keep_apart(incoming.path, instance.instance_uid, instance.digest)
        return _told(instance)

    def _entered(self, some: Sequence[Held]) -> list[Held]:
        standing = enter(self._index, some)
        return [standing[one.instance.instance_uid] for one in some]


def recover(index: Index, spool: ImageSpool, on_the_way: float = _ON_THE_WAY) -> None:
    """Enter what is durable in the spool and missing in the index: a receiver was killed between the two, or the index was lost. Who
    sent it is not known then.

    What a running receiver kept within the last `on_the_way` seconds is left to it. What cannot be read stays where it is, with an error
    in the log.
    """
    uids = list(spool.uids())
    since = time.time() - on_the_way if on_the_way and spool.receiving else float("inf")
    for start in range(0, len(uids), _AT_ONCE):
        some = uids[start : start + _AT_ONCE]
        known = held(index, some)
        found = []
        for uid in some:
            path = spool.path(uid)
            try:
                if uid in known or path.stat().st_ctime > since:
                    continue
                instance = read_instance(path)
                instance.check()
                received = _time_of(path)
            except FileNotFoundError:
                continue  # moved by a packer
            except (BadData, InputOutput, OSError) as error:
                if not path.exists():
                    continue
                _log.error("%s: cannot be read: %s; it stays there", path, error)
                continue
            if instance.instance_uid != uid:
                _log.error("%s: holds another object; it stays there", path)
                continue
            found.append(Held(instance, "", received, SPOOLED))
        if found:
            enter(index, found)


class _Together(Generic[_Item, _Result]):
    """A function of many items, called by many threads with one each: those that wait for the same call share the next one."""

    def __init__(self, work: Callable[[Sequence[_Item]], list[_Result]]) -> None:
        self._work = work
        self._waiting: list[_Turn[_Item, _Result]] = []
        self._queue, self._working = threading.Lock(), threading.Lock()

    def __call__(self, item: _Item) -> _Result:
        """Raises what the function raised for all that shared the call."""
        turn: _Turn[_Item, _Result] = _Turn(item)
        with self._queue:
            self._waiting.append(turn)
        with self._working:
            if not turn.done:
                with self._queue:
                    turns, self._waiting = self._waiting, []
                self._do(turns)
        if turn.error is not None:
            raise turn.error
        return turn.result[0]

    def _do(self, turns: Sequence[_Turn[_Item, _Result]]) -> None:
        try:
            results = self._work([turn.item for turn in turns])
            for turn, result in zip(turns, results, strict=True):
                turn.result.append(result)
        except BaseException as error:  # whatever it is, nobody waits for an answer that will not come
            for turn in turns:
                turn.error = error
        for turn in turns:
            turn.done = True


class _Turn(Generic[_Item, _Result]):
    def __init__(self, item: _Item) -> None:
        self.item, self.done = item, False
        self.result: list[_Result] = []
        self.error: BaseException | None = None


def _time_of(path: Path) -> str:
    """When a file was received: the last time that something was written to it, so that it is known without an index, too."""
    seconds, nanoseconds = divmod(os.stat(path).st_mtime_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _told(instance: Instance) -> Outcome:
    _log.warning("%s: another object has this UID; the one with %s is kept apart", instance.instance_uid, instance.digest)
    return Outcome.CONFLICT
