"""What is generated is what devices write: valid objects that belong to their visit, repeatable, with the personal data really in them."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.transfer import generate
from tests.visits import generate as visits


def test_pictures_belong_to_the_visit_of_their_number() -> None:
    for number in range(8):
        made, visit = generate.study(number), visits.visit(number)
        assert made.visit == visit and made.accession == visit.accession_numbers[0]
        assert 2 <= len({one.series_uid for one in made.pictures}) <= 3
        for picture in made.pictures:
            told = pydicom.dcmread(io.BytesIO(picture.content))
            assert told.StudyInstanceUID == made.study_uid and told.SeriesInstanceUID == picture.series_uid
            assert (told.SOPInstanceUID, told.AccessionNumber) == (picture.instance_uid, made.accession)
            assert (told.PatientID, told.PatientSex) == (visit.patient_id, visit.sex)
            assert told.PatientName.family_name == visit.patient.family and told.StudyDate + told.StudyTime == visit.start[:14]
            assert told.pixel_array.shape[:2] == (generate.SIDE, generate.SIDE)


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others() -> None:
    assert generate.study(3, seed=5) == generate.study(3, seed=5)
    assert {one.instance_uid for one in generate.study(3, seed=5).pictures}.isdisjoint(
        one.instance_uid for one in generate.study(3, seed=6).pictures
    )


def test_sizes() -> None:
    assert 32_000 < len(generate.study(0).pictures[0].content) < 36_000
    assert 524_000 < len(generate.study(0, side=512).pictures[0].content) < 528_000


def test_personal_data_is_in_the_attributes_and_in_the_pixels() -> None:
    made = generate.study(2)
    patient = made.visit.patient
    for picture in made.pictures:
        told = pydicom.dcmread(io.BytesIO(picture.content))
        text = f"{told.PatientName} {told.PatientID} {told.PatientAddress} {told.AdditionalPatientHistory} {told.PatientComments}"
        assert [word for word in (patient.pesel, patient.family, patient.street, patient.phone, patient.mail) if word not in text] == []
        assert np.count_nonzero(told.pixel_array[: generate.BANNER] > 100) > 500, "the banner"
    assert {patient.pesel, patient.family, made.accession, made.study_uid} <= set(made.personal)


@pytest.mark.parametrize("number", range(len(generate.MODALITIES)), ids=generate.MODALITIES)
def test_a_validator_reads_them(number: int, program, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    checker = program("dciodvfy", "dicom3tools")
    (tmp_path / "one.dcm").write_bytes(generate.study(number).pictures[0].content)
    done = subprocess.run([checker, tmp_path / "one.dcm"], capture_output=True, timeout=30)
    told = (done.stdout + done.stderr).decode("latin-1").splitlines()
    errors = [line for line in told if line.startswith("Error")]
    assert [line for line in errors if "Conditional Element=<Laterality>" not in line] == [], "only that a head and a chest have no side"
