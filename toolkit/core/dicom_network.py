"""DICOM over TLS, both sides: contexts, the socket's options, and handshakes that fail, in words.

TLS 1.2 or newer with forward secrecy and AEAD (PS3.15 B.12, BCP 195 profile; RFC 9325). pynetdicom leaves Nagle's algorithm on: a message
of several small PDUs then waits up to 40 ms for the peer's delayed acknowledgement, which is what keeps usual tools at 20 files a second.
"""

from __future__ import annotations

import os
import socket
import ssl
import stat
from typing import NoReturn

from toolkit.core.errors import BadData, NoInput, NotPermitted

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of 1.3 are all good

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
    return _filled(context, cert, key, client_ca)


def client_context(cert: str, key: str, ca: str) -> ssl.SSLContext:
    """How a sender shows who it is and whom it trusts, from PEM files; the server's name is checked (RFC 9525), no other authority counts.

    Raises what `server_context` raises.
    """
    return _filled(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), cert, key, ca)


def no_delay(association_socket: socket.socket) -> None:
    """Send small PDUs at once, and notice a peer whose machine is gone."""
    association_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    association_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def tls_failure(error: BaseException, who: str) -> tuple[str, str]:
    """Problem and remedy of a handshake that failed; `who` is the other side, as it should be called (``the client``)."""
    problem, remedy = _told(error)
    return f"{who}: {problem}", remedy


def _told(error: BaseException) -> tuple[str, str]:
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


def _filled(context: ssl.SSLContext, cert: str, key: str, ca: str) -> ssl.SSLContext:
    for path in (cert, key, ca):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise NoInput(path, error.strerror or str(error), "name a file that exists and can be read") from error
    if stat.S_IMODE(os.stat(key).st_mode) & 0o077:
        raise NotPermitted(key, "other users have access to this private key", f"chmod 600 {key}")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION

    def encrypted() -> NoReturn:
        raise BadData(key, "is encrypted with a passphrase, and nobody is there to type it", "name an unencrypted key with mode 0600")

    try:
        context.load_cert_chain(cert, key, encrypted)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BadData(key, f"is not the key of {cert}", "name certificate and key that belong together") from error
        raise BadData(f"{cert} and {key}", "hold no certificate and private key in PEM", "name them in PEM") from error
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise BadData(ca, "holds no certificate in PEM", "name the certificate of the other side's authority") from error
    return context
