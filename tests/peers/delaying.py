"""A network far away, on loopback: a TCP proxy that delays each direction by half of the round trip and limits nothing else.

The handshake of TCP itself takes its round trip too. Links can be cut (reset, after a number of bytes or at once) and silenced (open,
but nothing passes). As a program, so that it takes no time from the one that is measured: ``delaying.py TO_PORT ROUND_TRIP``
prints the port on which it listens.
"""

from __future__ import annotations

import collections
import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

PIECE = 1 << 18  # bytes read at a time
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Proxy:
    """Forwards connections to `port` of loopback, `round_trip` seconds away. Use it as a context.

    With `cuts`, each connection is reset when the next so many bytes have come through it, both ways together; those after the last
    cut hold.
    """

    def __init__(self, port: int, round_trip: float = 0.0, cuts: Iterable[int] = ()) -> None:
        self.round_trip, self.cuts = round_trip, iter(cuts)
        self.connections = 0
        self.passed = 0  # bytes, of all connections
        self.silent = threading.Event()
        self._to, self._links, self._closing = port, set[_Link](), False
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        self._thread.join()

    def cut(self) -> None:
        """Reset all connections that there are."""
        for link in list(self._links):
            link.reset()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            link = _Link(self, near, self._to)
            self._links.add(link)
            threading.Thread(target=link.run, daemon=True).start()

    def _ended(self, link: _Link) -> None:
        self._links.discard(link)


class _Link:
    """One connection: a reading and a writing thread for each direction."""

    def __init__(self, proxy: Proxy, near: socket.socket, port: int) -> None:
        self._proxy, self._near, self._port, self._begun = proxy, near, port, time.monotonic()
        self._bytes, self._far, self._gone = 0, None, False
        self._lock = threading.Lock()
        self._cut_at = next(proxy.cuts, None)

    def run(self) -> None:
        time.sleep(self._proxy.round_trip)
        try:
            self._far = socket.create_connection(("127.0.0.1", self._port))
        except OSError:
            self.reset()
            self._proxy._ended(self)
            return
        threads = [self._direction(self._near, self._far), self._direction(self._far, self._near)]
        for pair in threads:
            for thread in pair:
                thread.join()
        for end in (self._near, self._far):
            end.close()
        self._proxy._ended(self)

    def reset(self) -> None:
        """Break both ends at once; what is on its way is lost."""
        with self._lock:
            if self._gone:
                return
            self._gone = True
        for end in (self._near, self._far):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)  # wakes the threads that read it; the close that follows resets it

    def _direction(self, source: socket.socket, sink: socket.socket) -> tuple[threading.Thread, threading.Thread]:
        for end in (source, sink):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        queue: collections.deque[tuple[float, bytes]] = collections.deque()
        ready = threading.Semaphore(0)
        threads = (
            threading.Thread(target=self._read, args=(source, queue, ready), daemon=True),
            threading.Thread(target=self._write, args=(sink, queue, ready), daemon=True),
        )
        for thread in threads:
            thread.start()
        return threads

    def _read(self, source: socket.socket, queue: collections.deque[tuple[float, bytes]], ready: threading.Semaphore) -> None:
        earliest, half = self._begun + self._proxy.round_trip, self._proxy.round_trip / 2
        piece = b"-"
        while piece:
            try:
                piece = source.recv(PIECE)
            except OSError:
                piece = b""
            queue.append((max(time.monotonic(), earliest) + half, piece))
            ready.release()
            with self._lock:
                self._bytes += len(piece)
                self._proxy.passed += len(piece)
                full = self._cut_at is not None and self._bytes >= self._cut_at
            if full:
                self.reset()

    def _write(self, sink: socket.socket, queue: collections.deque[tuple[float, bytes]], ready: threading.Semaphore) -> None:
        while True:
            ready.acquire()
            due, piece = queue.popleft()
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            while self._proxy.silent.is_set() and not self._gone and not self._proxy._closing:
                time.sleep(0.01)
            with contextlib.suppress(OSError):
                if piece:
                    sink.sendall(piece)
                else:
                    sink.shutdown(socket.SHUT_WR)
            if not piece:
                return


@contextlib.contextmanager
def process(port: int, round_trip: float) -> Iterator[int]:
    """The proxy as a process of its own; gives its port."""
    program = [sys.executable, str(Path(__file__).resolve()), str(port), str(round_trip)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None and running.stdout is not None
        try:
            yield int(running.stdout.readline())
        finally:
            running.stdin.close()  # it ends with its parent


def main() -> None:
    with Proxy(int(sys.argv[1]), float(sys.argv[2])) as proxy:
        print(proxy.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
