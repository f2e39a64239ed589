"""Orthanc and our two commands: objects, queries and storage commitment both ways, plain and with TLS on both sides."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.interoperability import both_ways
from tests.interoperability.ours import Pacs, dicom_send, mdc_pacs
from tests.peers import orthanc
from tests.peers.dcmtk import Tls, free_port
from tests.unit.hospital.images.samples import image
from tests.visits.certificates import Certificates

pytestmark = pytest.mark.usefixtures("needs_orthanc")
PADDING = (0xFFFC, 0xFFFC)  # DCMTK, which Orthanc is built on, does not send it
NAMES = ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "reportsi.dcm"]
SENDER = "STANNA"


@pytest.fixture(scope="module", params=["plain", "tls"])
def sides(request: pytest.FixtureRequest, certificates: Certificates) -> tuple[Tls | None, Tls | None]:
    """What Orthanc and our command are given."""
    if request.param == "plain":
        return None, None
    return both_ways.issue(certificates, "orthanc"), both_ways.issue(certificates, "ours")


@pytest.fixture(scope="module")
def there(sides: tuple[Tls | None, Tls | None]) -> Iterator[orthanc.Server]:
    if orthanc.program() is None:
        pytest.skip(f"needs Orthanc: apt-get install {orthanc.PACKAGE}")
    with orthanc.server(sides[0]) as server:
        yield server


@pytest.fixture
def pacs(tmp_path: Path, there: orthanc.Server, sides: tuple[Tls | None, Tls | None]) -> Iterator[Pacs]:
    """A receiver that Orthanc knows as ``mdc``, and that knows where Orthanc takes reports."""
    with mdc_pacs(tmp_path / "there", sides[1], "--peer", f"{orthanc.TITLE}=localhost:{there.port}") as running:
        there.know("mdc", running.title, running.port, sides[1] is not None)
        yield running


def uploaded(server: orthanc.Server, directory: Path) -> dict[str, Path]:
    """Images that Orthanc holds; the file by instance UID."""
    made = {image(directory / name, name): directory / name for name in NAMES}
    for path in made.values():
        assert server.ask("/instances", path.read_bytes())["Status"] == "Success"
    return made


def identifiers(server: orthanc.Server, instances: list[str]) -> list[str]:
    """Orthanc's own identifiers of instances."""
    return [server.ask("/tools/lookup", uid.encode())[0]["ID"] for uid in instances]


def said(server: orthanc.Server, transaction: str) -> Any:
    """What Orthanc was told in a transaction of storage commitment."""
    end = time.monotonic() + 20
    while (report := server.ask(f"/storage-commitment/{transaction}"))["Status"] == "Pending":
        assert time.monotonic() < end, "no report"
        time.sleep(0.05)
    return report


def same(one: pydicom.Dataset, other: pydicom.Dataset) -> None:
    for dataset in (one, other):
        dataset.pop(PADDING, None)
    assert one == other


def test_dicom_send_to_orthanc_and_its_commitment(tmp_path: Path, there: orthanc.Server, sides: tuple[Tls | None, Tls | None]) -> None:
    """Orthanc says on an association of its own that it keeps what it got; the second run sends nothing again."""
    made = {image(tmp_path / "out" / name, name): tmp_path / "out" / name for name in NAMES}
    port = free_port()
    there.know(SENDER.lower(), SENDER, port, sides[1] is not None)
    words = ["--calling", SENDER, "--commit", "--listen", f"localhost:{port}", "--journal", tmp_path / "journal", "--timeout", "20"]
    sent = dicom_send(tmp_path, there.port, *words, tmp_path / "out", tls=sides[1], called=orthanc.TITLE)
    assert (sent.status, sent.stderr) == (0, "")
    assert sent.states == dict.fromkeys(NAMES, "committed")
    for instance, identifier in zip(made, identifiers(there, list(made)), strict=True):
        same(pydicom.dcmread(io.BytesIO(there.ask(f"/instances/{identifier}/file"))), pydicom.dcmread(made[instance]))
    again = dicom_send(tmp_path, there.port, *words, tmp_path / "out", tls=sides[1], called=orthanc.TITLE)
    assert (again.status, set(again.states.values())) == (0, {"known"})


