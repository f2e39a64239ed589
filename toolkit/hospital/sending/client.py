"""One connection to the data centre's gateway: HTTPS with certificates on both sides, each kind of failure in words of its own.

TLS 1.2 or newer (BCP 195), the server's name checked (RFC 9525). Only the standard library stands between a document and
OpenSSL, whose reasons are told apart here; HTTP libraries fold them into one.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from hashlib import sha256
from typing import NoReturn
from urllib.parse import urlsplit

from toolkit.core.errors import Unavailable, UsageError
from toolkit.core.tls import show, trust

TIMEOUT = 60.0  # seconds without a sign of life after which the data centre counts as gone
_LARGEST_ANSWER = 1 << 16  # bytes; what the gateway says is a few lines
_CERTIFICATES = "the data centre's administrator has to know of this; nothing was sent"

# Problem and remedy by OpenSSL's verification result, openssl-verification-options(1) and x509_vfy.h.
_THEIRS: dict[int, tuple[str, str]] = {
    9: ("its certificate is not valid yet", "set this machine's clock; if that is right, have the certificate made anew"),
    10: ("its certificate has expired", "ask the data centre to renew it, and check this machine's clock"),
    18: ("its certificate is signed by itself and unknown here", "name the certificate of the data centre's authority with --ca"),
    19: ("its certificate comes from an authority that is unknown here", "name the certificate of the data centre's authority with --ca"),
    20: ("its certificate comes from an authority that is unknown here", "name the certificate of the data centre's authority with --ca"),
    21: ("its certificate comes from an authority that is unknown here", "name the certificate of the data centre's authority with --ca"),
    23: ("its certificate was revoked", _CERTIFICATES),
    26: ("its certificate is not made for a server", _CERTIFICATES),
    62: ("its certificate is made out to another host name", "use the name in the certificate in --to, or have it made for this name"),
    64: ("its certificate is not made out to this address", "use the host name in --to, or have a certificate made for the address"),
}

# Problem and remedy by what OpenSSL calls the alert that the server sent, RFC 8446 section 6.2.
_MISSING = ("it wants a client certificate and got none", "name this hospital's certificate and key with --cert and --client-key")
_OURS: dict[str, tuple[str, str]] = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _MISSING,
    "TLSV1_ALERT_UNKNOWN_CA": (
        "it does not know the authority of our client certificate",
        "ask the data centre for a certificate of its own",
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("it refuses our client certificate", "check --cert; ask the data centre whether it was renewed"),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("our client certificate has expired", "have it renewed by the data centre and name it with --cert"),
    "SSLV3_ALERT_CERTIFICATE_REVOKED": ("our client certificate was revoked", "have a new one made by the data centre"),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": ("it refuses our client certificate", "check --cert; ask the data centre whether it was renewed"),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": ("our certificate is not made for a client", "have one made for client authentication"),
    "TLSV1_ALERT_ACCESS_DENIED": ("it does not admit our client certificate", "ask the data centre to admit it"),
    "TLSV1_ALERT_PROTOCOL_VERSION": ("it and we have no version of TLS in common", "have the server speak TLS 1.2 or newer"),
    "UNSUPPORTED_PROTOCOL": ("it and we have no version of TLS in common", "have the server speak TLS 1.2 or newer"),
}
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}


class Fate(Enum):
    """What an answer means for the message."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"  # for ever: the same document would be refused again
    LATER = "later"


@dataclass(frozen=True)
class Answer:
    """What the data centre said to one message.

    `text` is the acknowledgement as it came, `reason` why there is none, `digest` the SHA-256 that was acknowledged, `after`
    the seconds that the data centre asks us to wait.
    """

    fate: Fate
    reason: str = ""
    text: str = ""
    digest: bytes = b""
    after: float | None = None


