"""The resolution study with its smallest pairs, as its page says: measured, reported, kept, run again, and never twice."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from toolkit.experiment.run_record import Command, read_run_records

STUDY = ROOT / "examples/resolution-study"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (STUDY / "README.md").read_text(), re.MULTILINE | re.DOTALL)
SMALL = {"PAIRS": "64-32 64-64", "REPEAT": "1", "SIZE": "480x320"}  # what the page does not say is taken from the environment


def start(line: str, out: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    variables = {**environment, **SMALL, "OUT": str(out)}
    return subprocess.Popen(
        ["sh", "-c", line], cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def run(line: str, out: Path, environment: dict[str, str]) -> str:
    study = start(line, out, environment)
    printed, words = study.communicate(timeout=300)
    assert study.returncode == 0, words
    return printed


def commands(out: Path, pair: str) -> dict[str, Command]:
    """The commands of a pair that ran once each, by their names."""
    found = read_run_records([out / pair / "scene-9" / f"{name}.jsonl" for name in ("panorama", "photo", "correlation")])
    return {Path(command.argv[0]).name: command for command in found}


def written(out: Path) -> dict[Path, int]:
    """When each file of the study was written; those that make compares the variables with aside."""
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Path, int], dict[str, str]]:
    """The page's first line, interrupted when the first pair is complete, then run to its end; what had been written till then."""
    out = tmp_path_factory.mktemp("study") / "study"
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(out.parent), "LC_ALL": "C.UTF-8", "PYTHON": sys.executable}
    study = start(BLOCKS[0], out, environment)
    while not (out / "64-64/scene-9/panorama.jsonl").exists():
        assert study.poll() is None, study.communicate()[1]
        time.sleep(0.02)
    os.killpg(study.pid, signal.SIGINT)
    study.communicate(timeout=60)
    assert study.returncode != 0 and not (out / "report").exists()
    before = written(out / "64-32")
    run(BLOCKS[0], out, environment)
    return out, before, environment


def test_an_interrupted_study_goes_on_where_it_stopped(done) -> None:  # type: ignore[no-untyped-def]
    out, before, _ = done
    assert before and before.items() <= written(out / "64-32").items()


def test_every_command_is_measured_with_its_files(done) -> None:  # type: ignore[no-untyped-def]
    out, _, _ = done
    found = commands(out, "64-32")
    assert set(found) == {"cylmap", "projmap", "scc", "rank-candidates"}
    for command in found.values():
        assert command.tags == {"input": "64", "output": "32", "scene": "9"}
        assert command.exit and command.exit.status == 0 and command.exit.wall_ns > 0 and command.exit.peak_rss_bytes > 10e6
    assert found["scc"].run == found["rank-candidates"].run != found["cylmap"].run
    assert {"vscc3 transform", "vscc5 correlation"} <= {stage.stage for stage in found["scc"].stages}
    for role, path in [("input", "64-32/scene-9/panorama.npy"), ("input", "64-32/scene-9/photo.npy")]:
        digest = hashlib.sha256((out / path).read_bytes()).hexdigest()
        assert (role, digest) in {(file.role, file.sha256) for file in found["scc"].files}
    assert {Path(file.path).name for file in found["rank-candidates"].files} == {"candidates.jsonl", "quality.json"}


def test_the_block_is_as_large_as_the_output_resolution_says(done) -> None:  # type: ignore[no-untyped-def]
    out, _, _ = done
    for output in (32, 64):
        quality = json.loads((out / f"64-{output}/scene-9/quality.json").read_text())
        assert (quality["cells"], quality["tolerance"]) == ((2 * output) ** 3, 180 / output)
