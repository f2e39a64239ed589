"""Power laws of time and memory against resolution, and what they foretell.

log10(y) = a log2(r) + b, by least squares over the medians of the pairs of resolutions, so that a pair measured often weighs no more.
All machines share a; each has its own b, because a machine is faster or slower by a factor. Source of the intervals: Draper and Smith,
Applied Regression Analysis (3rd edition), chapters 1 and 14; of the seed's laws: its correlation, measured on one six-core node.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.experiment.reporting.collected import Collected, Step
from toolkit.experiment.reporting.summaries import summary

CONFIDENCE = 0.95
FEW = 4  # degrees of freedom below which an interval says more about the number of points than about the law
SEED: Mapping[tuple[str, str], tuple[float, float]] = {("scc", "memory"): (0.9029, -3.9114), ("scc", "time"): (1.078, -6.875)}
SEED_FARTHEST = 2048  # the resolution that the seed foretold: 27 h and 1 TB
FARTHEST = 8  # times the greatest resolution measured: beyond, a law is a guess
FITTED = ("time", "processor", "memory")
_EXACT = 1e-12  # a residual that is only rounding


@dataclass(frozen=True)
class Offset:
    """A machine's b, its standard error and interval (None where the points are too few), and how its points lie: how many, and their mean
    log2 of the resolution."""

    machine: str
    b: float
    error: float | None
    low: float | None
    high: float | None
    points: int
    middle: float


@dataclass(frozen=True)
class Law:
    """log10(y) = a log2(r) + b of a step; y in s or MB, r the value of the tag `scale`.

    `spread` is the residuals' standard deviation in log10(y), `r_squared` the share of the machines' own variance that the law explains,
    `freedom` the residuals' degrees of freedom, `least` and `most` the resolutions measured. `note` says what is wanting.
    """

    step: Step
    quantity: str
    scale: str
    a: float
    error: float | None
    low: float | None
    high: float | None
    offsets: tuple[Offset, ...]
    spread: float | None
    r_squared: float | None
    points: int
    freedom: int
    least: float
    most: float
    sum_of_squares: float  # of log2(r) about the machines' means
    note: str

    def at(self, resolution: float, machine: str) -> float:
        """The law's value on a machine."""
        offset = next(one for one in self.offsets if one.machine == machine)
        return _power(self.a * math.log2(resolution) + offset.b)

    def interval(self, resolution: float, machine: str) -> tuple[float, float] | None:
        """Where a new pair's median lies with 95 % probability; None where the points are too few."""
        if self.spread is None:
            return None
        offset = next(one for one in self.offsets if one.machine == machine)
        x = math.log2(resolution)
        variance = 1 + 1 / offset.points + (x - offset.middle) ** 2 / self.sum_of_squares
        reach = _student(self.freedom) * self.spread * math.sqrt(variance)
        middle = self.a * x + offset.b
        return _power(middle - reach), _power(middle + reach)


def seed_value(step: Step, quantity: str, resolution: float | None) -> float | None:
    """What the seed's law says of a step; None where it has none."""
    law = None if step.stage or resolution is None else SEED.get((step.program, quantity))
    return None if law is None or resolution is None else 10 ** (law[0] * math.log2(resolution) + law[1])


def fit_laws(found: Collected, quantities: Sequence[Any], scales: Sequence[str], chosen: str = "") -> list[Law]:
    """A law for each step and quantity that has two resolutions or more.

    Against the tag `chosen`; without one against that of `scales` which leaves the smaller residuals (a sphere's making depends on its
    own resolution, a correlation on its own), and where they are equal against ``output``, then the first. What the seed has a law of is
    fitted against ``output``, as the seed's is, where that is possible.
    """
    steps = sorted({place.step for place in found.rows})
    laws = []
    for step in steps:
        for quantity in quantities:
            if quantity.name not in FITTED:
                continue
            order = [chosen] if chosen else sorted(scales, key=lambda scale: (scale != "output", scales.index(scale)))
            tried = [_fit(step, quantity.name, scale, _points(found, step, quantity, scales.index(scale))) for scale in order]
            possible = [law for law in tried if law is not None]
            if possible and not chosen and possible[0].scale == "output" and not step.stage and (step.program, "time") in SEED:
                laws.append(possible[0])
            elif possible:
                most = max(law.points for law in possible)
                laws.append(min((law for law in possible if law.points == most), key=_badness))
    return laws


def forecasts(laws: Sequence[Law], resolutions: Sequence[float], machines: Mapping[str, int | None]) -> list[dict[str, Any]]:
    """What the laws foretell for each machine that has been seen: a row for each law, resolution and machine.

    `machines` has their memory in bytes. `beyond` says how many times the resolution is the farthest measured: beyond `FARTHEST` there
    is no value. `fits` says whether the machine has the memory.
    """
    table = []
    for law in laws:
        for resolution in resolutions:
            for offset in law.offsets:
                beyond = max(1.0, resolution / law.most)
                far = beyond > FARTHEST
                value = None if far else law.at(resolution, offset.machine)
                interval = None if far else law.interval(resolution, offset.machine)
                memory = machines.get(offset.machine)
                table.append(
                    {
                        "quantity": law.quantity,
                        "command": law.step.program,
                        "stage": law.step.stage,
                        "labels": list(law.step.labels),
                        "machine": offset.machine,
                        "scale": law.scale,
                        "resolution": resolution,
                        "value": value,
                        "low": interval[0] if interval else None,
                        "high": interval[1] if interval else None,
                        "seed": seed_value(law.step, law.quantity, resolution),
                        "beyond": beyond,
                        "fits": value * 1e6 <= memory if law.quantity == "memory" and memory and value is not None else None,
                        "note": f"too far: measured up to {law.most:g} only" if far else law.note,
                    }
                )
    return table


