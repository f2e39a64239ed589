"""The nightly recipe as cron runs it: silent while all is well, and only what is new is looked at."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.unit.hospital.dicom.batch.studies import ROOT, tree, write_study
from toolkit.core.keys import create_keys


@pytest.fixture
def night(tmp_path: Path, environment: dict[str, str]):  # type: ignore[no-untyped-def]
    create_keys(str(tmp_path / "hospital.key"))
    places = {"ARCHIVE": tmp_path / "archive", "OUTBOX": tmp_path / "outbox", "KEY": tmp_path / "hospital.key", "SETTLED": 0}
    cron = {**environment, **{name: str(value) for name, value in places.items()}}

    def run() -> tuple[int, str, str]:
        done = subprocess.run([ROOT / "examples/nightly/nightly.sh"], env=cron, cwd="/", capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout, done.stderr

    return run


def reported(state: Path) -> list[tuple[str, str]]:
    """(file, result) of all reports, oldest first."""
    lines = [line for path in sorted(state.glob("reports/*.jsonl")) for line in path.read_text().splitlines()]
    return [(Path(record["input"]).name, record["result"]) for record in map(json.loads, lines)]


def test_nights(night, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    archive, outbox, state = tmp_path / "archive", tmp_path / "outbox", tmp_path / "outbox.nightly"
    archive.mkdir()
    assert night() == (0, "", ""), "an empty archive"
    write_study(archive, 3)
    assert night() == (0, "", "")
    assert len(tree(outbox)) == 3
    write_study(archive, 2, first=3)
    (archive / "torn.dcm").write_bytes((archive / "0" / "4.dcm").read_bytes()[:4000])
    status, output, words = night()
    assert (status, output) == (1, "")
    assert words.startswith(f"dicom-anon: {outbox}.quarantine: 1 of ") and words.endswith("the .json file beside each says why\n")
    assert len(tree(outbox)) == 5
    results = reported(state)
    assert sorted(name for name, result in results if result == "written") == [f"{n}.dcm" for n in range(5)], "each once"
    assert ("torn.dcm", "quarantined") in results
    assert (state / "vault.db").stat().st_mode & 0o077 == 0


def test_a_failure_is_told_and_the_next_night_makes_up_for_it(night, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write_study(tmp_path / "archive", 2)
    (tmp_path / "outbox").write_text("a file where the directory should be")
    status, output, words = night()
    assert (status, output) == (1, "")
    assert words.endswith("nightly: stopped before all was anonymised; the next night goes on with it\n")
    (tmp_path / "outbox").unlink()
    assert night() == (0, "", "")
    assert len(tree(tmp_path / "outbox")) == 2


def test_one_night_at_a_time(night, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    import fcntl

    write_study(tmp_path / "archive", 1)
    (tmp_path / "outbox.nightly").mkdir()
    with open(tmp_path / "outbox.nightly" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert night() == (0, "", "")
    assert not (tmp_path / "outbox").exists()
