"""How long `--help` takes, the whole process: median of 15 runs for each command, with python3 from .venv and from the system."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BAR = 0.12
PATHS = {"": f"{Path(sys.executable).parent}:/usr/bin:/bin", ", cron's PATH": "/usr/bin:/bin"}


def seconds(command: Path, path: str) -> float:
    begin = time.perf_counter()
    subprocess.run([command, "--help"], env={"PATH": path}, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    for command in sorted((ROOT / "bin").iterdir()):
        for kind, path in PATHS.items():
            seconds(command, path)  # compiles what has changed, and warms the disk cache
            taken = statistics.median(seconds(command, path) for _ in range(15))
            load = os.getloadavg()[0]
            print(json.dumps({"benchmark": f"{command.name} --help{kind}", "ours_s": round(taken, 4), "bar_s": BAR, "load_average": load}))


if __name__ == "__main__":
    main()
