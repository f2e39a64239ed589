"""Connections by paramiko: nothing but Python is needed. Its Transport and Channel carry the bytes, SFTP is our own."""

from __future__ import annotations

import contextlib
import getpass
import logging
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import paramiko

from toolkit.core.errors import NotPermitted, Unavailable
from toolkit.experiment.staging.channel import Buffer, Channel
from toolkit.experiment.staging.channels import Channels
from toolkit.experiment.staging.connection import Access, Host, Lost
from toolkit.experiment.staging.host_keys import KnownKeys, add_known_host, changed, fingerprint, known_keys, unknown

_WINDOW = 64 << 20  # bytes that a server may send on a channel before it is told to go on; OpenSSH's own is 2 MiB
_PACKET = 1 << 15  # bytes sent in one packet, the most that OpenSSH takes
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")
_PIECE = 1 << 16


class ChannelStream:
    """A channel's bytes through one of paramiko's."""

    def __init__(self, channel: paramiko.Channel, heard: Callable[[], None]) -> None:
        self._channel, self._heard = channel, heard

    def receive_into(self, buffer: memoryview) -> int:
        data = self._channel.recv(min(len(buffer), 1 << 18))
        self._heard()
        buffer[: len(data)] = data
        return len(data)

    def send(self, pieces: Sequence[Buffer]) -> None:
        small: list[Buffer] = []
        for piece in pieces:
            if len(piece) < _PACKET // 2:
                small.append(piece)
                continue
            self._send_all(b"".join(small))
            small.clear()
            self._send_all(piece)
        self._send_all(b"".join(small))

    def close(self) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()

    def complaint(self) -> str:
        error = self._channel.get_transport().get_exception()
        return "" if error is None else str(error)

    def _send_all(self, piece: Buffer) -> None:
        view = memoryview(piece)
        while view:
            view = view[self._channel.send(view[:_PACKET].tobytes()) :]


class ParamikoConnection:
    """A connection that paramiko holds."""

    def __init__(self, host: Host, access: Access, on_channel: Callable[[Channel], None]) -> None:
        self.name = host.host
        self._access = access
        self._channels = Channels(self._new_channel)
        self._heard = time.monotonic()
        self._closing = threading.Event()
        self._transport = _connected(host, access)
        try:
            _authenticate(self._transport, host, access)
            self._channels.add(self._new_channel(on_channel))
        except BaseException:
            self._transport.close()
            raise
        self._watch = threading.Thread(target=self._watch_for_silence, daemon=True)
        self._watch.start()

    def channels(self, count: int) -> Sequence[Channel]:
        """See Connection."""
        return self._channels.up_to(count)

    def execute(
        self, command: str, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None, stderr: BinaryIO | None = None
    ) -> int:
        """See Connection."""
        session = self._session()
        try:
            session.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._still_there(error)
            raise Unavailable(self.name, "runs no commands", "its server allows SFTP only") from error
        threads = [
            threading.Thread(target=_feed, args=(session, stdin), daemon=True),
            threading.Thread(target=_drain, args=(session.recv_stderr, stderr), daemon=True),
        ]
        for thread in threads:
            thread.start()
        _drain(session.recv, stdout)
        status = session.recv_exit_status()
        threads[1].join()
        session.close()
        if status < 0:
            self._still_there(None)
            return 255
        return status

    def close(self) -> None:
        """End everything on the connection."""
        self._closing.set()
        self._channels.close()
        self._transport.close()

    def __enter__(self) -> ParamikoConnection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _session(self) -> paramiko.Channel:
        try:
            return self._transport.open_channel("session", window_size=_WINDOW, timeout=self._access.timeout)
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._still_there(error)
            raise Unavailable(self.name, f"refused another session: {error}", "its server allows no more") from error

    def _new_channel(self, on_channel: Callable[[Channel], None] | None = None) -> Channel:
        session = self._session()
        try:
            session.invoke_subsystem("sftp")
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._still_there(error)
            raise Unavailable(self.name, "refused SFTP", "the server offers no SFTP") from error
        channel = Channel(self.name, ChannelStream(session, self._hear))
        if on_channel is not None:
            on_channel(channel)
        try:
            channel.wait(self._access.timeout)
        except BaseException:
            channel.close()
            raise
        return channel

    def _still_there(self, error: Exception | None) -> None:
        """Raises Lost when the whole connection has gone, not just what was asked for."""
        if not self._transport.is_active():
            raise _lost(self.name, self._transport.get_exception() or error) from error

    def _hear(self) -> None:
        self._heard = time.monotonic()

    def _watch_for_silence(self) -> None:
        """Ask for a sign of life when none came for a while, and end a connection that gives none."""
        pause = self._access.silence / 3
        while not self._closing.wait(pause) and self._transport.is_active():
            if time.monotonic() - self._heard < pause:
                continue
            asking = threading.Thread(target=self._ask_for_life, daemon=True)
            asking.start()
            asking.join(2 * pause)
            if asking.is_alive() and time.monotonic() - self._heard >= 2 * pause:
                self._transport.close()

    def _ask_for_life(self) -> None:
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._transport.global_request("keepalive@openssh.com", wait=True)
            if self._transport.is_active():
                self._hear()


