"""The data centre's receiver of images: C-ECHO, C-STORE of any SOP class in any transfer syntax, stored as it came, C-FIND and storage
commitment.

Only objects whose identity was removed, (0012,0062) = YES, are taken.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from toolkit.core.dicom_network import is_loopback
from toolkit.core.errors import BadData, InputOutput, NotPermitted, ToolError, Unavailable
from toolkit.datacentre.audit import Audit, Event
from toolkit.datacentre.faults import report
from toolkit.datacentre.images.identifiers import identifiers
from toolkit.datacentre.images.instances import Instance, Keeper, Outcome
from toolkit.datacentre.index import Index
from toolkit.datacentre.pacs.commitment import Commitments
from toolkit.datacentre.pacs.connections import LARGEST_PDU, Connection
from toolkit.datacentre.pacs.find import answers
from toolkit.datacentre.pacs.serving import ASKING_SECONDS, IDLE_SECONDS, Entity, Server, accept_every_storage_class
from toolkit.datacentre.pacs.streaming import IMPLEMENTATION, Streamed

# PS3.4, table B.2-1. An identified object is "cannot understand", 0xCxxx, of which the low digits are ours to choose: 0xA7xx (out of
# resources) would be tried again and again, and 0xA9xx speaks of the SOP class. 0x0111 is PS3.7, annex C.5.6.
SUCCESS, DUPLICATE, OUT_OF_RESOURCES, MISMATCH, MALFORMED, IDENTIFIED = 0x0000, 0x0111, 0xA700, 0xA900, 0xC000, 0xC062
_PLAIN = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]  # deflated queries would be inflated without a limit
_REMOVED = Tag(0x0012, 0x0062)  # Patient Identity Removed
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where it listens (port 0: any free one), its application entity title, how many associations there may be at once, and for how
    many seconds a peer may be silent."""

    host: str
    port: int
    title: str = "MDC"
    associations: int = 100
    idle: float = IDLE_SECONDS
    asking: float = ASKING_SECONDS


@dataclass(frozen=True)
class Services:
    """What it works with: who keeps objects, who answers queries and requests for commitment, if anybody, and the audit log."""

    keeper: Keeper
    audit: Audit
    index: Index | None = None
    commitments: Commitments | None = None