def _points(found: Collected, step: Step, quantity: Any, scale: int) -> dict[str, list[tuple[float, float]]]:
    """The resolution and log10 of the median, by machine; without what has no logarithm."""
    points: dict[str, list[tuple[float, float]]] = {}
    for place in found.rows:
        resolution = place.scales[scale]
        if place.step == step and resolution is not None:
            values = found.values(place, quantity.field)
            median = summary(values, quantity.divisor).median if values else 0.0
            if median > 0:
                points.setdefault(place.machine, []).append((resolution, math.log10(median)))
    return points


def _fit(step: Step, quantity: str, scale: str, measured: Mapping[str, Sequence[tuple[float, float]]]) -> Law | None:
    points = {machine: [(math.log2(resolution), y) for resolution, y in some] for machine, some in measured.items()}
    means = {
        machine: (math.fsum(x for x, _ in some) / len(some), math.fsum(y for _, y in some) / len(some)) for machine, some in points.items()
    }
    centred = [(x - means[machine][0], y - means[machine][1]) for machine, some in points.items() for x, y in some]
    squares = math.fsum(x * x for x, _ in centred)
    if squares < _EXACT:
        return None
    a = math.fsum(x * y for x, y in centred) / squares
    residual = math.fsum((y - a * x) ** 2 for x, y in centred)
    total = math.fsum(y * y for _, y in centred)
    count, freedom = len(centred), len(centred) - len(points) - 1
    spread = math.sqrt(residual / freedom) if freedom > 0 else None
    reach = _student(freedom) if freedom > 0 else 0.0
    error = None if spread is None else spread / math.sqrt(squares)
    offsets = []
    for machine, (x, y) in sorted(means.items()):
        n, b = len(points[machine]), y - a * x
        wrong = None if spread is None else spread * math.sqrt(1 / n + x * x / squares)
        offsets.append(Offset(machine, b, wrong, *_about(b, wrong, reach), n, x))
    every = [resolution for some in measured.values() for resolution, _ in some]
    return Law(
        step,
        quantity,
        scale,
        a,
        error,
        *_about(a, error, reach),
        tuple(offsets),
        spread,
        1 - residual / total if total > _EXACT and freedom > 0 else None,
        count,
        freedom,
        min(every),
        max(every),
        squares,
        _note(count, freedom, _bend(points, means, a, residual, freedom)),
    )


def _note(points: int, freedom: int, bend: float) -> str:
    if freedom <= 0:
        return f"{points} points determine the line: its uncertainty is not known"
    notes = [f"few points ({points}): the intervals are wide"] if freedom < FEW else []
    if bend:
        up = bend > 0
        notes.append(f"the points bend {'upwards' if up else 'downwards'}: forecasts are too {'low' if up else 'high'}")
    return "; ".join(notes)


def _bend(
    points: Mapping[str, Sequence[tuple[float, float]]], means: Mapping[str, tuple[float, float]], a: float, residual: float, freedom: int
) -> float:
    """The coefficient of a square that is added to the law, 0 where it does not differ from 0 with 95 % certainty."""
    if freedom < 2 or residual < _EXACT:
        return 0.0
    rows = []  # x and y of each point and the square of x, about its machine's means
    for machine, some in points.items():
        x_mean, y_mean = means[machine]
        square = math.fsum((x - x_mean) ** 2 for x, _ in some) / len(some)
        rows += [(x - x_mean, y - y_mean, (x - x_mean) ** 2 - square) for x, y in some]
    slope = math.fsum(x * z for x, _, z in rows) / math.fsum(x * x for x, _, _ in rows)
    bent = [(z - slope * x, y - a * x) for x, y, z in rows]
    squares = math.fsum(z * z for z, _ in bent)
    if squares < _EXACT:
        return 0.0
    coefficient = math.fsum(z * y for z, y in bent) / squares
    left = max(residual - coefficient * coefficient * squares, 0.0) / (freedom - 1)
    return coefficient if abs(coefficient) > _student(freedom - 1) * math.sqrt(left / squares) else 0.0


def _badness(law: Law) -> float:
    """Residuals that are only rounding are equal; so are those of two points."""
    return 0.0 if law.spread is None or law.spread < _EXACT else law.spread


def _about(value: float, error: float | None, reach: float) -> tuple[float | None, float | None]:
    return (None, None) if error is None else (value - reach * error, value + reach * error)


def _student(freedom: int) -> float:
    """How many standard errors the interval reaches to either side."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + CONFIDENCE / 2))


def _power(exponent: float) -> float:
    """10 to this power, kept in what a float holds: two points near each other can foretell anything."""
    return 10 ** min(max(exponent, -300.0), 300.0)
