"""DICOM over TLS, both sides: contexts, the socket's options, and handshakes that fail, in words.

TLS 1.2 or newer with forward secrecy and AEAD (PS3.15 B.12, BCP 195 profile; RFC 9325). pynetdicom leaves Nagle's algorithm on: a message
of several small PDUs then waits up to 40 ms for the peer's delayed acknowledgement, which is what keeps usual tools at 20 files a second.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl

from toolkit.core.tls import mutual

_WHOSE = "the other side's"

# Problem and remedy by OpenSSL's verification result, x509_vfy.h.
_VERIFIED: dict[int, tuple[str, str]] = {
    9: ("its certificate is not valid yet", "set this machine's clock; if that is right, have the certificate made anew"),
    10: ("its certificate has expired", "have it renewed, and check this machine's clock"),
    18: ("its certificate is signed by itself and unknown here", "name the certificate of the authority that it should come from"),
    19: ("its certificate comes from an authority that is unknown here", "name the certificate of its authority"),
    20: ("its certificate comes from an authority that is unknown here", "name the certificate of its authority"),
    21: ("its certificate comes from an authority that is unknown here", "name the certificate of its authority"),
    23: ("its certificate was revoked", "have a new one made, and find out why"),
    26: ("its certificate is made for another purpose", "have one made for a server or a client, whichever it is"),
    62: ("its certificate is made out to another host name", "connect to the name in the certificate, or have it made for this name"),
    64: ("its certificate is not made out to this address", "connect to the host name, or have a certificate made for the address"),
}

# Problem and remedy by OpenSSL's reason; alerts are what the other side says of us, RFC 8446, section 6.2.
_PLAIN = ("it does not speak TLS", "turn TLS on over there, or connect to its TLS port")
_NO_CERTIFICATE = ("a client certificate is wanted and none was shown", "give the client a certificate and its key")
_REASONS: dict[str, tuple[str, str]] = {
    "WRONG_VERSION_NUMBER": _PLAIN,
    "RECORD_LAYER_FAILURE": _PLAIN,
    "PACKET_LENGTH_TOO_LONG": _PLAIN,
    "UNKNOWN_PROTOCOL": _PLAIN,
    "HTTP_REQUEST": ("it speaks HTTP", "this port is for DICOM"),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": _NO_CERTIFICATE,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _NO_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": ("it does not know the authority of our certificate", "give it the authority's certificate"),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("it refuses our certificate", "check host name and authority of our certificate"),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": ("it refuses our certificate", "check host name and authority of our certificate"),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("it says that our certificate has expired", "renew our certificate, and check the clocks"),
    "SSLV3_ALERT_CERTIFICATE_REVOKED": ("it says that our certificate was revoked", "have a new one made"),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": ("our certificate is made for another purpose", "have one made for this side"),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": ("it and we have no cipher in common, or it wants a certificate", "update it, or name a certificate"),
    "TLSV1_ALERT_ACCESS_DENIED": ("it does not admit our certificate", "have it admitted over there"),
    "TLSV1_ALERT_PROTOCOL_VERSION": ("it and we have no version of TLS in common", "have it speak TLS 1.2 or newer"),
    "UNSUPPORTED_PROTOCOL": ("it and we have no version of TLS in common", "have it speak TLS 1.2 or newer"),
    "NO_SHARED_CIPHER": ("it has no cipher in common with us", "update it"),
}


def server_context(cert: str, key: str, client_ca: str) -> ssl.SSLContext:
    """How a receiver shows who it is and whom it lets in, from PEM files: our certificate with those above it, its key, the authority of
    the clients' certificates, which every client has to show.

    Raises NoInput, BadData for files that cannot be read or used, NotPermitted for a private key that others can read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # each connection shows its certificate anew
    mutual(context, cert, key, client_ca, _WHOSE)
    return context


def client_context(cert: str, key: str, ca: str) -> ssl.SSLContext:
    """How a sender shows who it is and whom it trusts, from PEM files; the server's name is checked (RFC 9525), no other authority counts.

    Raises what `server_context` raises.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    mutual(context, cert, key, ca, _WHOSE)
    return context


def no_delay(association_socket: socket.socket) -> None:
    """Send small PDUs at once, and notice a peer whose machine is gone."""
    association_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    association_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def is_title(text: str) -> bool:
    """Whether it can be an application entity title (PS3.5, 6.2, AE)."""
    return 0 < len(text) <= 16 and text.isascii() and text.isprintable() and text.strip() == text and "\\" not in text


def is_loopback(host: str) -> bool:
    """Whether `host` means this machine, as it is written."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def tls_failure(error: BaseException) -> tuple[str, str]:
    """Problem and remedy of a handshake that failed; "it" is the other side."""
    if isinstance(error, ssl.SSLCertVerificationError):
        unknown = f"its certificate is not accepted: {error.verify_message}", "have a proper one made"
        return _VERIFIED.get(error.verify_code, unknown)
    if isinstance(error, (ssl.SSLEOFError, ConnectionError)):
        return "it hung up before TLS was agreed on", "it may speak plain DICOM, or refuse our certificate: look into its log"
    if isinstance(error, ssl.SSLError):
        words = (error.reason or "no reason given").lower().replace("_", " ")
        return _REASONS.get(error.reason or "", (f"TLS failed: {words}", "look into the other side's log"))
    if isinstance(error, TimeoutError):
        return "it connected and TLS was not agreed on in time", "it may speak plain DICOM and wait for us, or be overloaded"
    return f"the connection failed: {error}", "try again"
