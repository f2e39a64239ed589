"""What all ends of mutual TLS have in common: PEM files put into a context, and one line of what is wrong with them."""

from __future__ import annotations

import os
import ssl
import stat
from typing import NoReturn

from toolkit.core.errors import BadData, NoInput, NotPermitted

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: forward secrecy and AEAD, RFC 9325, 4.2; those of 1.3 are all good


def mutual(context: ssl.SSLContext, cert: str, key: str, ca: str, whose: str) -> None:
    """Have `context` show our certificate, and believe the authority of `whose` certificates alone; TLS 1.2 or newer (BCP 195).

    Raises NoInput, BadData for files that cannot be read or used, NotPermitted for a private key that others can read.
    """
    must_be_readable(cert, key, ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    show(context, cert, key)
    trust(context, ca, whose)


def show(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    """Have `context` show our certificate; its private key is in the same file where `key` is None. Raises as `mutual`."""
    secret = key or cert
    must_be_readable(cert, secret)
    if stat.S_IMODE(os.stat(secret).st_mode) & 0o077:
        raise NotPermitted(secret, "other users have access to this private key", f"chmod 600 {secret}")

    def encrypted() -> NoReturn:
        raise BadData(secret, "is encrypted with a passphrase, and nobody is there to type it", "name an unencrypted key with mode 0600")

    try:
        context.load_cert_chain(cert, key, encrypted)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BadData(secret, f"is not the key of {cert}", "name certificate and key that belong together") from error
        raise BadData(f"{cert} and {key}" if key else cert, "hold no certificate and private key in PEM", "name them in PEM") from error


def trust(context: ssl.SSLContext, ca: str, whose: str) -> None:
    """Have `context` believe the authority of `whose` certificates. Raises NoInput, BadData."""
    must_be_readable(ca)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise BadData(ca, "holds no certificate in PEM", f"name the certificate of {whose} authority") from error


def must_be_readable(*paths: str) -> None:
    """Raises NoInput for the first that is not."""
    for path in paths:
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise NoInput(path, error.strerror or str(error), "name a file that exists and can be read") from error
