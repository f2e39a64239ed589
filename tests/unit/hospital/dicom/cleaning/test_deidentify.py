"""One object from end to end: what changes, what stays byte for byte, what is held back, and that the patch gives the original."""

from __future__ import annotations

import io
import os
import tempfile
from datetime import UTC, datetime

import pydicom
import pytest

from toolkit.core.keys import Key
from toolkit.hospital.dicom.cleaning.deidentify import Deidentified, Deidentifier
from toolkit.hospital.dicom.cleaning.pseudonyms import Pseudonyms
from toolkit.hospital.dicom.cleaning.quarantine import Quarantine, Reason
from toolkit.hospital.dicom.encoding.elements import element, item, meta_information, padded
from toolkit.hospital.dicom.encoding.part10 import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Part10, from_bytes
from toolkit.hospital.dicom.encoding.patch import restore
from toolkit.hospital.dicom.pixels.risk import read_pixel_rules
from toolkit.hospital.dicom.rules.profile import Options, compile_policy

CT = b"1.2.840.10008.5.1.4.1.1.2"
PSEUDONYMS = Pseudonyms(Key("k1", datetime(2026, 1, 1, tzinfo=UTC), bytes(range(32))))
ENCODINGS = [(IMPLICIT_LITTLE, True, False), (EXPLICIT_LITTLE, False, False), (EXPLICIT_BIG, False, True)]
ENDLESS = b"\xff\xff\xff\xff"


def deidentifier(**options: object) -> Deidentifier:
    return Deidentifier(compile_policy(Options(**options)), PSEUDONYMS, read_pixel_rules(None))  # type: ignore[arg-type]


def made(*elements: tuple[int, str, bytes], syntax: str = EXPLICIT_LITTLE, implicit: bool = False, big: bool = False) -> Part10:
    base = [(0x00080016, "UI", CT), (0x00080018, "UI", b"1.2.3.4"), (0x0020000D, "UI", b"1.2.3"), (0x0020000E, "UI", b"1.2.3.1")]
    every = {tag: (vr, value) for tag, vr, value in (*base, *elements)}
    body = b"".join(element(tag, vr, padded(value, vr), implicit, big) for tag, (vr, value) in sorted(every.items()))
    return from_bytes(meta_information(CT, b"1.2.3.4", syntax) + body)


def written(done: Deidentified) -> bytes:
    with tempfile.TemporaryFile() as file:
        done.write_to(file.fileno())
        return os.pread(file.fileno(), 1 << 24, 0)


def outcome(source: Part10, **options: object) -> pydicom.Dataset:
    """The anonymised data set as pydicom reads it, after the original came back from it byte for byte."""
    done = deidentifier(**options)(source)
    output = written(done)
    back = io.BytesIO()
    restore(from_bytes(output), done.patch(), back)
    assert back.getvalue() == source.data
    return pydicom.dcmread(io.BytesIO(output))


@pytest.mark.parametrize(("syntax", "implicit", "big"), ENCODINGS)
def test_the_same_happens_in_every_encoding(syntax: str, implicit: bool, big: bool) -> None:
    physicians = item(element(0x00400000 | 0x1101, "SQ", b"", implicit, big) + element(0x00080080, "LO", b"St Mary ", implicit, big), big)
    source = made(
        (0x00080020, "DA", b"20200131"),
        (0x00080050, "SH", b"A123456"),
        (0x00081030, "LO", b"Head of Doe"),
        (0x00081049, "SQ", physicians),
        (0x00100010, "PN", b"Doe^Jane"),
        (0x00100020, "LO", b"P-77 "),
        (0x00101010, "AS", b"040Y"),
        (0x00110010, "LO", b"ACME"),
        (0x00111001, "LO", b"Doe, Jane"),
        (0x00280010, "US", b"\0\x08" if big else b"\x08\0"),
        syntax=syntax, implicit=implicit, big=big,
    )  # fmt: skip
    data = outcome(source)
    assert data.PatientName == "" and data.PatientAge == "040Y" and data.Rows == 8
    assert data.PatientID == PSEUDONYMS.patient("P-77")
    assert data.AccessionNumber == PSEUDONYMS.token("accession", "A123456")
    assert data.SOPInstanceUID == data.file_meta.MediaStorageSOPInstanceUID == PSEUDONYMS.uid("1.2.3.4")
    assert "StudyDescription" not in data and 0x00081049 not in data and 0x00110010 not in data
    assert (datetime.strptime(data.StudyDate, "%Y%m%d") - datetime(2020, 1, 31)).days == PSEUDONYMS.shift_days("P-77")
    assert data.PatientIdentityRemoved == "YES" and data.LongitudinalTemporalInformationModified == "MODIFIED"
    assert [code.CodeValue for code in data.DeidentificationMethodCodeSequence] == ["113100", "113107", "113108"]
    assert list(data.keys()) == sorted(data.keys())


