"""The precise metric: a hundred candidates settle, are judged, the best refined, on the demo's rendered photograph of real terrain.

`rank-candidates --photo` is the whole command from a cold start, on a list of poses; the other lines are its parts in one process.
`first` says whether the pose that comes first is within half a degree of the truth.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

BAR, CANDIDATES, ROUNDS = 10.0, 100, 3  # seconds on two cores


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        truth = prepare(place)
        command = [str(ROOT / "bin" / "rank-candidates"), "candidates.jsonl", "--photo", "photo.edges.tif", "--panorama", "view.tif"]
        seconds, out = [], ""
        for _ in range(ROUNDS):
            began = time.perf_counter()
            out = subprocess.run(command, cwd=place, check=True, stdout=subprocess.PIPE, text=True).stdout
            seconds.append(time.perf_counter() - began)
        best = json.loads(out.splitlines()[0])
        name = f"rank-candidates --photo, {CANDIDATES} candidates"
        report({"benchmark": name, "ours_s": sorted(seconds)[ROUNDS // 2], "bar_s": BAR, "first": near(best, truth)})
        parts(place)


def prepare(place: Path) -> dict[str, float]:
    """A photograph, its lines, the panorama, and what the correlation proposes; the truth."""
    demo = ROOT / "examples" / "demo"
    subprocess.run([sys.executable, demo / "make_terrain.py", place / "terrain.tif"], check=True)
    render = [sys.executable, demo / "render_photo.py", place / "terrain.tif", "-o", place / "photo.jpg", "--truth", place / "truth.json"]
    subprocess.run(render, check=True)
    truth: dict[str, float] = json.loads((place / "truth.json").read_text())
    steps = (
        f"panorama terrain.tif --at {truth['latitude']},{truth['longitude']} -o view.tif; cylmap view.tif -b 256 -o f.npy;"
        "edges photo.jpg -o photo.edges.tif; projmap photo.edges.tif -b 256 | scc f.npy - --pitch -30:30 --roll -15:15 |"
        f"rank-candidates - --top {CANDIDATES} --separation 2 -o candidates.jsonl"
    )
    environment = os.environ | {"PATH": f"{ROOT / 'bin'}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-euo", "pipefail", "-c", steps], cwd=place, env=environment, check=True)
    return truth


def near(pose: dict[str, float], truth: dict[str, float]) -> bool:
    from toolkit.geo.pose import Pose, angle_between

    one, other = (Pose(*(angles[name] for name in ("yaw", "pitch", "roll"))).matrix for angles in (pose, truth))
    return bool(angle_between(one, other) < 0.5)


def parts(place: Path) -> None:
    import numpy as np

    from toolkit.geo.candidates import read_candidates
    from toolkit.geo.edges import edge_polylines
    from toolkit.geo.edges_file import read_edges
    from toolkit.geo.panorama import contour_polylines
    from toolkit.geo.panorama_file import read_panorama
    from toolkit.geo.photo_sphere import camera_of
    from toolkit.geo.precise_metric import MetricParameters, contour_map, evidences, frame_of, walk
    from toolkit.geo.settling import settle

    view, edges = read_panorama(str(place / "view.tif"), distance=False), read_edges(str(place / "photo.edges.tif"))
    parameters = MetricParameters()
    camera = camera_of(edges, None, "photo")
    with open(place / "candidates.jsonl", "rb") as stream:
        poses = np.stack([one.pose.matrix for one in read_candidates(stream, "candidates")])
    seconds: dict[str, list[float]] = {"map of contours": [], "map of the photograph": [], "settling": [], "metric": []}
    for _ in range(ROUNDS):
        times = [time.perf_counter()]
        contours = contour_map(contour_polylines(view), parameters, view.parameters["steps"])
        times.append(time.perf_counter())
        lines = walk(edge_polylines(edges, camera), parameters, frame_of(camera))
        times.append(time.perf_counter())
        rotations, zooms, lifts = settle(lines, poses, contours, parameters)
        times.append(time.perf_counter())
        evidences(lines, rotations, contours, parameters, zooms, lifts)
        times.append(time.perf_counter())
        for number, name in enumerate(seconds):
            seconds[name].append(times[number + 1] - times[number])
    for name, values in seconds.items():
        report({"benchmark": f"precise: {name}", "ours_s": sorted(values)[ROUNDS // 2]})


def report(line: dict[str, Any]) -> None:
    print(json.dumps(line | {"load_average": os.getloadavg()[0]}), flush=True)


if __name__ == "__main__":
    main()
