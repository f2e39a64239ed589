"""What has to be known of a file before it is sent: its UIDs, where its data set lies, that it is whole and its identity removed."""

from __future__ import annotations

import mmap
import os
import re
import zlib
from dataclasses import dataclass
from hashlib import sha256
from struct import error as StructError

from toolkit.core.errors import BadData
from toolkit.hospital.dicom.cleaning.quarantine import Quarantine
from toolkit.hospital.dicom.cleaning.scan import ENCODINGS, UNDEFINED
from toolkit.hospital.dicom.encoding.elements import LONG_VRS, SHORT_VRS
from toolkit.hospital.dicom.encoding.part10 import Part10, open_part10

_SOP_CLASS, _INSTANCE, _IDENTITY_REMOVED = 0x00080016, 0x00080018, 0x00120062
_WANTED = {_SOP_CLASS: 64, _INSTANCE: 64, _IDENTITY_REMOVED: 16}  # and their most bytes
_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_ITEM, _ITEM_END, _SEQUENCE_END, _PADDING = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFCFFFC
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_DEEPEST = 1000  # levels of sequences
_CHUNK = 1 << 20
_LONG = frozenset(vr.encode() for vr in LONG_VRS)
_SHORT = frozenset(vr.encode() for vr in SHORT_VRS)


class Identified(BadData):
    """The identity of the patient was not removed."""


class Directory(BadData):
    """The index of a medium (PS3.10 8.6): it is no image, and its names are in clear."""


@dataclass(frozen=True, slots=True)
class Image:
    """A file that may be sent. Its data set has `length` bytes from `start` on; `stamp` tells whether it changed since."""

    path: str
    instance: str
    sop_class: str
    transfer_syntax: str
    start: int
    length: int
    stamp: tuple[int, int, int]

    @property
    def pair(self) -> tuple[str, str]:
        """What a receiver has to accept for it."""
        return self.sop_class, self.transfer_syntax

    def open(self) -> int:
        """A descriptor of the file. Raises BadData when it cannot be opened, or is another one than the one that was looked at."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise BadData(self.path, error.strerror or str(error), "send it again") from error
        if _stamp(os.fstat(descriptor)) != self.stamp:
            os.close(descriptor)
            raise BadData(self.path, "was changed after it was looked at", "send it again")
        return descriptor

    def digest(self) -> bytes:
        """The SHA-256 of the data set's bytes. Raises as `open`."""
        descriptor, made, position = self.open(), sha256(), self.start
        try:
            while piece := os.pread(descriptor, _CHUNK, position):
                made.update(piece)
                position += len(piece)
        except OSError as error:
            raise BadData(self.path, error.strerror or str(error), "look at the disk") from error
        finally:
            os.close(descriptor)
        return made.digest()


def look_at(path: str) -> Image:
    """Look at the file at `path`: the elements of its top level are walked over, values of bulk data are not read.

    Raises BadData when it is no DICOM object that could be sent, Identified when (0012,0062) is not YES, Directory for a DICOMDIR.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise BadData(path, error.strerror or str(error), "name a file that exists and can be read") from error
    try:
        with open_part10(path) as source:
            if _uid(source.meta.get(0x00020002, b"")) == _MEDIA_DIRECTORY:
                raise Directory(path, "is the index of a medium", "it is left out")
            found = _walk(source)
            start, syntax, deflated = source.start, source.transfer_syntax, source.deflated
        if deflated and not _ends_with_it(path, start):
            raise BadData(path, "has something behind its deflated data set", "have it made anew")
    except Quarantine as error:
        raise BadData(path, error.detail, error.remedy) from error
    except (StructError, IndexError) as error:
        raise BadData(path, "its data set ends within an element", "have it made anew") from error
    except ValueError as error:
        raise BadData(path, str(error), "have it made anew") from error
    if found.get(_IDENTITY_REMOVED, b"").rstrip(b" \0") != b"YES":
        raise Identified(path, "the patient's identity was not removed, (0012,0062) is not YES", "send what dicom-anon makes of it")
    sop_class, instance = _uid(found.get(_SOP_CLASS, b"")), _uid(found.get(_INSTANCE, b""))
    if not sop_class or not instance:
        raise BadData(path, "has no proper SOP class and instance UID", "have it made anew")
    return Image(path, instance, sop_class, syntax, start, status.st_size - start, _stamp(status))


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _uid(value: bytes) -> str:
    text = value.rstrip(b" \0").decode("ascii", "replace")
    return text if _UID.fullmatch(text) else ""


def _zeros(data: bytes | mmap.mmap, position: int, end: int) -> bool:
    return not any(any(data[start : start + _CHUNK]) for start in range(position, end, _CHUNK))


def _ends_with_it(path: str, start: int) -> bool:
    """Whether a deflated data set is all that follows, but for padding: nobody looks at the rest, and it would be sent, too."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    with open(path, "rb") as file:
        file.seek(start)
        while not inflater.eof and (piece := inflater.unconsumed_tail or file.read(_CHUNK)):
            inflater.decompress(piece, _CHUNK)
        return not any(inflater.unused_data) and not any(any(piece) for piece in iter(lambda: file.read(_CHUNK), b""))


def _walk(source: Part10) -> dict[int, bytes]:
    """The wanted elements of the top level. What has a defined length is stepped over; raises ValueError where the structure breaks."""
    data, end = source.data, source.end
    found: dict[int, bytes] = {}
    levels: list[tuple[bool, bool, bool]] = []  # (within items' elements?, implicit, big-endian) of what has an undefined length
    implicit, big = source.implicit, source.big_endian
    between = False  # items are read now, not elements
    position = start = source.start
    while position < end:
        encoding = ENCODINGS[implicit, big]
        head = data[position : position + 12] if source.file is None or not between else os.pread(source.file, 12, position)
        group, element = encoding.tag(head)
        tag = group << 16 | element
        if between or group == 0xFFFE:
            length = encoding.u32(head, 4)[0]
            position += 8
            if between and tag == _ITEM:
                if length == UNDEFINED:
                    levels.append((between, implicit, big))
                    between = False
                else:
                    position += length
            elif tag == (_SEQUENCE_END if between else _ITEM_END) and levels:
                between, implicit, big = levels.pop()
            else:
                raise ValueError("its sequences are not nested as they should be")
            continue
        if implicit:
            vr, length, value = b"", encoding.u32(head, 4)[0], position + 8
        elif (vr := bytes(head[4:6])) in _SHORT:
            length, value = encoding.u16(head, 6)[0], position + 8
        elif vr in _LONG:
            length, value = encoding.u32(head, 8)[0], position + 12
        elif position > start and not levels and tag == 0 and _zeros(data, position, end):
            break  # a tail of zeros
        else:
            raise ValueError(f"({group:04X},{element:04X}) has a VR that is none of PS3.5")
        if length == UNDEFINED:
            levels.append((between, implicit, big))
            if len(levels) > _DEEPEST:
                raise ValueError("its sequences are nested too deeply")
            between = True
            implicit, big = (True, False) if vr == b"UN" else (implicit, big)  # PS3.5 6.2.2
            position = value
            continue
        position = value + length
        if position > end:
            break
        if not levels and tag in _WANTED:
            if tag in found or length > _WANTED[tag]:
                raise ValueError(f"({group:04X},{element:04X}) stands there twice or is too long")
            found[tag] = bytes(data[value:position])
    if position > end or levels:
        raise ValueError("it is cut short")
    return found
