"""How well `locate` does on photographs of known pose: per photo, per station and over stations.

    python tests/evaluation/evaluate.py DATA [--set PATTERN] [--lens calibrated|pinhole] [-o FOLDER]

DATA is described in truth.py. The command is run as a user runs it, with the position and the lens given; all headings, pitches and
rolls that it tries by default. Where a station's surveyed horizon is there, it is taken as the terrain a second time. FOLDER gets
results.jsonl, tables.txt and a contact sheet, sheet.html and sheet.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from sheet import side_by_side, write_sheet  # noqa: E402
from table import NEAR, WIDE, Result, as_text, prior, reliability_table, station_table, verdict_table  # noqa: E402
from truth import Truth, read_truths  # noqa: E402

from toolkit.geo.camera import Camera  # noqa: E402
from toolkit.geo.pose import Pose, angle_between  # noqa: E402

MODEL, HORIZON = "elevation model", "horizon"
_COLUMNS = ("photo", "terrain", "error", "yaw", "pitch", "roll", "false ratio", "fine score", "confidence", "verdict", "s", "MB")


def main() -> int:
    parser = argparse.ArgumentParser(description="Locate photographs of known pose, and count.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", default="*", metavar="PATTERN", help="only photos or stations whose name fits [%(default)s]")
    parser.add_argument("--lens", choices=["calibrated", "pinhole"], default="calibrated", help="with or without distortion [%(default)s]")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build" / "evaluation", metavar="FOLDER")
    arguments = parser.parse_args()
    truths = read_truths(arguments.data, arguments.set)
    if not truths:
        sys.exit(f"{arguments.data}/truth.csv: no photo or station fits {arguments.set!r}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    wanted = [(truth, MODEL) for truth in truths] + [(truth, HORIZON) for truth in truths if truth.horizon]
    results, pictures = [], {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)) // 2)) as pool:
        for place, (result, picture) in enumerate(pool.map(lambda one: evaluated(*one, arguments.lens, Path(folder)), wanted)):
            results.append(result)
            if picture is not None:
                pictures[place] = picture
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    tables = {f"Photographs, {arguments.lens} lens": as_text([list(_COLUMNS), *(_row(result) for result in results)])}
    for source in (MODEL, HORIZON):
        chosen = [result for result in results if result.source == source]
        if chosen:
            tables[f"Stations, {source}"] = as_text(station_table(chosen))
            tables[f"Verdicts, {source}"] = as_text(verdict_table(chosen))
            tables[f"Confidence, {source}"] = as_text(reliability_table(chosen))
    chance = [f"{100 * np.mean([prior(truth.pose, limit) for truth in truths]):.2f} % within {limit:g} degrees" for limit in (NEAR, WIDE)]
    tables["A level camera of unknown heading, for comparison"] = ", ".join(chance)
    text = "\n\n".join(f"{heading}\n\n{table}" for heading, table in tables.items())
    print(f"{text}\n\nload average {os.getloadavg()[0]:.2f}")
    (arguments.output / "tables.txt").write_text(text + "\n")
    with open(arguments.output / "results.jsonl", "w") as stream:
        stream.writelines(json.dumps(dataclasses.asdict(result)) + "\n" for result in results)
    write_sheet(arguments.output, "Photographs of known pose", tables, results, pictures)
    print(f"The contact sheet: {arguments.output / 'sheet.html'}")
    return 0


def evaluated(truth: Truth, source: str, lens: str, folder: Path) -> tuple[Result, np.ndarray | None]:
    """Run `locate`, and compare; with the picture for the sheet."""
    paths = {name: folder / f"{truth.name}.{source[0]}.{name}" for name in ("camera.json", "report.json", "poses.jsonl", "overlay.png")}
    terrain = truth.dem if source == MODEL else truth.horizon
    command = [str(ROOT / "bin" / "locate"), str(truth.photo), "--dem", str(terrain), f"--at={truth.at}", "-o", str(paths["poses.jsonl"])]
    camera = truth.camera if lens == "calibrated" and truth.camera else truth.pinhole
    paths["camera.json"].write_text(json.dumps(dataclasses.asdict(camera)))
    command += ["--camera", str(paths["camera.json"]), "--overlay", str(paths["overlay.png"]), "--allow-rejected", "--quiet"]
    command += ["--truth", f"{truth.pose.yaw},{truth.pose.pitch},{truth.pose.roll}", "--report", str(paths["report.json"])]
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        said.seek(0)
        failure = said.read().decode(errors="replace").strip().splitlines()[-1:] if status else []
    seconds, megabytes = time.monotonic() - began, usage.ru_maxrss / 1024.0
    poses = [json.loads(line) for line in paths["poses.jsonl"].read_text().splitlines()] if not status else []
    result = compared(truth, source, poses)
    if paths["report.json"].exists():
        result = dataclasses.replace(result, false_ratio=json.loads(paths["report.json"].read_text())["false_ratio"])
    result = dataclasses.replace(result, seconds=seconds, megabytes=megabytes, failure=" ".join(failure))
    return result, _picture(truth, camera, terrain, paths["overlay.png"])


def compared(truth: Truth, source: str, poses: Sequence[dict[str, object]]) -> Result:
    """The listed poses, best first, against the truth."""
    result = Result(truth.name, truth.station, source, note=truth.note)
    found = [Pose(*(float(pose[angle]) for angle in ("yaw", "pitch", "roll"))) for pose in poses if pose.get("yaw") is not None]  # type: ignore[arg-type]
    if not poses:
        return result
    known = {name: poses[0].get(name) for name in ("fine_score", "hfov", "confidence", "verdict")}
    result = dataclasses.replace(result, **known)
    if not found:
        return result
    return dataclasses.replace(
        result,
        errors=[float(angle_between(pose.matrix, truth.pose.matrix)) for pose in found],
        yaw_error=(found[0].yaw - truth.pose.yaw + 180.0) % 360.0 - 180.0,
        pitch_error=found[0].pitch - truth.pose.pitch,
        roll_error=found[0].roll - truth.pose.roll,
    )


def _picture(truth: Truth, camera: Camera, terrain: Path | None, overlay: Path) -> np.ndarray | None:
    """The pose that was found, as `locate` drew it, beside the true one."""
    from PIL import Image

    from toolkit.geo.overlay import draw_overlay
    from toolkit.geo.photo import read_photo
    from toolkit.geo.view import view_from

    if not truth.photo.exists():
        return None
    seen = view_from([str(terrain)], truth.latitude, truth.longitude, truth.height, range_m=100e3, refraction=0.13)
    found = np.asarray(Image.open(overlay).convert("RGB")) if overlay.exists() else None
    return side_by_side(found, draw_overlay(read_photo(str(truth.photo)).pixels, seen, camera, truth.pose))


def _row(result: Result) -> list[str]:
    numbers = [
        "" if value is None else f"{value:.2f}"
        for value in (result.error if result.errors else None, result.yaw_error, result.pitch_error, result.roll_error)
    ]
    ratio = "" if result.false_ratio is None else f"{result.false_ratio:.1e}"
    scores = ["" if value is None else f"{value:.2f}" for value in (result.fine_score, result.confidence)]
    verdict = result.failure or result.verdict
    return [result.photo, result.source, *numbers, ratio, *scores, verdict, f"{result.seconds:.1f}", f"{result.megabytes:.0f}"]


if __name__ == "__main__":
    sys.exit(main())
