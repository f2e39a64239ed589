"""Connections through the user's own `ssh`: its configuration, agent, jump hosts and certificates come for nothing.

One `ssh` makes the connection and is its own ControlMaster, in a directory of ours; further channels and commands are asked of it over
its control socket, as OpenSSH's PROTOCOL.mux says, without another `ssh` for each.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from toolkit.core.errors import NotPermitted, ToolError, Unavailable, UsageError
from toolkit.experiment.staging import ssh_control
from toolkit.experiment.staging.channel import Buffer, Channel
from toolkit.experiment.staging.channels import Channels
from toolkit.experiment.staging.connection import Access, Host, Lost
from toolkit.experiment.staging.host_keys import add_known_host, changed, fingerprint, unknown

_NEVER_ANYTHING_ELSE = (
    "BatchMode=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no", "ControlMaster=yes", "ControlPersist=no", "RequestTTY=no",
    "RemoteCommand=none", "ClearAllForwardings=yes", "ForwardAgent=no", "ForwardX11=no", "PermitLocalCommand=no", "Tunnel=no",
    "ForkAfterAuthentication=no", "StdinNull=no", "ServerAliveCountMax=3", "LogLevel=INFO",
    "Ciphers=^aes128-gcm@openssh.com,aes256-gcm@openssh.com",
)  # fmt: skip
_LONGEST_SOCKET = 60  # characters of the directory: a socket's path has room for 104, and ssh appends 17 to it


class SocketStream:
    """A channel's bytes through a socket whose other end `ssh` has."""

    def __init__(self, link: socket.socket, log: Path) -> None:
        self._link, self._log = link, log

    def receive_into(self, buffer: memoryview) -> int:
        try:
            return self._link.recv_into(buffer)
        except ConnectionResetError:  # what was sent was not read to the end: nothing else than an end
            return 0

    def send(self, pieces: Sequence[Buffer]) -> None:
        left = [memoryview(piece) for piece in pieces]
        while left:
            sent = self._link.sendmsg(left[:64])
            while left and sent >= len(left[0]):
                sent -= len(left.pop(0))
            if left:
                left[0] = left[0][sent:]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)

    def complaint(self) -> str:
        return _last_line(self._log)


class SshConnection:
    """A connection that an `ssh` of ours holds."""

    def __init__(self, host: Host, access: Access, on_channel: Callable[[Channel], None]) -> None:
        self.name = host.host
        self._directory = Path(tempfile.mkdtemp(prefix="sftp-", dir=_short_directory()))
        self._socket, self._log = self._directory / "c", self._directory / "log"
        self._channels = Channels(self._open)
        self._links: list[socket.socket] = []
        self._closed = False
        self._timeout = access.timeout
        self._closing = threading.Event()
        ours, theirs = self._pair()
        self._first_socket = f"socket:[{os.fstat(theirs.fileno()).st_ino}]"
        with theirs, open(self._log, "wb") as log:
            arguments = ["ssh", *_options(host, access), "-S", str(self._socket), "-s", "--", host.host, "sftp"]
            try:
                self._process = subprocess.Popen(
                    arguments, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=log, process_group=0
                )
            except FileNotFoundError:
                self._clean()
                raise Unavailable("ssh", "is not installed", "install OpenSSH's client or use --transport paramiko") from None
        try:
            channel = Channel(self.name, SocketStream(ours, self._log))
            on_channel(channel)
            self._channels.add(self._greeted(channel, access.timeout + 10))
            threading.Thread(target=self._watch_first, args=(channel,), daemon=True).start()
        except BaseException:
            self.close()
            raise

    def channels(self, count: int) -> Sequence[Channel]:
        """See Connection."""
        return self._channels.up_to(count)

    def execute(
        self, command: str, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None, stderr: BinaryIO | None = None
    ) -> int:
        """See Connection. The streams must have file descriptors."""
        with open(os.devnull, "r+b") as nothing:
            streams = [stream or nothing for stream in (stdin, stdout, stderr)]
            for stream in streams[1:]:
                stream.flush()
            with ssh_control.session(self._socket, self.name, command, [stream.fileno() for stream in streams]) as session:
                status = session.exit_status()
        if status is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
                raise Lost(self.name, "the connection was lost: " + (_last_line(self._log) or "ssh ended"), "try again later")
        return 255 if status is None else status

    def close(self) -> None:
        """End everything on the connection."""
        self._closed = True
        self._closing.set()
        self._channels.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()
        self._clean()

    def __enter__(self) -> SshConnection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        ours, theirs = socket.socketpair()
        self._links.append(ours)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        return ours, theirs

    def _watch_first(self, channel: Channel) -> None:
        """End the first channel when its session has ended.

        `ssh` keeps the socket as its standard input while other sessions live: it never comes to its end, but its copies are closed.
        """
        descriptors = f"/proc/{self._process.pid}/fd"
        while not self._closing.wait(1) and self._process.poll() is None:
            try:
                held = [_link_of(f"{descriptors}/{name}") for name in os.listdir(descriptors)]
            except OSError:
                return  # no Linux: then it is the silence that tells
            if held.count(self._first_socket) < 2:
                channel.end(Lost(self.name, "the connection was lost: its SFTP session ended", "try again later"))
                return

    def _greeted(self, channel: Channel, timeout: float) -> Channel:
        """The first channel, open; raises what ssh says otherwise."""
        try:
            channel.wait(timeout)
        except Lost:
            channel.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2)  # it has said all
            raise _failure(self.name, self._log) from None
        return channel

    def _open(self) -> Channel:
        ours, theirs = self._pair()
        try:
            with theirs:
                link = ssh_control.subsystem(self._socket, self.name, theirs)
            self._links.append(link)
            if self._closed:
                raise Lost(self.name, "the connection was closed")
            channel = Channel(self.name, SocketStream(ours, self._log))
            channel.wait(self._timeout)
            return channel
        finally:
            if self._closed:
                self._close_links()

    def _close_links(self) -> None:
        for link in self._links:
            link.close()

    def _clean(self) -> None:
        self._close_links()
        shutil.rmtree(self._directory, ignore_errors=True)


