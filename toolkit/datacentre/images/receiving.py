"""Receiving images: each is kept in the spool, entered into the index, then acknowledged; never twice, never in another one's place."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from toolkit.core.errors import BadData, InputOutput
from toolkit.datacentre.images.instances import Incoming, Instance, Outcome, read_instance
from toolkit.datacentre.images.rows import SPOOLED, Held, enter, held
from toolkit.datacentre.images.spool import ImageSpool, IncomingFile
from toolkit.datacentre.index import Index

_TRIES = 3
_AT_ONCE = 200  # files compared with the index at once
_log = logging.getLogger(__name__)


class ImageKeeper:
    """Keeps received objects in `spool` and `index`; safe for several threads."""

    def __init__(self, spool: ImageSpool, index: Index) -> None:
        self._spool, self._index = spool, index

    def begin(self) -> IncomingFile:
        """A new, empty file. Raises InputOutput."""
        return self._spool.begin()

    def receive(self, incoming: Incoming, instance: Instance, client: str) -> Outcome:
        """Keep it: in the spool and in the index, durable when this returns. Of an object whose UID other content has, both are kept, the
        later one apart.

        Raises InputOutput, and what the index raises: then nothing is acknowledged.
        """
        uid = instance.instance_uid
        _ = instance.name  # malformed UIDs end here
        for _ in range(_TRIES):
            known = held(self._index, [uid]).get(uid)
            if known is not None and known.instance.digest != instance.digest:
                return self._conflict(incoming, instance)
            if known is not None and (known.place != SPOOLED or self._spool.holds(uid, instance.size)):
                return Outcome.KNOWN
            if not self._spool.keep(incoming, uid):
                digest = digest_of_file(self._spool, uid)
                if not digest:
                    continue  # the packer has just moved it
                if digest != instance.digest:
                    return self._conflict(incoming, instance)
            received = datetime.now(UTC).isoformat(timespec="milliseconds")
            standing = enter(self._index, [Held(instance, client, received, SPOOLED)])[uid]
            if standing.instance.digest == instance.digest:
                return Outcome.NEW
            self._spool.keep_apart(self._spool.path(uid), uid, instance.digest)  # another one came and left the spool since we asked
            return _told(instance)
        raise InputOutput(str(self._spool.path(uid)), "comes and goes", "send it again")

    def holds(self, uid: str, sop_class: str) -> bool:
        """Whether an object is durably here, in the index and in the spool or the stores (storage commitment, PS3.4 annex J)."""
        known = held(self._index, [uid]).get(uid)
        if known is None or known.instance.sop_class != sop_class:
            return False
        return known.place != SPOOLED or self._spool.holds(uid, known.instance.size)

    def _conflict(self, incoming: Incoming, instance: Instance) -> Outcome:
        incoming.flush()
        self._spool.keep_apart(incoming.path, instance.instance_uid, instance.digest)
        return _told(instance)


def recover(index: Index, spool: ImageSpool) -> None:
    """Enter what is durable in the spool and missing in the index: a receiver was killed between the two, or the index was lost. What
    cannot be read is left where it is, with an error in the log."""
    uids = list(spool.uids())
    for start in range(0, len(uids), _AT_ONCE):
        some = uids[start : start + _AT_ONCE]
        known = held(index, some)
        found = []
        for uid in some:
            if uid in known:
                continue
            path = spool.path(uid)
            try:
                instance = read_instance(path)
                received = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
            except FileNotFoundError:
                continue
            except (BadData, InputOutput, OSError) as error:
                _log.error("%s: cannot be read: %s; it stays there", path, error)
                continue
            if instance.instance_uid != uid:
                _log.error("%s: holds the object %s; it stays there", path, instance.instance_uid)
                continue
            found.append(Held(instance, "", received, SPOOLED))
        enter(index, found)


def digest_of_file(spool: ImageSpool, uid: str) -> str:
    """``sha256:<hex>`` of a kept object; empty when it is gone. Raises InputOutput."""
    from hashlib import file_digest

    try:
        with spool.path(uid).open("rb") as stream:
            return f"sha256:{file_digest(stream, 'sha256').hexdigest()}"
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InputOutput(str(spool.path(uid)), error.strerror or str(error), "look at the disk") from error


def _told(instance: Instance) -> Outcome:
    _log.warning("%s: another object has this UID; the one with %s is kept apart", instance.instance_uid, instance.digest)
    return Outcome.CONFLICT
