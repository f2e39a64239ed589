"""Encoded attributes change their transfer syntax and come back as the same bytes."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.filereader import read_dataset

from toolkit.hospital.dicom.encoding.part10 import open_part10
from toolkit.hospital.dicom.encoding.transcoding import EXPLICIT_LITTLE, IMPLICIT_LITTLE, Encoding, FileBytes, elements, items, transcode

EXPLICIT_BIG = Encoding(False, True)
FILES = ["CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "ExplVR_BigEnd.dcm", "nested_priv_SQ.dcm", "test-SR.dcm", "priv_SQ.dcm"]
FILES += ["reportsi.dcm", "SC_rgb_gdcm_KY.dcm", "UN_sequence.dcm", "DICOMDIR", "MR_small_implicit.dcm", "liver_1frame.dcm", "rtstruct.dcm"]


NOT_TURNED = {"nested_priv_SQ.dcm", "UN_sequence.dcm", "SC_rgb_gdcm_KY.dcm"}  # UN of undefined length is always little-endian; encapsulated


CASES = [(name, form) for name in FILES for form in (EXPLICIT_LITTLE, IMPLICIT_LITTLE)]
CASES += [(name, EXPLICIT_BIG) for name in FILES if name not in NOT_TURNED]


@pytest.mark.parametrize(("name", "form"), CASES, ids=str)
def test_there_and_back(name: str, form: Encoding) -> None:
    """An object in any encoding, its attributes as they travel, and back in the object."""
    with open_part10(get_testdata_file(name)) as source:
        data, own = bytes(source.data[source.start : source.end]), Encoding(source.implicit, source.big_endian)
    there = transcode(data, own, form)
    assert transcode(transcode(there, form, EXPLICIT_LITTLE), EXPLICIT_LITTLE, form) == there
    assert own != form or there == data
    want, got = (read_dataset(BytesIO(raw), it.implicit, not it.big_endian) for raw, it in ((data, own), (there, form)))
    assert [element.tag for element in got] == [element.tag for element in want]
    for element in want:
        if not element.tag.is_private and element.VR not in ("SQ", "UN", "OB", "OW", "OB or OW"):
            assert got[element.tag].value == element.value, element


def test_a_value_too_long_for_its_vr_becomes_unknown() -> None:
    data = b"\x10\x00\x00\x40" + (70000).to_bytes(4, "little") + b"x" * 70000  # (0010,4000) LT in implicit VR
    there = transcode(data, IMPLICIT_LITTLE, EXPLICIT_LITTLE)
    assert there[4:8] == b"UN\0\0"
    assert transcode(there, EXPLICIT_LITTLE, IMPLICIT_LITTLE) == data


def test_a_file_is_walked_by_its_descriptor_as_in_memory(tmp_path: Path) -> None:
    path = get_testdata_file("JPEG2000.dcm")
    with open_part10(path) as source:
        want = list(elements(source.data, EXPLICIT_LITTLE, source.start, source.end))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert list(elements(FileBytes(descriptor, os.path.getsize(path)), EXPLICIT_LITTLE, source.start)) == want
    finally:
        os.close(descriptor)


def test_nesting_without_end_is_an_error() -> None:
    deep = (b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * 5000
    with pytest.raises(ValueError, match="nested|end"):
        list(elements(deep, EXPLICIT_LITTLE))


@given(st.binary(max_size=80), st.sampled_from([EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG]))
def test_any_bytes_are_elements_or_a_value_error(data: bytes, encoding: Encoding) -> None:
    for work in (lambda: list(elements(data, encoding)), lambda: items(data, 0, len(data), encoding)):
        try:
            work()
        except ValueError as error:
            assert str(error)
