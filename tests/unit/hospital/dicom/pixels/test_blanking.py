"""Blanking, judged by pydicom: the rectangles are black in every frame, and every other pixel is what it was."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from tests.unit.hospital.dicom.pixels.pixel_objects import described, dicom_files
from toolkit.hospital.dicom.cleaning.quarantine import Quarantine, Reason
from toolkit.hospital.dicom.encoding.part10 import Part10, from_bytes, open_part10
from toolkit.hospital.dicom.pixels.blanking import Blanked, LazyEdits, black, blank, stored_bits
from toolkit.hospital.dicom.pixels.risk import PixelAttributes, Rectangle

RLE, JPEG_LS, JPEG_2000, EXPLICIT = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.1"
LOSSY_JPEG = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
HTJ2K = "1.2.840.10008.1.2.4.201"
NATIVE = {"1.2.840.10008.1.2", EXPLICIT, "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"}


def result(source: Part10, blanked: Blanked) -> pydicom.Dataset:
    """The blanked object as pydicom reads it."""
    out, position = bytearray(), source.start
    for start, end, new in blanked.edits:
        assert start >= position
        out += source.data[position:start] + new
        position = end
    out += source.data[position : source.end]
    native = UID(blanked.transfer_syntax).is_deflated
    syntax = UID(EXPLICIT if native else blanked.transfer_syntax)
    dataset = pydicom.filereader.read_dataset(io.BytesIO(bytes(out)), source.implicit, not source.big_endian)
    dataset = pydicom.FileDataset("", dataset, is_implicit_VR=source.implicit, is_little_endian=not source.big_endian)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    for tag, new in blanked.changed.items():
        if new is None:
            dataset.pop(tag, None)
        elif new[0] == "US":
            dataset[tag] = pydicom.DataElement(tag, "US", struct.unpack("<H", new[1])[0])
        else:
            dataset[tag] = pydicom.DataElement(tag, new[0], new[1].decode().strip())
    return dataset


def frames(dataset: pydicom.Dataset, rgb: bool = False) -> np.ndarray:
    """Shape (frames, rows, columns, samples), as stored unless `rgb`."""
    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    count = int(dataset.get("NumberOfFrames") or 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arrays = [frame for frame, _ in decoder.iter_array(dataset, raw=not rgb)][:count]
    return np.stack([array.reshape(dataset.Rows, dataset.Columns, -1) for array in arrays])


def bitmaps(d: pydicom.Dataset) -> np.ndarray:
    """PS3.5 8.1.1: the first pixel in the lowest bit, frames not aligned to bytes."""
    bits = np.unpackbits(np.frombuffer(d.PixelData, np.uint8), bitorder="little")
    return bits[: d.Rows * d.Columns * d.NumberOfFrames].reshape(d.NumberOfFrames, d.Rows, d.Columns, 1)


def mask(a: PixelAttributes, rectangles: Iterable[Rectangle], unit: int = 1) -> np.ndarray:
    found = np.zeros((a.rows, a.columns), bool)
    for left, top, right, bottom in rectangles:
        found[top:bottom, left // unit * unit : -(-right // unit) * unit] = True
    return found


def opened(dataset: pydicom.Dataset) -> Part10:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return from_bytes(stream.getvalue())


def decodable(path: str) -> bool:
    """Whether pydicom, the judge here, decodes it; it lacks a decoder for some."""
    try:
        frames(pydicom.dcmread(path))
    except Exception:
        return False
    return True


def candidates() -> list[str]:
    """A file of each kind of pixels."""
    chosen: dict[tuple[object, ...], str] = {}
    for path in dicom_files(4_000_000):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                d = pydicom.dcmread(path, stop_before_pixels=True)
            kind = (
                d.file_meta.TransferSyntaxUID, d.PhotometricInterpretation, d.BitsAllocated, d.BitsStored, d.PixelRepresentation,
                d.get("PlanarConfiguration"), d.get("NumberOfFrames"), d.Rows % 2, d.Columns % 2,
            )  # fmt: skip
            pixels = d.Rows * d.Columns * int(d.get("NumberOfFrames") or 1)
        except Exception:
            continue
        if pixels < 2_000_000 and kind not in chosen and decodable(path):
            chosen[kind] = path
    return list(chosen.values())


@pytest.mark.parametrize("path", candidates(), ids=os.path.basename)
def test_the_rectangles_are_black_and_everything_else_is_as_it_was(path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        original = pydicom.dcmread(path)
    with open_part10(path) as source:
        a = described(source)
        rows, columns = a.rows, a.columns
        rectangles = [
            Rectangle(0, 0, columns, max(1, rows // 10)),
            Rectangle(columns // 3, rows // 4, columns // 2 + 1, rows // 2),
            Rectangle(columns // 4, rows // 3, columns // 2, rows // 2 + 1),
            Rectangle(columns - 1, rows - 1, columns, rows),
        ]
        blanked = blank(source, a, rectangles)
        after = result(source, blanked)
    lossy = a.transfer_syntax in LOSSY_JPEG
    before, got = frames(original, rgb=lossy), frames(after)
    halved = a.photometric.endswith("422") and a.transfer_syntax in NATIVE
    if halved:
        before, got = frames(original, rgb=True), frames(after, rgb=True)
    hidden = mask(a, rectangles, 2 if halved else 1)
    np.testing.assert_array_equal(got[:, ~hidden], before[:, ~hidden])
    if a.bits_allocated == 1 or halved:
        assert not got[:, hidden].any()
    else:
        values = np.array(black(a, after.PhotometricInterpretation.replace("YBR_RCT", "RGB")), f"u{got.dtype.itemsize}")
        assert (got[:, hidden] == values.view(got.dtype)).all()
    assert after.get("LossyImageCompression") == original.get("LossyImageCompression")
    if a.transfer_syntax in NATIVE:
        assert blanked.transfer_syntax == a.transfer_syntax
    elif a.bits_allocated > 16 or rows * columns < 64:  # RLE and JPEG-LS have no 32 bits (PS3.5 8.2), CharLS no tiny images
        assert blanked.transfer_syntax == EXPLICIT
    elif a.transfer_syntax in {RLE, JPEG_LS, JPEG_2000}:
        assert blanked.transfer_syntax == a.transfer_syntax
    else:
        assert blanked.transfer_syntax in (JPEG_LS, JPEG_2000)


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.sampled_from([1, 8, 16, 32]), st.sampled_from([1, 3]),
    st.sampled_from([0, 1]),
    st.sampled_from(["1.2.840.10008.1.2", EXPLICIT, "1.2.840.10008.1.2.2"]), st.booleans(), st.data(),
)  # fmt: skip
@settings(max_examples=300)
def test_native_pixels_of_any_layout(
    rows: int, columns: int, count: int, bits: int, samples: int, planar: int, syntax: str, inverse: bool, data: st.DataObject
) -> None:
    samples = 1 if bits == 1 else samples
    dataset = image(rows, columns, count, bits, samples, planar, syntax, "RGB" if samples == 3 else f"MONOCHROME{1 if inverse else 2}")
    size = -(-rows * columns * count // 8) if bits == 1 else rows * columns * count * samples * bits // 8
    dataset.PixelData = data.draw(st.binary(min_size=size + size % 2, max_size=size + size % 2))
    rectangle = st.tuples(st.integers(0, columns - 1), st.integers(0, rows - 1), st.integers(1, columns), st.integers(1, rows))
    rectangles = [
        Rectangle(x, y, min(x + width, columns), min(y + height, rows))
        for x, y, width, height in data.draw(st.lists(rectangle, min_size=1, max_size=4))
    ]
    source = opened(dataset)
    a = described(source)
    blanked = blank(source, a, rectangles)
    before, after = pydicom.dcmread(io.BytesIO(bytes(source.data))), result(source, blanked)
    before, got = (bitmaps(before), bitmaps(after)) if bits == 1 else (frames(before), frames(after))
    hidden = mask(a, rectangles)
    np.testing.assert_array_equal(got[:, ~hidden], before[:, ~hidden])
    assert (got[:, hidden] == ((1 << bits) - 1 if inverse and samples == 1 else 0)).all()


def image(
    rows: int, columns: int, count: int, bits: int, samples: int, planar: int, syntax: str, photometric: str, stored: int = 0
) -> pydicom.Dataset:
    d = pydicom.Dataset()
    d.file_meta = pydicom.dataset.FileMetaDataset()
    d.file_meta.TransferSyntaxUID = UID(syntax)
    d.SOPClassUID, d.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    d.Rows, d.Columns, d.NumberOfFrames, d.SamplesPerPixel, d.PhotometricInterpretation = rows, columns, count, samples, photometric
    if samples > 1:
        d.PlanarConfiguration = planar
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = bits, stored or bits, (stored or bits) - 1, 0
    d["PixelData"] = pydicom.DataElement(0x7FE00010, "OW" if bits > 8 else "OB", b"")
    return d


@pytest.mark.parametrize(("bits", "stored"), [(8, 8), (16, 12), (16, 16)])
@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422"])
def test_colour_differences_become_neutral(bits: int, stored: int, photometric: str) -> None:
    dataset = image(4, 6, 2, bits, 3, 0, EXPLICIT, photometric, stored)
    dataset.PixelData = bytes([77]) * (4 * 6 * 2 * (2 if photometric.endswith("422") else 3) * bits // 8)
    source = opened(dataset)
    blanked = blank(source, described(source), [Rectangle(0, 0, 6, 4)])
    values = np.frombuffer(b"".join(new for _, _, new in blanked.edits), f"<u{bits // 8}") >> (stored - 8)
    luminance = 16 if "PARTIAL" in photometric else 0
    unit = [luminance, luminance, 128, 128] if photometric.endswith("422") else [luminance, 128, 128]
    assert values.reshape(-1, len(unit)).tolist() == [unit] * (values.size // len(unit))


def test_8_bits_in_big_endian_words() -> None:
    dataset = image(3, 5, 3, 8, 1, 0, "1.2.840.10008.1.2.2", "MONOCHROME2")
    dataset["PixelData"] = pydicom.DataElement(0x7FE00010, "OW", bytes(range(1, 47)))
    source = opened(dataset)
    a = described(source)
    assert a.pixel_vr == "OW"
    rectangles = [Rectangle(1, 0, 4, 2), Rectangle(4, 2, 5, 3)]
    before, got = frames(pydicom.dcmread(io.BytesIO(bytes(source.data)))), frames(result(source, blank(source, a, rectangles)))
    hidden = mask(a, rectangles)
    np.testing.assert_array_equal(got[:, ~hidden], before[:, ~hidden])
    assert before[0, 0, 0, 0] != 0 and not got[:, hidden].any()


def test_pixels_behind_the_last_frame_go_too() -> None:
    dataset = image(4, 4, 1, 8, 1, 0, EXPLICIT, "MONOCHROME2")
    dataset.PixelData = bytes(range(100, 148))
    source = opened(dataset)
    a = described(source)
    after = result(source, blank(source, a, [Rectangle(0, 0, 4, 1)]))
    assert after.PixelData == bytes(4) + bytes(range(104, 116)) + bytes(32)


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("syntax", [EXPLICIT, "1.2.840.10008.1.2.2", RLE])
def test_overlays_in_the_high_bits_are_emptied_in_the_whole_image(signed: int, syntax: str) -> None:
    generator = np.random.default_rng(1)
    values = generator.integers(-2048 if signed else 0, 2048 if signed else 4096, (2, 6, 7))
    overlay = generator.integers(0, 16, values.shape)
    pixels = (values & 0xFFF | overlay << 12).astype("<u2")
    dataset = image(6, 7, 2, 16, 1, 0, EXPLICIT if syntax == RLE else syntax, "MONOCHROME2", 12)
    dataset.PixelRepresentation = signed
    dataset.add_new(0x60000102, "US", 12)
    dataset.PixelData = pixels.astype(">u2" if syntax.endswith("2.2") else "<u2").tobytes()
    if syntax == RLE:
        encoder = pydicom.pixels.get_encoder(UID(RLE))
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.PixelData = encapsulate([encoder.encode(frame.view("i2") if signed else frame, rows=6, columns=7, samples_per_pixel=1,
            bits_allocated=16, bits_stored=16, pixel_representation=signed, photometric_interpretation="MONOCHROME2", number_of_frames=1)
            for frame in pixels])  # fmt: skip
        dataset["PixelData"].is_undefined_length = True
        dataset["PixelData"].VR = "OB"
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.file_meta.TransferSyntaxUID = UID(RLE)
    source = opened(dataset)
    a = described(source)
    assert a.embedded_overlays
    got = frames(result(source, blank(source, a, [Rectangle(2, 1, 5, 3)])))[..., 0]
    expected = values.copy()
    expected[:, 1:3, 2:5] = -2048 if signed else 0
    np.testing.assert_array_equal(got.astype(int), expected)


@given(st.integers(0, 65535), st.sampled_from([(12, 11), (12, 15), (10, 12), (16, 15), (1, 0)]), st.booleans())
def test_stored_bits_keep_the_stored_value_alone(value: int, layout: tuple[int, int], signed: bool) -> None:
    stored, high = layout
    a = PixelAttributes(bits_allocated=16, bits_stored=stored, high_bit=high, pixel_representation=int(signed))
    inner = value >> (high + 1 - stored) & (1 << stored) - 1
    if signed and inner >> (stored - 1):
        inner -= 1 << stored
    got = stored_bits(np.array([value], ">u2"), a)
    assert got.dtype == np.dtype(">u2")
    assert got[0] == (inner << (high + 1 - stored)) & 0xFFFF


def compressed(dataset: pydicom.Dataset, **more: object) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.compress(UID(RLE), generate_instance_uid=False, **more)
    return dataset


def fragments(dataset: pydicom.Dataset) -> list[bytes]:
    return list(pydicom.encaps.generate_fragments(dataset.PixelData))[1:]  # the first is the offset table


def test_offset_tables() -> None:
    dataset = image(20, 31, 5, 8, 1, 0, EXPLICIT, "MONOCHROME2")
    dataset.PixelData = np.random.default_rng(2).integers(0, 255, (5, 20, 31), np.uint8).tobytes()
    compressed(dataset, encapsulate_ext=True)
    assert "ExtendedOffsetTable" in dataset
    source = opened(dataset)
    a = described(source)
    blanked = blank(source, a, [Rectangle(0, 0, 31, 5)])
    assert blanked.changed == {0x7FE00001: None, 0x7FE00002: None}
    after = result(source, blanked)
    offsets = pydicom.encaps.parse_basic_offsets(after.PixelData)
    assert len(offsets) == 5
    body = after.PixelData[8 + 4 * 5 :]
    assert all(body[offset : offset + 4] == b"\xfe\xff\x00\xe0" for offset in offsets)
    lengths = [struct.unpack_from("<I", body, offset + 4)[0] for offset in offsets]
    assert [first + 8 + length for first, length in zip(offsets, lengths, strict=True)] == [*offsets[1:], len(body)]


def test_frames_that_the_attributes_do_not_tell_of_are_left_out() -> None:
    dataset = image(20, 30, 3, 8, 1, 0, EXPLICIT, "MONOCHROME2")
    dataset.PixelData = bytes(np.random.default_rng(3).integers(0, 255, 3 * 600, np.uint8))
    compressed(dataset)
    dataset.NumberOfFrames = 2
    source = opened(dataset)
    after = result(source, blank(source, described(source), [Rectangle(0, 0, 30, 5)]))
    assert len(pydicom.encaps.parse_basic_offsets(after.PixelData)) == 2
    assert len(fragments(after)) == 2


def refused(dataset: pydicom.Dataset, **changed: object) -> Quarantine:
    source = opened(dataset)
    a = described(source)
    for name, value in changed.items():
        setattr(a, name, value)
    with pytest.raises(Quarantine) as caught:
        list(blank(source, a, [Rectangle(0, 0, 1, 1)]).edits)
    assert caught.value.reason is Reason.PIXELS
    return caught.value


def test_what_cannot_be_decoded_is_refused_with_a_reason(capfd: pytest.CaptureFixture[str]) -> None:
    dataset = image(10, 10, 2, 8, 1, 0, EXPLICIT, "MONOCHROME2")
    dataset.PixelData = bytes(200)
    assert "199" not in str(refused(dataset, frames=2, rows=0))
    assert "200 bytes of pixel data, where its attributes tell 300" in refused(dataset, frames=3).detail
    assert "contradict" in refused(dataset, bits_stored=9).detail
    compressed(dataset)
    assert "2 frames, where its attributes tell 3" in refused(dataset, frames=3).detail
    dataset.PixelData = encapsulate([b"\xff\xd8 no such frame", b"\xff\xd8 no"])
    dataset["PixelData"].is_undefined_length = True
    for syntax in (RLE, JPEG_LS, JPEG_2000, "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", HTJ2K):
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        refused(dataset)
    for syntax in ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.8.1"):  # JPEG XL, deflated frames
        assert syntax in refused(dataset, transfer_syntax=syntax).detail
    assert capfd.readouterr() == ("", "")


def test_edits_are_made_when_they_are_asked_for() -> None:
    edits = LazyEdits(5, lambda index: (index, index + 1, b"x"))
    assert len(edits) == 5 and list(edits)[4] == edits[-1] == (4, 5, b"x")
    assert edits[1:3] == [(1, 2, b"x"), (2, 3, b"x")]
    with pytest.raises(IndexError):
        edits[5]


LARGE = """
import sys
from toolkit.hospital.dicom.pixels.blanking import blank
from toolkit.hospital.dicom.encoding.part10 import open_part10
from toolkit.hospital.dicom.pixels.risk import PixelAttributes, Rectangle
with open_part10(sys.argv[1]) as source:
    a = PixelAttributes(rows=768, columns=1024, frames=1300, samples=3, bits_allocated=8, bits_stored=8, high_bit=7, photometric="RGB",
        transfer_syntax=source.transfer_syntax, pixel_element=source.end - 12 - 1300 * 768 * 1024 * 3, pixel_end=source.end, pixel_vr="OB")
    a.pixel_start = a.pixel_element + 12
    edits = blank(source, a, [Rectangle(0, 0, 1024, 60), Rectangle(0, 60, 100, 768), Rectangle(1000, 60, 1024, 768)]).edits
    total = last = 0
    for start, end, new in edits:
        assert start >= last and end - start == len(new)
        total, last = total + len(new), end
    assert total == 1300 * 3 * (60 * 1024 + 708 * 124)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def test_three_gigabytes_of_native_pixels_take_no_memory(tmp_path: Path) -> None:
    dataset = image(768, 1024, 1300, 8, 3, 0, EXPLICIT, "RGB")
    stream = io.BytesIO()
    dataset.PixelData = b""
    dataset.save_as(stream, enforce_file_format=True)
    path, size = tmp_path / "large.dcm", 1300 * 768 * 1024 * 3
    with path.open("wb") as out:
        out.write(stream.getvalue()[:-4] + struct.pack("<I", size))
        out.truncate(len(stream.getvalue()) + size)  # sparse
    finished = subprocess.run([sys.executable, "-c", LARGE, path], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout) < 60_000  # KiB


