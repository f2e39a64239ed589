"""Blanking in encapsulated pixel data: every frame is decoded, blanked and written again without further loss (PS3.5 8.2, A.4)."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import struct
import tempfile
import warnings
import weakref
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from toolkit.hospital.dicom.cleaning.quarantine import Quarantine, Reason
from toolkit.hospital.dicom.encoding.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE, Part10
from toolkit.hospital.dicom.pixels.blanking import Blanked, Edit, LazyEdits, blank_array, stored_bits
from toolkit.hospital.dicom.pixels.risk import PixelAttributes, Rectangle

if TYPE_CHECKING:
    import numpy as np

_RLE, _JPEG_LS, _JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
# What a syntax is written as again: itself when it is lossless and there is an encoder, else JPEG-LS; native when neither takes
# the pixels.
_WRITTEN_AS = {_RLE: (_RLE, _JPEG_LS), _JPEG_2000: (_JPEG_2000, _JPEG_LS), "1.2.840.10008.1.2.4.91": (_JPEG_2000, _JPEG_LS)}
_NATIVE = frozenset((IMPLICIT_LITTLE, EXPLICIT_LITTLE))
_LOSSY_JPEG = frozenset(("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"))  # their colours are YCbCr, and become RGB

_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
_IN_MEMORY = 16 << 20  # larger results lie in an unlinked temporary file
_PIECE = 1 << 20
_MOST_FRAME = 1 << 30
_REMEDY = "have it converted to an uncompressed transfer syntax, or look at it by hand"


def reencode(source: Part10, a: PixelAttributes, rectangles: Sequence[Rectangle]) -> Blanked:
    """Replace the encapsulated pixel data of `source` by blanked frames, losslessly encoded.

    Memory is that of a frame; more than 16 MiB of result lie in an unlinked temporary file. Raises Quarantine (pixels-not-decodable).
    """
    if a.rows * a.columns * a.samples * a.bits_allocated > _MOST_FRAME * 8:
        raise Quarantine(Reason.PIXELS, "a frame is larger than 1 GiB", _REMEDY)
    native = IMPLICIT_LITTLE if source.implicit else EXPLICIT_LITTLE
    for syntax in (*_WRITTEN_AS.get(a.transfer_syntax, (_JPEG_LS,)), native):
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool, contextlib.closing(_frames(source, a)) as frames:
            try:
                changed = _write(frames, _Encoder(syntax, a), a, rectangles, source.implicit, spool)
            except _CannotEncode:
                continue
            edits = _edits(spool, a)
        if a.extended_offsets:
            changed |= {0x7FE00001: None, 0x7FE00002: None}  # the basic offset table takes their place
        return Blanked(edits, syntax, changed)
    raise AssertionError("native pixel data can always be written")


class _CannotEncode(Exception):
    """An encoder does not take such pixels."""


def _edits(spool: tempfile.SpooledTemporaryFile[bytes], a: PixelAttributes) -> Sequence[Edit]:
    """Edits that replace the element by what was spooled: the first takes its place, the others follow it."""
    length = spool.seek(0, io.SEEK_END)
    if length <= _IN_MEMORY:
        spool.seek(0)
        return [(a.pixel_element, a.pixel_end, spool.read())]
    descriptor = os.dup(spool.fileno())

    def at(index: int) -> Edit:
        return a.pixel_element if index == 0 else a.pixel_end, a.pixel_end, os.pread(descriptor, _PIECE, index * _PIECE)

    edits = LazyEdits(-(-length // _PIECE), at)
    weakref.finalize(edits, os.close, descriptor)
    return edits


def _write(
    frames: Iterator[tuple[np.ndarray, str]],
    encoder: _Encoder,
    a: PixelAttributes,
    rectangles: Sequence[Rectangle],
    implicit: bool,
    out: tempfile.SpooledTemporaryFile[bytes],
) -> dict[int, tuple[str, bytes] | None]:
    """Write the whole element to `out`; the attributes that change with it."""
    encapsulated = encoder.syntax not in _NATIVE
    size = a.rows * a.columns * a.samples * (a.bits_allocated // 8)
    if encapsulated:
        # Item, one offset for each frame (filled in at the end), then one fragment for each frame.
        out.write(_element(b"OB", 0xFFFFFFFF, implicit) + _ITEM + struct.pack("<I", 4 * a.frames) + bytes(4 * a.frames))
    else:
        length = size * a.frames
        if length > 0xFFFFFFFE:
            raise Quarantine(Reason.PIXELS, "its frames fill more than 4 GiB and no encoder takes them", _REMEDY)
        out.write(_element(b"OW" if a.bits_allocated > 8 else b"OB", length + length % 2, implicit))
    start, offsets, photometric = out.tell(), [], ""
    for number, (frame, photometric) in enumerate(frames):
        if a.embedded_overlays:
            frame = stored_bits(frame, a)
        blank_array(frame, a, photometric, rectangles)
        code = encoder.encode(frame, photometric, check=number == 0)
        if encapsulated:
            offsets.append(out.tell() - start)
            out.write(_ITEM + struct.pack("<I", len(code) + len(code) % 2))
        out.write(code + b"\0" * (len(code) % 2 if encapsulated else 0))
    if encapsulated:
        out.write(_DELIMITER)
        if offsets[-1] > 0xFFFFFFFF:
            raise Quarantine(Reason.PIXELS, "its frames fill more than 4 GiB", _REMEDY)
        out.seek(start - 4 * a.frames)
        out.write(struct.pack(f"<{a.frames}I", *offsets))
    elif (out.tell() - start) % 2:
        out.write(b"\0")
    changed: dict[int, tuple[str, bytes] | None] = {}
    written = encoder.photometric(photometric)
    if written != a.photometric:
        changed[0x00280004] = "CS", written.encode() + b" " * (len(written) % 2)
    if a.samples > 1:
        changed[0x00280006] = "US", b"\1\0" if encoder.syntax == _RLE else b"\0\0"
    return changed


def _element(vr: bytes, length: int, implicit: bool) -> bytes:
    return b"\xe0\x7f\x10\x00" + (b"" if implicit else vr + b"\0\0") + struct.pack("<I", length)


def _frames(source: Part10, a: PixelAttributes) -> Generator[tuple[np.ndarray, str], None, None]:
    """Each frame, shape (rows, columns) or (rows, columns, samples), writable, and its photometric interpretation.

    Raises Quarantine when one cannot be decoded, or when there are fewer than the attributes tell; more than they tell are left out.
    """
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    described = _description(a)
    try:
        decoder = get_decoder(UID(a.transfer_syntax))
    except NotImplementedError:
        raise Quarantine(Reason.PIXELS, f"no decoder for transfer syntax {a.transfer_syntax}", _REMEDY) from None
    number = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet())
        content: bytes | BinaryIO
        if source.file is None:
            content = bytes(source.data[a.pixel_start : a.pixel_end])
        else:
            content = stack.enter_context(os.fdopen(os.dup(source.file), "rb"))
            content.seek(a.pixel_start)
        try:
            decoded = decoder.iter_array(content, raw=a.transfer_syntax not in _LOSSY_JPEG, **described)
            for frame, properties in decoded:
                if number == a.frames:
                    break
                photometric = str(properties["photometric_interpretation"])
                shape = (a.rows, a.columns) if a.samples == 1 else (a.rows, a.columns, a.samples)
                if frame.shape != shape or frame.dtype.itemsize * 8 != a.bits_allocated:
                    raise ValueError(f"shape {frame.shape}, {frame.dtype}")
                yield frame, photometric.removesuffix("_422")
                number += 1
        except (GeneratorExit, Quarantine, _CannotEncode, OSError, MemoryError):
            raise
        except Exception as error:  # decoders raise whatever they like
            raise Quarantine(Reason.PIXELS, f"frame {number + 1} cannot be decoded ({type(error).__name__})", _REMEDY) from error
    if number < a.frames:
        raise Quarantine(Reason.PIXELS, f"{number} frames, where its attributes tell {a.frames}", _REMEDY)


def _description(a: PixelAttributes) -> dict[str, Any]:
    return {
        "rows": a.rows, "columns": a.columns, "number_of_frames": a.frames, "samples_per_pixel": a.samples,
        "photometric_interpretation": a.photometric, "planar_configuration": a.planar, "pixel_representation": a.pixel_representation,
        "bits_allocated": a.bits_allocated, "bits_stored": a.bits_stored, "pixel_keyword": "PixelData",
    }  # fmt: skip


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """pydicom's warnings and logged tracebacks say nothing to the user that the reason for quarantine does not."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class _Encoder:
    """Writes frames in one lossless transfer syntax."""

    def __init__(self, syntax: str, a: PixelAttributes) -> None:
        self.syntax, self._a = syntax, a

    def photometric(self, decoded: str) -> str:
        """How the written pixels are to be interpreted: JPEG 2000 codes RGB by its reversible transform."""
        return "YBR_RCT" if self.syntax == _JPEG_2000 and decoded == "RGB" else decoded

    def encode(self, frame: np.ndarray, photometric: str, check: bool) -> bytes:
        """One frame, encoded. `check`: decode it again and compare. Raises _CannotEncode."""
        import numpy as np

        if self.syntax in _NATIVE:
            return frame.astype(frame.dtype.newbyteorder("<")).tobytes()
        from pydicom.pixels import get_decoder, get_encoder
        from pydicom.uid import UID

        described = _description(self._a) | {
            "number_of_frames": 1, "planar_configuration": 0, "photometric_interpretation": self.photometric(photometric),
        }  # fmt: skip
        uid = UID(self.syntax)
        try:
            with _quiet():
                code = bytes(get_encoder(uid).encode(frame, **described))
                if check:
                    if self.syntax == _RLE:
                        described["planar_configuration"] = 1
                    fragment = code + b"\0" * (len(code) % 2)
                    content = _ITEM + bytes(4) + _ITEM + struct.pack("<I", len(fragment)) + fragment + _DELIMITER
                    again, _ = get_decoder(uid).as_array(content, raw=True, **described)
                    if not np.array_equal(again, frame):
                        raise ValueError("it reads back as something else")
        except MemoryError:
            raise
        except Exception as error:  # encoders raise whatever they like
            raise _CannotEncode(str(error)) from error
        return code
