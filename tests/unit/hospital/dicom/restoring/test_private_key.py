"""Private keys in the forms that openssl writes, and what is said of other files."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from toolkit.core.errors import BadData, NotPermitted
from toolkit.hospital.dicom.restoring.private_key import needs_passphrase, read_private_key

KEY = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("passphrase", [None, b"open, sesame"])
def test_an_rsa_key(form: PrivateFormat, passphrase: bytes | None) -> None:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    pem = KEY.private_bytes(Encoding.PEM, form, encryption)
    assert needs_passphrase(pem) == (passphrase is not None)
    assert read_private_key(pem, passphrase, "key.pem").private_numbers() == KEY.private_numbers()
    if passphrase:
        for wrong in (None, b"", b"another"):
            with pytest.raises(NotPermitted, match="^key.pem: .*passphrase"):
                read_private_key(pem, wrong, "key.pem")
    else:
        assert read_private_key(pem, b"not needed", "key.pem").key_size == 2048


def test_what_is_no_rsa_key() -> None:
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    empty = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    for data, what in ((other, "RSA"), (b"", "PEM"), (b"text", "PEM"), (empty, "PEM")):
        with pytest.raises(BadData, match=what):
            read_private_key(data, None, "key.pem")