def test_orthanc_to_mdc_pacs_and_its_commitment(tmp_path: Path, there: orthanc.Server, pacs: Pacs) -> None:
    made = uploaded(there, tmp_path / "in")
    there.ask("/modalities/mdc/echo", {}, "POST")
    asked = {"Resources": identifiers(there, list(made)), "StorageCommitment": True, "Synchronous": True}
    done = there.ask("/modalities/mdc/store", asked)
    assert done["FailedInstancesCount"] == 0 and pacs.kept().keys() == made.keys()
    for instance, path in pacs.kept().items():
        same(pydicom.dcmread(path), pydicom.dcmread(made[instance]))
    report = said(there, done["StorageCommitmentTransactionUID"])
    assert report["Status"] == "Success" and {one["SOPInstanceUID"] for one in report["Success"]} == made.keys()


def test_what_mdc_pacs_does_not_keep_is_said(tmp_path: Path, there: orthanc.Server, pacs: Pacs) -> None:
    held = image(tmp_path / "one.dcm")
    assert there.ask("/instances", (tmp_path / "one.dcm").read_bytes())["Status"] == "Success"
    there.ask("/modalities/mdc/store", {"Resources": identifiers(there, [held]), "Synchronous": True})
    sop_class = str(pydicom.uid.CTImageStorage)
    objects = [[sop_class, held], [sop_class, "1.2.3.4"], [str(pydicom.uid.MRImageStorage), held]]
    report = said(there, there.ask("/modalities/mdc/storage-commitment", {"DicomInstances": objects})["ID"])
    assert report["Status"] == "Failure"
    assert [one["SOPInstanceUID"] for one in report["Success"]] == [held]
    reasons = {(one["SOPClassUID"], one["SOPInstanceUID"]): one["FailureReason"] for one in report["Failures"]}
    assert reasons == {
        (sop_class, "1.2.3.4"): 0x0112,
        (objects[2][0], held): 0x0119,
    }  # PS3.3 C.14: no such object; class and instance conflict


def test_identified_objects_stay_in_orthanc(tmp_path: Path, there: orthanc.Server, pacs: Pacs) -> None:
    instance = image(tmp_path / "one.dcm", removed=None, PatientName="Kowalska^Anna")
    assert there.ask("/instances", (tmp_path / "one.dcm").read_bytes())["Status"] == "Success"
    with pytest.raises(orthanc.Refused, match="0xc062|C062|\\(500\\)|failed"):
        there.ask("/modalities/mdc/store", {"Resources": identifiers(there, [instance]), "Synchronous": True})
    assert not pacs.kept() and "Kowalska" not in pacs.log.read_text()


def test_orthanc_finds_what_is_there(tmp_path: Path, there: orthanc.Server, pacs: Pacs) -> None:
    made = uploaded(there, tmp_path / "in")
    there.ask("/modalities/mdc/store", {"Resources": identifiers(there, list(made)), "Synchronous": True})
    one = pydicom.dcmread(next(iter(made.values())))

    def found(level: str, **query: str) -> list[dict[str, str]]:
        asked = there.ask("/modalities/mdc/query", {"Level": level, "Query": query})["ID"]
        return list(there.ask(f"/queries/{asked}/answers?expand&simplify"))

    studies = {str(pydicom.dcmread(path).StudyInstanceUID) for path in made.values()}
    assert {answer["StudyInstanceUID"] for answer in found("Study", StudyInstanceUID="")} == studies
    (series,) = found("Series", StudyInstanceUID=str(one.StudyInstanceUID), SeriesInstanceUID="", Modality="")
    assert (series["SeriesInstanceUID"], series["Modality"]) == (one.SeriesInstanceUID, one.Modality)
    named = {"StudyInstanceUID": str(one.StudyInstanceUID), "SeriesInstanceUID": str(one.SeriesInstanceUID)}
    (instance,) = found("Instance", **named, SOPInstanceUID="")
    assert instance["SOPInstanceUID"] == one.SOPInstanceUID
    assert found("Study", StudyInstanceUID="1.2.3") == []
