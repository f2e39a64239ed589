"""Tables of times and memory: mean, median, quantiles and standard deviation for each step, pair of resolutions and machine, beside what
the seed's laws say; and what share of a command's time each stage takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from toolkit.experiment.reporting.collected import Collected, Place
from toolkit.experiment.reporting.laws import seed_value
from toolkit.experiment.reporting.summaries import QUANTILES, summary


@dataclass(frozen=True)
class Quantity:
    """What is measured: its name in tables, its title, the field of a row and how many of the field's units make one of the table's."""

    name: str
    title: str
    field: str
    divisor: int
    unit: str


QUANTITIES = (
    Quantity("time", "Time", "wall_ns", 10**9, "s"),
    Quantity("processor", "Processor time", "cpu_ns", 10**9, "s"),
    Quantity("memory", "Peak memory of a process", "peak_bytes", 10**6, "MB"),
    Quantity("tree", "Peak memory of all processes", "tree_bytes", 10**6, "MB"),
    Quantity("read", "Read", "read_bytes", 10**6, "MB"),
    Quantity("written", "Written", "written_bytes", 10**6, "MB"),
)


def statistics_table(found: Collected, scales: Sequence[str], chosen: str = "") -> list[dict[str, Any]]:
    """A row for each quantity, step, pair of resolutions and machine.

    ``seed`` is the value of the seed's law, where it has one, at the resolution under the tag `chosen`, else ``output``, else any.
    """
    table = []
    for quantity in QUANTITIES:
        for place in found.rows:
            values = found.values(place, quantity.field)
            if not values:
                continue
            about = summary(values, quantity.divisor)
            scale = chosen or _first(scales, place)
            at = place.scales[scales.index(scale)] if scale else None
            table.append(
                {
                    "quantity": quantity.name,
                    "unit": quantity.unit,
                    **_names(place, scales),
                    "n": about.n,
                    "mean": about.mean,
                    "sd": about.sd,
                    "min": about.least,
                    **{f"q{part:02d}": value for part, value in zip(QUANTILES[:2], about.quantiles[:2], strict=True)},
                    "median": about.median,
                    **{f"q{part:02d}": value for part, value in zip(QUANTILES[2:], about.quantiles[2:], strict=True)},
                    "max": about.most,
                    "seed": seed_value(place.step, quantity.name, at),
                }
            )
    return table


def shares_table(found: Collected, scales: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each command with stages, pair of resolutions and machine: shares of its time, which add up to 1; `outside` of stages.

    Where stages lie within each other, a moment belongs to the innermost.
    """
    table = []
    for whole in (place for place in found.rows if not place.step.stage):
        stages = [place for place in found.rows if _is_stage_of(place, whole)]
        owned = {place.step.stage: sum(found.values(place, "own_ns")) for place in stages}
        outside = sum(found.values(whole, "own_ns"))
        total = sum(owned.values()) + outside
        if stages and total:
            shares = {name: float(Fraction(owned[name], total)) for name in owned}
            table.append({**_names(whole, scales), "shares": shares, "outside": float(Fraction(outside, total))})
    return table


def _is_stage_of(place: Place, whole: Place) -> bool:
    same = place.step._replace(stage="") == whole.step
    return bool(place.step.stage) and same and place.scales == whole.scales and place.machine == whole.machine


def _names(place: Place, scales: Sequence[str]) -> dict[str, Any]:
    return {
        "command": place.step.program,
        "stage": place.step.stage,
        "labels": list(place.step.labels),
        "machine": place.machine,
        **dict(zip(scales, place.scales, strict=True)),
    }


def _first(scales: Sequence[str], place: Place) -> str:
    """The resolution tag, the correlation's before the sphere's, that the place has a value of; empty for none."""
    known = [scale for scale, value in zip(scales, place.scales, strict=True) if value is not None]
    return "output" if "output" in known else known[0] if known else ""