@pytest.mark.parametrize("lengths", ["defined", "endless sequence", "endless item", "endless both"])
def test_lengths_of_sequences_around_a_change_are_mended(lengths: str) -> None:
    content = element(0x00080100, "SH", b"T-1 ", False, False) + element(0x00080104, "LO", b"Hand of OLD-4711", False, False)
    one = item(content, False)
    if lengths in ("endless item", "endless both"):
        one = one[:4] + ENDLESS + content + b"\xfe\xff\x0d\xe0\0\0\0\0"
    value = one * 2
    if lengths in ("endless sequence", "endless both"):
        value += b"\xfe\xff\xdd\xe0\0\0\0\0"
    source = made((0x00082218, "SQ", value), (0x00100020, "LO", b"OLD-4711"))
    if lengths in ("endless sequence", "endless both"):
        at = source.data.index(b"\x08\x00\x18\x22SQ") + 8
        source = from_bytes(source.data[:at] + ENDLESS + source.data[at + 4 :])
    data = outcome(source)
    assert [code.CodeMeaning for code in data.AnatomicRegionSequence] == ["Hand of *"] * 2
    assert data.PatientID == PSEUDONYMS.patient("OLD-4711")


def test_what_identifies_in_a_removed_place_is_cut_from_what_stays() -> None:
    nested = item(element(0x00100020, "LO", b"OLD-4711", False, False) + element(0x00111001, "LO", b"x ", False, False), False)
    source = made((0x00101002, "SQ", nested), (0x00181020, "LO", b"v1 for OLD-4711"))
    data = outcome(source)
    assert 0x00101002 not in data
    assert data.SoftwareVersions == "v1 for *"


def test_an_older_mark_is_written_anew_among_removed_neighbours() -> None:
    source = made((0x00120010, "LO", b"Sponsor "), (0x00120062, "CS", b"NO"), (0x00120063, "LO", b"by hand "), (0x00120071, "LO", b"S1"))
    data = outcome(source)
    assert data.PatientIdentityRemoved == "YES"
    assert "by hand" not in str(data.DeidentificationMethod)
    assert list(data.keys()) == sorted(data.keys())


def test_zeros_behind_the_last_element_and_group_lengths_go() -> None:
    body = made((0x00080000, "UL", b"\1\0\0\0"), (0x00100020, "LO", b"1 ")).data
    data = outcome(from_bytes(body + bytes(512)))
    assert 0x00080000 not in data and data.PatientID


def nested(depth: int) -> bytes:
    value = b""
    for _ in range(depth):
        value = item(element(0x0040A730, "SQ", value, False, False), False)
    return value


@pytest.mark.parametrize(
    ("tag", "vr", "value", "reason"),
    [
        (0x0040A730, "SQ", nested(500), Reason.TOO_DEEP),
        (0x00081140, "SQ", b"garbage!", Reason.BROKEN_NESTING),
        (0x00081140, "SQ", b"\xfe\xff\x00\xe0\xff\0\0\0", Reason.BROKEN_NESTING),
        (0x00081140, "SQ", b"\xfe\xff\x00\xe0" + ENDLESS, Reason.BROKEN_NESTING),
        (0x00081140, "LO", b"not a sequence", Reason.BROKEN_ELEMENT),
        (0x00100020, "SQ", item(b"", False), Reason.BROKEN_ELEMENT),
        (0x00100021, "??", b"1 ", Reason.BROKEN_ELEMENT),
        (0x00080016, "UI", b"1.2.840.10008.1.3.10", Reason.DIRECTORY_RECORD),
        (0x00420011, "OB", b"%PDF", Reason.ENCAPSULATED_DOCUMENT),
    ],
)
def test_what_cannot_be_walked_with_certainty_is_held_back(tag: int, vr: str, value: bytes, reason: Reason) -> None:
    with pytest.raises(Quarantine) as caught:
        deidentifier()(made((tag, vr, value)))
    assert caught.value.reason is reason
    assert "1.2.3" not in str(caught.value)


def test_an_object_without_an_identity_is_held_back() -> None:
    body = element(0x00080016, "UI", CT + b"\0", False, False) + element(0x00100020, "LO", b"1 ", False, False)
    with pytest.raises(Quarantine) as caught:
        deidentifier()(from_bytes(meta_information(CT, b"1", EXPLICIT_LITTLE) + body))
    assert caught.value.reason is Reason.NO_IDENTITY


def test_a_kept_uid_that_would_leave_the_output_directory_is_held_back() -> None:
    with pytest.raises(Quarantine) as caught:
        deidentifier(retain_uids=True)(made((0x0020000E, "UI", b"../../../etc/passwd")))
    assert caught.value.reason is Reason.NO_IDENTITY
    assert deidentifier()(made((0x0020000E, "UI", b"../../../etc/passwd"))).series_uid.startswith("2.25.")


def test_well_known_uids_stay() -> None:
    data = outcome(made((0x00200052, "UI", b"1.2.840.10008.1.4.1.1")))
    assert data.FrameOfReferenceUID == "1.2.840.10008.1.4.1.1"


def test_the_report_names_places_and_actions_never_values() -> None:
    nested_one = item(element(0x00080050, "SH", b"A123456 ", False, False), False)
    done = deidentifier()(made((0x00400275, "SQ", nested_one), (0x00100010, "PN", b"Doe^Jane")), report=True)
    assert ("(0010,0010)", "empty", "Z") in done.actions
    assert not any("Doe" in word or "A123456" in word for action in done.actions for word in action)
