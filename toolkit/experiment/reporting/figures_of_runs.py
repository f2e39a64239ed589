"""What single commands do: which stages their time goes to, and how much memory they hold from moment to moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.core.drawing import COLOURS, GREY, HATCHES, INK
from toolkit.experiment.reporting.collected import Step
from toolkit.experiment.reporting.report import Report
from toolkit.experiment.reporting.sheet import (
    MOST_LINES,
    WIDTH,
    Sheet,
    at_resolutions,
    axes_at,
    brief,
    legend_at,
    nothing,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_PANELS = 8
_MOST_ROWS = 16
_ROW = 0.2  # inches of a bar
_ABOVE, _BELOW = 0.46, 0.5  # inches that a panel of shares needs besides its bars
_CURVE, _STRIP = 1.3, 0.125  # inches of memory over time, and of a stage below it
_MOST_STRIPS = 8
_AROUND = 1.05  # inches of a panel besides
OUTSIDE = "outside stages"


def shares_of_stages(report: Report) -> Sheet:
    """For each command with stages a panel, with a bar for each pair of resolutions and machine."""
    panels: dict[str, list[Mapping[str, Any]]] = {}
    for row in report.tables["shares"]:
        panels.setdefault(Step(row["command"], "", tuple(row["labels"])).title, []).append(row)
    if not panels:
        return nothing("No command reported stages")
    chosen = {name: rows[-_MOST_ROWS:] for name, rows in list(panels.items())[:_MOST_PANELS]}
    height = sum(max(_ROW * len(rows), 0.85) + _ABOVE + _BELOW for rows in chosen.values())
    words = "; ".join(f"{name} at {_place(report, row)}: {_shares_in_words(row)}" for name, rows in chosen.items() for row in rows)

    def paint(figure: Figure) -> None:
        top = height
        for name, rows in chosen.items():
            tall = max(_ROW * len(rows), 0.85)
            _share_panel(figure, report, name, rows, top - _ABOVE, tall)
            top -= tall + _ABOVE + _BELOW

    return Sheet(height, words, paint)


def memory_over_time(report: Report) -> Sheet:
    """For each command a panel: its memory at its largest resolutions, and the stages' times."""
    largest: dict[Step, tuple[Any, ...]] = {}
    for step, scales in report.collected.curves:
        if step not in largest or _size(scales) > _size(largest[step]):
            largest[step] = scales
    if not largest:
        return nothing("No samples of memory were taken: the commands ended too soon")
    chosen = sorted(largest.items())[:_MOST_PANELS]
    beside = [chosen[number : number + 2] for number in range(0, len(chosen), 2)]
    heights = [_CURVE + _AROUND + _STRIP * max(_strips(report, *one) for one in some) for some in beside]
    words = []
    for step, scales in chosen:
        points = report.collected.curves[step, scales][0]
        highest = max(point[1] for point in points)
        words.append(f"{step.title} at {at_resolutions(scales)}: at most {brief(highest / 1e6)} MB in {brief(points[-1][0] / 1e9)} s")

    def paint(figure: Figure) -> None:
        top = sum(heights)
        for some, height in zip(beside, heights, strict=True):
            for number, (step, scales) in enumerate(some):
                tall = height - _AROUND
                _memory_panel(figure, step, scales, report.collected.curves[step, scales], 0.75 + 3.9 * number, top - 0.55 - tall, tall)
            top -= height

    return Sheet(sum(heights), "; ".join(words), paint)


def _strips(report: Report, step: Step, scales: tuple[Any, ...]) -> int:
    return min(len(report.collected.curves[step, scales][1]), _MOST_STRIPS)


def _place(report: Report, row: Mapping[str, Any]) -> str:
    """The row's resolutions, and its machine where there are several."""
    text = at_resolutions([row[scale] for scale in report.scales])
    return f"{text}  {row['machine']}" if len(report.collected.machines) > 1 else text


def _shares_in_words(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in {**row["shares"], OUTSIDE: row["outside"]}.items())


