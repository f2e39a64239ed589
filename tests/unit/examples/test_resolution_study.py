"""The resolution study with its smallest pairs, as its page says: measured, reported, kept, run again, and never twice."""

from __future__ import annotations

import csv
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
from PIL import ExifTags, Image, ImageDraw

from tests.conftest import ROOT
from toolkit.experiment.run_record import Command, read_run_records

STUDY = ROOT / "examples/resolution-study"
LINES = re.findall(r"^make .*", (STUDY / "README.md").read_text(), re.MULTILINE)  # what the page says to run
SMALL = {"PAIRS": "64-32", "REPEAT": "1", "SCENES": "own"}  # what the page does not say is taken from the environment
TRUTH = {"latitude": 36.257302, "longitude": -84.327075, "height": 732.5, "yaw": 197.7, "pitch": -1.2, "roll": 3.3}


def start(line: str, out: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    variables = {**environment, **SMALL, "OUT": str(out)}
    return subprocess.Popen(
        ["sh", "-c", line], cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def run(line: str, out: Path, environment: dict[str, str]) -> str:
    study = start(line, out, environment)
    printed, words = study.communicate(timeout=300)
    assert study.returncode == 0, printed + words
    return printed


def commands(out: Path, pair: str) -> dict[str, Command]:
    """The commands of a pair that ran once each, by their names."""
    found = read_run_records([out / pair / "scene-own" / f"{name}.jsonl" for name in ("panorama", "photo", "correlation")])
    return {Path(command.argv[0]).name: command for command in found}


def written(out: Path) -> dict[Path, int]:
    """When each file of the study was written."""
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def own_scene(place: Path) -> None:
    """A scene as the page asks for it: the demo's terrain, and in place of a photo a skyline that is drawn in a moment."""
    place.mkdir(parents=True)
    subprocess.run([sys.executable, ROOT / "examples/demo/make_terrain.py", place / "terrain.tif"], check=True)
    (place / "truth.json").write_text(json.dumps(TRUTH))
    picture = Image.new("L", (480, 320), 210)
    ImageDraw.Draw(picture).polygon([(0, 320), (0, 150), (120, 90), (200, 160), (330, 110), (480, 170), (480, 320)], 60)
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 34
    picture.save(place / "photo.jpg", exif=exif)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Path, int], dict[str, str]]:
    """The page's first line, interrupted while the second command is measured, then run to its end; what the first had written."""
    out = tmp_path_factory.mktemp("study") / "study"
    own_scene(out / "scene-own")
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(out.parent), "LC_ALL": "C.UTF-8", "PYTHON": sys.executable}
    study = start(LINES[0], out, environment)
    while not list((out / "64-32/scene-own").glob("photo.jsonl*")):
        assert study.poll() is None, study.communicate()[1]
        time.sleep(0.02)
    os.killpg(study.pid, signal.SIGINT)
    study.communicate(timeout=60)
    assert study.returncode != 0 and not (out / "report").exists()
    before = {path: when for path, when in written(out).items() if path.name in ("panorama.tif", "panorama.npy", "panorama.jsonl")}
    printed = run(LINES[0], out, environment)
    assert f"The crate, verified and run again with the same results: {out / 'crate'}\n" in printed
    return out, before, environment


def test_an_interrupted_study_goes_on_where_it_stopped(done) -> None:  # type: ignore[no-untyped-def]
    out, before, _ = done
    assert len(before) == 3 and before.items() <= written(out).items()


def test_every_command_is_measured_with_its_files(done) -> None:  # type: ignore[no-untyped-def]
    out, _, _ = done
    found = commands(out, "64-32")
    assert set(found) == {"cylmap", "projmap", "scc", "rank-candidates"}
    for command in found.values():
        assert (command.tags["input"], command.tags["scene"]) == ("64", "own")
        assert command.exit and command.exit.status == 0 and command.exit.wall_ns > 0 and command.exit.peak_rss_bytes > 10e6
    assert found["scc"].run == found["rank-candidates"].run != found["cylmap"].run
    assert {"vscc3 transform", "vscc5 correlation"} <= {stage.stage for stage in found["scc"].stages}
    for role, path in [("input", "64-32/scene-own/panorama.npy"), ("input", "64-32/scene-own/photo.npy")]:
        digest = hashlib.sha256((out / path).read_bytes()).hexdigest()
        assert (role, digest) in {(file.role, file.sha256) for file in found["scc"].files}
    assert {Path(file.path).name for file in found["rank-candidates"].files} == {"candidates.jsonl", "quality.json"}


def test_the_block_is_as_large_as_the_output_resolution_says(done) -> None:  # type: ignore[no-untyped-def]
    out, _, _ = done
    quality = json.loads((out / "64-32/scene-own/quality.json").read_text())
    assert (quality["cells"], quality["bandwidth"], quality["tolerance"]) == (64**3, 32, 180 / 32)


