"""The gateway's side of TLS: mutual, 1.2 or newer (BCP 195), and what went wrong in words.

asyncio and uvloop close a connection whose handshake failed without sending the alert that tells the client why (RFC 8446,
section 6): what OpenSSL wanted to say is therefore kept with the error, for whoever has the socket to send.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import Any

from toolkit.core.tls import mutual

# Reason in metrics, words for the log.
_PLAIN = "plain HTTP", "speaks HTTP without TLS; give it https:// in the URL"
_REASONS = {
    "HTTP_REQUEST": _PLAIN,
    "HTTPS_PROXY_REQUEST": _PLAIN,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": ("no certificate", "shows no certificate; give it one of its own and its key"),
    "UNSUPPORTED_PROTOCOL": ("old TLS", "speaks a TLS older than 1.2; update it"),
    "NO_SHARED_CIPHER": ("no cipher", "has no cipher in common with us; update it"),
    "TLSV1_ALERT_UNKNOWN_CA": ("not trusted", "does not know the authority of our certificate; give it the right one"),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("not trusted", "refuses our certificate; look at its host name and its authority"),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("not trusted", "says that our certificate has expired; renew it, or set the client's clock"),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": ("not trusted", "refuses our certificate; look at its host name and its authority"),
    "WRONG_VERSION_NUMBER": ("no TLS", "does not speak TLS"),
}


class _Handshake(ssl.SSLObject):
    """Keeps what OpenSSL wanted to send when a handshake fails."""

    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            error.alert = self.outgoing.read()  # type: ignore[attr-defined]
            raise


class ServerContext(ssl.SSLContext):
    """An SSLContext whose handshakes keep their alert; `ends` is when our certificate does."""

    sslobject_class = _Handshake
    ends: datetime

    def days_left(self) -> int:
        """Whole days until our certificate ends; below 0 when it has ended."""
        return (self.ends - datetime.now(UTC)).days

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *words: Any, **more: Any) -> ssl.SSLObject:
        made = super().wrap_bio(incoming, outgoing, *words, **more)
        made.outgoing = outgoing  # type: ignore[attr-defined]
        return made


def server_context(cert: str, key: str, client_ca: str) -> ServerContext:
    """How we show who we are and whom we let in, from PEM files: our certificate with those above it, its key, the authority of the
    clients' certificates, and its lists of revoked ones (CRL) where the file holds some.

    Raises NoInput, BadData for files that cannot be read or used, NotPermitted for a private key that others can read.
    """
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0  # each connection shows its certificate anew: one that expired meanwhile does not slip in
    context.verify_mode = ssl.CERT_REQUIRED
    mutual(context, cert, key, client_ca, "the clients'")
    context.ends = _end_of(cert)
    with open(client_ca, "rb") as stream:
        if b"-----BEGIN X509 CRL-----" in stream.read():
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def explained(error: Exception) -> tuple[str, str]:
    """Why a handshake failed: a short reason of few kinds, and words that follow the client's address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate", f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason in _REASONS:
        return _REASONS[error.reason]
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return "TLS", f"TLS failed: {(error.reason or 'unknown').lower().replace('_', ' ')}"
    if isinstance(error, TimeoutError):
        return "silence", "connected and said nothing"
    return "hung up", "hung up before TLS was agreed on"


def subject(certificate: dict[str, Any] | None) -> str:
    """The subject of a certificate as `getpeercert` gives it: ``organizationName=...,commonName=...``."""
    return ",".join(f"{name}={value}" for part in (certificate or {}).get("subject", ()) for name, value in part)


def _end_of(cert: str) -> datetime:
    from cryptography import x509

    with open(cert, "rb") as stream:
        return x509.load_pem_x509_certificate(stream.read()).not_valid_after_utc
