"""How well correlations know the truth: the files that ``rank-candidates --report`` writes, by the resolution of the correlation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from toolkit.experiment.reporting.summaries import Summary, quantile, summary

PARTS = 50  # quantiles of the false ratio: the seed's
RANKS = ((1, 1), (2, 3), (4, 10), (11, None))  # of the truth, from and to
Resolution = int | float | None


def figures_of(content: bytes) -> tuple[list[tuple[int, list[Any]]], list[tuple[int, str]]]:
    """The quality figures in a file, by line: [false candidates, cells, rank of the truth, tolerance, bandwidth]; and its bad lines."""
    found: list[tuple[int, list[Any]]] = []
    bad: list[tuple[int, str]] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            found.append((number, _figures(json.loads(line))))
        except (ValueError, RecursionError) as error:
            torn = isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError)
            bad.append((number, "is torn or no JSON" if torn else str(error)))
    return found, bad


def _figures(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        raise ValueError("has no quality figures")
    false: Any
    cells: Any
    false, cells, rank = (value.get(name) for name in ("false_candidates", "cells", "rank_of_truth"))
    if not _whole(false) or not _whole(cells) or not 0 <= false <= cells or not cells:
        raise ValueError("has no quality figures: false_candidates and cells are numbers of cells")
    if rank is not None and not (_whole(rank) and rank > 0):
        raise ValueError("has a wrong rank_of_truth")
    tolerance, bandwidth = value.get("tolerance"), value.get("bandwidth")
    if tolerance is not None and (isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 < tolerance < math.inf):
        raise ValueError("has a wrong tolerance")
    if bandwidth is not None and not (_whole(bandwidth) and bandwidth > 0):
        raise ValueError("has a wrong bandwidth")
    return [false, cells, rank, tolerance, bandwidth]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def placed(
    files: Iterable[Sequence[Any]], outputs: Mapping[tuple[str, str], Sequence[Sequence[Resolution]]], scale: int
) -> tuple[dict[tuple[Resolution, float | None], list[tuple[int, int, int | None]]], list[str]]:
    """Figures by output resolution and tolerance, and the places of files whose resolution nobody knows.

    `files`: [place, path, sha256, false, cells, rank, tolerance, bandwidth]. A file without bandwidth belongs to the command whose
    record lists it as output; `outputs` has, by ("path" or "sha256", which), the resolutions of such commands, in which the output's is
    number `scale`.
    """
    found: dict[tuple[Resolution, float | None], list[tuple[int, int, int | None]]] = {}
    unknown: list[str] = []
    for place, path, digest, false, cells, rank, tolerance, bandwidth in files:
        if bandwidth is None:
            for key in (("path", path), ("sha256", digest)):
                known = {scales[scale] for scales in outputs.get(key, ())} - {None}
                if len(known) == 1:
                    bandwidth = known.pop()
                    break
        if bandwidth is None:
            unknown.append(place)
        else:
            found.setdefault((bandwidth, tolerance), []).append((false, cells, rank))
    return found, unknown


def quality_table(found: Mapping[tuple[Resolution, float | None], Sequence[tuple[int, int, int | None]]]) -> list[dict[str, Any]]:
    """A row for each output resolution and tolerance: the false ratio's statistics and its 50-quantiles, and where the truth was ranked."""
    table = []
    for (bandwidth, tolerance), some in sorted(found.items(), key=lambda item: (item[0][0] or 0, item[0][1] or 0)):
        ratios = sorted(Fraction(false, cells) for false, cells, _ in some)
        about: Summary = summary(ratios)
        ranked = {_span(*span): sum(rank is not None and _within(rank, span) for _, _, rank in some) for span in RANKS}
        table.append(
            {
                "output": bandwidth,
                "tolerance": tolerance,
                "n": len(some),
                "mean": about.mean,
                "sd": about.sd,
                "median": about.median,
                "quantiles": [quantile(ratios, Fraction(part, PARTS)) for part in range(PARTS + 1)],
                "ranks": {**ranked, "none": sum(rank is None for _, _, rank in some)},
            }
        )
    return table


def _span(first: int, last: int | None) -> str:
    return f"{first}" if first == last else f"{first}-{last}" if last else f"{first}-"


def _within(rank: int, span: tuple[int, int | None]) -> bool:
    return span[0] <= rank and (span[1] is None or rank <= span[1])