def test_the_report_has_what_was_measured(done) -> None:  # type: ignore[no-untyped-def]
    out, _, _ = done
    with open(out / "report/tables/statistics.csv", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if (row["quantity"], row["command"], row["stage"]) == ("memory", "scc", "")]
    end = commands(out, "64-32")["scc"].exit
    assert end and end.peak_rss_bytes
    assert [(row["input"], row["output"], row["n"], float(row["median"])) for row in rows] == [("64", "32", "1", end.peak_rss_bytes / 1e6)]
    assert (out / "report/index.html").read_text().rstrip().endswith("</html>")


def test_the_crate_is_a_bag_that_holds_all_that_was_measured(done) -> None:  # type: ignore[no-untyped-def]
    import bagit

    out, _, _ = done
    bag = bagit.Bag(str(out / "crate"))
    assert bag.is_valid()
    for name in ("scene-own/panorama.tif", "scene-own/edges.tif", "64-32/scene-own/panorama.npy", "64-32/scene-own/candidates.jsonl"):
        digests = {entry["sha256"] for path, entry in bag.entries.items() if path.endswith(f"/{name}")}
        assert digests == {hashlib.sha256((out / name).read_bytes()).hexdigest()}


def test_nothing_is_done_twice(done) -> None:  # type: ignore[no-untyped-def]
    out, _, environment = done
    before = written(out)
    printed = run(LINES[0], out, environment)
    assert written(out) == before and "profile-wrap" not in printed
    assert re.findall(r"^ +(\d+) +(\d+) .*", printed, re.MULTILINE) == [("64", "32")], "the table is printed again"


def test_the_tables_have_each_stage_beside_the_seed(done, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    out, _, environment = done
    before = written(out)
    page = tmp_path / "README.md"
    page.write_text("above\n<!-- tables: begin -->\nolder\n<!-- tables: end -->\nbelow\n")
    printed = run(f"make -C examples/resolution-study tables INTO={page}", out, environment)
    assert before.items() <= written(out).items(), "nothing is measured again"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if re.match(r"\| \d", line)]
    assert [row[:2] for row in rows] == [["64", "32"]] * 2, "a table of times, and one of memory"
    assert [row[8] for row in rows] == ["0.03", "4"]
    stages = [float(cell) for cell in rows[0][2:7]]
    (alone,) = read_run_records([out / "64-32/scene-own/alone.jsonl"])
    end = alone.exit
    assert end and end.peak_rss_bytes and 0 < sum(stages) < float(rows[0][7]) == round(end.wall_ns / 1e9, 2)
    assert rows[1][7] == f"{end.peak_rss_bytes / 1e6:,.0f}" and all(float(cell) > 10 for cell in rows[1][9:])
    with open(out / "tables.csv", newline="") as stream:
        assert ("64", "32", "scc", "vscc5 correlation", "none") in {tuple(row[:5]) for row in csv.reader(stream)}
    text = page.read_text()
    assert text.startswith("above\n<!-- tables: begin -->\n\nTime, s (") and text.endswith("<!-- tables: end -->\nbelow\n")
    assert "older" not in text and (out / "tables.md").read_text() in text


def test_other_pairs_measure_only_what_is_missing(done) -> None:  # type: ignore[no-untyped-def]
    out, _, environment = done
    before = written(out / "64-32")
    printed = run(LINES[1], out, environment)
    assert written(out / "64-32") == before
    assert re.findall(r"^ +(\d+) +(\d+) .*", printed, re.MULTILINE) == [("64", "32"), ("64", "48")]


def test_the_whole_study_is_fourteen_pairs_of_eight_scenes(tmp_path: Path) -> None:
    command = ["make", "-n", "-C", STUDY, "WHOLE=1", f"OUT={tmp_path / 'study'}", f"PYTHON={sys.executable}"]
    planned = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pairs = re.findall(r"scc (\d+-\d+)/scene-(\d)/panorama\.npy", planned)
    assert {pair for pair, _ in pairs} == {f"{i}-{o}" for i in (64, 128, 256, 512) for o in (32, 64, 128, 256, 512) if o <= i}
    assert len(pairs) == len(set(pairs)) == 14 * 8
    assert re.findall(r"--seed (\d)", planned) == ["2", "3", "4", "5", "6", "7", "8", "9"]


def test_a_scene_that_is_not_there_is_told(tmp_path: Path) -> None:
    command = ["make", "-C", STUDY, "SCENES=eiger", f"OUT={tmp_path / 'study'}", f"PYTHON={sys.executable}"]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode != 0
    assert "is not there; put terrain.tif, photo.jpg and truth.json of the scene into" in failed.stderr