class Receiver:
    """Receives at `place`; a context manager. Without `tls` only on loopback.

    Raises NotPermitted for a plain receiver elsewhere or a port that is not ours to take, Unavailable for one that is taken.
    """

    def __init__(self, place: Place, services: Services, tls: ssl.SSLContext | None) -> None:
        where = f"{place.host}:{place.port}"
        must_be_loopback(place.host, where, tls)
        accept_every_storage_class()
        self.counts: Counter[str] = Counter()
        self._title, self._services, self._lock = place.title, services, threading.Lock()
        entity = Entity(place.title)
        entity.maximum_pdu_size = LARGEST_PDU
        entity.maximum_associations = place.associations
        entity.network_timeout, entity.acse_timeout = place.idle, place.asking
        entity.implementation_class_uid = IMPLEMENTATION
        entity.implementation_version_name = "SCAPE_MDC"
        entity.add_supported_context(Verification)
        handlers: list[Any] = [(evt.EVT_C_ECHO, lambda event: SUCCESS), (evt.EVT_C_STORE, self._store)]
        if services.index is not None:
            entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind, _PLAIN)
            handlers.append((evt.EVT_C_FIND, self._find))
        if services.commitments is not None:
            entity.add_supported_context(StorageCommitmentPushModel, _PLAIN)
            handlers.append((evt.EVT_N_ACTION, self._commit))
        # as many again may be on their way in or out
        limits: dict[str, Any] = {"connections": 2 * place.associations + 50, "keeper": services.keeper, "tls": tls}
        try:
            made = entity.make_server((place.host, place.port), place.title, evt_handlers=handlers, server_class=Server, **limits)
        except PermissionError as error:
            raise NotPermitted(where, "not permitted", "take a port from 1024 on") from error
        except OSError as error:
            raise Unavailable(where, error.strerror or str(error), "end the other program, or choose another address") from error
        self._server = cast(Server, made)
        entity._servers.append(self._server)  # as its start_server does; without it shutdown fails
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.5}, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def connections(self) -> int:
        """How many there are."""
        return self._server.connections

    def renew(self, tls: ssl.SSLContext) -> None:
        """Show this certificate to whoever connects from now on."""
        self._server.tls = tls

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Objects that are complete are kept and answered; whatever was not acknowledged is sent again."""
        self._server.end()
        self._thread.join()

    def _store(self, event: Any) -> Dataset:
        stream, client = event.request.DataSet, client_of(event)
        try:
            status, why = self._kept(stream, client)
            self._note(event, "receive", status, stream)
        except BadData as error:
            status, why = MALFORMED, error.problem
        except ToolError as error:
            self._server.quiet.warn(client, f"is told to wait: {error}")
            status, why = OUT_OF_RESOURCES, "cannot be kept at present"
        except Exception as error:  # whatever it was: nothing was acknowledged
            report(_log, error, f"{client} is told to wait")
            status, why = OUT_OF_RESOURCES, "cannot be kept at present"
        finally:
            if isinstance(stream, Streamed):
                stream.discard()
        with self._lock:
            self.counts[why or "new"] += 1
        answer = Dataset()
        answer.Status = status
        if status != SUCCESS:
            answer.ErrorComment = why[:64]
            if status == IDENTIFIED:
                answer.OffendingElement = [_REMOVED]
            if status != OUT_OF_RESOURCES:  # no UID: where identity was not removed, it is one of the hospital's own
                self._server.quiet.warn(f"{event.assoc.requestor.address}, {client}", f"an object is refused: {why}")
        return answer

    def _kept(self, stream: Streamed | None, client: str) -> tuple[int, str]:
        if not isinstance(stream, Streamed):
            return MALFORMED, "no data set came"
        if stream.failure is not None or stream.file is None:
            raise stream.failure or InputOutput("spool", "no file", "look at the disk")
        stream.file.flush()
        found = identifiers(stream.file.path, stream.head, stream.transfer_syntax)
        if found.removed != "YES":
            return IDENTIFIED, "patient identity not removed, (0012,0062)"
        if found.instance_uid != stream.instance_uid or found.sop_class != stream.sop_class:
            return MISMATCH, "its UIDs are not those of the request"
        instance = Instance(
            found.study_uid, found.series_uid, stream.instance_uid, stream.sop_class, stream.transfer_syntax,
            found.patient, found.accession, found.modality, found.study_date, f"sha256:{stream.digest.hexdigest()}", stream.size,
        )  # fmt: skip
        instance.check()
        outcome = self._services.keeper.receive(stream.file, instance, client)
        if outcome is Outcome.CONFLICT:
            return DUPLICATE, "another object has this UID"
        return SUCCESS, "" if outcome is Outcome.NEW else "known"

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        self._note(event, "search", SUCCESS)
        yield from answers(cast(Index, self._services.index), self._title, event)

    def _commit(self, event: Any) -> tuple[int, None]:
        status, nothing = cast(Commitments, self._services.commitments).asked(event)
        try:
            self._note(event, "commit", status)
        except ToolError:  # what cannot be written down is not done
            event.assoc.dimse.afterwards.clear()
            raise
        return status, nothing

    def _note(self, event: Any, action: str, status: int, stream: Streamed | None = None) -> None:
        """Into the audit log, on disk before the answer; of an object that is refused neither UID nor digest."""
        client, address = client_of(event), str(event.assoc.requestor.address)
        if stream is not None and status in (SUCCESS, DUPLICATE):
            noted = Event(action, client, address, status, "", stream.instance_uid, f"sha256:{stream.digest.hexdigest()}", stream.size)
        else:
            noted = Event(action, client, address, status)
        self._services.audit.write(noted)
        self._services.audit.synchronise()


def client_of(event: Any) -> str:
    """Who it is: the subject of its certificate, else its application entity title."""
    connection = event.assoc.dul.socket
    if isinstance(connection, Connection) and connection.client:
        return connection.client
    return "".join(letter if letter.isprintable() else "?" for letter in str(event.assoc.requestor.ae_title).strip())


def must_be_loopback(host: str, where: str, tls: ssl.SSLContext | None) -> None:
    """Raises NotPermitted for what would travel unencrypted through a network."""
    if tls is None and not is_loopback(host):
        raise NotPermitted(where, "images would travel unencrypted", "name certificates, or listen on 127.0.0.1")
