"""dicom-anon, then dicom-personalise, over the corpus: the originals come back byte for byte."""

from __future__ import annotations

import random
import shutil
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


def test_killed_at_any_moment_and_taken_up_again_it_still_comes_back(inputs: Inputs, hospital_key: Path, tmp_path: Path):
    """What lies in the output after a kill is whole and known to the vault; the next run does the rest."""
    chance = random.Random(4)
    source = tmp_path / "in"
    source.mkdir()
    content = next(path for path in inputs.plain if path.name.endswith("CT_small.dcm")).read_bytes()
    uid = str(table_checker.read(content).SOPInstanceUID).encode()
    for number in range(600):
        (source / f"{number}.dcm").write_bytes(content.replace(uid, uid[:-4] + str(1000 + number).encode()))
    common = ["--key", str(hospital_key), "--vault", str(tmp_path / "vault.db"), "--keep-names"]

    def line(command: str, target: str, *origins: Path) -> list[str]:
        return [sys.executable, str(ROOT / "bin" / command), *map(str, origins), "-o", str(tmp_path / target), *common]

    def there() -> list[Path]:
        """What has its name; what a kill left behind in .partial is cleared by the next run."""
        return [path for path in (tmp_path / "out").glob("*.dcm") if path.is_file()]

    kills = 0
    for _ in range(6):
        process = subprocess.Popen(line("dicom-anon", "out", source), stderr=subprocess.DEVNULL)
        try:
            process.wait(chance.uniform(0.3, 0.9))
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        process.wait()
        if there():
            shutil.rmtree(tmp_path / "back", ignore_errors=True)
            subprocess.run(line("dicom-personalise", "back", *there()), check=True, timeout=120)
            for name, path in files(tmp_path / "back").items():
                assert path.read_bytes() == (source / name).read_bytes()
    subprocess.run(line("dicom-anon", "out", source), check=True, timeout=120)
    assert set(files(tmp_path / "out")) == {f"{number}.dcm" for number in range(600)}
    subprocess.run(line("dicom-personalise", "back2", tmp_path / "out"), check=True, timeout=120)
    assert kills > 1
    back = files(tmp_path / "back2")
    assert len(back) == 600
    assert [name for name, path in back.items() if path.read_bytes() != (source / name).read_bytes()] == []
