"""The receiver of images put together: spool, index, audit log, commitment and door, in the order in which they are opened and closed."""

from __future__ import annotations

import contextlib
import logging
import resource
import signal
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from toolkit.core.dicom_network import client_context, server_context
from toolkit.core.errors import ToolError
from toolkit.core.storage import open_store
from toolkit.datacentre.audit import Audit
from toolkit.datacentre.faults import report
from toolkit.datacentre.images.receiving import ImageKeeper
from toolkit.datacentre.images.spool import ImageSpool
from toolkit.datacentre.index import open_index
from toolkit.datacentre.pacs.commitment import Commitments, Holding, Peer
from toolkit.datacentre.pacs.receiver import Place, Receiver, Services, must_be_loopback

PATIENCE = 20.0  # seconds to wait while the packer writes to the index; senders wait longer
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """Where things are kept: the spool's directory, the index's URL, the store's URL and the audit log's file, if any."""

    spool: str
    index: str
    store: str | None
    audit: str | None


@dataclass(frozen=True)
class Certificates:
    """PEM files: our certificate, its key, the authority of our peers' certificates."""

    cert: str
    key: str
    authority: str


def run(place: Place, kept: Kept, peers: Mapping[str, Peer], certificates: Certificates | None) -> None:
    """Serve until a signal ends it: SIGTERM is a good end, SIGINT a KeyboardInterrupt. SIGHUP loads the certificates and opens the audit
    log anew. What a killed receiver left in the spool is in the index before the first peer comes in.

    Raises what opening any of the parts raises.
    """
    serving, sending = _contexts(certificates)
    for title, peer in peers.items():
        must_be_loopback(peer.host, f"--peer {title}", sending)
    _allow_open_files(6 * place.associations + 500)
    must_be_loopback(place.host, f"{place.host}:{place.port}", serving)
    store = open_store(kept.store) if kept.store else None
    with contextlib.ExitStack() as stack:
        spool = stack.enter_context(ImageSpool(kept.spool, writing=True))
        index = stack.enter_context(open_index(kept.index, patience=PATIENCE))
        audit = Audit(kept.audit)
        stack.callback(audit.close)
        keeper = ImageKeeper(spool, index)
        commitments = Commitments(Holding(keeper, index, store), place.title, peers, sending)
        stack.callback(commitments.end)

        def renew() -> None:
            audit.reopen()
            serving, sending = _contexts(certificates)
            if serving is not None:
                receiver.renew(serving)
                commitments.tls = sending

        threading.excepthook = _told
        # before there are threads, which inherit it, and before a peer can connect: whoever then ends us ends us well
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            with Receiver(place, Services(keeper, audit, index, commitments), serving) as receiver:
                _until_signal(renew)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _until_signal(renew: Callable[[], None]) -> None:
    while (number := signal.sigwait(_SIGNALS)) == signal.SIGHUP:
        try:
            renew()
        except ToolError as error:
            _log.error("%s; the old one is used on", error)
    if number == signal.SIGINT:
        raise KeyboardInterrupt


def _told(said: threading.ExceptHookArgs) -> None:
    if said.exc_value is not None:
        report(_log, said.exc_value, "an association was lost")


def _contexts(files: Certificates | None) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    if files is None:
        return None, None
    words = files.cert, files.key, files.authority
    return server_context(*words), client_context(*words)


def _allow_open_files(number: int) -> None:
    """As many as the connections need, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number if hard == resource.RLIM_INFINITY else min(number, hard), hard))
