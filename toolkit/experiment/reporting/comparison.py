"""Two machines, or two days, months or years: how many times as much the second one takes, with an interval.

The estimate is the median of all ratios between values of the one and the other, its interval the one that belongs to the test of Mann
and Whitney (Hodges and Lehmann 1963; Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, section 4.2): nothing is
assumed of the distribution, and nothing is drawn by chance.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import UsageError
from toolkit.experiment.reporting.collected import Collected, Step

CONFIDENCE = 0.95
COMPARED = ("time", "processor", "memory")
_EXACTLY = 400  # products of the two sizes up to which the test's distribution is counted out
_MOST = 2000  # values of each side: 4 million ratios
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")


@dataclass(frozen=True)
class Ratio:
    """How many times as much: `low` and `high` enclose it with probability `confidence`; None where no interval can be given."""

    ratio: float
    low: float | None
    high: float | None
    confidence: float | None


def ratio(first: Sequence[int], second: Sequence[int]) -> Ratio:
    """Of `second` to `first`, both positive and not empty. The confidence is 95 % or, where the values are too few for it, the highest
    that they can give."""
    first, second = _thinned(sorted(first)), _thinned(sorted(second))
    ratios = sorted(b / a for a in first for b in second)
    count = len(ratios)
    middle = (ratios[(count - 1) // 2] + ratios[count // 2]) / 2
    below, confidence = _bounds(len(first), len(second))
    if confidence <= 0:
        return Ratio(middle, None, None, None)
    return Ratio(middle, ratios[below], ratios[count - 1 - below], confidence)


def comparison_table(found: Collected, quantities: Sequence[Any], scales: Sequence[str], one: str, other: str) -> list[dict[str, Any]]:
    """A row for each quantity, step and pair of resolutions measured on both sides: medians, their ratio, and whether it differs from 1.

    Raises UsageError when a side is neither a machine nor a date of the records.
    """
    for side in (one, other):
        if side not in found.machines and not any(_is_date(side, day) for day in found.days):
            there = ", ".join([*sorted(found.machines), *found.days][:20])
            raise UsageError(f"--compare {side}", "is no machine and no date of these records", f"there are: {there}")
    table = []
    pairs = sorted({(place.step, place.scales) for place in found.rows}, key=_order)
    for quantity in quantities:
        if quantity.name not in COMPARED:
            continue
        for step, at in pairs:
            first, second = (_values(found, step, at, quantity.field, side) for side in (one, other))
            if not first or not second:
                continue
            result = ratio(first, second)
            differs = None if result.low is None or result.high is None else not result.low <= 1 <= result.high
            table.append(
                {
                    "quantity": quantity.name,
                    "command": step.program,
                    "stage": step.stage,
                    "labels": list(step.labels),
                    **dict(zip(scales, at, strict=True)),
                    "first": one,
                    "second": other,
                    "n_first": len(first),
                    "n_second": len(second),
                    "ratio": result.ratio,
                    "low": result.low,
                    "high": result.high,
                    "confidence": result.confidence,
                    "differs": differs,
                }
            )
    return table


def _values(found: Collected, step: Step, at: tuple[Any, ...], field: str, side: str) -> list[int]:
    """The positive values of a side: others have no ratio."""
    values = []
    for place in found.rows:
        if place.step == step and place.scales == at:
            dated = found.dated(place, field)
            values += [value for day, value in dated if value > 0 and (place.machine == side or _is_date(side, day))]
    return values


def _is_date(side: str, day: str) -> bool:
    return _DATE.fullmatch(side) is not None and (day == side or day.startswith(f"{side}-"))


def _order(pair: tuple[Step, tuple[Any, ...]]) -> tuple[Any, ...]:
    return pair[0], tuple((value is None, value or 0) for value in pair[1])


def _thinned(values: list[int]) -> list[int]:
    """Evenly chosen ones of very many."""
    if len(values) <= _MOST:
        return values
    return [values[round(number * (len(values) - 1) / (_MOST - 1))] for number in range(_MOST)]


def _bounds(first: int, second: int) -> tuple[int, float]:
    """How many of the ordered ratios lie outside the interval at each end, and its confidence."""
    if first * second > _EXACTLY:
        from scipy.special import ndtr, ndtri

        spread = math.sqrt(first * second * (first + second + 1) / 12)
        below = math.floor(first * second / 2 - 0.5 - float(ndtri(0.5 + CONFIDENCE / 2)) * spread)
        return below, float(1 - 2 * ndtr((below + 0.5 - first * second / 2) / spread))
    counts = _distribution(first, second)
    total, tail, below = math.comb(first + second, first), 0, 0
    for place, count in enumerate(counts):  # the greatest `below` with P(U <= below) at most half of what may lie outside
        if 2 * (tail + count) > (1 - CONFIDENCE) * total and place:
            break
        tail += count
        below = place
    return below, 1 - 2 * tail / total


def _distribution(first: int, second: int) -> list[int]:
    """In how many ways the statistic of Mann and Whitney is 0, 1, ...: the coefficients of the Gaussian binomial."""
    coefficients = [1]
    for number in range(1, first + 1):
        raised = coefficients + [0] * (second + number)
        for place, value in enumerate(coefficients):  # times 1 - q^(second + number)
            raised[place + second + number] -= value
        for place in range(number, len(raised)):  # divided by 1 - q^number
            raised[place] += raised[place - number]
        coefficients = raised[: number * second + 1]
    return coefficients
