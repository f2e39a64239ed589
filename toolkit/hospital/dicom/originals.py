"""Where the original values of an anonymised object come from: the vault, the object's own encrypted attributes, or a side file of PADI."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Protocol

from toolkit.core.errors import BadData, NotPermitted, ToolError
from toolkit.hospital.dicom import padi
from toolkit.hospital.dicom.elements import meta_information
from toolkit.hospital.dicom.encrypted_attributes import WrongKey, decrypt_attributes
from toolkit.hospital.dicom.part10 import Part10
from toolkit.hospital.dicom.patch import restore
from toolkit.hospital.dicom.transcoding import Bytes, Encoding, FileBytes, elements, read_head

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from toolkit.hospital.dicom.vault import Vault, VaultEntry

CHARACTER_SET, SOP_CLASS, SOP_INSTANCE = 0x00080005, 0x00080016, 0x00080018
PATIENT_ID, STUDY, SERIES = 0x00100020, 0x0020000D, 0x0020000E
_METHOD_CODES, _BURNED_IN, _ENCRYPTED = 0x00120064, 0x00280301, 0x04000500
_MARKS = frozenset((0x00120062, 0x00120063, _METHOD_CODES, 0x00280303, _ENCRYPTED))
_PIXELS_CLEANED = b"113101"  # CID 7050: whoever did that wrote (0028,0301) anew


class Originals(Protocol):
    """One of the ways back. `source` is an anonymised object, `path` the name that it was given by."""

    def patient(self, source: Part10, path: str) -> str:
        """The original patient id. Raises ToolError when the object cannot be restored this way."""

    def restore(self, source: Part10, path: str, out: BinaryIO) -> None:
        """Write the original file. Raises ToolError; what was written until then is worthless."""


class FromVault:
    """The originals in the hospital's vault, found by the anonymised SOPInstanceUID."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def _entry(self, source: Part10, path: str) -> VaultEntry:
        instance = instance_uid(source, path)
        entry = self._vault.get(instance) if instance else None
        if entry is None:
            raise ToolError(path, "the vault does not know this object", "name the vault that it was anonymised with")
        return entry

    def patient(self, source: Part10, path: str) -> str:
        return self._entry(source, path).patient

    def restore(self, source: Part10, path: str, out: BinaryIO) -> None:
        entry = self._entry(source, path)
        if digest(source) != entry.digest:
            raise ToolError(path, "it was changed since it was anonymised", "fetch the object as it was sent")
        try:
            restore(source, entry.patch, out)
        except ValueError as error:
            raise BadData(path, str(error), "restore the vault from its backup") from error


class FromEnvelope:
    """The originals in the object itself, encrypted for the owner of a private key (PS3.15 E.1.2)."""

    def __init__(self, private_key: RSAPrivateKey) -> None:
        self._private_key = private_key

    def _originals(self, source: Part10, path: str) -> bytes:
        value = values(source, path, frozenset((_ENCRYPTED,))).get(_ENCRYPTED)
        if not value:
            raise ToolError(path, "it has no encrypted attributes", "restore it from the vault")
        try:
            return decrypt_attributes(value, self._private_key, source.implicit, source.big_endian)
        except WrongKey as error:
            raise NotPermitted(path, str(error), "name the private key of a recipient") from error
        except ValueError as error:
            raise BadData(path, str(error), "fetch the object as it was sent") from error

    def patient(self, source: Part10, path: str) -> str:
        return _patient(source, path, self._originals(source, path))

    def restore(self, source: Part10, path: str, out: BinaryIO) -> None:
        _write_merged(source, path, self._originals(source, path), out)


class FromSideFiles:
    """The originals in side files of the predecessor, in a directory or one of them by its name."""

    def __init__(self, place: str) -> None:
        self._place = place

    def _originals(self, source: Part10, path: str) -> bytes:
        instance = instance_uid(source, path)
        place = padi.side_file(self._place, path, instance)
        if place is None:
            raise ToolError(path, f"there is no side file for it in {self._place}", "name the directory of the side files")
        encoding = Encoding(source.implicit, source.big_endian)
        try:
            with open(place, "rb") as stream:
                originals = padi.read_side_file(stream.read())
            data = _readable(source)
            heads = {tag: read_head(data, start, encoding) for tag, start, _ in top_level(source) if tag in originals}
            vrs = {tag: head.vr.decode("latin-1") for tag, head in heads.items() if head.vr}
            character_set = values(source, path, frozenset((CHARACTER_SET,))).get(CHARACTER_SET, b"")
            return padi.encode_values(originals, character_set, vrs, source.implicit, source.big_endian)
        except OSError as error:
            raise BadData(place, error.strerror or str(error), "give the right to read it") from error
        except ValueError as error:
            raise BadData(place, str(error), "look at the side file") from error

    def patient(self, source: Part10, path: str) -> str:
        return _patient(source, path, self._originals(source, path))

    def restore(self, source: Part10, path: str, out: BinaryIO) -> None:
        _write_merged(source, path, self._originals(source, path), out)


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
    """The encoded values of the `wanted` top-level attributes that the object has. Raises BadData when it is broken before the last of them."""
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


def _patient(source: Part10, path: str, originals: bytes) -> str:
    """The patient id among the encoded `originals`, or the object's own where that was left as it was."""
    encoding = Encoding(source.implicit, source.big_endian)
    for tag, start, end in elements(originals, encoding):
        if tag == PATIENT_ID:
            return text(originals[read_head(originals, start, encoding).value : end])
    return text(values(source, path, frozenset((PATIENT_ID,))).get(PATIENT_ID, b""))


def _write_merged(source: Part10, path: str, originals: bytes, out: BinaryIO) -> None:
    """Write the object with the encoded `originals` in the places of what replaced them, and without the marks of de-identification."""
    try:
        pieces = list(_merged(source, originals))
    except ValueError as error:
        raise BadData(path, str(error), "fetch the object as it was sent") from error
    encoding = Encoding(source.implicit, source.big_endian)
    own = values(source, path, frozenset((SOP_CLASS, SOP_INSTANCE)))
    own |= {tag: originals[read_head(originals, start, encoding).value : end] for tag, start, end in elements(originals, encoding)}
    out.write(meta_information(own.get(SOP_CLASS, b"").strip(b"\0 "), own.get(SOP_INSTANCE, b"").strip(b"\0 "), source.transfer_syntax))
    press = zlib.compressobj(wbits=-zlib.MAX_WBITS) if source.deflated else None
    size = 0
    for piece in pieces:
        for part in [piece] if isinstance(piece, bytes) else source.chunks(*piece):
            size += out.write(press.compress(part) if press else part)
    if press:
        size += out.write(press.flush())
        out.write(b"\0" * (size % 2))  # PS3.5 A.5


def _merged(source: Part10, originals: bytes) -> Iterator[bytes | tuple[int, int]]:
    """The restored data set: bytes of the originals, and spans of the source's data."""
    encoding = Encoding(source.implicit, source.big_endian)
    waiting = {tag: originals[start:end] for tag, start, end in elements(originals, encoding)}
    order = sorted(waiting, reverse=True)
    dropped = _MARKS
    for tag, start, end in top_level(source):
        if tag == _METHOD_CODES and _PIXELS_CLEANED in source.data[start:end]:
            dropped |= {_BURNED_IN}
        while order and order[-1] <= tag:
            yield waiting[order.pop()]
        if tag not in waiting and tag not in dropped:
            yield start, end
    while order:
        yield waiting[order.pop()]
