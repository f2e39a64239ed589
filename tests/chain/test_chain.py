"""The commands together, as real processes: a photograph's pose is found again, pipes end well, memory stays small."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.chain.mountains import HEIGHT, HFOV, LATITUDE, LONGITUDE, write_mountains, write_photo
from tests.unit.geo.signals import cap_of_arcs, rotated
from toolkit.core.arrays import write_array
from toolkit.geo.pose import Pose, angle_between, rotation_matrix
from toolkit.geo.sphere import splat

POSE = Pose(133.0, 1.5, -4.0)
AT = f"{LATITUDE},{LONGITUDE},{HEIGHT}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chain")
    write_mountains(path / "dem.tif")
    write_photo(path / "photo.jpg", path / "dem.tif", POSE)
    return path


def shell(line: str, folder: Path, environment: dict[str, str], **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, **options)


def error_of(line: str) -> float:
    found = json.loads(line)
    return float(angle_between(Pose(found["yaw"], found["pitch"], found["roll"]).matrix, POSE.matrix))


def test_the_pipe_finds_the_pose_within_one_cell(folder, environment):
    line = f"""
        panorama dem.tif --at {AT} --range 40 -o - | cylmap - -b 128 > f.npy &&
        edges photo.jpg | projmap - --hfov {HFOV} -b 128 | scc f.npy - --pitch -30:30 --roll -15:15 |
        rank-candidates - --truth {POSE.yaw},{POSE.pitch},{POSE.roll} --report report.json
    """
    result = shell(line, folder, environment)
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 10
    assert error_of(result.stdout.splitlines()[0]) < 180 / 128
    report = json.loads((folder / "report.json").read_text())
    assert report["rank_of_truth"] == 1
    assert report["false_candidates"] == 0
    assert "rank_of_truth=1" in result.stderr


def test_locate_says_the_same_and_draws_it(folder, environment):
    options = f"--at {AT} --range 40 --hfov {HFOV} --pitch -30:30 --roll -15:15 -b 128"
    result = shell(f"locate photo.jpg --dem dem.tif {options} --overlay fit.png", folder, environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert error_of(result.stdout.splitlines()[0]) < 0.3  # the precise metric's refinement is not bound to cells
    coarse = shell(f"locate photo.jpg --dem dem.tif {options} --coarse", folder, environment)
    assert (coarse.returncode, coarse.stderr) == (0, "")
    assert error_of(coarse.stdout.splitlines()[0]) < 180 / 128
    scores = [json.loads(line)["score"] for line in coarse.stdout.splitlines()]
    assert scores == sorted(scores, reverse=True)
    photo, overlay = (np.asarray(Image.open(folder / name).convert("RGB"), float) for name in ("photo.jpg", "fit.png"))
    assert overlay.shape == photo.shape
    drawn = np.abs(overlay - photo).max(axis=2) > 60
    rows, columns = np.nonzero(drawn)
    assert len(np.unique(columns)) > 0.8 * photo.shape[1]
    # What is drawn lies on the photograph's lines: where haze changes from one ridge to the next.
    slope = np.abs(np.gradient(photo.mean(axis=2), axis=0))
    near = np.max([np.roll(slope, shift, axis=0) for shift in range(-4, 5)], axis=0)
    assert near[rows, columns].mean() > 2 * near.mean()


def test_a_strict_heading_narrows_the_search(folder, environment):
    options = f"--at {AT} --range 40 --hfov {HFOV} -b 64 --format tsv --top 3 --coarse"
    result = shell(f"locate photo.jpg --dem dem.tif {options} --heading 350:20 --strict-heading", folder, environment)
    assert result.returncode == 0
    heading, *rows = (line.split("\t") for line in result.stdout.splitlines())
    assert heading == ["rank", "yaw", "pitch", "roll", "score"]
    for row in rows:
        assert abs((float(row[1]) - 350 + 180) % 360 - 180) <= 20 + 180 / 64


def test_an_image_of_a_panorama_serves_too(folder, environment):
    line = f"""
        panorama dem.tif --at {AT} --range 40 --elevations -30:30 --preview view.png -o view.tif &&
        cylmap view.png --elevations -30:30 -b 64 > f2.npy
    """
    assert shell(line, folder, environment).returncode == 0
    rendered = shell("cylmap view.tif -b 64 > f1.npy", folder, environment)
    assert rendered.returncode == 0
    ours, drawn = (np.load(folder / name)[..., 0] for name in ("f1.npy", "f2.npy"))
    blurred = [sum(np.roll(a, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) for a in (ours, drawn)]
    assert np.corrcoef(blurred[0].ravel(), blurred[1].ravel())[0, 1] > 0.4


def spheres(folder: Path, bandwidth: int) -> None:
    photo = cap_of_arcs()
    for name, segments in (("f.npy", rotated(photo, rotation_matrix(77, -13, 7))), ("g.npy", photo)):
        with open(folder / name, "wb") as stream:
            write_array(stream, splat(segments, bandwidth))


def test_a_reader_that_leaves_early_ends_the_pipe_quietly(tmp_path, environment):
    spheres(tmp_path, 64)
    result = shell("scc f.npy g.npy | head -c 100000 > part; echo ${PIPESTATUS[0]}", tmp_path, environment)
    assert result.stderr == ""
    assert result.stdout == f"{128 + signal.SIGPIPE}\n"
    assert sorted(os.listdir(tmp_path)) == ["f.npy", "g.npy", "part"]


PEAKS = """
import json, os, subprocess
scc = subprocess.Popen(["scc", "f.npy", "g.npy"], stdout=subprocess.PIPE)
rank = subprocess.Popen(["rank-candidates", "-", "-o", "found.jsonl"], stdin=scc.stdout)
scc.stdout.close()
ends = [os.wait4(process.pid, 0) for process in (scc, rank)]
print(json.dumps([[status, usage.ru_maxrss] for _, status, usage in ends]))
"""


def test_memory_does_not_grow_with_the_block(tmp_path, environment):
    """B = 256, whole raster: 537 MB of scores go through the pipe; neither side may hold them.

    A small launcher measures, because a process starts with the peak of the one that it was forked from.
    """
    spheres(tmp_path, 256)
    result = subprocess.run([sys.executable, "-S", "-c", PEAKS], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.stderr == ""
    statuses, peaks = zip(*json.loads(result.stdout), strict=True)
    assert statuses == (0, 0)
    assert max(peaks) < 300e3, peaks  # kB
    assert abs(json.loads((tmp_path / "found.jsonl").read_text().splitlines()[0])["yaw"] - 77) < 180 / 256


def test_stages_are_reported_where_a_profiler_listens(tmp_path, environment):
    spheres(tmp_path, 16)
    result = shell("TOOLKIT_STAGES_FD=9 scc f.npy g.npy 9> stages.jsonl > block.npy", tmp_path, environment)
    assert result.returncode == 0
    events = [json.loads(line) for line in (tmp_path / "stages.jsonl").read_text().splitlines()]
    names = ["vscc2 set-up", "vscc3 transform", "vscc4 release", "vscc5 correlation", "vscc6 final"]
    assert [(event["stage"], event["event"]) for event in events] == [(name, edge) for name in names for edge in ("begin", "end")]
    assert [event["time_ns"] for event in events] == sorted(event["time_ns"] for event in events)
