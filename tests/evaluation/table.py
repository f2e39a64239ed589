"""Counting what an evaluation found: per photo, per station, and over stations, each of which counts once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from toolkit.geo.pose import Pose, angle_between, rotation_matrix

NEAR, WIDE = 1.0, 2.5  # degrees
BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0)


@dataclass(frozen=True)
class Result:
    """What was found for one photograph; angles in degrees.

    `errors`: rotation from the truth of each listed pose, best first, empty when there was none. `yaw_error`, `pitch_error`,
    `roll_error`: of the best one. `false_ratio`: share of the correlation's cells above the best near the truth. `failure`: what
    the command said when it ended badly.
    """

    photo: str
    station: str
    source: str
    errors: list[float] = field(default_factory=list)
    yaw_error: float | None = None
    pitch_error: float | None = None
    roll_error: float | None = None
    false_ratio: float | None = None
    fine_score: float | None = None
    hfov: float | None = None
    confidence: float | None = None
    verdict: str = "failed"
    seconds: float = 0.0
    megabytes: float = 0.0
    note: str = ""
    failure: str = ""

    def among(self, count: int, limit: float) -> bool:
        """Whether one of the first `count` poses is within `limit` degrees of the truth."""
        return any(error <= limit for error in self.errors[:count])

    @property
    def error(self) -> float:
        """The best pose's; 180 where there is none."""
        return self.errors[0] if self.errors else 180.0


def by_station(results: Sequence[Result], value: Callable[[Result], float]) -> dict[str, float]:
    """The mean of a value for each station, and, as "all", of the stations' means."""
    stations = {result.station: [] for result in results}  # type: dict[str, list[float]]
    for result in results:
        stations[result.station].append(float(value(result)))
    means = {station: float(np.mean(values)) for station, values in sorted(stations.items())}
    return means | {"all": float(np.mean(list(means.values())))}


def station_table(results: Sequence[Result]) -> list[list[str]]:
    """A heading and a line for each station and for all: how many are right, in how many is the truth listed, errors."""
    shares = [by_station(results, lambda r, c=count, w=limit: r.among(c, w)) for count in (1, 10) for limit in (NEAR, WIDE)]  # type: ignore[misc]
    rows = [["station", "photos", "first within 1", "within 2.5", "among ten within 1", "within 2.5", "median error", "median false ratio"]]
    for station in shares[0]:
        chosen = [result for result in results if station in (result.station, "all")]
        ratios = [result.false_ratio for result in chosen if result.false_ratio is not None]
        cells = [f"{100 * share[station]:.0f} %" for share in shares]
        ratio = f"{np.median(ratios):.1e}" if ratios else ""
        rows.append([station, str(len(chosen)), *cells, f"{np.median([r.error for r in chosen]):.2f}", ratio])
    return rows


def verdict_table(results: Sequence[Result]) -> list[list[str]]:
    """How many of each verdict are right, within 1 degree, and wrong."""
    rows = [["verdict", "right", "wrong"]]
    for verdict in ("accepted", "doubtful", "rejected", "failed"):
        right = [result.error <= NEAR for result in results if result.verdict == verdict]
        if right or verdict != "failed":
            rows.append([verdict, str(sum(right)), str(len(right) - sum(right))])
    return rows


def reliability_table(results: Sequence[Result]) -> list[list[str]]:
    """For poses of about each confidence the mean confidence and how many were right; and the Brier score (1950) of all."""
    told = np.array([result.confidence for result in results if result.confidence is not None])
    right = np.array([result.error <= NEAR for result in results if result.confidence is not None])
    rows = [["confidence", "poses", "mean", "right"]]
    for low, high in zip(BINS, BINS[1:], strict=False):
        chosen = (told >= low) & ((told < high) | (high == 1.0))
        if chosen.any():
            rows.append([f"{low:g} to {high:g}", str(chosen.sum()), f"{told[chosen].mean():.2f}", f"{100 * right[chosen].mean():.0f} %"])
    if len(told):
        rows.append(["Brier score", str(len(told)), f"{np.mean((told - right) ** 2):.3f}", ""])
    return rows


def prior(pose: Pose, limit: float, steps: int = 36000) -> float:
    """The chance that a level camera with an unknown heading is within `limit` degrees of a pose."""
    yaw = np.arange(steps) * 360.0 / steps
    return float(np.mean(angle_between(rotation_matrix(yaw, 0.0, 0.0), pose.matrix) <= limit))


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Columns, the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
