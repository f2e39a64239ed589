"""Run every benchmark beside this file, one after another; keep their lines in build/bench.jsonl and show a table.

A benchmark prints JSON lines with ``benchmark`` and ``ours_s`` (seconds), and what it is held against: ``bar_s``, or ``peer``
and ``peer_s`` with ``ratio`` (ours over theirs), and ``bar_ratio`` if it is held; ``ours_mb`` and ``bar_mb`` where memory is held;
``share`` and ``bar_share`` where something should be that much at least. The exit status is 1 when a bar is missed or a benchmark
fails. Names on the command line choose benchmarks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
AT_MOST = {"ours_s": "bar_s", "ours_mb": "bar_mb", "ratio": "bar_ratio"}
RESULTS = HERE.parent.parent / "build" / "bench.jsonl"


def missed(line: dict[str, Any]) -> bool:
    most = any(line.get(bar) is not None and line[key] > line[bar] for key, bar in AT_MOST.items())
    return most or (line.get("bar_share") is not None and line["share"] < line["bar_share"])


def row(line: dict[str, Any]) -> str:
    against = f"bar {line['bar_s']:g} s" if line.get("bar_s") is not None else ""
    if line.get("peer"):
        against = f"{line['peer']} {line['peer_s']:.3g} s, ratio {line['ours_s'] / line['peer_s']:.3g}"
        against += f", bar {line['bar_ratio']:.3g}" if line.get("bar_ratio") is not None else ""
    if line.get("share") is not None:
        against += f"{line['share']:.1%} of the peak" + (f", bar {line['bar_share']:.0%}" if line.get("bar_share") is not None else "")
    if line.get("ours_mb") is not None:
        against += f"; {line['ours_mb']:.0f} MB" + (f", bar {line['bar_mb']:.0f} MB" if line.get("bar_mb") else "")
    load = f"load {line['load_average']:.1f}" if "load_average" in line else ""
    return f"{line['benchmark']:<46} {line.get('ours_s', 0):8.3f} s  {against:<40} {load:<9} {'MISSED' if missed(line) else ''}".rstrip()


def main(names: list[str]) -> int:
    RESULTS.parent.mkdir(exist_ok=True)
    chosen = [path for path in sorted(HERE.glob("*.py")) if not path.name.startswith("_") and (not names or path.stem in names)]
    bad = 0
    with open(RESULTS, "w") as results:
        for path in chosen:
            process = subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            for text in process.stdout:
                results.write(text)
                line = json.loads(text)
                bad += missed(line)
                print(row(line), flush=True)
            if process.wait() != 0:
                bad += 1
                print(f"{path.name} failed with status {process.returncode}", flush=True)
    print(f"The figures: {RESULTS}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
