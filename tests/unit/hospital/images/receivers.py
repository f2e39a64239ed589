"""Receivers on loopback that do what a test wants: pynetdicom's, and a socket that says nothing or something else than DICOM."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification
from pynetdicom.transport import ThreadedAssociationServer

from toolkit.hospital.images.peer import Peer

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


@dataclass
class Receiver:
    """What it got: instance UID and the data set's bytes, in order; `port`, and the associations that were opened."""

    port: int = 0
    got: list[tuple[str, bytes]] = field(default_factory=list)
    associations: int = 0
    asked: list[Dataset] = field(default_factory=list)

    def peer(self, **words: Any) -> Peer:
        return Peer(**{"host": "127.0.0.1", "port": self.port, "called": "THERE", "calling": "HERE", "tls": None, "timeout": 5.0, **words})


@contextlib.contextmanager
def receiver(
    answer: Callable[[Receiver, Any], Any] = lambda found, event: 0,
    *,
    syntaxes: list[str] | None = None,
    classes: list[str] | None = None,
    tls: ssl.SSLContext | None = None,
    action: Callable[[Receiver, Any], Any] | None = None,
    **settings: Any,
) -> Iterator[Receiver]:
    """An AE of pynetdicom that answers a C-STORE with the status that `answer` says; any class, or those given, in explicit VR, or in the
    transfer syntaxes given."""
    found, lock = Receiver(), threading.Lock()

    def stored(event: Any) -> Any:
        with lock:
            found.got.append((str(event.request.AffectedSOPInstanceUID), event.request.DataSet.getvalue()))
        return answer(found, event)

    def opened(event: Any) -> None:
        with lock:
            found.associations += 1

    entity = AE("THERE")
    entity.add_supported_context(Verification)
    for sop_class in classes or [CT]:
        entity.add_supported_context(sop_class, syntaxes or [EXPLICIT])
    handlers: list[Any] = [(evt.EVT_C_STORE, stored), (evt.EVT_ACCEPTED, opened), (evt.EVT_C_ECHO, lambda event: 0)]
    if action is not None:
        entity.add_supported_context(StorageCommitmentPushModel)
        handlers.append((evt.EVT_N_ACTION, lambda event: action(found, event)))
    for name, value in settings.items():
        setattr(entity, name, value)
    before = _config.UNRESTRICTED_STORAGE_SERVICE
    _config.UNRESTRICTED_STORAGE_SERVICE = False
    server = entity.make_server(("127.0.0.1", 0), evt_handlers=handlers, ssl_context=tls, server_class=ThreadedAssociationServer)
    entity._servers.append(server)  # as its start_server does, which looks for the end only twice a second
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    try:
        found.port = server.server_address[1]
        yield found
    finally:
        server.shutdown()
        serving.join()
        _config.UNRESTRICTED_STORAGE_SERVICE = before


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def speaking(words: bytes, *, wait: bool = True) -> Iterator[int]:
    """The port of something that reads a little, says `words`, and then waits until the other side goes, or hangs up."""
    ended = threading.Event()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 16)
                connection.sendall(words)
                if wait:
                    ended.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def status(code: int, comment: str = "") -> Dataset:
    """An answer to a C-STORE."""
    answer = Dataset()
    answer.Status = code
    if comment:
        answer.ErrorComment = comment
    return answer
