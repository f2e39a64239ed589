"""The way back: what an anonymised object lacks of the original, so that both together give the original byte for byte.

A patch is a zlib stream of: magic, the original's header (preamble and meta information, verbatim), whether its data set was deflated, and
the operations that turn the anonymised data set into the original one: copy so many bytes, skip so many, insert these. It holds personal
data: it is only ever stored encrypted.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import BinaryIO

from toolkit.hospital.dicom.encoding.part10 import Part10

MOST = 8 << 20  # bytes in one chunk of a patch

_MAGIC = b"SPP1"
_HEADER = Struct("<4sIB")
_OPERATION = Struct("<QQQ")

Edit = tuple[int, int, bytes]  # start and end in the original's data, what stands there in the anonymised one


def encode_patch(source: Part10, edits: Iterable[Edit], level: int = 1) -> Iterator[bytes]:
    """The patch that undoes `edits` (sorted, not overlapping), compressed, in chunks of at most 8 MiB."""
    press = zlib.compressobj(level)
    ready = bytearray(press.compress(_HEADER.pack(_MAGIC, source.start, source.deflated) + source.data[: source.start]))
    position = source.start
    for start, end, new in edits:
        ready += press.compress(_OPERATION.pack(start - position, len(new), end - start))
        for piece in source.chunks(start, end):
            ready += press.compress(piece)
            while len(ready) > MOST:
                yield bytes(ready[:MOST])
                del ready[:MOST]
        position = end
    ready += press.flush()
    while ready:
        yield bytes(ready[:MOST])
        del ready[:MOST]


def restore(anonymised: Part10, patch: Iterable[bytes], out: BinaryIO) -> None:
    """Write the original file to `out`: its header, and its data set made of the anonymised one's bytes and those of the patch.

    Raises ValueError when the patch does not fit the object or is damaged; what was written to `out` until then is worthless.
    """
    reader = _Inflated(patch)
    magic, header, deflated = _HEADER.unpack(reader.take(_HEADER.size))
    if magic != _MAGIC:
        raise ValueError("the patch is of another version")
    out.write(reader.take(header))
    press = zlib.compressobj(wbits=-zlib.MAX_WBITS) if deflated else None
    position = anonymised.start

    def write(piece: bytes | memoryview) -> None:
        out.write(press.compress(piece) if press else piece)

    while operation := reader.take(_OPERATION.size, last=True):
        copied, skipped, inserted = _OPERATION.unpack(operation)
        if position + copied + skipped > anonymised.end:
            raise ValueError("the patch does not fit the object")
        for piece in anonymised.chunks(position, position + copied):
            write(piece)
        position += copied + skipped
        while inserted:
            piece = reader.take(min(inserted, 1 << 20))
            write(piece)
            inserted -= len(piece)
    for piece in anonymised.chunks(position, anonymised.end):
        write(piece)
    if press:
        out.write(press.flush())


class _Inflated:
    """The bytes of a compressed patch, in bounded pieces."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._press, self._ready = iter(chunks), zlib.decompressobj(), b""
        self._waiting = b""

    def take(self, size: int, last: bool = False) -> bytes:
        """The next `size` bytes; with `last`, nothing at the end of the patch."""
        while len(self._ready) < size:
            try:
                piece = self._press.decompress(self._waiting, max(size, 1 << 20))
            except zlib.error as error:
                raise ValueError("the patch is damaged") from error
            self._waiting = self._press.unconsumed_tail
            self._ready += piece
            if not piece and not self._waiting:
                self._waiting = next(self._chunks, b"")
                if not self._waiting:
                    break
        if len(self._ready) < size and not (last and not self._ready and self._press.eof):
            raise ValueError("the patch is cut short")
        taken, self._ready = self._ready[:size], self._ready[size:]
        return taken
