"""DCMTK's programs and ours: either side's sender to the other's receiver, plain and with TLS on both sides."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from tests.interoperability.objects import body
from tests.interoperability.ours import dicom_send, mdc_pacs
from tests.peers import dcmtk
from tests.peers.dcmtk import Tls
from tests.unit.hospital.images.samples import image
from tests.visits.certificates import Certificates

pytestmark = pytest.mark.usefixtures("needs_dcmtk")
PADDING = (0xFFFC, 0xFFFC)
NAMES = ["CT_small.dcm", "MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "rtplan.dcm", "reportsi.dcm"]


def some(directory: Path) -> dict[str, Path]:
    return {image(directory / name, name): directory / name for name in NAMES}


def test_dcmtk_to_mdc_pacs(tmp_path: Path, tls: tuple[Tls | None, Tls | None]) -> None:
    """What storescu sends twice is there once; it encodes data sets anew, so their content is compared."""
    receiver, sender = tls
    made = some(tmp_path / "out")
    with mdc_pacs(tmp_path / "there", receiver) as pacs:
        assert dcmtk.client("echoscu", pacs.port, "-aec", pacs.title, tls=sender).returncode == 0
        for _ in range(2):
            for options, names in (((), NAMES[:2] + NAMES[5:]), (("-xi",), NAMES[2:3]), (("-xb",), NAMES[3:4]), (("-xw",), NAMES[4:5])):
                files = [tmp_path / "out" / name for name in names]
                done = dcmtk.client("storescu", pacs.port, "-aec", pacs.title, *options, files=files, tls=sender)
                assert done.returncode == 0, done.stderr
        kept = pacs.kept()
        assert kept.keys() == made.keys()
        for instance, path in made.items():
            sent = pydicom.dcmread(path)
            sent.pop(PADDING, None)  # storescu does not send it
            assert pydicom.dcmread(kept[instance]) == sent
        identified = tmp_path / "identified.dcm"
        image(identified, removed=None, PatientName="Kowalska^Anna")
        refused = dcmtk.client("storescu", pacs.port, "-v", "-aec", pacs.title, files=[identified], tls=sender)
        assert refused.returncode and "CannotUnderstand" in refused.stderr + refused.stdout
        assert pacs.kept().keys() == made.keys() and "Kowalska" not in pacs.log.read_text()


def test_dicom_send_to_storescp(tmp_path: Path, tls: tuple[Tls | None, Tls | None]) -> None:
    receiver, sender = tls
    made = some(tmp_path / "out")
    with dcmtk.storescp(tmp_path / "there", receiver) as there:
        sent = dicom_send(tmp_path, there.port, "--jobs", "2", tmp_path / "out", tls=sender, called="STORESCP")
        assert sent.status == 0 and set(sent.states.values()) == {"sent"}, sent.stderr
        kept = {path.name.partition(".")[2]: path for path in there.directory.iterdir()}
    assert kept.keys() == made.keys()
    for instance, path in made.items():
        assert body(kept[instance]) == body(path), path.name


def test_a_syntax_that_storescp_refuses(tmp_path: Path) -> None:
    """The others go on."""
    some(tmp_path / "out")
    with dcmtk.storescp(tmp_path / "there", None, "+xi") as there:  # implicit VR only
        sent = dicom_send(tmp_path, there.port, tmp_path / "out", called="STORESCP")
        arrived = len(list(there.directory.iterdir()))
    implicit = {name for name in NAMES if pydicom.dcmread(tmp_path / "out" / name).file_meta.TransferSyntaxUID.is_implicit_VR}
    assert {name for name, state in sent.states.items() if state == "sent"} == implicit and arrived == len(implicit) > 0
    assert sent.status == 1 and all("transfer syntax" in line["what"] for line in sent.report if line["status"] != "sent")


@pytest.mark.parametrize("wrong", ["plain client", "plain server", "stranger", "expired client", "expired server", "wrong host"])
def test_sides_that_do_not_fit(tmp_path: Path, certificates: Certificates, wrong: str) -> None:
    """Nothing arrives, neither from dicom-send at storescp nor from storescu at mdc-pacs."""
    c = certificates
    receivers = {"plain server": None, "expired server": Tls(c.expired_server, c.ca), "wrong host": Tls(c.wrong_host, c.ca)}
    senders = {"plain client": None, "stranger": Tls(c.stranger, c.ca), "expired client": Tls(c.expired_client, c.ca)}
    receiver, sender = receivers.get(wrong, Tls(c.server, c.ca)), senders.get(wrong, Tls(c.client, c.ca))
    image(tmp_path / "one.dcm")
    with dcmtk.storescp(tmp_path / "there", receiver) as there:
        sent = dicom_send(tmp_path, there.port, tmp_path / "one.dcm", tls=sender, called="STORESCP")
        assert sent.status == 69 and len(sent.stderr.splitlines()) == 1, sent.stderr
        assert not list(there.directory.iterdir())
    if wrong == "wrong host":  # DCMTK looks at no host names
        return
    with mdc_pacs(tmp_path / "ours", receiver) as pacs:
        assert dcmtk.client("storescu", pacs.port, files=[tmp_path / "one.dcm"], tls=sender).returncode
        assert not pacs.kept()
