"""What may leave, and what is known of it."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.unit.hospital.images.samples import image
from toolkit.core.errors import BadData
from toolkit.hospital.images.objects import Directory, Identified, look_at

SYNTAXES = [
    "CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "JPEG2000.dcm", "JPEG-lossy.dcm", "MR_small_RLE.dcm",
    "image_dfl.dcm", "reportsi.dcm", "color3d_jpeg_baseline.dcm", "liver_expb.dcm", "693_J2KR.dcm",
]  # fmt: skip


@pytest.mark.parametrize("name", SYNTAXES)
def test_known_as_pydicom_knows_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "one.dcm"
    uid = image(path, name)
    found, read = look_at(str(path)), pydicom.dcmread(path)
    assert (found.instance, found.sop_class, found.transfer_syntax) == (uid, read.SOPClassUID, read.file_meta.TransferSyntaxUID)
    with path.open("rb") as stream:
        pydicom.filereader.read_preamble(stream, False)
        pydicom.filereader._read_file_meta_info(stream)
        assert found.start == stream.tell()
    assert found.start + found.length == path.stat().st_size


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("removed", [None, "NO", "yes", "", "YESS"])
def test_an_identified_object_stays_here(tmp_path: Path, removed: str | None) -> None:
    image(tmp_path / "one.dcm", removed=removed)
    with pytest.raises(Identified, match="identity was not removed"):
        look_at(str(tmp_path / "one.dcm"))


def test_an_attribute_within_a_sequence_says_nothing_of_the_object(tmp_path: Path) -> None:
    for name in ("CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"):
        for undefined in (False, True):
            inner = Dataset()
            inner.PatientIdentityRemoved = "YES"
            inner.is_undefined_length_sequence_item = undefined
            sequence = Sequence([inner])
            sequence.is_undefined_length = undefined
            image(tmp_path / "one.dcm", name, removed=None, ReferencedStudySequence=sequence)
            with pytest.raises(Identified):
                look_at(str(tmp_path / "one.dcm"))


def test_said_twice_is_not_said(tmp_path: Path) -> None:
    """Whoever reads the first one and whoever reads the last one must see the same."""
    path = tmp_path / "one.dcm"
    image(path)
    data = path.read_bytes()
    element = b"\x12\x00\x62\x00CS\4\0YES "
    path.write_bytes(data.replace(element, element[:8] + b"NO  " + element))
    with pytest.raises(BadData, match="twice"):
        look_at(str(path))


def test_without_preamble_and_without_meta_information(tmp_path: Path) -> None:
    path = tmp_path / "one.dcm"
    uid = image(path)
    whole, start = path.read_bytes(), look_at(str(path)).start
    for rest, left in ((whole[132:], start - 132), (whole[start:], 0)):
        path.write_bytes(rest)
        found = look_at(str(path))
        assert (found.instance, found.transfer_syntax, found.start) == (uid, "1.2.840.10008.1.2.1", left)


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "MR_small_implicit.dcm", "image_dfl.dcm"])
def test_no_part_of_an_object_passes_for_a_whole_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / "one.dcm"
    image(path, name)
    whole, cut = path.read_bytes(), tmp_path / "cut.dcm"
    ends = whole.find(b"\xe0\x7f\x10\x00")  # from the pixels on, nothing but a whole value may be there
    chance = random.Random(5)
    for length in {*chance.choices(range(len(whole)), k=150), *range(len(whole) - 6, len(whole))}:
        cut.write_bytes(whole[:length])
        if name == "image_dfl.dcm" and length == len(whole) - 1:  # a byte of padding
            continue
        if 0 < ends < length or name == "image_dfl.dcm":
            with pytest.raises(BadData):
                look_at(str(cut))
        else:
            try:
                look_at(str(cut))  # between two elements of the top level a cut cannot be seen
            except BadData:
                continue


def test_damaged_objects_end_in_words(tmp_path: Path) -> None:
    chance = random.Random(7)
    for name in ("CT_small.dcm", "JPEG2000.dcm", "reportsi.dcm", "MR_small_bigendian.dcm"):
        image(tmp_path / "one.dcm", name)
        whole = (tmp_path / "one.dcm").read_bytes()
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(chance.randrange(1, 6)):
                data[chance.randrange(len(data) if chance.random() < 0.3 else 2000)] = chance.randrange(256)
            (tmp_path / "bad.dcm").write_bytes(data)
            try:
                look_at(str(tmp_path / "bad.dcm"))
            except BadData as error:
                assert "\n" not in str(error) and error.problem


@pytest.mark.parametrize("data", [b"", b"no image at all", bytes(5000), b"%PDF-1.7" + bytes(200), b"DICM" * 50])
def test_what_is_no_dicom(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "one").write_bytes(data)
    with pytest.raises(BadData):
        look_at(str(tmp_path / "one"))


def test_an_index_is_told_from_its_content() -> None:
    with pytest.raises(Directory):
        look_at(str(get_testdata_file("DICOMDIR")))


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "one.dcm"
    image(path)
    found = look_at(str(path))
    assert len(found.digest()) == 32
    image(path)
    os.utime(path, (1, 1))
    with pytest.raises(BadData, match="changed"):
        found.open()
    path.unlink()
    with pytest.raises(BadData, match="No such file"):
        found.open()


@pytest.mark.parametrize(("name", "between"), [("image_dfl.dcm", b"\0"), ("image_dfl.dcm", b""), ("CT_small.dcm", bytes(3 << 20))])
def test_nothing_hides_behind_what_was_looked_at(tmp_path: Path, name: str, between: bytes) -> None:
    """The whole file would be sent."""
    path = tmp_path / "one.dcm"
    image(path, name)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(16))  # padding
    look_at(str(path))
    path.write_bytes(whole + between + b"\x10\0\x10\0PN\x08\0Doe^Jane" + bytes(16))
    with pytest.raises(BadData):
        look_at(str(path))
