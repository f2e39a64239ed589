"""The data centre's receiver of images: C-ECHO, and C-STORE of any SOP class in any transfer syntax, stored as it came.

Only objects whose identity was removed, (0012,0062) = YES, are taken.
"""

from __future__ import annotations

import ipaddress
import logging
import signal
import ssl
import threading
from collections import Counter
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from toolkit.core.errors import BadData, InputOutput, NotPermitted, Unavailable
from toolkit.datacentre.faults import report
from toolkit.datacentre.pacs.keeping import Instance, Keeper, Outcome
from toolkit.datacentre.pacs.streaming import IMPLEMENTATION, LARGEST_PDU, Server, Streamed, accept_every_storage_class

# PS3.4, table B.2-1. An identified object is "cannot understand", 0xCxxx, of which the low digits are ours to choose: 0xA7xx (out of
# resources) would be tried again and again, and 0xA9xx speaks of the SOP class. 0x0111 is PS3.7, annex C.5.6.
SUCCESS, DUPLICATE, OUT_OF_RESOURCES, MISMATCH, MALFORMED, IDENTIFIED = 0x0000, 0x0111, 0xA700, 0xA900, 0xC000, 0xC062
_REMOVED = Tag(0x0012, 0x0062)  # Patient Identity Removed
_NEEDED = (
    "SOPClassUID", "SOPInstanceUID", "StudyDate", "AccessionNumber", "Modality", "PatientID", "PatientIdentityRemoved",
    "StudyInstanceUID", "SeriesInstanceUID",
)  # fmt: skip
_log = logging.getLogger(__name__)


class Receiver:
    """Receives at `host` and `port` (0: any free one) into `keeper`; a context manager. Without `tls` only on loopback.

    Raises NotPermitted for a plain receiver elsewhere or a port that is not ours to take, Unavailable for one that is taken.
    """

    def __init__(
        self, host: str, port: int, keeper: Keeper, tls: ssl.SSLContext | None, title: str = "MDC", associations: int = 100
    ) -> None:
        place = f"{host}:{port}"
        if tls is None and not _loopback(host):
            raise NotPermitted(place, "images would travel unencrypted", "name certificates, or listen on 127.0.0.1")
        accept_every_storage_class()
        self.counts: Counter[str] = Counter()
        self._keeper, self._lock = keeper, threading.Lock()
        entity = AE(title)
        entity.maximum_pdu_size = LARGEST_PDU
        entity.maximum_associations = associations
        entity.implementation_class_uid = IMPLEMENTATION
        entity.implementation_version_name = "SCAPE_MDC"
        entity.add_supported_context(Verification)
        handlers: list[Any] = [(evt.EVT_C_ECHO, lambda event: SUCCESS), (evt.EVT_C_STORE, self._store)]
        try:
            self._server: Server = entity.make_server(
                (host, port), title, evt_handlers=handlers, server_class=Server, keeper=keeper, tls=tls
            )
        except PermissionError as error:
            raise NotPermitted(place, "not permitted", "take a port from 1024 on") from error
        except OSError as error:
            raise Unavailable(place, error.strerror or str(error), "end the other program, or choose another address") from error
        entity._servers.append(self._server)  # as its start_server does; without it shutdown fails
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """What was not acknowledged is sent again."""
        self._server.shutdown()
        self._thread.join()
        for association in self._server.active_associations:
            association.abort()

    def _store(self, event: Any) -> Dataset:
        stream = event.request.DataSet
        client = str(event.assoc.requestor.ae_title).strip()
        try:
            status, why = self._kept(stream, client)
        except BadData as error:
            status, why = MALFORMED, error.problem
        except InputOutput as error:
            _log.error("%s; %s is told to wait", error, client)
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
                _log.warning("%s, %s: an object is refused: %s", event.assoc.requestor.address, client, why)
        return answer

    def _kept(self, stream: Streamed | None, client: str) -> tuple[int, str]:
        if not isinstance(stream, Streamed):
            return MALFORMED, "no data set came"
        if stream.failure is not None or stream.file is None:
            raise stream.failure or InputOutput("spool", "no file", "look at the disk")
        stream.file.flush()
        try:
            found = dcmread(stream.file.path, stop_before_pixels=True, specific_tags=list(_NEEDED), defer_size=1 << 16)
            removed = found.get("PatientIdentityRemoved", "")
            words = {name: str(found.get(name, "") or "") for name in _NEEDED}
        except Exception as error:  # pydicom's parser raises anything
            raise BadData("object", "its data set cannot be read", "have it made anew") from error
        if removed != "YES":
            return IDENTIFIED, "patient identity not removed, (0012,0062)"
        if words["SOPInstanceUID"] != stream.instance_uid or words["SOPClassUID"] != stream.sop_class:
            return MISMATCH, "its UIDs are not those of the request"
        instance = Instance(
            words["StudyInstanceUID"], words["SeriesInstanceUID"], stream.instance_uid, stream.sop_class, stream.transfer_syntax,
            words["PatientID"], words["AccessionNumber"], words["Modality"], words["StudyDate"],
            f"sha256:{stream.digest.hexdigest()}", stream.size,
        )  # fmt: skip
        _ = instance.name  # malformed UIDs end here
        outcome = self._keeper.receive(stream.file, instance, client)
        if outcome is Outcome.CONFLICT:
            return DUPLICATE, "another object has this UID"
        return SUCCESS, "" if outcome is Outcome.NEW else "known"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def until_signal() -> None:
    """Wait for SIGTERM, which is a good end, or SIGINT (KeyboardInterrupt). For the main thread."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
