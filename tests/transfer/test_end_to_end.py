"""What is generated, and the demonstration of images and visits."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from pydicom import dcmread

from tests.conftest import ROOT
from tests.transfer import generate


def test_studies_are_those_of_their_visits_and_the_same_each_time() -> None:
    for number in range(4):
        one = generate.study(number, seed=5)
        assert one == generate.study(number, seed=5)
        assert {picture.series_uid for picture in one.pictures} != {one.pictures[0].series_uid}
        for picture in one.pictures:
            found = dcmread(io.BytesIO(picture.content))
            assert (found.PatientID, found.AccessionNumber) == (one.visit.patient_id, one.visit.accession_numbers[0])
            assert found.StudyDate == one.visit.start[:8] and found.SOPInstanceUID == picture.instance_uid
            assert found.pixel_array.shape[:2] == (generate.SIDE, generate.SIDE)


def test_the_demonstration(tmp_path: Path) -> None:
    command: list[str | Path] = [
        sys.executable,
        ROOT / "examples/hospital/transfer.py",
        tmp_path / "demo",
        "--count",
        "12",
        "--visits",
        "40",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "Each visit and each image is in store, archive and index exactly once" in done.stdout
    assert re.search(r"packed again +40 +40 +0 +40 +40 +(\d+) +\1 +0 +\1 +\1\n", done.stdout)
    assert (tmp_path / "demo/study.png").stat().st_size > 1000
