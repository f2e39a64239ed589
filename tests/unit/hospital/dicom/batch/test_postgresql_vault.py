"""Both commands on a vault in a real PostgreSQL server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.hospital.dicom.batch.studies import ROOT, tree, write_study
from toolkit.core.keys import create_keys


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_out_and_back(tmp_path: Path, postgresql: str, jobs: str) -> None:
    write_study(tmp_path / "in", 150)
    create_keys(str(tmp_path / "key"))
    common = ["--key", "key", "--vault", postgresql, "--keep-names", "--jobs", jobs]
    for command, *words in (["dicom-anon", "in", "-o", "out"], ["dicom-personalise", "out", "-o", "back", "--mixed-patients"]):
        line = [sys.executable, str(ROOT / "bin" / command), *words, *common]
        result = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert tree(tmp_path / "back") == tree(tmp_path / "in")
    assert len(tree(tmp_path / "out")) == 150
