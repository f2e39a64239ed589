"""Opening a DICOM file (PS3.10 section 7): where the data set starts and how it is encoded, for tidy files and for untidy ones."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct

from toolkit.hospital.dicom.cleaning.quarantine import Quarantine, Reason
from toolkit.hospital.dicom.encoding.elements import LONG_VRS, SHORT_VRS

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
# PS3.6 table A-1: encapsulated (.1: fragmentable video), deflated frames, SMPTE streams. A private one may hide anything in its encoding.
_KNOWN = re.compile(r"1\.2\.840\.10008\.1\.2(\.1(\.98|\.99)?|\.2|\.4\.\d+(\.1)?|\.5|\.6\.[12]|\.7\.[123]|\.8\.1)?")

# Files up to this size are read at once; larger ones are mapped and streamed, so that memory does not follow their size.
_READ_WHOLE = 8 << 20
# A deflated data set is inflated in memory: more than this is no image that such a syntax is meant for.
_MOST_INFLATED = 1 << 30
_CHUNK = 1 << 20

_EXPLICIT_VR = re.compile(rb"[A-Z]{2}")
_LONG = frozenset(vr.encode() for vr in LONG_VRS)
_VALID = _LONG | {vr.encode() for vr in SHORT_VRS}
_meta_head = Struct("<HH2sH").unpack_from
_u32 = Struct("<I").unpack_from


@dataclass
class Part10:
    """One object, opened.

    `data`: the whole file; for a deflated data set the inflated copy follows the header. `preamble`: bytes before the meta information
    (132 or 0). `start`, `end`: the data set within `data`. `meta`: group 0002, tag -> raw value. `file`: descriptor of a mapped file, None
    when `data` is in memory.
    `transfer_syntax` is the one that the data set is really written in.
    """

    data: bytes | mmap.mmap
    preamble: int
    start: int
    end: int
    meta: dict[int, bytes]
    transfer_syntax: str
    implicit: bool
    big_endian: bool
    deflated: bool
    file: int | None = None
    name: str = field(default="", repr=False)

    def chunks(self, start: int, end: int) -> Iterator[bytes | memoryview]:
        """The bytes from `start` to `end` in pieces; a mapped file is read by its descriptor: touched pages would count as memory."""
        if self.file is None:
            yield memoryview(self.data)[start:end]
            return
        while start < end:
            piece = os.pread(self.file, min(_CHUNK, end - start), start)
            if not piece:
                raise Quarantine(Reason.TRUNCATED, "the file became shorter while it was read", "send it again")
            yield piece
            start += len(piece)


@contextlib.contextmanager
def open_part10(path: str) -> Iterator[Part10]:
    """Open the file at `path`.

    Raises Quarantine (empty, not-dicom, truncated, unknown-transfer-syntax, unreadable).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY)
    except OSError as error:
        raise Quarantine(Reason.UNREADABLE, error.strerror or str(error), "give the right to read it") from error
    try:
        size = os.fstat(descriptor).st_size
        if size <= _READ_WHOLE:
            yield from_bytes(_read(descriptor, size))
            return
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        try:
            source = _open(mapped, size)
            if source.data is mapped:
                source.file = descriptor
            yield source
        finally:
            with contextlib.suppress(BufferError):  # a view may live in the traceback of an error; the mapping goes with it
                mapped.close()
    except OSError as error:
        raise Quarantine(Reason.UNREADABLE, error.strerror or str(error), "check the disk") from error
    finally:
        os.close(descriptor)


def _read(descriptor: int, size: int) -> bytes:
    data = os.read(descriptor, size + 1)
    while len(data) < size:
        more = os.read(descriptor, size + 1 - len(data))
        if not more:
            break
        data += more
    return data


def from_bytes(data: bytes) -> Part10:
    """Open an object that is in memory. Raises Quarantine as `open_part10`."""
    return _open(data, len(data))


