"""How well `locate` does on photographs of known pose: per photo and per station.

    python tests/evaluation/evaluate.py DATA

DATA holds photo/*.jpg, truth.csv, pose/*.json and one elevation model dem_*.tif; their columns and units are those of the
public Columbia Glacier time-lapse cameras (github.com/ezwelty/glimpse). Position and lens are given, the pose is sought in
pitch -30 to 30, roll -15 to 15 and all yaws at B = 256. Nothing of DATA is kept.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyproj

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from toolkit.geo.pose import Pose, angle_between  # noqa: E402

TOLERANCE = 2.5
COLUMNS = ("photo", "yaw_error", "pitch_error", "roll_error", "error", "rank_of_truth", "false_ratio", "seconds", "peak_MB")


def main(data: Path) -> int:
    (dem,) = data.glob("dem_*.tif")
    rows = []
    print("\t".join(COLUMNS))
    with open(data / "truth.csv", newline="") as table:
        for truth in csv.DictReader(table):
            row = evaluate(data, dem, truth)
            rows.append(row | {"station": truth["station"]})
            print("\t".join(_text(row[name]) for name in COLUMNS), flush=True)
    print()
    print("\t".join(("station", "photos", "first", "among_ten", "median_error", "median_false_ratio")))
    for station in [*sorted({row["station"] for row in rows}), "all"]:
        chosen = [row for row in rows if station in (row["station"], "all")]
        first = sum(row["rank_of_truth"] == 1 for row in chosen)
        among = sum(row["rank_of_truth"] is not None for row in chosen)
        error, ratio = (float(np.median([row[name] for row in chosen])) for name in ("error", "false_ratio"))
        print(f"{station}\t{len(chosen)}\t{first}\t{among}\t{error:.2f}\t{ratio:.2e}")
    print(f"load average {os.getloadavg()[0]:.2f}")
    return 0


def evaluate(data: Path, dem: Path, truth: dict[str, str]) -> dict[str, object]:
    latitude, longitude = float(truth["lat"]), float(truth["lon"])
    # The surveyed yaw is from the north of UTM zone 6; poses are from true north.
    convergence = pyproj.Proj("EPSG:32606").get_factors(longitude, latitude).meridian_convergence
    yaw = (float(truth["yaw_deg_cw_from_grid_north"]) + convergence) % 360.0
    pose = (yaw, float(truth["pitch_deg_up"]), float(truth["roll_deg_down_right"]))
    photo = data / "photo" / (truth["photo"] + ".jpg")
    with tempfile.TemporaryDirectory() as folder:
        camera, report, found = (Path(folder) / name for name in ("camera.json", "report.json", "candidates.jsonl"))
        camera.write_text(json.dumps(camera_of(json.loads((data / "pose" / (truth["photo"] + ".json")).read_text()), truth)))
        command = [
            str(ROOT / "bin" / "locate"),
            str(photo),
            "--dem",
            str(dem),
            f"--at={latitude},{longitude},{truth['height_ellipsoid_m']}",
        ]
        command += ["--camera", str(camera), "--pitch", "-30:30", "--roll", "-15:15", "-b", "256", "-o", str(found)]
        command += ["--truth", ",".join(map(str, pose)), "--tolerance", str(TOLERANCE), "--report", str(report)]
        overlays = os.environ.get("OVERLAYS")
        if overlays:
            command += ["--overlay", str(Path(overlays) / f"{truth['photo']}.png")]
        began = time.monotonic()
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        if status:
            raise SystemExit(f"{truth['photo']}: locate failed: {' '.join(command)}")
        best = json.loads(found.read_text().splitlines()[0])
        quality = json.loads(report.read_text())
    return {
        "photo": truth["photo"],
        "yaw_error": (best["yaw"] - pose[0] + 180.0) % 360.0 - 180.0,
        "pitch_error": best["pitch"] - pose[1],
        "roll_error": best["roll"] - pose[2],
        "error": float(angle_between(Pose(*pose).matrix, Pose(best["yaw"], best["pitch"], best["roll"]).matrix)),
        "rank_of_truth": quality["rank_of_truth"],
        "false_ratio": quality["false_ratio"],
        "seconds": seconds,
        "peak_MB": usage.ru_maxrss / 1024.0,
    }


def camera_of(pose: dict[str, list[float]], truth: dict[str, str]) -> dict[str, object]:
    """CAMERA.json of a calibrated lens: focal length and principal point from millimetres to pixels of the photo's size."""
    size = np.array([float(truth["width"]), float(truth["height"])])
    focal, centre = np.array(pose["fmm"]) * size / pose["sensorsz"], size / 2 + np.array(pose["cmm"]) * size / pose["sensorsz"] - 0.5
    return {
        "width": int(size[0]), "height": int(size[1]), "fx": focal[0], "fy": focal[1], "cx": centre[0], "cy": centre[1],
        "k": pose["k"], "p": pose["p"],
    }  # fmt: skip


def _text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
