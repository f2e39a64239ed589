"""C-FIND of the study root, by DCMTK's and pynetdicom's clients."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as STUDY_ROOT  # type: ignore[attr-defined]

from tests.unit.datacentre.pacs.rooms import FINDSCU, STORESCU, receiving, sample
from toolkit.datacentre.pacs.receiver import Receiver


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """Three studies: one of two series with two instances each, one of MR, one without a date."""
    home = tmp_path_factory.mktemp("find")
    source = home / "source"
    source.mkdir()
    some = (
        ("1.2.1", "1.2.1.1", "CT", "20260110"), ("1.2.1", "1.2.1.1", "CT", "20260110"),
        ("1.2.1", "1.2.1.2", "SR", "20260110"), ("1.2.1", "1.2.1.2", "SR", "20260110"),
        ("1.2.2", "1.2.2.1", "MR", "20260215"), ("1.2.3", "1.2.3.1", "CT", ""),
    )  # fmt: skip
    for number, (study, series, modality, date) in enumerate(some, 1):
        words = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": f"{series}.{number}", "Modality": modality}
        sample(source / f"{number}.dcm", StudyDate=date, PatientID=f"k1.{study[-1]}", AccessionNumber=f"TOKEN{study[-1]}", **words)
    with receiving(home) as made:
        subprocess.run([STORESCU, "+sd", "127.0.0.1", str(made.port), str(source)], check=True, timeout=30)
        yield made


def ask(receiver: Receiver, level: str, **words: str) -> tuple[list[Dataset], set[int]]:
    """The matches, and all statuses."""
    entity = AE("ASKER")
    entity.add_requested_context(STUDY_ROOT)
    association = entity.associate("127.0.0.1", receiver.port)
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for keyword, value in words.items():
        setattr(asked, keyword, value.split("\\") if "\\" in value else value)
    found, statuses = [], set()
    for status, match in association.send_c_find(asked, STUDY_ROOT):
        statuses.add(int(status.Status))
        if match is not None:
            found.append(match)
    association.release()
    return found, statuses


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, ["1.2.1", "1.2.2", "1.2.3"]),
        ({"StudyInstanceUID": "1.2.2"}, ["1.2.2"]),
        ({"StudyInstanceUID": "1.2.2\\1.2.3"}, ["1.2.2", "1.2.3"]),
        ({"StudyDate": "20260101-20260131"}, ["1.2.1"]),
        ({"StudyDate": "20260111-"}, ["1.2.2"]),
        ({"StudyDate": "-20260131"}, ["1.2.1"]),
        ({"StudyDate": "20260215"}, ["1.2.2"]),
        ({"AccessionNumber": "TOK*2"}, ["1.2.2"]),
        ({"AccessionNumber": "TOKEN?"}, ["1.2.1", "1.2.2", "1.2.3"]),
        ({"PatientID": "k1.3"}, ["1.2.3"]),
        ({"ModalitiesInStudy": "SR"}, ["1.2.1"]),
        ({"PatientID": "'; DROP TABLE studies; --"}, []),
        ({"AccessionNumber": "%"}, []),
    ],
)
def test_studies(receiver: Receiver, words: dict[str, str], expected: list[str]) -> None:
    found, statuses = ask(receiver, "STUDY", **{"StudyInstanceUID": "", **words})
    assert [match.StudyInstanceUID for match in found] == expected
    assert statuses == ({0xFF00, 0} if expected else {0})


def test_counts_and_modalities(receiver: Receiver) -> None:
    words = dict.fromkeys(("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "ModalitiesInStudy", "PatientName"), "")
    (match,), statuses = ask(receiver, "STUDY", StudyInstanceUID="1.2.1", **words)
    assert (match.NumberOfStudyRelatedSeries, match.NumberOfStudyRelatedInstances) == (2, 4)
    assert list(match.ModalitiesInStudy) == ["CT", "SR"] and not match.PatientName
    assert match.QueryRetrieveLevel == "STUDY" and match.RetrieveAETitle == "MDC" and statuses == {0xFF00, 0}


def test_series_and_instances(receiver: Receiver) -> None:
    found, _ = ask(receiver, "SERIES", StudyInstanceUID="1.2.1", SeriesInstanceUID="", Modality="S*", NumberOfSeriesRelatedInstances="")
    assert [(match.SeriesInstanceUID, match.NumberOfSeriesRelatedInstances) for match in found] == [("1.2.1.2", 2)]
    found, _ = ask(receiver, "IMAGE", StudyInstanceUID="1.2.1", SeriesInstanceUID="1.2.1.1", SOPInstanceUID="", SOPClassUID="")
    assert [match.SOPInstanceUID for match in found] == ["1.2.1.1.1", "1.2.1.1.2"]


def test_a_criterion_that_is_not_kept_is_told(receiver: Receiver) -> None:
    found, statuses = ask(receiver, "STUDY", StudyInstanceUID="", PatientName="KOWALSKA*")
    assert len(found) == 3 and statuses == {0xFF01, 0}


@pytest.mark.parametrize(("level", "words"), [("PATIENT", {}), ("STUDY", {"StudyDate": "January"})])
def test_queries_that_are_none(receiver: Receiver, level: str, words: dict[str, str]) -> None:
    _, statuses = ask(receiver, level, **words)
    assert statuses <= {0xA900, 0xC000} and statuses


def test_dcmtk_asks(receiver: Receiver) -> None:
    keys = ["QueryRetrieveLevel=STUDY", "StudyInstanceUID", "AccessionNumber=TOKEN1", "NumberOfStudyRelatedInstances"]
    command = [FINDSCU, "-v", "-S", *(word for key in keys for word in ("-k", key)), "127.0.0.1", str(receiver.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "[1.2.1]" in said.replace("\0", "") and "Final Find Response (Success)" in said