def _open(data: bytes | mmap.mmap, size: int) -> Part10:
    if size == 0:
        raise Quarantine(Reason.EMPTY, "the file is empty", "send it again")
    preamble = 132 if data[128:132] == b"DICM" else 0
    meta, start = _read_meta(data, preamble, size)
    declared = meta.get(0x00020010, b"").rstrip(b"\0 ").decode("ascii", "replace")
    if declared and not _KNOWN.fullmatch(declared):
        what = f"transfer syntax {declared[:64]!a} is not in PS3.6"
        raise Quarantine(Reason.UNKNOWN_TRANSFER_SYNTAX, what, "convert it to a standard one")
    if start >= size:
        raise Quarantine(Reason.EMPTY if preamble else Reason.NOT_DICOM, "there is no data set", "send it again")
    deflated = declared in DEFLATED
    end = size
    if deflated:
        data, end = _inflate(data, start)
    implicit, big_endian = _encoding(data, start, end, declared, certain=bool(preamble or meta))
    encapsulated = declared not in ("", IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG)
    if implicit and not encapsulated:  # some writers encapsulate frames in implicit VR; readers find them by the declared syntax
        syntax = IMPLICIT_LITTLE
    elif big_endian:
        syntax = EXPLICIT_BIG
    else:
        syntax = declared if encapsulated else EXPLICIT_LITTLE
    return Part10(data, preamble, start, end, meta, syntax, implicit, big_endian, deflated)


def _read_meta(data: bytes | mmap.mmap, position: int, size: int) -> tuple[dict[int, bytes], int]:
    """Group 0002, always explicit little-endian (PS3.10 7.1); its group length is not trusted: many files have it wrong."""
    meta: dict[int, bytes] = {}
    while position + 8 <= size and data[position : position + 2] == b"\x02\x00":
        group, element, vr, length = _meta_head(data, position)
        value = position + 8
        if vr in _LONG:
            if position + 12 > size:
                raise Quarantine(Reason.TRUNCATED, "the file ends within its meta information", "send it again")
            length = _u32(data, position + 8)[0]
            value = position + 12
        elif not _EXPLICIT_VR.fullmatch(vr):
            length = _u32(data, position + 4)[0]  # some writers put the meta information in implicit VR
        if value + length > size:
            raise Quarantine(Reason.TRUNCATED, "the file ends within its meta information", "send it again")
        meta[group << 16 | element] = data[value : value + length]
        position = value + length
    return meta, position


def _inflate(data: bytes | mmap.mmap, start: int) -> tuple[bytes, int]:
    """The file's header followed by the inflated data set (PS3.5 A.5)."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data[start:], _MOST_INFLATED)
    except zlib.error as error:
        raise Quarantine(Reason.TRUNCATED, "the deflated data set cannot be inflated", "send it again") from error
    if inflater.unconsumed_tail:
        raise Quarantine(Reason.TRUNCATED, "the deflated data set is larger than 1 GiB", "send it in another transfer syntax")
    if not inflater.eof:
        raise Quarantine(Reason.TRUNCATED, "the deflated data set ends too early", "send it again")
    whole = data[:start] + inflated
    return whole, len(whole)


def _encoding(data: bytes | mmap.mmap, start: int, end: int, declared: str, certain: bool) -> tuple[bool, bool]:
    """(implicit, big-endian) as the first element shows it: what the file declares is sometimes wrong, or missing.

    `certain` is that the file said that it is DICOM; without that its first tag must be of a group that data sets start with.
    """
    head = data[start : start + 8]
    if len(head) < 8:
        raise Quarantine(Reason.TRUNCATED if certain else Reason.NOT_DICOM, "it is too short for one element", "send it again")
    explicit = head[4:6] in _VALID
    little = (head[1] << 8 | head[0]) <= (head[0] << 8 | head[1])
    if declared == EXPLICIT_BIG:
        little = not explicit or (head[0] << 8 | head[1]) > 0x00FF
    elif declared:
        little = True
    group = head[1] << 8 | head[0] if little else head[0] << 8 | head[1]
    if not certain and (group > 0x0020 or group % 2 or group in (0, 2) or not (explicit or _u32(head, 4)[0] <= end - start)):
        raise Quarantine(Reason.NOT_DICOM, "it is not a DICOM file", "leave it out")
    return not explicit, not little