def _share_panel(figure: Figure, report: Report, name: str, rows: Sequence[Mapping[str, Any]], top: float, tall: float) -> None:
    from matplotlib.patches import Patch

    stages = sorted({stage for row in rows for stage in row["shares"]}, key=lambda stage: -sum(row["shares"].get(stage, 0) for row in rows))
    shown, rest = stages[: MOST_LINES - 1], stages[MOST_LINES - 1 :]
    parts = [(stage, [row["shares"].get(stage, 0.0) for row in rows]) for stage in shown]
    if rest:
        parts.append((f"{len(rest)} more", [sum(row["shares"].get(stage, 0.0) for stage in rest) for row in rows]))
    looks: list[dict[str, Any]] = [
        {"facecolor": COLOURS[number], "hatch": HATCHES[number % len(HATCHES)], "edgecolor": "white", "linewidth": 0.4}
        for number in range(len(parts))
    ]
    parts.append((OUTSIDE, [row["outside"] for row in rows]))
    looks.append({"facecolor": "#eeeeee", "edgecolor": GREY, "linewidth": 0.4})
    left, width = 1.75, 4.1
    axes = axes_at(figure, left, top - tall, width, tall)
    begins = [0.0] * len(rows)
    for (_, values), look in zip(parts, looks, strict=True):
        axes.barh(range(len(rows)), [100 * value for value in values], left=begins, height=min(0.8, 0.16 * len(rows) / tall), **look)
        begins = [begin + 100 * value for begin, value in zip(begins, values, strict=True)]
    axes.set_xlim(0, 100)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [shortened(_place(report, row), 24) for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("% of the command's time", size=8.5, labelpad=2)
    whole = figure.get_figheight()
    figure.text(0.2 / WIDTH, (top + 0.2) / whole, shortened(name, 70), size=10, weight="bold", ha="left", va="bottom")
    tags = ", ".join(report.scales)
    figure.text((left - 0.06) / WIDTH, (top + 0.03) / whole, tags, size=7.5, color=GREY, ha="right", va="bottom")
    handles = [Patch(**look) for look in looks]
    legend_at(figure, handles, [shortened(part, 24) for part, _ in parts], left + width + 0.2, top)


def _memory_panel(
    figure: Figure,
    step: Step,
    scales: Sequence[Any],
    curve: tuple[list[list[int]], list[list[Any]]],
    left: float,
    base: float,
    tall: float,
) -> None:
    """Its axes are `tall`, inches, and their lower left corner is at (`left`, `base`)."""
    from matplotlib.ticker import MaxNLocator

    points, bands = curve
    axes = axes_at(figure, left, base, 3.05, tall)
    seconds, megabytes = [time / 1e9 for time, _ in points], [size / 1e6 for _, size in points]
    last = max([seconds[-1], *(end / 1e9 for _, _, end in bands)]) or 1.0
    highest = max(megabytes) or 1.0
    axes.fill_between(seconds, megabytes, color=COLOURS[5], alpha=0.35, linewidth=0)
    axes.plot(seconds, megabytes, color=COLOURS[0], linewidth=1.3)
    axes.set_xlim(0, last * 1.01)
    shown = bands[:_MOST_STRIPS]
    strip = 1.08 * highest * _STRIP / (tall - _STRIP * len(shown))  # of a stage, below 0
    for number, (name, begin, end) in enumerate(shown):
        low = -strip * (number + 1)
        axes.barh(low + strip / 2, (end - begin) / 1e9, left=begin / 1e9, height=strip * 0.8, color=COLOURS[(number + 2) % 7], linewidth=0)
        within, gap = (end - begin) / 1e9 / last * 3.05 > 0.055 * len(name) + 0.1, 0.012 * last
        side = "center" if within else "left" if begin / 1e9 < 0.5 * last else "right"
        at = {"center": (begin + end) / 2e9, "left": end / 1e9 + gap, "right": begin / 1e9 - gap}[side]
        box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85} if within else None
        axes.text(at, low + strip / 2, shortened(name, 24), size=6, ha=side, va="center_baseline", color=INK, bbox=box)
    axes.set_ylim(-strip * len(shown) or -0.01 * highest, highest * 1.08)
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= highest * 1.08])
    axes.grid(axis="y")
    axes.set_xlabel("s", size=8.5, labelpad=1)
    axes.set_ylabel("MB", size=8.5)
    axes.tick_params(labelsize=8)
    title = f"{shortened(step.title, 34)} at {at_resolutions(scales)}"
    figure.text((left - 0.5) / WIDTH, (base + tall + 0.1) / figure.get_figheight(), title, size=9, weight="bold", ha="left", va="bottom")


def _size(scales: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(value or 0 for value in reversed(scales))
