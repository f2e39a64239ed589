"""Run records for tests: commands whose figures follow given laws, written as profile-wrap writes them."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from typing import Any

from toolkit.experiment.run_record import Command, Exit, File, Sample, Stage, lines

MACHINE: dict[str, Any] = {
    "host": "anvil",
    "system": "Linux",
    "kernel": "6.8.0",
    "architecture": "x86_64",
    "cpu": {"model": "Example 6-core at 3 GHz", "flags": ["avx2"], "cores": 6, "threads": 12},
    "memory_bytes": 32 * 10**9,
    "cgroup": {"memory_max_bytes": None, "cpu_limit": None},
    "load_average": [0.1, 0.2, 0.3],
    "graphics": None,
}
LAWS = {  # log10(y) = a log2(r) + b: s, MB, and the tag of r
    "cylmap": ((0.55, -3.6), (0.55, -1.7), "input"),
    "projmap": ((0.58, -3.2), (0.56, -1.6), "input"),
    "scc": ((0.95, -6.2), (0.88, -3.9), "output"),
    "rank-candidates": ((0.85, -6.1), (0.5, -1.5), "output"),
}
STAGES = {
    "cylmap": ("read", "draw"),
    "projmap": ("draw",),
    "scc": ("read", "analyse", "open", "set-up", "sweep", "write"),
    "rank-candidates": ("rank",),
}
PAIRS = [(first, second) for first in (64, 128, 256, 512) for second in (32, 64, 128, 256, 512) if second <= first]


def command(
    name: str,
    wall_ns: int,
    peak_bytes: int,
    *,
    tags: dict[str, str] | None = None,
    host: str = "anvil",
    began: str = "2026-11-23T07:00:00.000000000Z",
    stages: Sequence[tuple[str, int, int]] = (),
    samples: Sequence[tuple[int, int]] = (),
    files: Sequence[File] = (),
    identifier: str = "",
    status: int | None = 0,
) -> Command:
    """A command that took so many ns and bytes; `stages`: name, begin and end, ns; `samples`: time and memory."""
    return Command(
        run="run-1",
        command=identifier or f"{name}-{began}-{host}-{wall_ns}-{sorted((tags or {}).items())}",
        argv=[f"/opt/bin/{name}", "-o", "out.npy"],
        began=began,
        directory="/data/study",
        tags=tags or {},
        machine={**MACHINE, "host": host},
        software={"toolkit": "0.7", "python": "3.11.7", "program": {"path": f"/opt/bin/{name}", "sha256": "0" * 64}},
        samples=[Sample(time, rss, 1) for time, rss in samples],
        stages=[_stage(*stage, peak_bytes) for stage in stages],
        files=list(files),
        exit=Exit(
            status,
            wall_ns,
            wall_ns // 2,
            wall_ns // 10,
            peak_rss_bytes=peak_bytes,
            peak_source="VmHWM",
            peak_tree_rss_bytes=peak_bytes + 1000,
            read_bytes=4000,
            written_bytes=5000,
        ),
    )


def _stage(name: str, begin: int, end: int, peak_bytes: int) -> Stage:
    return Stage(
        name,
        7,
        begin,
        end,
        user_ns=(end - begin) // 2,
        system_ns=0,
        peak_rss_bytes=peak_bytes // 2,
        peak_source="VmHWM",
        peak_tree_rss_bytes=peak_bytes // 2 + 7,
        read_bytes=10,
        written_bytes=20,
    )


def study(
    seed: int = 1, repetitions: int = 3, hosts: Sequence[tuple[str, float]] = (("anvil", 1.0),), pairs: Any = PAIRS, noise: float = 0.06
) -> list[Command]:
    """The whole study: every pair, each command `repetitions` times on each of `hosts` (name, how many times slower)."""
    chance = random.Random(seed)
    made = []
    for host, slower in hosts:
        for first, second in pairs:
            for repetition in range(repetitions):
                for name, (time, memory, scale) in LAWS.items():
                    r = math.log2(first if scale == "input" else second)
                    wall = slower * 10 ** (time[0] * r + time[1] + chance.gauss(0, noise / 4)) * math.exp(chance.gauss(0, noise))
                    peak = int(10 ** (memory[0] * r + memory[1]) * 1e6 * (1 + abs(chance.gauss(0, noise / 4)))) + 30_000_000
                    made.append(_measured(name, int(wall * 1e9), peak, first, second, host, repetition, chance))
    return made


def _measured(name: str, wall: int, peak: int, first: int, second: int, host: str, repetition: int, chance: random.Random) -> Command:
    edges = [wall // 50, *(wall * (number + 1) // len(STAGES[name]) - wall // 50 for number in range(len(STAGES[name])))]
    stages = [(stage, edges[number], edges[number + 1]) for number, stage in enumerate(STAGES[name])]
    samples = [(wall * part // 30, int(peak * min(1.0, 0.2 + 0.8 * part / 20) * (0.95 + 0.05 * chance.random()))) for part in range(31)]
    began = f"2026-11-{20 + repetition:02d}T07:00:00.000000000Z"
    files = []
    if name == "rank-candidates":
        path = f"quality.{first}.{second}.{repetition}.json"
        files = [File("output", path, 120, hashlib.sha256(path.encode()).hexdigest())]
    tags = {"input": str(first), "output": str(second)}
    return command(name, wall, peak, tags=tags, host=host, began=began, stages=stages, samples=samples, files=files)


def written(commands: Sequence[Command]) -> bytes:
    """As profile-wrap writes them."""
    return b"".join(lines(one) for one in commands)
