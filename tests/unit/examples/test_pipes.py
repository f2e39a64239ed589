"""The experiment of pipes, run with the real commands on a small photograph."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.geo.pose import angle_between, rotation_matrix

ANGLES = ("yaw", "pitch", "roll")


@pytest.fixture(scope="module")
def inputs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("inputs")
    demo = root / "examples" / "demo"
    subprocess.run([sys.executable, demo / "make_terrain.py", directory / "terrain.tif"], check=True, timeout=60)
    options = ["-o", directory / "photo.jpg", "--truth", directory / "truth.json", "--seed", "9", "--size", "900x600"]
    subprocess.run([sys.executable, demo / "render_photo.py", directory / "terrain.tif", *options], check=True, timeout=120)
    return directory


def make(root: Path, inputs: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = [f"{name}={inputs / file}" for name, file in (("TERRAIN", "terrain.tif"), ("PHOTO", "photo.jpg"), ("TRUTH", "truth.json"))]
    command = ["make", "-f", str(root / "examples" / "pipes" / "Makefile"), *variables, "OUT=out", *arguments]
    return subprocess.run(command, cwd=inputs, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_pipes_find_the_pose_and_tabulate_the_bandwidths(root: Path, inputs: Path, environment: dict[str, str]) -> None:
    done = make(root, inputs, environment, "sweep", "BANDWIDTHS=32 64")
    assert done.returncode == 0, done.stderr
    truth = json.loads((inputs / "truth.json").read_text())
    found = json.loads((inputs / "out" / "64" / "candidates.jsonl").read_text().splitlines()[0])
    apart = angle_between(*(rotation_matrix(*(pose[name] for name in ANGLES)) for pose in (truth, found)))
    assert apart < 2.5  # a cell is 2.8 degrees wide
    rows = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    assert rows[0] == ["bandwidth", "false_ratio", "rank_of_truth", "seconds"]
    assert [row[0] for row in rows[1:]] == ["32", "64"]
    assert rows[2][2] == "1" and 0.0 <= float(rows[2][1]) < 0.001 and float(rows[2][3]) > 0.0
    again = make(root, inputs, environment, "BANDWIDTH=64", "--question")
    assert again.returncode == 0, "nothing is left to do, and make knows it"


def test_a_step_that_fails_leaves_no_half_file(root: Path, inputs: Path, environment: dict[str, str]) -> None:
    done = make(root, inputs, environment, "BANDWIDTH=16", "PITCH=30:-30", "OUT=failed")
    assert done.returncode != 0
    assert "scc" in done.stderr
    assert not (inputs / "failed" / "16" / "candidates.jsonl").exists()
    assert (inputs / "failed" / "16" / "f.npy").exists()
