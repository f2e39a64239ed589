#!/usr/bin/env python3
"""Tabulate the best pose of every list of candidates, and how it compares with the true one where that is known.

`report.py [--truth TRUTH.json] candidates.B.jsonl...` takes the figures that `rank-candidates --report` left in report.B.json beside
each list; `report.py --print "KEY KEY" TRUTH.json` writes numbers of the truth with commas between them, as `--at` and `--truth` take them.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

from toolkit.core.errors import BadData, ToolError
from toolkit.core.streams import open_input
from toolkit.geo.pose import angle_between, rotation_matrix


def main() -> None:
    parser = argparse.ArgumentParser(description="Tabulate the best pose of every list of candidates.")
    parser.add_argument("--truth", metavar="TRUTH.json", help="the true pose")
    parser.add_argument("--print", metavar="KEYS", help="only print these numbers of FILE")
    parser.add_argument("files", metavar="FILE", nargs="+")
    options = parser.parse_args()
    if options.print:
        first = _objects(options.files[0])[0]
        print(*(first[key] for key in options.print.split()), sep=",")
        return
    truth = _objects(options.truth)[0] if options.truth else None
    columns = ["bandwidth", "yaw", "pitch", "roll", "score"]
    if truth:
        columns += ["off_by", "rank_of_truth", "false_candidates", "cells", "false_ratio"]
    print("\t".join(columns))
    for path in options.files:
        print("\t".join(map(_short, _row(path, truth))))


def _row(path: str, truth: dict[str, float] | None) -> list[object]:
    candidates = _objects(path)
    bandwidth = pathlib.Path(path).name.split(".")[1]
    if not candidates:
        raise BadData(path, "lists no pose", "was the window empty, or the photo without lines?")
    best = candidates[0]
    row: list[object] = [bandwidth, *(best[key] for key in ("yaw", "pitch", "roll", "score"))]
    if truth:
        off_by = angle_between(*(rotation_matrix(pose["yaw"], pose["pitch"], pose["roll"]) for pose in (best, truth)))
        figures = _objects(str(pathlib.Path(path).with_name(f"report.{bandwidth}.json")))[0]
        row += [float(off_by), *(figures[key] for key in ("rank_of_truth", "false_candidates", "cells", "false_ratio"))]
    return row


def _short(value: object) -> str:
    if value is None:
        return "-"  # the truth is not among the candidates
    return f"{value:.{2 if abs(value) >= 0.01 else 7}f}" if isinstance(value, float) else str(value)


def _objects(path: str) -> list[dict[str, float]]:
    """The JSON objects of a file, one after another. Raises NoInput without the file, BadData for anything else in it."""
    with open_input(path) as stream:
        text = stream.read().decode("utf-8", "replace").strip()
    objects, decoder = [], json.JSONDecoder()
    try:
        while text:
            value, end = decoder.raw_decode(text)
            objects.append(value)
            text = text[end:].lstrip()
    except ValueError as error:
        raise BadData(path, "holds something else than JSON", "was it cut short?") from error
    return objects


if __name__ == "__main__":
    try:
        main()
    except ToolError as error:
        print(f"report: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
