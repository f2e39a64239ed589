"""Where the original values of an anonymised object come from: the vault, the object's own encrypted attributes, or a side file of PADI."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Protocol

from toolkit.core.errors import BadData, NotPermitted, ToolError
from toolkit.hospital.dicom.encoding.elements import meta_information
from toolkit.hospital.dicom.encoding.part10 import Part10
from toolkit.hospital.dicom.encoding.patch import restore
from toolkit.hospital.dicom.encoding.transcoding import Bytes, Encoding, FileBytes, elements, read_head
from toolkit.hospital.dicom.restoring import padi
from toolkit.hospital.dicom.restoring.encrypted_attributes import WrongKey, decrypt_attributes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from toolkit.hospital.dicom.restoring.vault import Vault, VaultEntry

CHARACTER_SET, SOP_CLASS, SOP_INSTANCE = 0x00080005, 0x00080016, 0x00080018
PATIENT_ID, STUDY, SERIES = 0x00100020, 0x0020000D, 0x0020000E
_METHOD_CODES, _BURNED_IN, _ENCRYPTED = 0x00120064, 0x00280301, 0x04000500
_MARKS = frozenset((0x00120062, 0x00120063, _METHOD_CODES, 0x00280303, _ENCRYPTED))
_PIXELS_CLEANED = b"113101"  # CID 7050: whoever did that wrote (0028,0301) anew


class Original(Protocol):
    """What one anonymised object was, as long as that is open."""

    @property
    def patient(self) -> str:
        """The original patient id."""

    def write_to(self, out: BinaryIO) -> None:
        """Write the original file. Raises ToolError; what was written until then is worthless."""


class Originals(Protocol):
    """One of the ways back."""

    def find(self, source: Part10, path: str) -> Original:
        """The original of the anonymised object `source`, whose name is `path`. Raises ToolError when this way does not lead to it."""


class FromVault:
    """The originals in the hospital's vault, found by the anonymised SOPInstanceUID."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def find(self, source: Part10, path: str) -> Original:
        instance = instance_uid(source, path)
        entry = self._vault.get(instance) if instance else None
        if entry is None:
            raise ToolError(path, "the vault does not know this object", "name the vault that it was anonymised with")
        return _Patched(source, path, entry)


class FromEnvelope:
    """The originals in the object itself, encrypted for the owner of a private key (PS3.15 E.1.2)."""

    def __init__(self, private_key: RSAPrivateKey) -> None:
        self._private_key = private_key

    def find(self, source: Part10, path: str) -> Original:
        value = values(source, path, frozenset((_ENCRYPTED,))).get(_ENCRYPTED)
        if not value:
            raise ToolError(path, "it has no encrypted attributes", "restore it from the vault")
        try:
            return _Merged(source, path, decrypt_attributes(value, self._private_key, source.implicit, source.big_endian))
        except WrongKey as error:
            raise NotPermitted(path, str(error), "name the private key of a recipient") from error
        except ValueError as error:
            raise BadData(path, str(error), "fetch the object as it was sent") from error


class FromSideFiles:
    """The originals in side files of the predecessor, in a directory or one of them by its name."""

    def __init__(self, place: str) -> None:
        self._place = place

    def find(self, source: Part10, path: str) -> Original:
        place = padi.side_file(self._place, path, instance_uid(source, path))
        if place is None:
            raise ToolError(path, f"there is no side file for it in {self._place}", "name the directory of the side files")
        character_set = values(source, path, frozenset((CHARACTER_SET,))).get(CHARACTER_SET, b"")
        data, encoding = _readable(source), Encoding(source.implicit, source.big_endian)
        try:
            with open(place, "rb") as stream:
                side = padi.read_side_file(stream.read())
            heads = [read_head(data, start, encoding) for tag, start, _ in top_level(source) if tag in side]
            vrs = {head.tag: head.vr.decode("latin-1") for head in heads if head.vr}
            return _Merged(source, path, padi.encode_values(side, character_set, vrs, source.implicit, source.big_endian))
        except OSError as error:
            raise BadData(place, error.strerror or str(error), "give the right to read it") from error
        except ValueError as error:
            raise BadData(place, str(error), "look at the side file") from error


