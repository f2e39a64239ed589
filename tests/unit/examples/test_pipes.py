"""The experiment of pipes, run by make with the real commands: it gives what `locate` gives, and does nothing twice."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[3]
SETTINGS = {"SEED": "1", "SIZE": "480x320", "PYTHON": sys.executable, "PITCH": "-12:12", "ROLL": "-6:6", "TOP": "5"}

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(out, *arguments, bandwidth="48", **settings):
    variables = [f"{name}={value}" for name, value in {**SETTINGS, "OUT": out, "BANDWIDTH": bandwidth, **settings}.items()]
    command = ["make", "-f", ROOT / "examples/pipes/Makefile", *arguments, *variables]
    return subprocess.run(command, capture_output=True, text=True, cwd=out.parent)


def objects(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("pipes") / "out"
    result = make(out, "-s", "report", bandwidth="32 48")
    assert result.returncode == 0, result.stderr
    return out, result.stdout


def test_every_step_leaves_its_file(done):
    out, _ = done
    assert np.load(out / "f.48.npy").shape == np.load(out / "g.48.npy").shape == (96, 96, 3)
    assert len(objects(out / "candidates.48.jsonl")) == 5


def test_the_pipes_find_what_locate_finds(done):
    out, _ = done
    truth = json.loads((out / "truth.1.json").read_text())
    command = [sys.executable, ROOT / "bin/locate", out / "photo.1.jpg", "--dem", out / "terrain.tif"]
    command += ["--at", "{latitude},{longitude},{height}".format(**truth), "--coarse", "-b", "48"]
    command += ["--top", "5", "--pitch=-12:12", "--roll=-6:6"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = [json.loads(line) for line in found.stdout.splitlines()]
    for mine, other in zip(objects(out / "candidates.48.jsonl"), expected, strict=True):
        for key in ("yaw", "pitch", "roll", "score"):
            assert mine[key] == pytest.approx(other[key], rel=1e-3, abs=0.02)


def test_the_report_has_a_line_for_every_bandwidth(done):
    out, printed = done
    heading, *rows = [line.split("\t") for line in printed.splitlines()]
    assert [row[0] for row in rows] == ["32", "48"]
    best = objects(out / "candidates.48.jsonl")[0]
    row = dict(zip(heading, rows[1], strict=True))
    assert float(row["yaw"]) == pytest.approx(best["yaw"], abs=0.006)
    assert int(row["cells"]) == json.loads((out / "report.48.json").read_text())["cells"] > 0


def test_nothing_is_done_twice_until_a_variable_changes(done):
    out, _ = done
    again = make(out)
    assert again.returncode == 0 and "panorama" not in again.stdout and "scc" not in again.stdout
    more = make(out, bandwidth="40")
    assert "-b 40" in more.stdout and "panorama" not in more.stdout  # the steps that do not depend on the bandwidth stay
    other = make(out, bandwidth="40", PITCH="-5:5")
    assert "scc" in other.stdout
    assert json.loads((out / "report.40.json").read_text())["cells"] < json.loads((out / "report.48.json").read_text())["cells"]


def test_a_step_that_fails_ends_the_experiment_and_leaves_no_result(done, tmp_path):
    out, _ = done
    (tmp_path / "photo.jpg").write_bytes(b"no picture")
    result = make(tmp_path / "out", PHOTO=tmp_path / "photo.jpg", TERRAIN=out / "terrain.tif", AT="36.36,-84.26", HFOV="50")
    assert result.returncode != 0 and "edges: " in result.stderr and "Traceback" not in result.stderr
    assert not list((tmp_path / "out").glob("candidates*")) and not list((tmp_path / "out").glob("edges*"))
