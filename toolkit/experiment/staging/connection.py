"""A connection to a machine, strict about whose it is: how it is asked for, and what it offers whatever transport it goes by."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

from toolkit.core.errors import TryLater

if TYPE_CHECKING:
    from toolkit.experiment.staging.channel import Channel


class Lost(TryLater):
    """A connection could not be made or has ended: the same again can succeed. Errors of single files are never of this class."""


@dataclass(frozen=True)
class Host:
    """Where to: what `ssh` would be told."""

    host: str  # a name or address; for the transport "ssh" also an alias of ssh_config
    port: int | None = None  # None: 22, or what ssh_config says
    user: str | None = None  # None: this user, or what ssh_config says

    def __str__(self) -> str:
        return self.host if self.port in (None, 22) else f"[{self.host}]:{self.port}"


@dataclass(frozen=True)
class Access:
    """How to get there. Nothing is ever asked for: keys come from files without a passphrase or from the agent."""

    transport: Literal["auto", "ssh", "paramiko"] = "auto"  # auto: ssh where there is an `ssh`
    identities: tuple[Path, ...] = ()  # private keys to offer before those that the transport finds itself
    known_hosts: tuple[Path, ...] = ()  # instead of ~/.ssh/known_hosts and the machine's own
    ssh_config: Path | None = None  # instead of ~/.ssh/config; only "ssh" reads one
    ssh_options: tuple[str, ...] = ()  # "Name=value", only "ssh"
    timeout: float = 20.0  # s, to connect
    silence: float = 45.0  # s without a sign of life until the connection counts as lost
    accept_key: str | None = None  # "SHA256:...": an unknown host with this key is added to known_hosts; a changed key never passes
    compression: bool = False


class Connection(Protocol):
    """A connection that is open. A context; leaving it ends everything on it."""

    name: str  # of the host, for messages

    def channels(self, count: int) -> Sequence[Channel]:
        """The SFTP channels, `count` in all if the server allows as many: opened at the same time, at least one.

        Calling it again gives the same ones and opens those that are missing. Raises Unavailable when the server has no SFTP, Lost.
        """

    def execute(
        self, command: str, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None, stderr: BinaryIO | None = None
    ) -> int:
        """Run `command` in the user's shell there and return its exit status; 255 when a signal ended it.

        Streams that are None are empty or thrown away. Raises Unavailable when the server runs no commands, Lost.
        """

    def close(self) -> None: ...

    def __enter__(self) -> Connection: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None: ...


def connect(host: Host, access: Access, on_channel: Callable[[Channel], None] | None = None) -> Connection:
    """Open a connection and its first SFTP channel.

    `on_channel` gets that channel before anybody has answered: what is asked of it then goes out with the greeting and saves a round
    trip (GONE where no connection comes to be). It is called again where an accepted key makes a second attempt.

    Raises NotPermitted for an unknown key of the host (its fingerprint is named, and how to accept it), a changed one, and when no
    key of the user's is accepted; Lost when the host does not answer; Unavailable when a program or SFTP is missing.
    """
    transport = access.transport
    if transport == "auto":
        transport = "ssh" if shutil.which("ssh") else "paramiko"
    if transport == "ssh":
        from toolkit.experiment.staging.ssh_connection import open_ssh

        return open_ssh(host, access, on_channel or _nothing)
    from toolkit.experiment.staging.paramiko_connection import open_paramiko

    return open_paramiko(host, access, on_channel or _nothing)


def _nothing(channel: Channel) -> None:
    """For those who wait for the connection."""
