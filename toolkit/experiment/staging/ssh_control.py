"""Sessions asked of a running `ssh` over its control socket: OpenSSH's PROTOCOL.mux, version 4."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.core.errors import Unavailable
from toolkit.experiment.staging.connection import Lost
from toolkit.experiment.staging.protocol import number, text

_HELLO, _NEW_SESSION = 1, 0x10000002
_PERMISSION_DENIED, _FAILURE, _EXIT_MESSAGE, _SESSION_OPENED = 0x80000002, 0x80000003, 0x80000004, 0x80000006
_VERSION = 4
_NO_ESCAPE = 0xFFFFFFFF
_LONGEST = 1 << 16  # bytes of a message from ssh


class Session:
    """A session that was opened; it ends when its socket is closed."""

    def __init__(self, link: socket.socket, name: str) -> None:
        self._link, self._name = link, name

    def exit_status(self) -> int | None:
        """Wait until the command has ended; None: it did not say how, or was never started."""
        status = None
        while message := _message(self._link):
            kind, fields = struct.unpack_from(">I", message)[0], message[4:]
            if kind == _EXIT_MESSAGE:
                status = struct.unpack_from(">II", fields)[1]
        return status


@contextlib.contextmanager
def session(control: Path, name: str, command: str, streams: Sequence[int]) -> Iterator[Session]:
    """Run `command` with three descriptors as its streams. Raises Unavailable when the server refuses a session, Lost without ssh."""
    with _asked(control, name, command, False, streams) as link:
        yield Session(link, name)


def subsystem(control: Path, name: str, stream: socket.socket) -> socket.socket:
    """Start SFTP on `stream`: its session lasts until the socket that is returned is closed. Raises as `session`."""
    with open("/dev/null", "wb") as nothing:
        return _asked(control, name, "sftp", True, [stream.fileno(), stream.fileno(), nothing.fileno()])


def _asked(control: Path, name: str, command: str, is_subsystem: bool, streams: Sequence[int]) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.connect(str(control))
        hello = number(_HELLO) + number(_VERSION)
        flags = [0, 0, 0, int(is_subsystem), _NO_ESCAPE]  # terminal, X11, agent
        request = number(_NEW_SESSION) + number(0) + text(b"") + b"".join(map(number, flags)) + text(b"") + text(command.encode())
        link.sendall(text(hello) + text(request))
        for stream in streams:
            socket.send_fds(link, [b"\0"], [stream])
        greeting = _message(link)
        if greeting is None or struct.unpack_from(">II", greeting) != (_HELLO, _VERSION):
            raise Unavailable("ssh", "has a control socket that speaks another version", "use --transport paramiko")
        answer = _message(link)
    except (OSError, struct.error) as error:
        link.close()
        raise Lost(name, f"the connection was lost: {getattr(error, 'strerror', None) or error}", "try again later") from error
    except BaseException:
        link.close()
        raise
    if answer is not None and struct.unpack_from(">I", answer)[0] == _SESSION_OPENED:
        return link
    link.close()
    if answer is None:
        raise Lost(name, "the connection was lost", "try again later")
    raise Unavailable(name, "refused another session: " + answer[12:].decode("utf-8", "replace"), "its server allows no more")


def _message(link: socket.socket) -> bytes | None:
    """The next message; None at the end."""
    try:
        head = _exactly(link, 4)
        if head is None:
            return None
        length = struct.unpack(">I", head)[0]
        return _exactly(link, length) if 4 <= length <= _LONGEST else None
    except ConnectionResetError:
        return None


def _exactly(link: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = link.recv(count - len(data))
        if not more:
            return None
        data += more
    return data