class _Patched:
    """An original that the vault's patch makes of the object."""

    def __init__(self, source: Part10, path: str, entry: VaultEntry) -> None:
        self._source, self._path, self._entry = source, path, entry
        self.patient = entry.patient

    def write_to(self, out: BinaryIO) -> None:
        if digest(self._source) != self._entry.digest:
            raise ToolError(self._path, "it was changed since it was anonymised", "fetch the object as it was sent")
        try:
            restore(self._source, self._entry.patch, out)
        except ValueError as error:
            raise BadData(self._path, str(error), "restore the vault from its backup") from error


class _Merged:
    """The object with encoded `originals` in the places of what replaced them, and without the marks of de-identification."""

    def __init__(self, source: Part10, path: str, originals: bytes) -> None:
        """Raises ValueError when the elements of either are broken."""
        self._source, encoding = source, Encoding(source.implicit, source.big_endian)
        originals_own = {tag: originals[start:end] for tag, start, end in elements(originals, encoding)}
        self._pieces = list(_merged(source, originals_own))
        own = values(source, path, frozenset((SOP_CLASS, SOP_INSTANCE, PATIENT_ID)))
        own |= {tag: raw[read_head(raw, 0, encoding).value :] for tag, raw in originals_own.items()}
        sop_class, instance = (own.get(tag, b"").strip(b"\0 ") for tag in (SOP_CLASS, SOP_INSTANCE))
        self._header = meta_information(sop_class, instance, source.transfer_syntax)
        self.patient = text(own.get(PATIENT_ID, b""))

    def write_to(self, out: BinaryIO) -> None:
        out.write(self._header)
        press = zlib.compressobj(wbits=-zlib.MAX_WBITS) if self._source.deflated else None
        size = 0
        for piece in self._pieces:
            for part in [piece] if isinstance(piece, bytes) else self._source.chunks(*piece):
                size += out.write(press.compress(part) if press else part)
        if press:
            size += out.write(press.flush())
            out.write(b"\0" * (size % 2))  # PS3.5 A.5


def _merged(source: Part10, originals: dict[int, bytes]) -> Iterator[bytes | tuple[int, int]]:
    """The restored data set: bytes of the originals, and spans of the source's data."""
    order = sorted(originals, reverse=True)
    dropped = _MARKS
    for tag, start, end in top_level(source):
        if tag == _METHOD_CODES and _PIXELS_CLEANED in source.data[start:end]:
            dropped |= {_BURNED_IN}
        while order and order[-1] <= tag:
            yield originals[order.pop()]
        if tag not in originals and tag not in dropped:
            yield start, end
    while order:
        yield originals[order.pop()]


def digest(source: Part10) -> bytes:
    """SHA-256 of the data set as encoded, inflated; not of the file's header, which a PACS writes anew."""
    sha = hashlib.sha256()
    for piece in source.chunks(source.start, source.end):
        sha.update(piece)
    return sha.digest()


def top_level(source: Part10) -> Iterator[tuple[int, int, int]]:
    """(tag, start, end) of the elements of the top level, offsets into the source's data. Raises ValueError where they are broken."""
    return elements(_readable(source), Encoding(source.implicit, source.big_endian), source.start, source.end)


def values(source: Part10, path: str, wanted: frozenset[int]) -> dict[int, bytes]:
    """The encoded values of the `wanted` top-level attributes that the object has. Raises BadData when it is broken before their last."""
    data, encoding, found = _readable(source), Encoding(source.implicit, source.big_endian), {}
    last = max(wanted)
    try:
        for tag, start, end in top_level(source):
            if tag in wanted:
                found[tag] = data[read_head(data, start, encoding).value : end]
            if tag >= last:
                break
    except ValueError as error:
        raise BadData(path, str(error), "fetch the object as it was sent") from error
    return found


def text(value: bytes) -> str:
    """An identifier as encoded, as text to compare and to name files with."""
    return value.decode("latin-1").strip("\0 ")


def instance_uid(source: Part10, path: str) -> str:
    """SOPInstanceUID (0008,0018); empty when there is none."""
    return text(values(source, path, frozenset((SOP_INSTANCE,))).get(SOP_INSTANCE, b""))


def uids_of(source: Part10, path: str) -> tuple[str, str, str]:
    """Study, series and instance UID; empty what is missing."""
    found = values(source, path, frozenset((SOP_INSTANCE, STUDY, SERIES)))
    return text(found.get(STUDY, b"")), text(found.get(SERIES, b"")), text(found.get(SOP_INSTANCE, b""))


def _readable(source: Part10) -> Bytes:
    return source.data if source.file is None else FileBytes(source.file, len(source.data))
