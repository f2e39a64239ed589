"""An association's two threads, asleep until something happens, and a connection with limits.

pynetdicom's threads look a thousand times a second whether there is something to do, with select(), which knows no more than 1,024
files. Here they wait: the one that serves the network for the peer or for a bell, the other one for news.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.fsm import InvalidEventError
from pynetdicom.transport import AssociationSocket

LARGEST_PDU = 1 << 17  # bytes that peers may send at once; the more, the fewer turns of pynetdicom's loop
TURN = 1.0  # seconds after which both threads look at their timers
_LARGEST_OTHER = 1 << 20  # bytes of a PDU that asks for an association: 128 contexts with many transfer syntaxes
_PIECE = 1 << 16  # bytes that are taken from a socket at once; pynetdicom takes 4096
_SHORT = 0.0002  # seconds that pynetdicom sleeps when there was nothing
_LEAVING = 0.2  # seconds for a peer to hang up after the last words
_GONE = 0.005  # seconds between two looks once the connection is gone


class Ringing(queue.Queue[Any]):
    """A queue that calls `ring` after each put."""

    def __init__(self, ring: Callable[[], None]) -> None:
        super().__init__()
        self._ring = ring

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._ring()


class Connection(AssociationSocket):
    """pynetdicom's socket of an association; `client` is the subject of the peer's certificate, empty without one."""

    def __init__(self, assoc: Association, connection: socket.socket, client: str) -> None:
        super().__init__(assoc, client_socket=connection)
        self.client = client
        self._lock = threading.Lock()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        """Wake the thread that serves the network."""
        with self._lock:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def hang_up(self) -> None:
        """End the connection under the thread that serves it."""
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
        self.ring()

    def finish(self) -> None:
        """Give the bell back; the thread that serves the network has ended."""
        with self._lock:
            if self._bell >= 0:
                os.close(self._bell)
                self._bell = -1

    @property
    def ready(self) -> bool:
        """Whether the peer has sent something; waits until it has, or there is something else to do, or it is time to look at timers."""
        connection = self.socket
        if connection is None or not self._is_connected:
            time.sleep(_GONE)
            return False
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        dul = self.assoc.dul
        busy = not dul.event_queue.empty() or not dul.to_provider_queue.empty() or dul._kill_thread
        try:
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            if self._bell >= 0:
                poll.register(self._bell, select.POLLIN)
            leaving = dul.state_machine.current_state == "Sta13"  # the peer is to hang up
            found = dict(poll.poll(0 if busy else 1000 * (_LEAVING if leaving else TURN)))
            if self._bell in found:
                os.eventfd_read(self._bell)
            return connection.fileno() in found
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """As pynetdicom's, in larger pieces; a PDU that says to be larger than allowed, or takes longer than a whole connection may be
        idle, ends the connection."""
        if nr_bytes > max(LARGEST_PDU, _LARGEST_OTHER):
            raise OSError("the peer sends a larger PDU than was agreed on")
        connection = cast(socket.socket, self.socket)
        deadline = time.monotonic() + (connection.gettimeout() or 60.0)
        data = bytearray(nr_bytes)
        view, filled = memoryview(data), 0
        while filled < nr_bytes:
            got = connection.recv_into(view[filled : filled + _PIECE])
            if not got:
                break
            filled += got
            # Linux forgets this setting by itself; without it, a sender with Nagle's algorithm waits 40 ms for each acknowledgement
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            if time.monotonic() > deadline:
                raise TimeoutError("the peer sends too slowly")
        view.release()
        del data[filled:]
        return data


def put_to_sleep(assoc: Association, connection: Connection, news: threading.Event) -> None:
    """Have both threads of `assoc` wait instead of looking all the time; `news` is for the one that serves requests."""
    dul = assoc.dul
    dul.daemon = True
    dul._run_loop_delay = _SHORT
    dul.event_queue.get()  # from the socket that pynetdicom made, which this one replaces
    dul.socket = connection
    dul.to_provider_queue = Ringing(connection.ring)
    dul.to_user_queue = Ringing(news.set)
    do_action = dul.state_machine.do_action

    def act(event: str) -> None:
        try:
            do_action(event)
            if dul.state_machine.current_state == "Sta1" and assoc.requestor.primitive is None:
                dul.to_user_queue.put(cast(Any, None))  # it went without having asked for anything, for which the other thread waits
        except InvalidEventError:  # the peer hung up while its answer was made
            dul._kill_thread = True
            connection.hang_up()

    cast(Any, dul.state_machine).do_action = act
