"""The second pass finds each kind of thing that the first could have left, and nothing in what was done well."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from toolkit.core.keys import create_keys, read_keys
from toolkit.hospital.dicom.cleaning.deidentify import Deidentifier
from toolkit.hospital.dicom.cleaning.pseudonyms import Pseudonyms
from toolkit.hospital.dicom.cleaning.verify import verify
from toolkit.hospital.dicom.encoding.part10 import from_bytes
from toolkit.hospital.dicom.pixels.pixel_rules import read_pixel_rules
from toolkit.hospital.dicom.rules.profile import Options, compile_policy

HOSPITAL, BASIC = Options(), Options(profile="basic")


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def written(data: Dataset) -> bytes:
    stream = BytesIO()
    pydicom.dcmwrite(stream, data)
    return stream.getvalue()


@pytest.fixture(scope="module")
def original() -> bytes:
    data = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    data.PatientName, data.PatientID, data.PatientBirthDate = "Müller^Ünsal", "PX-4711", "19370213"
    data.SpecificCharacterSet = "ISO_IR 100"
    data.InstitutionName, data.AccessionNumber = "Saint Nowhere", "A123456789"
    return written(data)


@pytest.fixture(scope="module")
def anonymise(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes, Options], bytes]:
    key = tmp_path_factory.mktemp("key") / "key"
    create_keys(str(key))
    pseudonyms = Pseudonyms(read_keys(str(key)).current)

    def run(content: bytes, options: Options) -> bytes:
        done = Deidentifier(compile_policy(options), pseudonyms, read_pixel_rules(None))(from_bytes(content))
        return done.header + b"".join(map(bytes, done.pieces()))

    return run


@pytest.mark.parametrize(
    "options", [HOSPITAL, BASIC, Options(retain_uids=True, retain_dates=True), Options(profile="basic", edition="2024e")]
)
def test_nothing_is_found_in_what_was_done_well(options, original, anonymise, tmp_path: Path):
    output = anonymise(original, options)
    assert verify(original, output, options) == []
    (tmp_path / "a").write_bytes(original)
    (tmp_path / "b").write_bytes(output)
    assert verify(tmp_path / "a", tmp_path / "b", options) == []


def set_to(keyword: str, value: object) -> Callable[[Dataset, Dataset], None]:
    return lambda after, before: setattr(after, keyword, value)


def as_before(keyword: str) -> Callable[[Dataset, Dataset], None]:
    return lambda after, before: setattr(after, keyword, before.get(keyword))


def private(after: Dataset, before: Dataset) -> None:
    after.add(DataElement(0x00091001, "LO", "x"))


def sender(after: Dataset, before: Dataset) -> None:
    after.file_meta.SourceApplicationEntityTitle = "CT1"


def other_instance(after: Dataset, before: Dataset) -> None:
    after.file_meta.MediaStorageSOPInstanceUID = "1.2.3"


def preamble(after: Dataset, before: Dataset) -> None:
    after.preamble = b"II*\0".ljust(128, b"\0")


def nested(after: Dataset, before: Dataset) -> None:
    item = Dataset()
    item.ManufacturerModelName = "of Muller"
    after.ReferencedStudySequence = Sequence([item])


def bytes_of(after: Dataset, before: Dataset) -> None:
    after.add(DataElement(0x00282000, "OB", b"\1\2PX-4711\3\4"))


FAULTS = {
    "(0010,0010): the original value": as_before("PatientName"),
    "(0010,0020): the original value": as_before("PatientID"),
    "(0020,000D): the original value": as_before("StudyInstanceUID"),
    "(0008,0020): the original value": as_before("StudyDate"),
    "(0010,4000): it is still there": set_to("PatientComments", "quiet"),
    "(0009,1001): a private attribute": private,
    "(0018,1020): an identifying value": set_to("SoftwareVersions", "done by MULLER"),
    "(0018,1261): an identifying value": set_to("PhosphorType", "id px-4711!"),
    "(0018,7006): an identifying value": set_to("DetectorDescription", "born 13.02.1937"),
    "(0018,5020): an identifying value": set_to("ProcessingFunction", "acc A123456789"),
    "(0008,1110)[0].(0008,1090): an identifying value": nested,
    "(0028,2000): an identifying value": bytes_of,
    "(0002,0016): the meta information names a sender": sender,
    "(0002,0003): the meta information names another": other_instance,
    "preamble: it is not empty": preamble,
    "(0012,0062): it is not YES": set_to("PatientIdentityRemoved", "NO"),
    "(0012,0063): the method is not named": set_to("DeidentificationMethod", ""),
}


@pytest.mark.parametrize("expected", FAULTS)
def test_each_kind_of_fault_is_found(expected, original, anonymise):
    before = pydicom.dcmread(BytesIO(original))
    after = pydicom.dcmread(BytesIO(anonymise(original, HOSPITAL)))
    FAULTS[expected](after, copy.deepcopy(before))
    stream = BytesIO()
    pydicom.dcmwrite(stream, after, enforce_file_format=False)
    problems = verify(original, stream.getvalue(), HOSPITAL)
    assert any(problem.startswith(expected) for problem in problems), problems
    assert not any(secret in problem for problem in problems for secret in ("ller", "4711", "1937"))


def test_options_say_what_may_stay(original):
    problems = verify(original, original, Options(retain_uids=True, retain_dates=True, safe_private=True))
    places = {problem.split(":")[0] for problem in problems}
    assert "(0010,0010)" in places
    assert not places & {"(0020,000D)", "(0008,0020)", "(0010,0040)"}


def test_what_cannot_be_read_back_does_not_pass(original):
    assert verify(original, b"", HOSPITAL) != []
    assert verify(original, b"\0" * 400, HOSPITAL) != []
