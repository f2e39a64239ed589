#!/usr/bin/env python3
"""Tabulate time and memory of every stage for every pair of resolutions: `tables.py STUDY [README]`; needs Python alone.

From the medians of the report in STUDY/stages it writes STUDY/tables.md and STUDY/tables.csv and prints the former. In README, what
stands between the lines `<!-- tables: begin -->` and `<!-- tables: end -->` is replaced by it. The seed's own figures are not kept
anywhere but as two laws of its correlation (see README.md): those are what `seed` shows. `scc` and its stages are those of a correlation
that nobody read (`reader` is none); `rank-candidates` read another one, so its time holds that too.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

STAGES = ("vscc2 set-up", "vscc3 transform", "vscc4 release", "vscc5 correlation", "vscc6 final")
BESIDE = ("cylmap", "projmap", "rank-candidates")
FIELDS = ("input", "output", "command", "stage", "reader", "seconds", "seed_seconds", "megabytes", "seed_megabytes")
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"

Row = dict[str, str]
Key = tuple[str, str, str, str, str]


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: tables.py STUDY [README]")
    study = Path(sys.argv[1])
    with open(study / "stages/tables/statistics.csv", newline="", encoding="utf-8") as stream:
        measured = [row for row in csv.DictReader(stream) if row["quantity"] in ("time", "memory")]
    found: dict[Key, dict[str, Row]] = {}
    for row in measured:
        found.setdefault((row["input"], row["output"], row["command"], row["stage"], row["labels"]), {})[row["quantity"]] = row
    with open(study / "tables.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(FIELDS)
        for key in sorted(found, key=lambda key: (*_numbers(key), key[2:])):
            cells = [found[key].get(quantity, {}).get(column, "") for quantity in ("time", "memory") for column in ("median", "seed")]
            writer.writerow([*key, *cells])
    text = _tables(found, _circumstances(study))
    (study / "tables.md").write_text(text, encoding="utf-8")
    print(text, end="")
    if len(sys.argv) == 3:
        _put_into(Path(sys.argv[2]), text)


def _circumstances(study: Path) -> str:
    """The processors and the load under which the correlations ran that nobody read."""
    found, loads = set(), []
    for path in study.glob("*/*/alone.jsonl"):
        with open(path, encoding="utf-8") as stream:
            runs = [record for record in map(json.loads, stream) if record["record"] == "run"]
        for machine in (record["machine"] for record in runs):
            found.add(f"{machine['cpu']['model']}, {machine['cpu']['threads']} threads")
            loads.append(machine["load_average"][0])
    return f"{'; '.join(sorted(found))}; load {min(loads):.1f} to {max(loads):.1f}"


def _tables(found: dict[Key, dict[str, Row]], circumstances: str) -> str:
    pairs = sorted({key[:2] for key in found if key[2] == "scc"}, key=_numbers)
    parts = []
    for quantity, title, form in (("time", "Time, s", _seconds), ("memory", "Peak memory, MB", _megabytes)):

        def value(pair: Sequence[str], command: str, stage: str = "", column: str = "median") -> str:
            # cylmap and projmap know nothing of an output resolution; a correlation that is read waits for its reader
            for key in ((*pair, command, stage, "none" if command == "scc" else ""), (pair[0], "", command, stage, "")):
                row = found.get(key, {}).get(quantity)  # noqa: B023 (called in this turn)
                if row and row[column]:
                    return form(float(row[column]))  # noqa: B023
            return ""

        heads = ["input", "output", *(stage.partition(" ")[2] for stage in STAGES), "`scc`", "seed", *(f"`{name}`" for name in BESIDE)]
        lines = [f"| {' | '.join(heads)} |", "|" + " ---: |" * len(heads)]
        for pair in pairs:
            cells = [value(pair, "scc", stage) for stage in STAGES]
            cells += [value(pair, "scc"), value(pair, "scc", column="seed"), *(value(pair, name) for name in BESIDE)]
            lines.append(f"| {' | '.join([*pair, *cells])} |")
        parts.append(f"{title} ({circumstances}):\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _put_into(page: Path, text: str) -> None:
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{page}: has no lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def _numbers(key: Sequence[str]) -> tuple[int, int]:
    return int(key[0] or 0), int(key[1] or 0)


def _seconds(value: float) -> str:
    return f"{value:,.2f}" if value < 99.995 else f"{value:,.0f}"


def _megabytes(value: float) -> str:
    return f"{value:,.0f}"



if __name__ == "__main__":
    main()
