"""The private key of a recipient of encrypted attributes, in PEM form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.core.errors import BadData, NotPermitted

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


def needs_passphrase(pem: bytes) -> bool:
    """Whether the key in `pem` is encrypted (PKCS #8 or the older form of OpenSSL)."""
    return b"ENCRYPTED" in pem


def read_private_key(pem: bytes, passphrase: bytes | None, place: str) -> RSAPrivateKey:
    """The RSA key in `pem`; `place` names it in errors.

    Raises BadData when it is no RSA key, NotPermitted when the passphrase is wrong or missing.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    encrypted = needs_passphrase(pem)
    if encrypted and not passphrase:
        raise NotPermitted(place, "needs a passphrase", "give it in a file or at the terminal")
    try:
        key = load_pem_private_key(pem, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted and b"PRIVATE KEY" in pem:
            raise NotPermitted(place, "does not open with this passphrase", "give the right one") from error
        raise BadData(place, "is not a private key in PEM form", "convert it: openssl pkey") from error
    if not isinstance(key, RSAPrivateKey):
        raise BadData(place, "is not an RSA key", "name the key of an RSA certificate")
    return key
