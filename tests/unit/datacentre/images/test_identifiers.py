"""What names an object is read from its first elements, whatever stands between them."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from toolkit.core.errors import BadData
from toolkit.datacentre.images.identifiers import identifiers

EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
ITEM, ITEM_END, SEQUENCE_END = (struct.pack("<HHL", 0xFFFE, number, 0) for number in (0xE000, 0xE00D, 0xE0DD))
OPEN_ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)


def element(group: int, number: int, kind: str, value: str) -> bytes:
    raw = value.encode() + (b"\0" if kind == "UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, kind.encode(), len(raw)) + raw


def sequence(content: bytes, kind: bytes = b"SQ") -> bytes:
    return struct.pack("<HH2s2xL", 8, 0x1140, kind, 0xFFFFFFFF) + content + SEQUENCE_END


def written(path: Path, between: bytes = b"", removed: bytes = element(0x12, 0x62, "CS", "YES"), deflated: bool = False) -> Path:
    data = element(8, 0x18, "UI", "1.2.3") + between + element(0x10, 0x20, "LO", "P1") + removed
    data += element(0x20, 0x0D, "UI", "1.2") + element(0x20, 0x0E, "UI", "1.3")
    if deflated:
        maker = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
        data = maker.compress(data) + maker.flush()
    path.write_bytes(data)
    return path


YES, NO = element(0x12, 0x62, "CS", "YES"), element(0x12, 0x62, "CS", "NO")


@pytest.mark.parametrize("removed", [NO + YES, YES + NO, YES + YES, YES + element(0x20, 0x0B, "SH", "") + NO])
def test_what_stands_there_twice_is_not_believed(tmp_path: Path, removed: bytes) -> None:
    with pytest.raises(BadData):
        identifiers(written(tmp_path / "x", removed=removed), 0, EXPLICIT)


@pytest.mark.parametrize("content", [ITEM, OPEN_ITEM + YES + ITEM_END, struct.pack("<HHL", 0xFFFE, 0xE000, len(YES)) + YES])
def test_a_sequence_says_nothing_of_the_object(tmp_path: Path, content: bytes) -> None:
    for within in (content, OPEN_ITEM + sequence(content) + ITEM_END):
        found = identifiers(written(tmp_path / "x", sequence(within), b""), 0, EXPLICIT)
        assert (found.removed, found.patient, found.series_uid) == ("", "P1", "1.3")


@pytest.mark.parametrize("deflated", [False, True])
def test_millions_of_items_take_neither_time_nor_memory(tmp_path: Path, deflated: bool) -> None:
    path = written(tmp_path / "x", sequence(ITEM * 1_500_000), deflated=deflated)
    begun = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(BadData):
            identifiers(path, 0, DEFLATED if deflated else EXPLICIT)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < 8


def test_nested_as_they_should_not_be(tmp_path: Path) -> None:
    for content in (ITEM_END, YES, OPEN_ITEM, sequence(OPEN_ITEM * 5000), OPEN_ITEM + SEQUENCE_END):
        with pytest.raises(BadData):
            identifiers(written(tmp_path / "x", sequence(content)), 0, EXPLICIT)


@pytest.mark.filterwarnings("ignore")
def test_as_pydicom_reads_its_own_files() -> None:
    compared = 0
    for name in sorted(Path(str(get_testdata_file("CT_small.dcm"))).parent.glob("*.dcm")):
        try:
            whole = pydicom.dcmread(name, stop_before_pixels=True)
            start = 144 + whole.file_meta.FileMetaInformationGroupLength
            syntax = str(whole.file_meta.TransferSyntaxUID)
            wanted = [str(whole.get(word, "") or "") for word in ("SOPInstanceUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID")]
        except Exception:
            continue  # damaged on purpose
        if "SeriesInstanceUID" not in whole or name.read_bytes()[128:132] != b"DICM":
            continue
        found = identifiers(name, start, syntax)
        assert [found.instance_uid, found.patient, found.study_uid, found.series_uid] == wanted, name
        compared += 1
    assert compared > 50
