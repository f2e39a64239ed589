#!/usr/bin/env python3
"""Tabulate what a resolution study found: `table.py STUDY`, from the report's tables and the quality figures; needs Python alone.

Times and memory are medians of `scc`; `false_ratio` is the mean, and `rank` the worst rank of the truth, over the scenes.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: table.py STUDY")
    study = Path(sys.argv[1])
    with open(study / "report/tables/statistics.csv", newline="", encoding="utf-8") as stream:
        measured = [row for row in csv.DictReader(stream) if (row["command"], row["stage"]) == ("scc", "")]
    pairs = sorted({(int(row["input"]), int(row["output"])) for row in measured})
    print("input  output   scc, s    seed      MB    seed  false ratio  rank")
    for pair in pairs:
        rows = {row["quantity"]: row for row in measured if (int(row["input"]), int(row["output"])) == pair}
        numbers = [float(rows[name][column]) for name in ("time", "memory") for column in ("median", "seed")]
        print("{:5d} {:7d} {:8.2f} {:7.2f} {:7.0f} {:7.0f}".format(*pair, *numbers), *_quality(study, pair))


def _quality(study: Path, pair: tuple[int, int]) -> tuple[str, str]:
    files = study.glob("{}-{}/scene-*/quality.json".format(*pair))
    figures = [json.loads(path.read_text()) for path in files]
    ratio = sum(one["false_ratio"] for one in figures) / len(figures)
    ranks = [one["rank_of_truth"] for one in figures]
    return f"{ratio:12.1e}", f"{'-' if None in ranks else max(ranks):>5}"


if __name__ == "__main__":
    main()
