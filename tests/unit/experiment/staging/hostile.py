"""A small SFTP server of real bytes over a socket, that answers as a test wants it, however wrong."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from toolkit.experiment.staging.channel import Channel
from toolkit.experiment.staging.protocol import INIT, VERSION, number, text
from toolkit.experiment.staging.ssh_connection import SocketStream

Answering = Callable[[int, bytes, bytes], bytes | None]
"""Kind, number (as bytes) and fields of a request: the bytes to send; None: hang up."""


def packet(kind: int, body: bytes) -> bytes:
    """With its length."""
    return text(bytes([kind]) + body)


def names(asked: bytes, *found: bytes, mode: int = 0o100644) -> bytes:
    """The answer NAME."""
    entries = b"".join(text(name) + text(b"") + number(4) + number(mode) for name in found)
    return packet(104, asked + number(len(found)) + entries)


def status(asked: bytes, code: int, words: bytes = b"") -> bytes:
    """The answer STATUS."""
    return packet(101, asked + number(code) + text(words) + text(b""))


@contextlib.contextmanager
def talking_to(answer: Answering, greeting: bytes | None = None) -> Iterator[Channel]:
    """A channel to a server that answers so."""
    near, far = socket.socketpair()
    thread = threading.Thread(target=_serve, args=(far, answer, greeting or packet(VERSION, number(3))))
    thread.start()
    channel = Channel("hostile", SocketStream(near, Path("/nonexistent")))
    try:
        yield channel
    finally:
        channel.close()
        near.close()
        thread.join()


def _serve(link: socket.socket, answer: Answering, greeting: bytes) -> None:
    with link, link.makefile("rb") as requests, contextlib.suppress(OSError):
        while len(head := requests.read(5)) == 5:
            length, kind = struct.unpack(">IB", head)
            body = requests.read(length - 1)
            said = greeting if kind == INIT else answer(kind, body[:4], body[4:])
            if said is None:
                link.shutdown(socket.SHUT_RDWR)
                return
            link.sendall(said)
