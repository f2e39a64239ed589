"""Statistics of whole numbers and fractions, exact until the last rounding: the order of the values changes no digit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

QUANTILES = (5, 25, 75, 95)  # per cent


@dataclass(frozen=True)
class Summary:
    """Of `n` values; `sd` is the standard deviation of the sample (with n - 1), None of a single value."""

    n: int
    mean: float
    sd: float | None
    least: float
    median: float
    most: float
    quantiles: tuple[float, ...]  # of `QUANTILES`


def summary(values: Sequence[int | Fraction], unit: int = 1) -> Summary:
    """What is said of one or more values, divided by `unit`."""
    ordered, n = sorted(values), len(values)
    total, squares = sum(ordered), sum(value * value for value in ordered)
    return Summary(
        n,
        float(Fraction(total, n * unit)),
        math.sqrt(Fraction(n * squares - total * total, n * (n - 1) * unit * unit)) if n > 1 else None,
        float(Fraction(ordered[0], unit)),
        quantile(ordered, Fraction(1, 2), unit),
        float(Fraction(ordered[-1], unit)),
        tuple(quantile(ordered, Fraction(part, 100), unit) for part in QUANTILES),
    )


def quantile(ordered: Sequence[int | Fraction], share: Fraction, unit: int = 1) -> float:
    """The value below which `share` of the ascending values lie, divided by `unit`.

    Between two of them by a straight line: Hyndman and Fan's seventh definition, that of numpy and R.
    """
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    value = Fraction(ordered[below])
    if place > below:
        value += (place - below) * (Fraction(ordered[below + 1]) - value)
    return float(value / unit)
