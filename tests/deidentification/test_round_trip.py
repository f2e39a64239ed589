"""dicom-anon, then dicom-personalise, over the corpus: the originals come back byte for byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.deidentification import planter, table_checker
from tests.deidentification.conftest import Inputs


@pytest.fixture(scope="module")
def there_and_back(inputs: Inputs, hospital_key: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(originals, anonymised, restored): one object of each instance UID, because a vault knows an instance once."""
    folder = tmp_path_factory.mktemp("round trip")
    source = folder / "in"
    source.mkdir()
    seen = set()
    for path in [*inputs.plain, *((inputs.folder / "planted" / name) for name in inputs.planted)]:
        content = path.read_bytes()
        uid = str(table_checker.read(content).get("SOPInstanceUID", "")) if path.name in inputs.readable | set(inputs.planted) else ""
        if uid not in seen:
            seen.add(uid)
            (source / path.name).write_bytes(content)
    common = ["--key", str(hospital_key), "--vault", str(folder / "vault.db"), "--keep-names"]
    rules = f"--pixel-rules={inputs.folder / 'passing.toml'}"
    for command, origin, target in (("dicom-anon", source, "out"), ("dicom-personalise", folder / "out", "back")):
        extra = [rules] if command == "dicom-anon" else ["--mixed-patients"]
        line = [sys.executable, str(ROOT / "bin" / command), str(origin), "-o", str(folder / target), *common, *extra]
        result = subprocess.run(line, capture_output=True, text=True, timeout=300)
        assert result.returncode in (0, 1) and "Traceback" not in result.stderr, result.stderr
    return source, folder / "out", folder / "back"


def files(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.rglob("*") if path.is_file()}


def test_what_left_comes_back_as_it_was(there_and_back):
    originals, anonymised, restored = map(files, there_and_back)
    assert len(anonymised) > 0.9 * len(originals) > 200
    assert set(restored) == set(anonymised)
    wrong = []
    for name, path in restored.items():
        before, after = originals[name].read_bytes(), path.read_bytes()
        # A deflated data set is deflated anew: what it inflates to is compared.
        if before != after and (not planter.inflated(before) or planter.inflated(before) != planter.inflated(after)):
            wrong.append(name)
    assert wrong == []


def test_the_vault_holds_no_readable_identifier(there_and_back, inputs: Inputs):
    vault = b"".join(path.read_bytes() for path in there_and_back[0].parent.glob("vault.db*"))
    assert len(vault) > 100_000
    for name in files(there_and_back[0]):
        if name in inputs.people:
            who = inputs.people[name]
            for text in (who.family, who.patient_id, who.accession, who.study_id):
                assert text.encode() not in vault
