"""DCMTK's findscu asks mdc-pacs at each level (PS3.4 C.6.2, study root), with TLS on both sides and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.interoperability.objects import ROOT_UID
from tests.interoperability.ours import Pacs, dicom_send, mdc_pacs
from tests.peers import dcmtk
from tests.peers.dcmtk import Tls
from tests.unit.hospital.images.samples import image
from tests.visits.certificates import Certificates

pytestmark = pytest.mark.usefixtures("needs_dcmtk")
STUDIES = {  # patient, accession number and date of each; two series of two instances
    f"{ROOT_UID}.10": ("PAT-AAAA", "ACC-1111", "20240110"),
    f"{ROOT_UID}.20": ("PAT-AAAA", "ACC-2222", "20240220"),
    f"{ROOT_UID}.30": ("PAT-BBBB", "ACC-3333", "20250330"),
}


@pytest.fixture(scope="module", params=["plain", "tls"])
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[tuple[Pacs, Tls | None]]:
    """A receiver with all of it, and what clients show it."""
    home, tls = tmp_path_factory.mktemp("find"), request.param == "tls"
    receiver, client = (Tls(certificates.server, certificates.ca), Tls(certificates.client, certificates.ca)) if tls else (None, None)
    for study, (patient, accession, date) in STUDIES.items():
        for series, modality in (("1", "CT"), ("2", "MR")):
            for number in ("1", "2"):
                uids = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.{series}", "SOPInstanceUID": f"{study}.{series}.{number}"}
                words = {"PatientID": patient, "AccessionNumber": accession, "StudyDate": date, "Modality": modality}
                image(home / "out" / f"{study}.{series}.{number}.dcm", **uids, **words)
    with mdc_pacs(home / "there", receiver) as pacs:
        sent = dicom_send(home, pacs.port, home / "out", tls=client)
        assert sent.status == 0 and len(pacs.kept()) == 12, sent.stderr
        yield pacs, client


def ask(filled: tuple[Pacs, Tls | None], directory: Path, level: str, *keys: str) -> list[Dataset]:
    """findscu's answers, which it writes to files."""
    pacs, tls = filled
    words = [word for key in (f"QueryRetrieveLevel={level}", *keys) for word in ("-k", key)]
    done = dcmtk.client("findscu", pacs.port, "-v", "-S", "-aec", pacs.title, "-X", "-od", str(directory), *words, tls=tls)
    assert done.returncode == 0 and "Success" in done.stderr + done.stdout, done.stderr + done.stdout
    return [pydicom.dcmread(path, force=True) for path in sorted(directory.glob("rsp*.dcm"))]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("StudyInstanceUID", [".10", ".20", ".30"]),
        (f"StudyInstanceUID={ROOT_UID}.20", [".20"]),
        (f"StudyInstanceUID={ROOT_UID}.10\\{ROOT_UID}.30", [".10", ".30"]),
        ("PatientID=PAT-AAAA", [".10", ".20"]),
        ("PatientID=PAT-*", [".10", ".20", ".30"]),
        ("PatientID=PAT-B?BB", [".30"]),
        ("AccessionNumber=ACC-2222", [".20"]),
        ("AccessionNumber=*3333", [".30"]),
        ("StudyDate=20240110", [".10"]),
        ("StudyDate=20240101-20241231", [".10", ".20"]),
        ("StudyDate=20240220-", [".20", ".30"]),
        ("StudyDate=-20240220", [".10", ".20"]),
        ("PatientID=nobody", []),
        ("PatientID=100%", []),
        ("PatientID=PAT-____", []),
    ],
)
def test_studies(filled: tuple[Pacs, Tls | None], tmp_path: Path, key: str, expected: list[str]) -> None:
    wanted = ["StudyInstanceUID"] if not key.startswith("StudyInstanceUID") else []
    found = ask(filled, tmp_path, "STUDY", key, *wanted)
    assert sorted(str(answer.StudyInstanceUID).removeprefix(ROOT_UID) for answer in found) == expected
    assert all(answer.QueryRetrieveLevel == "STUDY" for answer in found)


def test_what_is_known_of_a_study(filled: tuple[Pacs, Tls | None], tmp_path: Path) -> None:
    counts = ["NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "ModalitiesInStudy"]
    (answer,) = ask(filled, tmp_path, "STUDY", f"StudyInstanceUID={ROOT_UID}.20", "PatientID", "AccessionNumber", "StudyDate", *counts)
    assert (answer.PatientID, answer.AccessionNumber, answer.StudyDate) == STUDIES[f"{ROOT_UID}.20"]
    assert (answer.NumberOfStudyRelatedSeries, answer.NumberOfStudyRelatedInstances) == (2, 4)
    assert sorted(answer.ModalitiesInStudy) == ["CT", "MR"]


def test_series(filled: tuple[Pacs, Tls | None], tmp_path: Path) -> None:
    study = f"StudyInstanceUID={ROOT_UID}.10"
    found = ask(filled, tmp_path, "SERIES", study, "SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
    answers = {(str(answer.SeriesInstanceUID), answer.Modality, answer.NumberOfSeriesRelatedInstances) for answer in found}
    assert answers == {(f"{ROOT_UID}.10.1", "CT", 2), (f"{ROOT_UID}.10.2", "MR", 2)} and len(found) == 2
    for path in tmp_path.iterdir():
        path.unlink()
    (answer,) = ask(filled, tmp_path, "SERIES", study, "Modality=MR", "SeriesInstanceUID")
    assert answer.SeriesInstanceUID == f"{ROOT_UID}.10.2"


def test_instances(filled: tuple[Pacs, Tls | None], tmp_path: Path) -> None:
    series = [f"StudyInstanceUID={ROOT_UID}.30", f"SeriesInstanceUID={ROOT_UID}.30.2"]
    found = ask(filled, tmp_path, "IMAGE", *series, "SOPInstanceUID", "SOPClassUID")
    assert {str(answer.SOPInstanceUID) for answer in found} == {f"{ROOT_UID}.30.2.1", f"{ROOT_UID}.30.2.2"}
    assert {answer.SOPClassUID for answer in found} == {pydicom.uid.CTImageStorage}


def test_a_query_that_breaks_off(filled: tuple[Pacs, Tls | None], tmp_path: Path) -> None:
    """findscu cancels after one answer (C-CANCEL); the receiver goes on to serve others."""
    pacs, tls = filled
    words = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID"]
    done = dcmtk.client("findscu", pacs.port, "-v", "-S", "--cancel", "1", *words, tls=tls)
    assert done.returncode == 0, done.stderr
    assert len(ask(filled, tmp_path, "STUDY", "StudyInstanceUID")) == 3
