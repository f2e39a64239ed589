"""Anonymised objects get their originals back: with a real vault, real keys, and what the de-identifier really writes."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pydicom.data import get_testdata_file

from tests.unit.hospital.dicom.restoring.test_encrypted_attributes import certificate
from tests.unit.hospital.dicom.restoring.test_padi import java
from toolkit.core.errors import CannotCreate, NotPermitted, ToolError
from toolkit.core.keys import create_keys, read_keys
from toolkit.hospital.dicom.cleaning.deidentify import Deidentifier
from toolkit.hospital.dicom.cleaning.pseudonyms import Pseudonyms
from toolkit.hospital.dicom.encoding.part10 import open_part10
from toolkit.hospital.dicom.pixels.pixel_rules import read_pixel_rules
from toolkit.hospital.dicom.restoring.originals import digest, instance_uid
from toolkit.hospital.dicom.restoring.personalise import Access, Settings, personalise
from toolkit.hospital.dicom.restoring.vault import AuditRow, VaultEntry, open_vault
from toolkit.hospital.dicom.rules.profile import Options, compile_policy

FILES = ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "693_J2KI.dcm", "ExplVR_LitEndNoMeta.dcm"]
FILES += ["rtplan.dcm", "rtdose.dcm", "test-SR.dcm", "liver_1frame.dcm", "rtstruct.dcm", "examples_overlay.dcm", "waveform_ecg.dcm"]
PRIVATE_KEY = rsa.generate_private_key(65537, 2048)


@pytest.fixture
def access(tmp_path: Path) -> Access:
    """A vault and its key."""
    create_keys(str(tmp_path / "hospital.key"))
    return Access(str(tmp_path / "vault.db"), str(tmp_path / "hospital.key"))


@pytest.fixture
def anonymise(access: Access, tmp_path: Path) -> Callable[..., Path]:
    """A function that de-identifies a file into the directory ``anonymised`` and the vault."""
    keys = read_keys(str(access.key_file))
    arguments = compile_policy(Options()), Pseudonyms(keys.current), read_pixel_rules(None), (certificate(PRIVATE_KEY),)
    deidentifier = Deidentifier(*arguments)
    target = tmp_path / "anonymised"
    target.mkdir()

    def work(original: str | Path) -> Path:
        path = target / Path(original).name
        with open_part10(str(original)) as source, open_vault(str(access.vault), keys) as vault:
            new = deidentifier(source)
            with open(path, "wb") as out:
                new.write_to(out.fileno())
            vault.put([VaultEntry(new.study_uid, new.series_uid, new.instance_uid, new.digest, new.patient, list(new.patch()))])
        return path

    return work


@pytest.fixture
def audit(access: Access) -> Callable[[], list[AuditRow]]:
    def rows() -> list[AuditRow]:
        with open_vault(str(access.vault), read_keys(str(access.key_file))) as vault:
            return list(vault.audit_rows())

    return rows


def changed(path: str | Path, target: Path, **values: str) -> Path:
    """A copy of a DICOM file with other values, as a hospital's would have."""
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
        if keyword == "SOPInstanceUID":
            dataset.file_meta.MediaStorageSOPInstanceUID = value
    dataset.save_as(target)
    return target


def distinct(name: str, directory: Path) -> str:
    """A copy of a test file with an instance UID of its own, as long as the old one; many of them share theirs."""
    data = Path(get_testdata_file(name)).read_bytes()
    with open_part10(get_testdata_file(name)) as source:
        old = instance_uid(source, name).encode()
    new = old[:-4] + b"%04d" % (zlib.crc32(name.encode()) % 9000 + 1000)
    (directory / name).write_bytes(data.replace(old, new))
    return str(directory / name)


def deflated(target: Path) -> str:
    dataset = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(target)
    return str(target)


def data_set(path: str | Path) -> bytes:
    with open_part10(str(path)) as source:
        return digest(source)


