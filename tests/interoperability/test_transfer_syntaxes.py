"""From file to file: what dicom-send sends and mdc-pacs keeps is the data set of the file, byte for byte, in every transfer syntax."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import AllTransferSyntaxes

from tests.interoperability.objects import body, from_pydicom, in_every_syntax
from tests.interoperability.ours import dicom_send, mdc_pacs
from tests.peers.dcmtk import Tls
from tests.visits.certificates import Certificates

JPIP = ["1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.95"]  # which pydicom does not know; the second is deflated
STORAGE = [f"1.2.840.10008.5.1.4.1.1.{one}" for one in ("2", "4", "7", "481.2")] + ["1.2.752.24.3.7.6"]  # the last one is one maker's

BROKEN = dict.fromkeys(("emri_small_jpeg_2k_lossless_too_short.dcm", "MR_truncated.dcm", "rtplan_truncated.dcm"), "it is cut short")


def meta(path: Path) -> dict[str, str]:
    found = pydicom.filereader.read_file_meta_info(path)
    return {name: str(found[name].value) for name in ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")}


def compare(sent: dict[str, Path], kept: dict[str, Path]) -> None:
    """Everything is there, and as it was."""
    assert kept.keys() == sent.keys()
    for instance, path in sent.items():
        assert body(kept[instance]) == body(path), path.name
        assert meta(kept[instance]) == meta(path), path.name


def test_test_files_of_pydicom(tmp_path: Path, certificates: Certificates) -> None:
    files = tmp_path / "out"
    files.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = from_pydicom(files)
    syntaxes = Counter(meta(path)["TransferSyntaxUID"] for path in made.values())
    assert len(made) > 130 and len(syntaxes) >= 12, syntaxes
    receiver, sender = Tls(certificates.server, certificates.ca), Tls(certificates.client, certificates.ca)
    with mdc_pacs(tmp_path / "there", receiver) as pacs:
        sent = dicom_send(tmp_path, pacs.port, "--jobs", "2", files, tls=sender)
        broken = {
            name.partition("-")[2]: line["what"] for line in sent.report if line["status"] != "sent" for name in [Path(line["path"]).name]
        }
        assert (sent.status, broken) == (1, BROKEN)
        compare({instance: path for instance, path in made.items() if path.name.partition("-")[2] not in BROKEN}, pacs.kept())


@pytest.mark.parametrize("jobs", [1, 3])
def test_every_transfer_syntax(tmp_path: Path, jobs: int) -> None:
    """More contexts than an association can have, among them a SOP class that is in no dictionary."""
    files = tmp_path / "out"
    files.mkdir()
    syntaxes = [*map(str, AllTransferSyntaxes), *JPIP]
    made = in_every_syntax(files, STORAGE, syntaxes)
    assert len(made) == len(STORAGE) * len(syntaxes) > 128
    with mdc_pacs(tmp_path / "there") as pacs:
        sent = dicom_send(tmp_path, pacs.port, "--jobs", str(jobs), files)
        assert Counter(sent.states.values()) == {"sent": len(made)}, [line for line in sent.report if line["status"] != "sent"][:3]
        compare(made, pacs.kept())
