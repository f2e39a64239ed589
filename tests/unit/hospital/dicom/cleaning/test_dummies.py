"""Dummies: legal for every VR, independent of the patient, accepted by an independent checker."""

import shutil
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.hospital.dicom.cleaning.dummies import dummy

NUMBERS = {"AT": 4, "FD": 8, "FL": 4, "OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8}
TEXTS = {"AE": 16, "AS": 4, "CS": 16, "DA": 8, "DS": 16, "DT": 26, "IS": 12, "LO": 64, "PN": 64, "SH": 16, "TM": 14, "UI": 64}


@pytest.mark.parametrize("vr", [*NUMBERS, *TEXTS, "OB", "UN", "SQ", "LT", "ST", "UC", "UR", "UT"])
@given(raw=st.binary(max_size=64), big_endian=st.booleans())
def test_every_vr_is_legal_and_says_nothing(vr, raw, big_endian):
    from pydicom import config
    from pydicom.valuerep import validate_value

    value = dummy(vr, 0x00091001, raw, big_endian)
    assert len(value) % 2 == 0
    if vr == "SQ":
        assert value == b""
    elif vr in NUMBERS:
        assert value == bytes(len(value))
        assert len(value) % NUMBERS[vr] == 0
        assert len(value) >= NUMBERS[vr]
    elif vr in ("OB", "UN"):
        assert value == bytes(max(2, len(raw) + len(raw) % 2))
    else:
        for one in value.decode("ascii").rstrip(" \0").split("\\"):
            validate_value(vr, one, config.RAISE)
            assert len(one) <= TEXTS.get(vr, 10_000)
    if vr not in NUMBERS and vr not in ("OB", "UN", "DS", "IS"):
        assert value == dummy(vr, 0x00091001, b"", big_endian), "the original value shows"


def test_numbers_keep_their_multiplicity():
    assert dummy("US", 0x00280106, struct.pack("<3H", 5, 6, 7), False) == bytes(6)
    assert dummy("DS", 0x00200032, b"1.5\\-7.25\\1e3", False) == b"0\\0\\0 "
    assert dummy("IS", 0x00081160, b"4\\5", False) == b"1\\1 "


@pytest.mark.parametrize(
    ("vr", "tag", "raw", "expected"),
    [
        ("CS", 0x00100040, b"F ", b"O "),
        ("AS", 0x00101010, b"045Y", b"000Y"),
        ("CS", 0x0040A040, b"PNAME ", b"PNAME "),
        ("CS", 0x0040A040, b"KOWALSKI", b"TEXT"),
        ("CS", 0x0040A010, b"HAS OBS CONTEXT ", b"HAS OBS CONTEXT "),
        ("CS", 0x04000565, b"KOWALSKI", b"COERCE"),
        ("SH", 0x00080102, b"SCT ", b"99ANON"),
        ("PN", 0x00100010, b"Kowalski^Jan", b"Anonymous "),
    ],
)
def test_attributes_with_enumerated_values(vr, tag, raw, expected):
    assert dummy(vr, tag, raw, False) == expected


def test_byte_order_of_a_number_that_is_not_zero():
    assert struct.unpack("<H", dummy("US", 0x001021C0, b"\1\0", False)) == (4,)
    assert struct.unpack(">H", dummy("US", 0x001021C0, b"\0\1", True)) == (4,)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
def test_a_report_made_of_dummies_has_no_more_errors_than_before(tmp_path):
    """Every leaf that the basic profile makes a dummy, in a real structured report."""
    import pydicom
    from pydicom.data import get_testdata_file

    def errors(dataset):
        dataset.save_as(tmp_path / "report.dcm")
        words = subprocess.run(["dciodvfy", "-new", tmp_path / "report.dcm"], capture_output=True, text=True, check=False).stderr
        return {line for line in words.splitlines() if line.startswith("Error")}

    report = pydicom.dcmread(get_testdata_file("reportsi.dcm"))
    before = errors(report)

    def replace(dataset, element):
        if element.VR not in ("SQ", "UI", "OB or OW"):
            raw = b"\\".join(str(value).encode() for value in (element.value if element.VM > 1 else [element.value]))
            element.value = dummy(element.VR, int(element.tag), raw, False).decode().rstrip(" \0").split("\\")

    for item in report.ContentSequence:
        item.walk(replace)
    assert report.ContentSequence[0].ConceptNameCodeSequence[0].CodingSchemeDesignator == "99ANON"
    assert errors(report) <= before