def outputs(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_vault_gives_every_file_back_byte_for_byte(jobs: int, access: Access, anonymise, audit, monkeypatch, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    originals = [distinct(name, tmp_path) for name in FILES] + [deflated(tmp_path / "deflated.dcm")]
    for original in originals:
        anonymise(original)
    monkeypatch.setattr("toolkit.hospital.dicom.restoring.personalise._BATCH", 3)
    settings = Settings(str(tmp_path / "out"), keep_names=True, mixed_patients=True, jobs=jobs)
    assert personalise([str(tmp_path / "anonymised")], access, settings) == 0
    for original in originals:
        restored = tmp_path / "out" / Path(original).name
        if "deflated" in original:  # compressed anew
            assert data_set(restored) == data_set(original)
        else:
            assert restored.read_bytes() == Path(original).read_bytes()
    assert len(outputs(tmp_path / "out")) == len(originals)
    rows = audit()
    assert len(rows) == len(originals)
    assert {row.what for row in rows} == {"personalise: restored"}
    assert all(f"(uid {os.getuid()})" in row.who and row.when.tzinfo for row in rows)


def test_the_private_key_gives_the_data_set_back_byte_for_byte(anonymise, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    names = ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "rtplan.dcm", "examples_overlay.dcm"]
    originals = {name: distinct(name, tmp_path) for name in names}
    for name in names:
        anonymise(originals[name])
    settings = Settings(str(tmp_path / "out"), keep_names=True, mixed_patients=True)
    assert personalise([str(tmp_path / "anonymised")], Access(private_key=PRIVATE_KEY), settings) == 0
    for name in names:
        restored, original = pydicom.dcmread(tmp_path / "out" / name), pydicom.dcmread(originals[name])
        original.walk(drop_group_length)
        assert restored == original, name
        assert restored.file_meta.MediaStorageSOPInstanceUID == original.SOPInstanceUID
    for name in ("MR_small_RLE.dcm", "rtplan.dcm"):  # these have no group lengths
        assert data_set(tmp_path / "out" / name) == data_set(originals[name])


def drop_group_length(dataset: pydicom.Dataset, element: pydicom.DataElement) -> None:
    if element.tag.element == 0:
        del dataset[element.tag]


def test_outputs_are_called_after_the_original_uids_and_private(access: Access, anonymise, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    original = get_testdata_file("CT_small.dcm")
    settings = Settings(str(tmp_path / "out"))
    assert personalise([str(anonymise(original))], access, settings) == 0
    dataset = pydicom.dcmread(original)
    (restored,) = outputs(tmp_path / "out")
    assert restored == tmp_path / "out" / dataset.StudyInstanceUID / dataset.SeriesInstanceUID / f"{dataset.SOPInstanceUID}.dcm"
    assert restored.stat().st_mode & 0o777 == 0o600
    assert [path.stat().st_mode & 0o777 for path in list(restored.parents)[:2]] == [0o700, 0o700]
    assert personalise([str(tmp_path / "anonymised")], access, settings) == 0, "once more is no fault"
    restored.write_bytes(b"another")
    assert personalise([str(tmp_path / "anonymised")], access, settings) == CannotCreate.exit_status
    assert restored.read_bytes() == b"another"


def test_what_was_changed_or_is_unknown_is_refused_and_the_rest_restored(access: Access, anonymise, audit, caplog, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    good, spoilt = anonymise(get_testdata_file("CT_small.dcm")), anonymise(get_testdata_file("MR_small.dcm"))
    data = bytearray(spoilt.read_bytes())
    data[-9] ^= 1
    spoilt.write_bytes(data)
    (tmp_path / "anonymised" / "notes.txt").write_text("no DICOM object at all, but text")
    changed(good, tmp_path / "anonymised" / "stranger.dcm", SOPInstanceUID="1.2.3")
    settings = Settings(str(tmp_path / "out"), keep_names=True, mixed_patients=True, report=str(tmp_path / "report"))
    assert personalise([str(tmp_path / "anonymised")], access, settings) == 1
    assert [path.name for path in outputs(tmp_path / "out")] == ["CT_small.dcm"]
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert re.search(r"MR_small.dcm: it was changed since", said)
    assert re.search(r"stranger.dcm: the vault does not know", said)
    assert re.search(r"notes.txt: .*not a DICOM", said)
    report = [json.loads(line) for line in (tmp_path / "report").read_text().splitlines()]
    assert sorted(line["outcome"] for line in report) == ["refused", "refused", "refused", "restored"]
    assert sorted(row.what for row in audit())[-1] == "personalise: restored"
    assert len(audit()) == 4


def test_a_new_header_is_no_change(access: Access, anonymise, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    original = get_testdata_file("CT_small.dcm")
    path = anonymise(original)
    with open_part10(str(path)) as source:
        body = source.data[source.start : source.end]
    dataset = pydicom.dcmread(path)
    dataset.file_meta.ImplementationVersionName = "SOME PACS"
    dataset.file_meta.SourceApplicationEntityTitle = "ARCHIVE"
    dataset.save_as(path)
    with open_part10(str(path)) as source:
        assert source.data[source.start : source.end] == body
    assert personalise([str(path)], access, Settings(str(tmp_path / "out"), keep_names=True)) == 0
    assert (tmp_path / "out" / path.name).read_bytes() == Path(original).read_bytes()


@pytest.mark.parametrize("way", ["vault", "private key"])
def test_several_patients_are_refused_before_anything_is_written(way: str, access: Access, anonymise, audit, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for number in (1, 2):
        source = changed(
            get_testdata_file("CT_small.dcm"), tmp_path / f"{number}.dcm", PatientID=f"patient {number}", SOPInstanceUID=f"1.2.{number}"
        )
        anonymise(source)
    if way == "private key":
        access = Access(access.vault, access.key_file, PRIVATE_KEY)
    settings = Settings(str(tmp_path / "out"))
    with pytest.raises(NotPermitted, match="2 patients"):
        personalise([str(tmp_path / "anonymised")], access, settings)
    assert not (tmp_path / "out").exists()
    assert [row.what for row in audit()] == ["personalise: refused, the objects belong to 2 patients"] * 2
    assert personalise([str(tmp_path / "anonymised")], access, Settings(str(tmp_path / "out"), mixed_patients=True)) == 0
    assert len(outputs(tmp_path / "out")) == 2


def test_another_key_opens_nothing(access: Access, anonymise, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = anonymise(get_testdata_file("CT_small.dcm"))
    create_keys(str(tmp_path / "other.key"))
    with pytest.raises(NotPermitted):
        personalise([str(path)], Access(access.vault, str(tmp_path / "other.key")), Settings(str(tmp_path / "out")))
    stranger = Access(private_key=rsa.generate_private_key(65537, 2048))
    assert personalise([str(path)], stranger, Settings(str(tmp_path / "out"))) == NotPermitted.exit_status
    assert not outputs(tmp_path / "out")


def test_a_dry_run_writes_nothing_and_says_the_same(access: Access, anonymise, audit, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = anonymise(get_testdata_file("CT_small.dcm"))
    settings = Settings(str(tmp_path / "out"), dry_run=True, report=str(tmp_path / "report"))
    assert personalise([str(path)], access, settings) == 0
    assert json.loads((tmp_path / "report").read_text())["outcome"] == "can be restored"
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    assert personalise([str(path)], access, settings) == 1
    assert not (tmp_path / "out").exists()
    assert audit() == []


def test_no_temporary_file_stays_when_writing_fails(access: Access, anonymise, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    path = anonymise(get_testdata_file("CT_small.dcm"))
    target = tmp_path / "out"
    (target / "CT_small.dcm").mkdir(parents=True)
    assert personalise([str(path)], access, Settings(str(target), keep_names=True)) == CannotCreate.exit_status
    assert os.listdir(target) == ["CT_small.dcm"]
    monkeypatch.setattr(os, "link", broken_link)
    with pytest.raises(ToolError, match="Input/output error"):
        personalise([str(path)], access, Settings(str(target)))
    assert not outputs(target)


def broken_link(*_: object) -> None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"])
def test_a_side_file_gives_the_values_back(name: str, tmp_path: Path) -> None:
    """As PADI did it: replaced values at the top level, the originals in a file of properties."""
    original = pydicom.dcmread(get_testdata_file(name))
    original.PatientID, original.PatientName, original.SpecificCharacterSet = "4711", "Łozińska^Żaneta", "ISO_IR 101"
    original.save_as(tmp_path / "original.dcm")
    anonymised = pydicom.dcmread(tmp_path / "original.dcm")
    side = {tag: str(original[tag].value) for tag in ("PatientID", "PatientName", "SOPInstanceUID", "StudyInstanceUID", "StudyDate")}
    anonymised.PatientID, anonymised.PatientName, anonymised.SOPInstanceUID, anonymised.StudyDate = "1", "X", "2.25.1", ""
    del anonymised.StudyInstanceUID
    anonymised.PatientIdentityRemoved, anonymised.DeidentificationMethod = "YES", "PADI"
    (tmp_path / "in").mkdir()
    anonymised.save_as(tmp_path / "in" / "image.dcm")
    lines = [f"{int(original[tag].tag)}={java(value)}\n" for tag, value in side.items()]
    (tmp_path / "2.25.1.properties").write_text("".join(lines))
    assert personalise([str(tmp_path / "in")], Access(side_files=str(tmp_path)), Settings(str(tmp_path / "out"), keep_names=True)) == 0
    assert data_set(tmp_path / "out" / "image.dcm") == data_set(tmp_path / "original.dcm")
