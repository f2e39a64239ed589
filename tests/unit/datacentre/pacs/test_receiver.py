"""The receiver of images against DCMTK's senders, plain and with TLS on both sides."""

from __future__ import annotations

import logging
import socket
import subprocess
import time
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE

from tests.unit.datacentre.pacs.rooms import STORESCU, body, kept, receiving, sample, storescu
from tests.visits.certificates import Certificates, make
from toolkit.core.dicom_network import server_context
from toolkit.core.errors import NotPermitted
from toolkit.datacentre.pacs.receiver import Place
from toolkit.datacentre.pacs.running import Kept, run

SYNTAXES = [
    "CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "JPEG2000.dcm", "JPEG-lossy.dcm", "MR_small_RLE.dcm",
    "image_dfl.dcm",
]  # fmt: skip


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("name", SYNTAXES)
def test_stored_byte_for_byte(tmp_path: Path, name: str) -> None:
    path = sample(tmp_path / "one.dcm", name)
    dataset = pydicom.dcmread(path)
    with receiving(tmp_path / "home") as receiver:
        entity = AE("SENDER")
        entity.add_requested_context(dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.TransferSyntaxUID)
        association = entity.associate("127.0.0.1", receiver.port)
        assert association.send_c_store(path).Status == 0
        association.release()
        assert receiver.counts == {"new": 1}
    (found,) = kept(tmp_path / "home")
    meta = pydicom.dcmread(found).file_meta
    assert meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID and "SourceApplicationEntityTitle" not in meta
    assert found.stem == dataset.SOPInstanceUID
    assert pydicom.dcmread(found) == dataset
    if name != "image_dfl.dcm":  # pynetdicom's sender deflates anew
        assert body(found) == body(path)


def test_identified_objects_are_refused_without_their_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with receiving(tmp_path / "home") as receiver, caplog.at_level(logging.WARNING):
        for removed in ("", "NO", "yes"):
            done = storescu(receiver, sample(tmp_path / "one.dcm", removed=removed, PatientName="Kowalska^Anna"))
            assert done.returncode and "CannotUnderstand" in done.stderr
        assert receiver.counts == {"patient identity not removed, (0012,0062)": 3}
    assert "identity not removed" in caplog.text and "Kowalska" not in caplog.text
    assert not kept(tmp_path / "home") and not kept(tmp_path / "home", "incoming")


def test_twice_and_with_other_content(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with receiving(home) as receiver:
        one, other = sample(tmp_path / "one.dcm"), sample(tmp_path / "other.dcm", Modality="MR")
        assert storescu(receiver, one).returncode == 0
        first = kept(home)[0].read_bytes()
        assert storescu(receiver, one).returncode == 0
        assert storescu(receiver, other).returncode
        assert receiver.counts == {"new": 1, "known": 1, "another object has this UID": 1}
    assert [path.read_bytes() for path in kept(home)] == [first]
    (conflict,) = kept(home, "conflicts")
    assert pydicom.dcmread(conflict).Modality == "MR"  # storescu writes some elements in its own way


def test_uids_cannot_lead_out_of_the_store(tmp_path: Path) -> None:
    with receiving(tmp_path / "home") as receiver:
        assert storescu(receiver, sample(tmp_path / "one.dcm", StudyInstanceUID="../../../x")).returncode
    assert not kept(tmp_path / "home") and not list(tmp_path.rglob("*x*dcm"))


def test_tls_on_both_sides(certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    c = certificates
    context = server_context(str(c.server.cert), str(c.server.key), str(c.ca))
    path = sample(tmp_path / "one.dcm")
    with receiving(tmp_path / "home", context) as receiver:
        idle = socket.create_connection(("127.0.0.1", receiver.port))  # says nothing, and keeps nobody waiting
        begun = time.monotonic()
        assert storescu(receiver, path, "+tls", str(c.client.key), str(c.client.cert), "+cf", str(c.ca)).returncode == 0
        assert time.monotonic() - begun < 5
        idle.close()
        assert storescu(receiver, path, "+tls", str(c.stranger.key), str(c.stranger.cert), "+cf", str(c.ca)).returncode
        assert storescu(receiver, path).returncode
        assert receiver.counts == {"new": 1}
    assert "unknown here" in caplog.text and "does not speak TLS" in caplog.text


def test_plain_is_for_loopback_only(tmp_path: Path) -> None:
    with pytest.raises(NotPermitted, match="unencrypted"):
        run(Place("0.0.0.0", 0), Kept(str(tmp_path / "spool"), str(tmp_path / "index.db"), None, None), {}, None)
    assert not list(tmp_path.iterdir())


def test_half_an_object_leaves_nothing(tmp_path: Path) -> None:
    """A sender that is killed half-way, and one that says a PDU to be of 4 GB."""
    home = tmp_path / "home"
    big = sample(tmp_path / "big.dcm")
    dataset = pydicom.dcmread(big)
    dataset.PixelData = bytes(200 << 20)
    dataset.save_as(big)
    with receiving(home) as receiver:
        with subprocess.Popen([STORESCU, "127.0.0.1", str(receiver.port), str(big)], stderr=subprocess.DEVNULL) as sender:
            while not any((home / "spool/images/incoming").iterdir()):
                assert sender.poll() is None
            sender.kill()
        with socket.create_connection(("127.0.0.1", receiver.port)) as huge:
            huge.sendall(b"\1\0\xff\xff\xff\xff")
            huge.settimeout(10)
            assert huge.recv(100)[:1] in (b"", b"\7")
        patience = time.monotonic() + 10
        while any((home / "spool/images/incoming").iterdir()):
            assert time.monotonic() < patience
            time.sleep(0.05)
    assert not kept(home)


def test_several_senders_at_once(tmp_path: Path) -> None:
    """Each object is new once, whoever sends it first."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(20):
        sample(source / f"{number}.dcm", SOPInstanceUID=f"1.2.3.{number}")
    with receiving(tmp_path / "home") as receiver:
        line = [STORESCU, "+sd", "127.0.0.1", str(receiver.port), str(source)]
        senders = [subprocess.Popen(line) for _ in range(4)]
        assert [sender.wait(60) for sender in senders] == [0] * 4
        assert receiver.counts == {"new": 20, "known": 60}
    assert len(kept(tmp_path / "home")) == 20 and not kept(tmp_path / "home", "incoming")