def test_many_frames_are_reencoded_through_a_temporary_file(tmp_path: Path) -> None:
    dataset = image(512, 512, 30, 8, 3, 0, EXPLICIT, "RGB")
    frame = np.random.default_rng(4).integers(0, 255, (512, 512, 3), np.uint8)
    dataset.PixelData = frame.tobytes()
    dataset.NumberOfFrames = 1
    compressed(dataset)
    fragment = fragments(dataset)[0]
    dataset.PixelData, dataset["PixelData"].VR = encapsulate([fragment] * 30), "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.NumberOfFrames = 30
    path = tmp_path / "many.dcm"
    dataset.save_as(path, enforce_file_format=True)
    with open_part10(str(path)) as source:
        assert source.file is not None
        blanked = blank(source, described(source), [Rectangle(0, 0, 512, 100)])
        assert len(blanked.edits) > 16
        got = frames(result(source, blanked))
    frame[:100] = 0
    assert (got == frame).all()


def test_extended_offsets_of_many_frames_are_understood() -> None:
    dataset = image(8, 8, 2, 8, 1, 0, EXPLICIT, "MONOCHROME2")
    dataset.PixelData = bytes(range(128))
    compressed(dataset)
    parts = fragments(dataset)
    dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(parts)
    dataset["PixelData"].is_undefined_length = True
    source = opened(dataset)
    after = result(source, blank(source, described(source), [Rectangle(0, 0, 8, 1)]))
    assert "ExtendedOffsetTable" not in after
    assert frames(after)[1, 1, 0, 0] == 72
