"""Original attributes within the anonymised object, readable by the holders of certain private keys.

PS3.15 E.1.1 and E.1.2, PS3.3 C.12.1.1.4.1: the Encrypted Attributes Sequence (0400,0500) holds one item; its Encrypted Content is CMS
enveloped data with one RecipientInfo for each certificate: RSA carries a key of AES-256-CBC, which encrypts a data set that holds the
Modified Attributes Sequence (0400,0550). That data set is in Explicit VR Little Endian, whatever the object's transfer syntax is: other
readers know no other.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from toolkit.hospital.dicom.encoding.elements import element, item, padded
from toolkit.hospital.dicom.encoding.transcoding import EXPLICIT_LITTLE, IMPLICIT_LITTLE, Encoding, elements, items, read_head, transcode
from toolkit.hospital.dicom.restoring import cms
from toolkit.hospital.dicom.restoring.cms import WrongKey as WrongKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.x509 import Certificate

_MODIFIED_ATTRIBUTES, _TRANSFER_SYNTAX, _CONTENT = 0x04000550, 0x04000510, 0x04000520
_SYNTAXES = {
    "1.2.840.10008.1.2": IMPLICIT_LITTLE,
    "1.2.840.10008.1.2.1": EXPLICIT_LITTLE,
    "1.2.840.10008.1.2.2": Encoding(implicit=False, big_endian=True),
}


def encrypted_attributes(original_elements: bytes, recipients: list[bytes], implicit: bool = False, big_endian: bool = False) -> bytes:
    """The value of the Encrypted Attributes Sequence (0400,0500): one item, in the object's encoding.

    `original_elements`: whole encoded elements in the order of their tags, as they stand in the original object. `recipients`: PEM
    certificates with RSA keys, at least one. Raises ValueError when a certificate cannot be used or the elements are broken.
    """
    if not recipients:
        raise ValueError("encrypted attributes need at least one recipient")
    originals = transcode(original_elements, Encoding(implicit, big_endian), EXPLICIT_LITTLE)
    content = element(_MODIFIED_ATTRIBUTES, "SQ", item(originals, False), False, False)
    sealed = padded(cms.envelop(content, [recipient(pem) for pem in recipients]), "OB")
    syntax = element(_TRANSFER_SYNTAX, "UI", b"1.2.840.10008.1.2.1\0", implicit, big_endian)
    return item(syntax + element(_CONTENT, "OB", sealed, implicit, big_endian), big_endian)


@lru_cache(maxsize=16)
def recipient(pem: bytes) -> Certificate:
    """The certificate in `pem`. Raises ValueError when there is none or its key is not RSA, which PS3.15 E.1.1 asks for."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise ValueError("is not a certificate in PEM form") from None
    if not isinstance(certificate.public_key(), RSAPublicKey):
        raise ValueError("the certificate's key is not RSA")
    return certificate


def decrypt_attributes(sequence_value: bytes, private_key: RSAPrivateKey, implicit: bool = False, big_endian: bool = False) -> bytes:
    """The original elements, in the object's encoding, that the value of an Encrypted Attributes Sequence (0400,0500) holds.

    Raises WrongKey when `private_key` opens none of its items, ValueError when what it holds is broken.
    """
    encoding = Encoding(implicit, big_endian)
    opened = []
    for start, end in items(sequence_value, 0, len(sequence_value), encoding):
        found = elements(sequence_value, encoding, start, end)
        spans = {tag: slice(read_head(sequence_value, at, encoding).value, stop) for tag, at, stop in found}
        if _TRANSFER_SYNTAX not in spans or _CONTENT not in spans:
            raise ValueError("the encrypted attributes lack their content or its transfer syntax")
        syntax = sequence_value[spans[_TRANSFER_SYNTAX]].rstrip(b"\0 ").decode("latin-1")
        if syntax not in _SYNTAXES:
            raise ValueError(f"the encrypted attributes are in transfer syntax {syntax!a}")
        try:
            content = cms.open_envelope(sequence_value[spans[_CONTENT]], private_key)
        except WrongKey:
            continue  # an item for another recipient
        opened.append(transcode(_modified(content, _SYNTAXES[syntax]), _SYNTAXES[syntax], encoding))
    if not opened:
        raise WrongKey("the attributes are encrypted for other recipients")
    return b"".join(opened)


def _modified(data: bytes, encoding: Encoding) -> bytes:
    """The elements of the single item of the Modified Attributes Sequence."""
    for tag, start, end in elements(data, encoding):
        if tag == _MODIFIED_ATTRIBUTES:
            return b"".join(data[begin:stop] for begin, stop in items(data, read_head(data, start, encoding).value, end, encoding))
    raise ValueError("the encrypted attributes lack the Modified Attributes Sequence")
