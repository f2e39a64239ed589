"""How well correlations know the truth: the false ratio's quantiles, and the truth's rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.core.drawing import COLOURS, GREY, HATCHES, INK
from toolkit.experiment.reporting.quality import PARTS
from toolkit.experiment.reporting.report import Report
from toolkit.experiment.reporting.sheet import MOST_LINES, WIDTH, Sheet, axes_at, brief, legend_at, nothing, stroke

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEIGHT = 4.2
_LEFT, _BOTTOM, _AXES = 0.95, 0.6, 4.9  # inches
_NONE = "No quality figures: give files that rank-candidates --report wrote"


def false_ratios(report: Report) -> Sheet:
    """A line for each resolution: the value of each 50-quantile."""
    rows = report.tables["quality"]
    if not rows:
        return nothing(_NONE)
    rows = rows[-MOST_LINES:]
    words = "; ".join(f"{_name(row, rows)}: median {brief(row['median'])} of {row['n']}" for row in rows)
    return Sheet(_HEIGHT, words, lambda figure: _quantiles(figure, rows))


def ranks(report: Report) -> Sheet:
    """A bar for each resolution: in how many correlations the truth came first, among the first three, ten, later, or not at all."""
    rows = report.tables["quality"]
    if not rows:
        return nothing(_NONE)
    words = "; ".join(
        f"{_name(row, rows)}: " + ", ".join(f"{_rank(rank)} {count}" for rank, count in row["ranks"].items() if count) for row in rows
    )
    height = max(1.6, 0.32 * len(rows)) + 0.75
    return Sheet(height, words, lambda figure: _ranks(figure, rows, height))


def _name(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The resolution, and the tolerance where they differ."""
    same = len({one["tolerance"] for one in rows}) == 1
    return f"{row['output']:g}" if same or row["tolerance"] is None else f"{row['output']:g}, within {row['tolerance']:g}°"


def _quantiles(figure: Figure, rows: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.lines import Line2D

    height = _HEIGHT - _BOTTOM - 0.05
    axes = axes_at(figure, _LEFT, _BOTTOM, _AXES, height)
    shares = [100 * part / PARTS for part in range(PARTS + 1)]
    positive = [value for row in rows for value in row["quantiles"] if value > 0]
    least = 10.0 ** math.floor(math.log10(min(positive, default=1e-3)))
    zero = any(value <= 0 for row in rows for value in row["quantiles"])
    if zero:
        axes.set_yscale("symlog", linthresh=least, linscale=0.4)
    else:
        axes.set_yscale("log")
    handles, names = [], []
    for number, row in enumerate(rows):
        look = stroke(number)
        axes.plot(shares, row["quantiles"], markevery=[0, 10, 20, 30, 40, 50], clip_on=False, **look)
        handles.append(Line2D([], [], **look))
        names.append(f"{_name(row, rows)}: n = {row['n']}")
    axes.set_xlim(0, 100)
    highest = max([*positive, least])
    axes.set_ylim(0 if zero else least, 10.0 ** math.ceil(math.log10(highest * 1.0001)))
    decades = range(round(math.log10(least)), math.ceil(math.log10(highest * 1.0001)) + 1)
    marks = [10.0**decade for decade in decades]
    step = max(1, len(marks) // 8)
    kept = ([0.0] if zero else []) + marks[::step]
    axes.set_yticks(kept, [f"{mark:g}" if mark >= 0.001 or not mark else f"{mark:.0e}" for mark in kept])
    axes.yaxis.set_minor_locator(_no_marks())
    axes.grid(which="major")
    whole = figure.get_figheight()
    label = "share of correlations with a lower false ratio, %"
    figure.text((_LEFT + _AXES / 2) / WIDTH, 0.12 / whole, label, ha="center", va="bottom", size=10)
    figure.text(0.2 / WIDTH, (_BOTTOM + height / 2) / whole, "false ratio", rotation=90, ha="left", va="center", size=10)
    figure.text((_LEFT + _AXES + 0.2) / WIDTH, (_BOTTOM + height) / whole, "resolution", size=9, weight="bold", ha="left", va="top")
    legend_at(figure, handles, names, _LEFT + _AXES + 0.2, _BOTTOM + height - 0.22)


def _no_marks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _ranks(figure: Figure, rows: Sequence[Mapping[str, Any]], height: float) -> None:
    from matplotlib.patches import Patch

    left, width, bottom = 1.6, 4.4, 0.6
    axes = axes_at(figure, left, bottom, width, height - bottom - 0.1)
    kinds = list(rows[0]["ranks"])
    begins = [0.0] * len(rows)
    handles = []
    for number, kind in enumerate(kinds):
        values = [100 * row["ranks"][kind] / row["n"] for row in rows]
        look: dict[str, Any] = {"facecolor": COLOURS[number], "hatch": HATCHES[number], "edgecolor": "white", "linewidth": 0.4}
        if kind == "none":
            look = {"facecolor": "#eeeeee", "edgecolor": GREY, "linewidth": 0.4}
        axes.barh(range(len(rows)), values, left=begins, height=min(0.8, 0.5 * len(rows)), **look)
        for place, value in enumerate(values):
            if value >= 7:
                box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
                count = str(rows[place]["ranks"][kind])
                axes.text(begins[place] + value / 2, place, count, ha="center", va="center", size=8, color=INK, bbox=box)
        begins = [begin + value for begin, value in zip(begins, values, strict=True)]
        handles.append(Patch(**look))
    axes.set_xlim(0, 100)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [_name(row, rows) for row in rows])
    axes.tick_params(axis="y", length=0)
    whole = figure.get_figheight()
    figure.text((left + width / 2) / WIDTH, 0.12 / whole, "% of correlations; their number", ha="center", va="bottom", size=10)
    figure.text(0.2 / WIDTH, (bottom + (height - bottom) / 2) / whole, "resolution", rotation=90, ha="left", va="center", size=10)
    legend_at(figure, handles, [_rank(kind) for kind in kinds], left + width + 0.2, height - 0.1)


def _rank(kind: str) -> str:
    if kind == "none":
        return "not listed"
    return {"1": "first", "11-": "eleventh or later"}.get(kind, f"rank {kind.replace('-', ' to ')}")
