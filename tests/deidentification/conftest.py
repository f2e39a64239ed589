"""Runs of dicom-anon over the corpus as real processes; each set of options once for all tests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.deidentification import corpus, planter, table_checker

LARGEST = 300_000  # bytes of an object in which identifiers are planted: searching megabytes of pixels for them takes long
BASE = "1.2.826.0.1.3680043.10.99"  # of the UIDs of planted objects


@dataclass
class Inputs:
    """`plain`: the corpus as it is. `planted`: the same objects, those that pydicom can write, with identifiers planted in them."""

    folder: Path
    plain: list[Path]
    readable: set[str]  # names of what pydicom can read
    planted: dict[str, list[planter.Plant]] = field(default_factory=dict)
    character_sets: dict[str, str] = field(default_factory=dict)
    people: dict[str, planter.Person] = field(default_factory=dict)


@dataclass
class Batch:
    """What one run of dicom-anon made of the inputs."""

    options: tuple[str, ...]
    output: Path
    status: int
    stderr: str
    reasons: dict[str, dict[str, str]]  # input's name -> the record in quarantine

    def outputs(self) -> dict[str, Path]:
        return {path.name: path for path in self.output.rglob("*") if path.is_file() and not path.name.startswith(".")}


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    """pydicom warns of everything that is odd in odd files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = tmp_path_factory.mktemp("corpus")
        made = Inputs(folder, [], set())
        for kind in ("plain", "planted"):
            (folder / kind).mkdir()
        (folder / "passing.toml").write_text(corpus.PASSING)
        sets = list(planter.SCRIPTS)
        contents = [(path.name, path.read_bytes()) for path in corpus.paths()] + [("generated.dcm", corpus.generated())]
        seen: set[str] = set()
        for number, (name, content) in enumerate(contents):
            name = f"p{number:03}-{name}"
            content = corpus.told_apart(content, number, seen)
            (folder / "plain" / name).write_bytes(content)
            made.plain.append(folder / "plain" / name)
            try:
                table_checker.read(content)
                made.readable.add(name)
            except Exception:  # whatever pydicom makes of what is no object
                continue
            _plant(made, content, number, name.replace("p", "q", 1), sets[number % len(sets)])
        return made


def _plant(made: Inputs, content: bytes, number: int, name: str, character_set: str) -> None:
    if len(content) > LARGEST:
        return
    try:
        data = table_checker.read(content)
        who = planter.person(number, character_set)
        plants = planter.plant(data, who)
        data.SOPInstanceUID = f"{BASE}.{number + 1}"
        if getattr(data, "file_meta", None):
            data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        written = corpus.as_file(data)
    except Exception:  # an object that pydicom cannot write with more in it
        return
    (made.folder / "planted" / name).write_bytes(written)
    made.planted[name] = planter.leaks(written, plants, character_set)
    made.character_sets[name], made.people[name] = character_set, who


@pytest.fixture(scope="session")
def hospital_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "hospital.key"
    subprocess.run([sys.executable, str(ROOT / "bin" / "hospital-key"), "new", str(path)], check=True, stdout=subprocess.DEVNULL)
    return path


@pytest.fixture(scope="session")
def anonymise(inputs: Inputs, hospital_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Batch]]:
    """A function: options -> what dicom-anon made of the whole corpus with them, names kept."""
    done: dict[tuple[str, ...], Batch] = {}

    def run(*options: str) -> Batch:
        if options not in done:
            output = tmp_path_factory.mktemp("run") / "out"
            command = [sys.executable, str(ROOT / "bin" / "dicom-anon"), str(inputs.folder / "plain"), str(inputs.folder / "planted")]
            command += ["--key", str(hospital_key), "-o", str(output), "--keep-names"]
            command += [option.replace("PASSING", str(inputs.folder / "passing.toml")) for option in options]
            if "--vault" not in options:
                command.append("--no-vault")
            result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=output.parent)
            reasons = {}
            for path in sorted(output.parent.glob("*quarantine*/*.json")):
                record = json.loads(path.read_text())
                reasons[Path(record["input"]).name] = record
            done[options] = Batch(options, output, result.returncode, result.stderr, reasons)
        return done[options]

    yield run
    for batch in done.values():
        shutil.rmtree(batch.output.parent, ignore_errors=True)
