"""locate's search from coarse to fine against the search of all cells, interleaved, on the demo's rendered photograph of real terrain.

`same` says whether both put the same pose first, to a hundredth of a degree. At 1024 only the whole command from coarse to fine is run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from toolkit.geo.candidates import Candidate  # noqa: E402

WINDOW = ["--pitch", "-30:30", "--roll", "-15:15"]
LIMITS: dict[str, Any] = {"yaw": None, "pitch": (-30.0, 30.0), "roll": (-15.0, 15.0)}
ROUNDS = 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        terrain, photo, truth = (str(Path(folder) / name) for name in ("terrain.tif", "photo.jpg", "truth.json"))
        demo = ROOT / "examples" / "demo"
        subprocess.run([sys.executable, demo / "make_terrain.py", terrain], check=True)
        subprocess.run([sys.executable, demo / "render_photo.py", terrain, "-o", photo, "--truth", truth], check=True)
        locate = [str(ROOT / "bin" / "locate"), photo, "--dem", terrain, *WINDOW, "--top", "10", "--coarse", "--bandwidth"]
        for bandwidth in (256, 512):
            searches(terrain, photo, bandwidth)
            compare(
                f"locate B={bandwidth}, whole command",
                lambda bandwidth=bandwidth: command([*locate, f"auto:{bandwidth}"]),
                lambda bandwidth=bandwidth: command([*locate, str(bandwidth)]),
            )
        began = time.perf_counter()
        command([*locate, "auto:1024"])
        report({"benchmark": "locate auto:1024, whole command", "ours_s": round(time.perf_counter() - began, 3)})


def searches(terrain: str, photo: str, bandwidth: int) -> None:
    """Only the correlation and the ranking."""
    from toolkit.geo.block import Block
    from toolkit.geo.candidates import rank_candidates
    from toolkit.geo.coarse_to_fine import Limit, search
    from toolkit.geo.correlation import correlate, window
    from toolkit.geo.edges import detect_edges
    from toolkit.geo.panorama import contour_segments, render_panorama
    from toolkit.geo.photo import read_photo
    from toolkit.geo.photo_sphere import camera_of, sphere_of_edges
    from toolkit.geo.sphere import analyse, splat
    from toolkit.geo.terrain import read_terrain

    picture = read_photo(photo)
    latitude, longitude = picture.facts.latitude, picture.facts.longitude
    assert latitude is not None
    assert longitude is not None
    edges = detect_edges(picture.pixels, facts=picture.facts)
    view = render_panorama(read_terrain([terrain], latitude, longitude, 1e5), latitude, longitude, None)
    world = analyse(splat(contour_segments(view), bandwidth), bandwidth)
    seen = analyse(sphere_of_edges(edges, camera_of(edges, None, photo), bandwidth, photo), bandwidth)
    cells = window(bandwidth, **LIMITS)
    compare(
        f"search B={bandwidth}",
        lambda: search(world, seen, Limit(**LIMITS)),
        lambda: rank_candidates(Block(*cells.axes, correlate(world, seen, cells)))[0],
    )


def compare(name: str, coarse_to_fine: Callable[[], list[Candidate]], all_cells: Callable[[], list[Candidate]]) -> None:
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    first = {}
    for round_ in range(ROUNDS + 1):
        for who, work in (("ours", coarse_to_fine), ("peer", all_cells)):
            began = time.perf_counter()
            first[who] = work()[0]
            if round_:  # the first one loads libraries
                seconds[who].append(time.perf_counter() - began)
    ours, peer = (sorted(seconds[who])[ROUNDS // 2] for who in ("ours", "peer"))
    same = all(abs(getattr(first["ours"], angle) - getattr(first["peer"], angle)) < 0.01 for angle in ("yaw", "pitch", "roll"))
    report({"benchmark": name, "ours_s": ours, "peer": "all cells", "peer_s": peer, "ratio": ours / peer, "same": same})


def command(words: list[str]) -> list[Candidate]:
    found = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [Candidate(**json.loads(line)) for line in found.splitlines()]


def report(line: dict[str, Any]) -> None:
    print(json.dumps(line | {"load_average": os.getloadavg()[0]}), flush=True)


if __name__ == "__main__":
    main()
