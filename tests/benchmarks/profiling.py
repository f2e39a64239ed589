"""What profile-wrap costs, and whether its peak is the kernel's: runs with and without it take turns.

The whole: wall of `profile-wrap true` less that of `true`. The command: user and system time of a loop under it, by itself told, and
without it. The peak: a spike of 200 MB, at three intervals, and `true`, held against GNU time(1) where it is.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = {"PATH": f"{ROOT / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": "/nonexistent"}
TIME = Path("/usr/bin/time")
RUNS, COMPUTING_RUNS = 31, 9
BAR_S, BAR_OF_PEAK = 0.060, 0.02
SPIKE = "spike = bytearray(200_000_000); spike[::4096] = b'x' * len(spike[::4096]); del spike"
COMPUTE = "import time; b = time.perf_counter(); [n * n for n in range(6_000_000)]; print(time.perf_counter() - b)"


def main() -> int:
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        overhead()
        on_the_command()
        return peaks()


def overhead() -> None:
    """The wall of the smallest command, with and without; the least of many runs, for others use the machine too."""
    words = ["profile-wrap", "-o", "run.jsonl", "true"]
    peer = [str(TIME), "-o", "time", "-v", "true"] if TIME.exists() else None
    wall(words)  # compiles what has changed
    taken: dict[str, list[float]] = {"plain": [], "wrapped": [], "peer": []}
    for _ in range(RUNS):
        taken["plain"].append(wall(["true"]))
        taken["wrapped"].append(wall(words))
        if peer:
            taken["peer"].append(wall(peer))
    for name, words in (("wrapped", "profile-wrap true"), ("peer", "time -v true")):
        if taken[name]:
            least = min(taken[name]) - min(taken["plain"])
            typical = statistics.median(taken[name]) - statistics.median(taken["plain"])
            tell(f"{words}, less true", ours_s=typical, bar_s=BAR_S if name == "wrapped" else None, least_s=least)


def on_the_command() -> None:
    """A loop that measures itself: what it is slowed down by. The least of several is compared: others use the machine too."""
    plain, wrapped = [], []
    for _ in range(COMPUTING_RUNS):
        plain.append(float(output([sys.executable, "-c", COMPUTE])))
        wrapped.append(float(output(["profile-wrap", "-o", "run.jsonl", sys.executable, "-c", COMPUTE])))
    tell("a loop under profile-wrap, by its own clock", ours_s=min(wrapped), peer="without", peer_s=min(plain))


def peaks() -> int:
    """How far the peak is from the kernel's; 1 where further than the bar."""
    bad = 0
    spike = [sys.executable, "-I", "-S", "-c", SPIKE]
    for words, name in ((spike, "spike of 200 MB"), (["true"], "true")):
        for interval in ("1", "50", "60000"):
            apart = statistics.median(abs(peak(words, interval) / kernels(words) - 1) for _ in range(5))
            allowed = BAR_OF_PEAK if name != "true" else None
            bad += allowed is not None and apart > allowed
            spent = wall(["profile-wrap", "-o", "run.jsonl", "--interval", interval, *words])
            tell(f"peak of {name}, --interval {interval}", ours_s=spent, apart=round(apart, 5), bar_of_apart=allowed)
    return 1 if bad else 0


def peak(words: list[str], interval: str) -> int:
    Path("peak.jsonl").unlink(missing_ok=True)
    subprocess.run(["profile-wrap", "-o", "peak.jsonl", "--interval", interval, *words], env=ENVIRONMENT, check=True)
    return int(json.loads(Path("peak.jsonl").read_text().splitlines()[-1])["peak_rss_bytes"])


def kernels(words: list[str]) -> int:
    """ru_maxrss of a child of a process that is small: GNU time's, or an interpreter's without packages."""
    if TIME.exists():
        subprocess.run([TIME, "-o", "time", "-f", "%M", *words], env=ENVIRONMENT, check=True)
        return int(Path("time").read_text()) * 1024
    ask = "import os, resource, sys; os.spawnvp(os.P_WAIT, sys.argv[1], sys.argv[1:])"
    tell_it = "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
    return int(output([sys.executable, "-I", "-S", "-c", f"{ask}; {tell_it}", *words]))


def wall(words: list[str]) -> float:
    return timed(lambda: subprocess.run(words, env=ENVIRONMENT, check=True))


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def output(words: list[str]) -> str:
    return subprocess.run(words, env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout


def tell(name: str, **figures: object) -> None:
    rounded = {key: round(value, 5) if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps({"benchmark": name, **rounded, "load_average": os.getloadavg()[0]}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
