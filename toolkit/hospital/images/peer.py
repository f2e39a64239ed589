"""The receiver: where it is, how one connects to it, and why that failed, in words."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass

from toolkit.core.dicom_network import is_title, tls_failure
from toolkit.core.errors import NotPermitted, Unavailable, UsageError

# PS3.8, table 9-21: reasons by source and number.
_REASONS: dict[tuple[int, int], tuple[str, str]] = {
    (1, 2): ("it does not know DICOM's application context", "look into the receiver's log"),
    (1, 3): ("it does not know our AE title {calling}", "give it with --calling, or have it admitted over there"),
    (1, 7): ("it is not called {called}", "give its AE title with --called"),
    (2, 2): ("it does not know this version of the protocol", "update it"),
    (3, 1): ("it has too much to do", "send it later"),
    (3, 2): ("it has as many associations as it takes", "send it later, or with fewer --jobs"),
}
_SOON = 2.0  # seconds


class Rejected(Unavailable):
    """The receiver answers and refuses the association; `passing`: it says that later it may not."""

    passing = False


@dataclass(frozen=True)
class Peer:
    """A receiver at `host`, `port`, called by `called`; we are `calling`. `tls` None is a plain connection, `timeout` in seconds of
    silence."""

    host: str
    port: int
    called: str
    calling: str
    tls: ssl.SSLContext | None
    timeout: float

    @property
    def place(self) -> str:
        """``HOST:PORT``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def connect(self) -> socket.socket:
        """A connection, with TLS where that is meant. Raises Unavailable; NotPermitted for a plain one that leaves this machine."""
        try:
            connection = socket.create_connection((self.host, self.port), self.timeout)
        except OSError as error:
            raise unavailable(self, error) from error
        try:
            if self.tls is None:
                if not ipaddress.ip_address(connection.getpeername()[0].partition("%")[0]).is_loopback:
                    raise NotPermitted(self.place, "images would travel unencrypted", "name certificates with --cert, --key and --ca")
                return connection
            return self.tls.wrap_socket(connection, server_hostname=self.host)
        except OSError as error:
            connection.close()
            raise Unavailable(self.place, *tls_failure(error)) from error
        except BaseException:
            connection.close()
            raise

    def said(self) -> ssl.SSLError | None:
        """Why it ends TLS as soon as it knows our certificate. In TLS 1.3 that comes when we are done, and is lost when it hangs up on what
        we have written by then: here nothing is."""
        try:
            with self.connect() as connection:
                connection.settimeout(_SOON)
                connection.recv(1)
        except ssl.SSLEOFError:
            return None
        except ssl.SSLError as error:
            return error
        except (OSError, Unavailable):
            return None
        return None


def parse_place(text: str, option: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``; an IPv6 address stands in brackets. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536) or (":" in host) != (
        host[:1] == "[" and host[-1:] == "]"
    ):
        raise UsageError(option, f"{text!r} is no HOST:PORT", "write mdc.example:2762, 127.0.0.1:2762 or [::1]:2762")
    return host.removeprefix("[").removesuffix("]"), int(port)


def check_title(title: str, option: str) -> str:
    """An application entity title. Raises UsageError."""
    if not is_title(title):
        raise UsageError(option, "is no application entity title", "write 1 to 16 characters of ASCII")
    return title


def refused_association(peer: Peer, result: int | None, source: int | None, reason: int | None) -> Rejected:
    """What an A-ASSOCIATE-RJ means (PS3.8 9.3.4)."""
    problem, remedy = _REASONS.get((source or 0, reason or 0), ("it gives no reason", "look into the receiver's log"))
    words = problem.format(calling=peer.calling, called=peer.called)
    error = Rejected(peer.place, f"the receiver refuses the association: {words}", remedy)
    error.passing = result == 2
    return error


def unavailable(peer: Peer, error: Exception) -> Unavailable:
    """Why there is no association."""
    return Unavailable(peer.place, *_explained(peer, error))


def _explained(peer: Peer, error: Exception) -> tuple[str, str]:
    log = "look into the receiver's log"
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return tls_failure(error)
    if isinstance(error, TimeoutError):
        return f"said nothing for {peer.timeout:g} seconds", "it is down, overloaded, or " + (
            "speaks no DICOM" if peer.tls else "wants TLS: name --cert, --key and --ca"
        )
    if isinstance(error, socket.gaierror):
        return f"its name cannot be resolved: {error.strerror}", "correct --to, or repair the name service"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there", "start the receiver, or correct --to"
    if isinstance(error, ConnectionAbortedError) and error.errno is None:
        return str(error), log
    if isinstance(error, ValueError):
        return str(error), "name certificates with --cert, --key and --ca" if "TLS" in str(error) else "correct host and port in --to"
    if isinstance(error, ConnectionError | ssl.SSLEOFError):
        return "it hung up before it answered", (
            "it refuses our certificate or us: " + log if peer.tls else "it may want TLS: name --cert, --key and --ca"
        )
    return (error.strerror if isinstance(error, OSError) else None) or str(error), "check the network"