class Gateway:
    """The data centre's gateway at `url`; a context manager. Connects at the first message and stays connected."""

    def __init__(self, url: str, context: ssl.SSLContext, timeout: float = TIMEOUT, *, has_certificate: bool = True) -> None:
        self._url, (self._host, self._port, self._path) = url, _parts(url)
        self.place = f"https://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"
        self._context, self._timeout, self._has_certificate = context, timeout, has_certificate
        self._connection: http.client.HTTPSConnection | None = None

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def twin(self) -> Gateway:
        """Another connection to the same place, for a thread of its own; not connected yet."""
        return Gateway(self._url, self._context, self._timeout, has_certificate=self._has_certificate)

    def close(self) -> None:
        """Hang up; the next message connects again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def connect(self) -> None:
        """Connect, unless that is done. Raises Unavailable when the data centre cannot be reached or is not what it should be."""
        if self._connection is None:
            try:
                self._connection = self._connected()
            except (OSError, http.client.HTTPException) as error:
                self._give_up(error)

    def post(self, message_id: str, document: bytes) -> Answer:
        """Send one document; sending it twice is harmless, because the gateway knows its message id.

        Raises Unavailable when the data centre cannot be reached or is not what it should be: no message has a chance then.
        """
        fresh = self._connection is None
        try:
            return self._post(message_id, document)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if fresh or isinstance(error, TimeoutError):
                self._give_up(error)
        try:  # the gateway had closed a connection that was idle, or was started anew
            return self._post(message_id, document)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            self._give_up(error)

    def _post(self, message_id: str, document: bytes) -> Answer:
        if self._connection is None:
            self._connection = self._connected()
        headers = {"Content-Type": "application/xml", "X-Message-Id": message_id, "Accept": "application/json"}
        response = _exchanged(self._connection, "POST", self._path + "/visits", document, headers)
        body = response.read(_LARGEST_ANSWER)
        if not response.isclosed():  # more than an answer can be: the rest is not waited for
            self.close()
        return self._understood(response, body, document)

    def _connected(self) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._context)
        try:
            connection.connect()
            # In TLS 1.3 the server judges our certificate after we have finished. Its alert is sure to be read only when little was
            # written before: the first document would end in a connection reset that says nothing.
            _exchanged(connection, "HEAD", self._path + "/health", b"", {}).read()
        except BaseException:
            connection.close()
            raise
        return connection

    def _understood(self, response: http.client.HTTPResponse, body: bytes, document: bytes) -> Answer:
        status = response.status
        if status in (200, 201):
            return _acknowledgement(body, document)
        reason = f"{status} {response.reason}".strip() + _told(body)
        if status in (408, 425, 429) or status >= 500:
            return Answer(Fate.LATER, reason, after=_seconds(response.getheader("Retry-After")))
        if status in (401, 403, 404, 405, 407, 421, 426) or status < 400:  # says nothing about the document
            self.close()
            remedy = "correct --to" if status in (404, 405, 421) or status < 400 else "ask the data centre to admit this client certificate"
            raise Unavailable(self.place, f"does not take visits from us: {reason}", remedy)
        return Answer(Fate.REFUSED, reason)

    def _give_up(self, error: Exception) -> NoReturn:
        problem, remedy = self._explained(error)
        raise Unavailable(self.place, problem, remedy) from error

    def _explained(self, error: Exception) -> tuple[str, str]:
        """Problem and remedy, for each way a connection can fail."""
        if isinstance(error, ssl.SSLCertVerificationError):
            known = _THEIRS.get(error.verify_code)
            return known or (f"its certificate is not trusted: {error.verify_message}", "name the data centre's authority with --ca")
        if isinstance(error, ssl.SSLError):
            reason = error.reason or ""
            if reason in _NO_TLS:
                return "answers without TLS", "it is a plain HTTP server: correct host and port in --to, or start the gateway with TLS"
            if reason in _OURS:
                return _OURS[reason]
            if reason.endswith("ALERT_HANDSHAKE_FAILURE"):  # how TLS 1.2 says it, among other things
                return ("it and we have no cipher in common", "update OpenSSL on both sides") if self._has_certificate else _MISSING
            if not isinstance(error, ssl.SSLEOFError):
                return f"TLS failed: {reason or error}", "check the certificates on both sides"
        if isinstance(error, TimeoutError):
            return f"said nothing for {self._timeout:g} seconds", "it is down or overloaded; what waits is sent by the next run"
        if isinstance(error, socket.gaierror):
            return f"its name cannot be resolved: {error.strerror}", "correct --to, or repair the name service"
        if isinstance(error, ConnectionRefusedError):
            return "nothing listens there", "start the gateway, or correct --to"
        if isinstance(error, http.client.BadStatusLine | http.client.IncompleteRead | ConnectionError | ssl.SSLEOFError):
            return "hung up before it answered", "look into the gateway's log; what waits is sent by the next run"
        if isinstance(error, http.client.HTTPException):
            return "does not speak HTTP as it should", "correct host and port in --to"
        return (error.strerror if isinstance(error, OSError) else None) or str(
            error
        ), "check the network; what waits is sent by the next run"


def tls_context(cert: str | None, key: str | None, ca: str | None) -> ssl.SSLContext:
    """How we show who we are and whom we believe: PEM files of our certificate, its private key (by default in the same file) and the
    data centre's authorities (by default the system's).

    Raises NoInput, BadData for files that cannot be read or used, NotPermitted for a private key that others can read.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # no other authority than this one
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        trust(context, ca, "the data centre's")
    if cert is None:
        if key is not None:
            raise UsageError("--client-key", "belongs to a certificate", "name that with --cert")
        return context
    show(context, cert, key)
    return context


