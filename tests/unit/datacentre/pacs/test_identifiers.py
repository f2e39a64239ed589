"""Reading what an object says of itself without reading all of it."""

from __future__ import annotations

import io
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filewriter import write_dataset

from tests.unit.datacentre.pacs.rooms import receiving, sample, storescu
from toolkit.core.errors import BadData
from toolkit.datacentre.images.identifiers import identifiers

EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"


def encoded(dataset: Dataset) -> bytes:
    from pydicom.filebase import DicomBytesIO

    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, dataset)
    return stream.getvalue()


def small() -> Dataset:
    made = Dataset()
    made.SOPInstanceUID, made.PatientIdentityRemoved, made.SeriesInstanceUID = "1.2.3", "YES", "1.2.4"
    return made


@pytest.mark.parametrize("syntax", [DEFLATED, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"])
def test_a_deflated_bomb_is_inflated_no_further_than_needed(tmp_path: Path, syntax: str) -> None:
    deflating, path = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS), tmp_path / "bomb"
    head = encoded(small()) + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\x7f"
    with path.open("wb") as stream:
        stream.write(b"12345" + deflating.compress(head))
        for _ in range(128):
            stream.write(deflating.compress(bytes(1 << 20)))
        stream.write(deflating.flush())
    tracemalloc.start()
    found = identifiers(path, 5, syntax)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.instance_uid, found.removed, found.series_uid) == ("1.2.3", "YES", "1.2.4") and peak < 64 << 20


def test_pixels_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big"
    with path.open("wb") as stream:
        stream.write(encoded(small()) + b"\xe0\x7f\x10\x00OW\0\0\0\0\0\x80")
        stream.truncate(1 << 31)
    begun = time.monotonic()
    assert identifiers(path, 0, EXPLICIT).removed == "YES"
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("content", [b"\xff" * 1000, b"\x08\0\x18\0UI\xff\xff", b"x"])
def test_what_is_no_data_set(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "none"
    path.write_bytes(content)
    try:
        assert identifiers(path, 0, EXPLICIT).removed == ""
    except BadData as error:
        assert "cannot be read" in str(error)


def test_the_audit_log_tells_who_and_what_but_not_whom(tmp_path: Path) -> None:
    import json

    uid = str(dcmread(sample(tmp_path / "one.dcm")).SOPInstanceUID)
    with receiving(tmp_path / "home") as receiver:
        assert storescu(receiver, tmp_path / "one.dcm").returncode == 0
        assert storescu(receiver, sample(tmp_path / "two.dcm", removed="", SOPInstanceUID="1.2.99", PatientName="Kowalska^Anna")).returncode
    first, second = (json.loads(line) for line in io.StringIO((tmp_path / "home/audit").read_text()))
    assert (first["action"], first["client"], first["id"]) == ("receive", "STORESCU", uid) and first["digest"].startswith("sha256:")
    assert second["outcome"] == 0xC062 and "1.2.99" not in json.dumps(second) and "Kowalska" not in json.dumps(second)
