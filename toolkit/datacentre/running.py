"""The gateway put together: spool, index, audit log, workers and door, in the order in which they are opened and closed."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.core.storage import Store
from toolkit.datacentre.application import Parts
from toolkit.datacentre.audit import Audit
from toolkit.datacentre.gateway import Receiver
from toolkit.datacentre.index import open_index
from toolkit.datacentre.limits import Rate, Room
from toolkit.datacentre.looking import Workers
from toolkit.datacentre.metrics import Metrics
from toolkit.datacentre.pack import recover
from toolkit.datacentre.packs import PackReader
from toolkit.datacentre.reading import Reader
from toolkit.datacentre.serving import Door, bound, serve
from toolkit.datacentre.spool import Spool

PATIENCE = 45.0  # seconds to wait while the packer writes to the index; senders wait longer
_MEMORY = 256 << 20  # bytes of documents on their way in, at least; and room for four of the largest


@dataclass(frozen=True)
class Kept:
    """Where things are kept: the spool's directory, the index's URL, store and archive to read from, the audit log's file."""

    spool: str
    index: str
    store: Store
    archive: Store | None
    audit: str | None


@dataclass(frozen=True)
class Limits:
    """Processes that look at documents; bytes of the largest document; documents a second from each client (0: no limit)."""

    workers: int
    largest: int
    rate: float


def run(door: Door, kept: Kept, limits: Limits) -> None:
    """Serve until a signal ends it. What a killed gateway left in the spool is in the index before the first client comes in.

    Raises what opening any of the parts raises, and KeyboardInterrupt on SIGINT.
    """
    context = door.context()
    sockets = bound(door.host, door.port)
    with Spool(kept.spool, writing=True) as spool, open_index(kept.index, patience=PATIENCE) as index:
        audit = Audit(kept.audit)
        try:
            recover(index, spool)
            metrics, workers = Metrics(), Workers(limits.workers, limits.largest)
            metrics.watch(spool, index, workers)
            receiver = Receiver(spool, index, audit, metrics, workers)
            reader = Reader(index, spool, PackReader(kept.store, kept.archive))
            room = Room(max(_MEMORY, 4 * limits.largest))
            parts = Parts(receiver, reader, audit, metrics, Rate(limits.rate), room, limits.largest)
            serve(parts, door, context, sockets)
        finally:
            audit.close()