def _parts(url: str) -> tuple[str, int, str]:
    remedy = "give https://HOST:PORT"
    try:
        parsed = urlsplit(url)
        port = parsed.port
    except ValueError as error:
        raise UsageError("--to", f"{url!r} is no URL", remedy) from error
    if parsed.scheme == "http":
        raise UsageError("--to", "http:// would send visits unencrypted", remedy)
    if parsed.scheme != "https" or not parsed.hostname:
        raise UsageError("--to", f"{url!r} is no address of a gateway", remedy)
    if parsed.username is not None or parsed.password is not None or parsed.query or parsed.fragment:
        raise UsageError("--to", "takes a host, a port and a path, no more", remedy)
    return parsed.hostname, 443 if port is None else port, parsed.path.rstrip("/")


def _exchanged(
    connection: http.client.HTTPSConnection, method: str, path: str, body: bytes, headers: dict[str, str]
) -> http.client.HTTPResponse:
    """Send a request and read the head of its answer.

    Where the server hung up while we still wrote, what it said before is waited for: an alert of TLS, or an early refusal. Only where it
    said nothing is the failure that of writing.
    """
    try:
        connection.request(method, path, body or None, headers)
    except (ConnectionError, ssl.SSLEOFError) as error:
        try:
            return connection.getresponse()
        except ssl.SSLEOFError:
            raise error from None
        except ssl.SSLError:  # the alert
            raise
        except (OSError, http.client.HTTPException):
            raise error from None
    return connection.getresponse()


def _acknowledgement(body: bytes, document: bytes) -> Answer:
    """Only what names this very content, in which the visit's id stands, counts: anything else is tried again.

    The message id may be another one: that under which the same content came first.
    """
    expected = sha256(document)
    try:
        same = json.loads(body)["digest"] == f"sha256:{expected.hexdigest()}"
    except (ValueError, KeyError, TypeError):
        return Answer(Fate.LATER, "the answer is no acknowledgement")
    if not same:
        return Answer(Fate.LATER, "the answer acknowledges something else")
    return Answer(Fate.ACKNOWLEDGED, text=body.decode(), digest=expected.digest())


def _told(body: bytes) -> str:
    """The gateway's own words, cut to a line: ``{"error": ...}`` or ``{"detail": ...}``, or nothing."""
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    words = next((said[name] for name in ("error", "detail", "reason") if name in said), "") if isinstance(said, dict) else ""
    line = " ".join(str(words).split())
    return f": {line[:300]}" if line else ""


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After, seconds or an HTTP date (RFC 9110, 10.2.3); None when there is none that makes sense."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
