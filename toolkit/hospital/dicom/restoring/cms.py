"""CMS enveloped data (RFC 5652 section 6): one content, encrypted for the holders of several RSA keys.

It is written by `cryptography`. What others write is read here, because that package reads only AES-128 and AES-256 and wants the
recipient's certificate, and PS3.15 E.1.2 asks a re-identifier for all key lengths of AES and for Triple-DES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.x509 import Certificate


class WrongKey(ValueError):
    """The private key is not a recipient's."""


def envelop(content: bytes, recipients: list[Certificate]) -> bytes:
    """`content` under AES-256-CBC, its key under RSA (PKCS #1 v1.5, as PS3.15 E.1.1 says) for each of `recipients`; DER."""
    from cryptography.hazmat.primitives.ciphers.algorithms import AES256
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7EnvelopeBuilder, PKCS7Options

    builder = PKCS7EnvelopeBuilder().set_data(content).set_content_encryption_algorithm(AES256)
    for certificate in recipients:
        builder = builder.add_recipient(certificate)
    return builder.encrypt(Encoding.DER, [PKCS7Options.Binary])


def open_envelope(message: bytes, private_key: RSAPrivateKey) -> bytes:
    """The content of enveloped data, DER or BER, that may be followed by padding.

    Raises WrongKey when `private_key` opens no RecipientInfo, ValueError when the message is broken or of a kind that DICOM does not use.
    """
    try:
        kind, sealed, cipher, vector, content = _parts(message)
    except (ValueError, IndexError, StopIteration, RecursionError) as error:
        raise ValueError("the encrypted content is damaged") from error
    if kind != _ENVELOPED_DATA:
        raise ValueError("the encrypted content is not CMS enveloped data")
    if cipher not in _CIPHERS:
        raise ValueError("the encrypted content is neither under AES nor under Triple-DES")
    for key in _keys(sealed, private_key, _CIPHERS[cipher][1]):
        opened = _decrypt(content, _CIPHERS[cipher][0](), key, vector)
        if opened is not None:
            return opened
    raise WrongKey("the content is encrypted for other recipients")


def _parts(message: bytes) -> tuple[bytes, list[bytes], bytes, bytes, bytes]:
    """The kind of message, the encrypted keys, the cipher, its initialisation vector and the encrypted content (RFC 5652 6.1)."""
    kind, wrapped = _read(message, 0)[0].children()[:2]
    fields = wrapped.children()[0].children()
    recipients = next(node for node in fields if node.tag == _SET)
    _, algorithm, encrypted = fields[fields.index(recipients) + 1].children()
    cipher, vector = algorithm.children()[:2]
    # Other kinds of RecipientInfo have context-specific tags.
    sealed = [node.children()[3].octets() for node in recipients.children() if node.tag == _SEQUENCE]
    return kind.content, sealed, cipher.content, vector.content, encrypted.octets()


def _keys(sealed: list[bytes], private_key: RSAPrivateKey, length: int) -> Iterator[bytes]:
    """The content keys that `private_key` finds; for a stranger's RecipientInfo these may be random bytes (implicit rejection)."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    for value in sealed:
        try:
            key = private_key.decrypt(value, PKCS1v15())
        except ValueError:
            continue
        if len(key) == length:
            yield key


def _decrypt(content: bytes, algorithm: Callable[[bytes], Any], key: bytes, vector: bytes) -> bytes | None:
    """The plain content, None when its padding shows that the key is another."""
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.modes import CBC
    from cryptography.hazmat.primitives.padding import PKCS7

    try:
        cipher = Cipher(algorithm(key), CBC(vector)).decryptor()
        plain = cipher.update(content) + cipher.finalize()
        unpadder = PKCS7(len(vector) * 8).unpadder()
        return unpadder.update(plain) + unpadder.finalize()
    except ValueError:
        return None


def _aes() -> Callable[[bytes], Any]:
    from cryptography.hazmat.primitives.ciphers.algorithms import AES

    return AES


def _triple_des() -> Callable[[bytes], Any]:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

    return TripleDES


_SEQUENCE, _SET = 0x30, 0x31
_ENVELOPED_DATA = bytes.fromhex("2a864886f70d010703")  # 1.2.840.113549.1.7.3
_CIPHERS = {  # object identifier: algorithm, bytes of its key (RFC 3565, RFC 3370)
    bytes.fromhex("608648016503040102"): (_aes, 16),
    bytes.fromhex("608648016503040116"): (_aes, 24),
    bytes.fromhex("60864801650304012a"): (_aes, 32),
    bytes.fromhex("2a864886f70d0307"): (_triple_des, 24),
}


class _Node(NamedTuple):
    """One value of ASN.1 in BER (X.690): its identifier and its content."""

    tag: int
    content: bytes

    def children(self) -> list[_Node]:
        found, position = [], 0
        while position < len(self.content):
            node, position = _read(self.content, position)
            found.append(node)
        return found

    def octets(self) -> bytes:
        """The bytes of an octet string, which BER may cut into pieces."""
        return b"".join(child.octets() for child in self.children()) if self.tag & 0x20 else self.content


def _read(data: bytes, position: int) -> tuple[_Node, int]:
    """The value at `position`, and the offset behind it. Raises ValueError, IndexError when there is none."""
    tag, length = data[position], data[position + 1]
    position += 2
    if length == 0x80:  # indefinite: up to two zero bytes
        start = position
        while data[position] or data[position + 1]:
            position = _read(data, position)[1]
        return _Node(tag, data[start:position]), position + 2
    if length > 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[position : position + count], "big")
        position += count
    if position + length > len(data) or tag & 0x1F == 0x1F:
        raise ValueError("the encrypted content is damaged")
    return _Node(tag, data[position : position + length]), position + length
