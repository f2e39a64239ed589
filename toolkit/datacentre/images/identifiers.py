"""What a received data set says of itself, read from its first elements only."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from toolkit.core.errors import BadData, InputOutput

_NEEDED = (
    "SOPClassUID", "SOPInstanceUID", "StudyDate", "AccessionNumber", "Modality", "PatientID", "PatientIdentityRemoved",
    "StudyInstanceUID", "SeriesInstanceUID",
)  # fmt: skip
_LAST = Tag("SeriesInstanceUID")
_TAGS = {0x00080005, *(tag_for_keyword(word) for word in _NEEDED)}  # and the character set
_LARGE = 1 << 16  # bytes of an element that is not read
_MOST = 500_000  # elements and items before the last one needed, half a second: no object has so many there
_DEEPEST = 1000  # levels of sequences
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}  # PS3.5, table 7.1-1
# deflated explicit little endian, and with pixels elsewhere: JPIP, JPIP of HTJ2K (PS3.5, annex A)
_DEFLATED_SYNTAXES = {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
_DEFLATED = 4 << 20  # bytes that are inflated, and what they may become: identifiers stand at the beginning
_INFLATED = 16 << 20


@dataclass(frozen=True)
class Identifiers:
    """The attributes that name an object, as text; empty where they are missing."""

    sop_class: str
    instance_uid: str
    study_date: str
    accession: str
    modality: str
    patient: str
    removed: str
    study_uid: str
    series_uid: str


def identifiers(path: Path, start: int, transfer_syntax: str) -> Identifiers:
    """Those of the data set that begins at byte `start` of a file. Raises InputOutput, BadData when it cannot be read."""
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            source: io.BufferedReader | io.BytesIO = stream
            if transfer_syntax in _DEFLATED_SYNTAXES:
                source = io.BytesIO(zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(_DEFLATED), _INFLATED))
            little = transfer_syntax != ExplicitVRBigEndian
            first = _first(source, transfer_syntax == ImplicitVRLittleEndian, "<" if little else ">")
            found = read_dataset(io.BytesIO(first), transfer_syntax == ImplicitVRLittleEndian, little)
            words = [str(found.get(word, "") or "") for word in _NEEDED]
    except OSError as error:
        if error.errno is None:
            raise BadData("object", "its data set cannot be read", "have it made anew") from error
        raise InputOutput(str(path), error.strerror or str(error), "look at the disk") from error
    except Exception as error:  # pydicom's parser raises anything
        raise BadData("object", "its data set cannot be read", "have it made anew") from error
    return Identifiers(*words)


def _first(source: BinaryIO, implicit: bool, order: str) -> bytes:
    """The elements that are needed, as they stand there: pydicom would make objects of all items of all sequences before them, and take
    the last one of those that stand there twice. Raises ValueError for these, and where there is no end of elements."""
    kept, seen = bytearray(), set[int]()
    levels: list[tuple[bool, bool, str]] = []  # of what has an undefined length: are its items read, and how what is around it is read
    items = False
    for _ in range(_MOST):
        head = source.read(8)
        if len(head) < 8:
            return bytes(kept)
        group, element, length = struct.unpack(order + "HHL", head)
        tag = group << 16 | element
        if group == 0xFFFE:
            if tag == _ITEM and items:
                if length == _UNDEFINED:
                    levels.append((items, implicit, order))
                    items = False
                else:
                    source.seek(length, io.SEEK_CUR)
            elif tag == (_SEQUENCE_END if items else _ITEM_END) and levels:
                items, implicit, order = levels.pop()
            else:
                raise ValueError("sequences")
            continue
        if items:
            raise ValueError("sequences")
        if not levels:
            if tag > _LAST:
                return bytes(kept)
            if tag in seen:
                raise ValueError("twice")
            seen.add(tag)
        kind = b"" if implicit or not head[4:6].isalpha() else head[4:6]  # some write sequences implicitly within explicit objects
        if kind in _LONG:
            head += source.read(4)
            length = struct.unpack_from(order + "L", head, 8)[0]
        elif kind:
            length = struct.unpack_from(order + "H", head, 6)[0]
        if length == _UNDEFINED:
            levels.append((items, implicit, order))
            if len(levels) > _DEEPEST:
                raise ValueError("levels")
            items = True
            implicit, order = (True, "<") if kind == b"UN" else (implicit, order)  # PS3.5, section 6.2.2
        elif not levels and tag in _TAGS:
            if length > _LARGE:
                raise ValueError("too long")
            kept += head + source.read(length)
        else:
            source.seek(length, io.SEEK_CUR)
    raise ValueError("no end")