def open_paramiko(host: Host, access: Access, on_channel: Callable[[Channel], None]) -> ParamikoConnection:
    """Connect; see connection.connect."""
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # all that it would say is in the errors
    return ParamikoConnection(host, access, on_channel)


def _connected(host: Host, access: Access) -> paramiko.Transport:
    """A connection to the right host, encrypted, with nobody logged in."""
    port = host.port or 22
    try:
        link = socket.create_connection((host.host, port), access.timeout)
        link.settimeout(None)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(access.silence * 1000))
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise _lost(host.host, error) from error
        raise Unavailable(host.host, f"cannot be found: {error.strerror}", "check the name") from error
    except OSError as error:
        raise _lost(host.host, error) from error
    known = known_keys(str(host), access)
    transport = paramiko.Transport(link, default_window_size=_WINDOW)
    try:
        transport.use_compression(access.compression)
        options = transport.get_security_options()
        options.ciphers = (*_CIPHERS, *(cipher for cipher in options.ciphers if cipher not in _CIPHERS))
        kinds = {name for kind, _ in known.right for name in (("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,))}
        options.key_types = sorted(options.key_types, key=lambda name: name not in kinds)  # those first that can be compared
        transport.start_client(timeout=access.timeout)
        key = transport.get_remote_server_key()
        _check_key(host, access, known, key.get_name(), key.get_base64())
    except (paramiko.SSHException, EOFError, OSError) as error:
        transport.close()
        raise _lost(host.host, error) from error
    except BaseException:
        transport.close()
        raise
    return transport


def _check_key(host: Host, access: Access, known: KnownKeys, kind: str, key: str) -> None:
    if key in known.revoked:
        raise changed(host.host)
    if (kind, key) in known.right:
        return
    if known.right:
        raise changed(host.host)
    line = f"{host} {kind} {key}"
    if access.accept_key is None or fingerprint(key) != access.accept_key:
        raise unknown(host, line)
    add_known_host(access, line)


def _authenticate(transport: paramiko.Transport, host: Host, access: Access) -> None:
    """Log in by the first key that is accepted. Raises NotPermitted, Lost."""
    user = host.user or getpass.getuser()
    said, refused = "no key was found", False
    with contextlib.closing(_keys(access)) as keys:
        for key in keys:
            try:
                if not transport.auth_publickey(user, key):
                    return
                said = "it wants more than a key"
            except paramiko.AuthenticationException as error:
                if not refused and not transport.is_active():  # the link broke; servers end a connection only after several refusals
                    raise _lost(host.host, error) from error
                said, refused = str(error), True
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise _lost(host.host, error) from error
            if not transport.is_active():
                break
    raise NotPermitted(host.host, f"refused {user}: {said}", "give a key that is accepted there, by --identity or the agent")


def _keys(access: Access) -> Generator[paramiko.PKey, None, None]:
    """The user's keys, those that were named first."""
    for path in access.identities:
        key = _key(path)
        if key is None:
            raise NotPermitted(str(path), "is no private key that can be read without a passphrase", "load it into the agent")
        yield key
    with contextlib.suppress(paramiko.SSHException, OSError), contextlib.closing(paramiko.Agent()) as agent:
        yield from agent.get_keys()
    for name in _IDENTITIES:
        key = _key(Path.home() / ".ssh" / name)
        if key is not None:
            yield key


def _key(path: Path) -> paramiko.PKey | None:
    try:
        return paramiko.PKey.from_path(path)
    except (OSError, ValueError, TypeError, paramiko.SSHException, paramiko.UnknownKeyType):
        return None


def _feed(session: paramiko.Channel, stream: BinaryIO | None) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # a command need not read all
        if stream is not None:
            while data := stream.read(_PIECE):
                session.sendall(data)
        session.shutdown_write()


def _drain(receive: Callable[[int], bytes], stream: BinaryIO | None) -> None:
    while data := receive(_PIECE):
        if stream is not None:
            stream.write(data)
            stream.flush()


def _lost(name: str, error: BaseException | None) -> Lost:
    said = getattr(error, "strerror", None) or str(error or "") or "the connection ended"
    return Lost(name, f"cannot be reached: {said}", "try again later")