def open_ssh(host: Host, access: Access, on_channel: Callable[[Channel], None]) -> SshConnection:
    """Connect; see connection.connect."""
    try:
        return SshConnection(host, access, on_channel)
    except NotPermitted as error:
        if "is not known" not in error.problem:
            raise
    key = _offered_key(host, access)
    if access.accept_key is None or key is None or fingerprint(key.split()[2]) != access.accept_key:
        raise unknown(host, key)
    add_known_host(access, key)
    return SshConnection(host, access, on_channel)


def _offered_key(host: Host, access: Access) -> str | None:
    """The line for known_hosts of a host that is not known, got the way that `ssh` gets there; None: `ssh` is too old to tell."""
    with tempfile.TemporaryDirectory(prefix="sftp-", dir=_short_directory()) as directory:
        lines = Path(directory) / "key"
        ask = f"KnownHostsCommand=/bin/sh -c 'echo %I %H %t %K >> \"{lines}\"'"
        arguments = ["ssh", *_options(host, access), "-S", "none", "-o", ask, "-T", "--", host.host, "exit"]
        subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=access.timeout + 10, check=False)
        seen = [line.split() for line in lines.read_text().splitlines()] if lines.exists() else []
    return next((" ".join(words[1:]) for words in seen if len(words) == 4 and words[0] == "HOSTNAME"), None)


def _options(host: Host, access: Access) -> list[str]:
    """What `ssh` is told; the first value of an option counts, so that ours come before the user's."""
    alive = max(1, round(access.silence / 3))
    names = [*_NEVER_ANYTHING_ELSE, f"ServerAliveInterval={alive}", f"ConnectTimeout={max(1, round(access.timeout))}"]
    names.append(f"Compression={'yes' if access.compression else 'no'}")
    if access.known_hosts:
        quoted = " ".join(f'"{path}"' for path in access.known_hosts)
        names += [f"UserKnownHostsFile={quoted}", "GlobalKnownHostsFile=none"]
    names += access.ssh_options
    options = [word for name in names for word in ("-o", name)]
    for identity in access.identities:
        options += ["-i", str(identity)]
    if access.ssh_config is not None:
        options += ["-F", str(access.ssh_config)]
    if host.port is not None:
        options += ["-p", str(host.port)]
    if host.user is not None:
        options += ["-l", host.user]
    return options


def _link_of(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _short_directory() -> str:
    usual = tempfile.gettempdir()
    return usual if len(usual) <= _LONGEST_SOCKET else "/tmp"


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


_REASONS: tuple[tuple[str, type[ToolError], str], ...] = (
    (r"subsystem request failed|remote side has no sftp", Unavailable, "the server offers no SFTP"),
    (r"Permission denied", NotPermitted, "give a key that is accepted there, by --identity, ssh_config or the agent"),
    (r"Could not resolve hostname .*(not known|No address)", Unavailable, "check the name"),
    (r"configuration option|Bad owner|line \d+|Can't open user config", UsageError, "mend the configuration of ssh"),
)


def _failure(name: str, log: Path) -> ToolError:
    """What ssh's own words mean."""
    said = log.read_text("utf-8", "replace")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in said or "host key has changed" in said.lower():
        return changed(name)
    if re.search(r"host key is known|Host key verification failed", said):
        return NotPermitted(name, "is not known")  # completed by open_ssh
    for pattern, kind, remedy in _REASONS:
        for line in lines:
            if re.search(pattern, line):
                return kind(name, line, remedy)
    last = _last_line(log)
    return Lost(name, f"cannot be reached: {last}" if last else "did not answer", "try again later")
