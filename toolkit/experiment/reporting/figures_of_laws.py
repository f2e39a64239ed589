"""Time and memory against resolution: the medians of all pairs, the laws fitted through them, and the seed's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from toolkit.core.drawing import INK
from toolkit.experiment.reporting.laws import SEED, Law, seed_value
from toolkit.experiment.reporting.report import Report
from toolkit.experiment.reporting.sheet import MOST_LINES, Sheet, axes_at, brief, legend_at, nothing, shortened, stroke
from toolkit.experiment.reporting.tables import QUANTITIES, Quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEED_MEASURED = {"time": (512, 674.0), "memory": (512, 16_400.0)}  # s and MB, of the correlation on a six-core node
_HEIGHT = 4.6
_LEFT, _BOTTOM, _AXES = 0.85, 0.6, 4.35  # inches: where the axes begin, and their width
_FILLED = ("full", "none", "left", "bottom", "right", "top")  # markers by machine


def against_resolution(report: Report, name: str, stages: bool) -> Sheet:
    """A quantity of all commands, or of all stages, against the resolution that the law of each depends on."""
    quantity = next(one for one in QUANTITIES if one.name == name)
    laws = [law for law in report.laws if law.quantity == name and bool(law.step.stage) == stages]
    if not laws:
        what = "stage" if stages else "command"
        tags = " and ".join(f"--tag {tag}=…" for tag in report.scales)
        return nothing(f"No {what} was measured at two resolutions; profile-wrap takes them by {tags}")
    points = {law: _points(report, law) for law in laws}
    if len(laws) > MOST_LINES:
        laws = sorted(sorted(laws, key=lambda law: -max(y for _, _, y in points[law]))[:MOST_LINES], key=lambda law: law.step)
    words = "; ".join(_in_words(law, quantity, points[law]) for law in laws)
    return Sheet(_HEIGHT, words, lambda figure: _paint(figure, report, quantity, laws, points))


def _points(report: Report, law: Law) -> list[tuple[str, float, float]]:
    """Machine, resolution and median, of the rows of the table that the law was fitted through."""
    step = law.step
    return [
        (row["machine"], row[law.scale], row["median"])
        for row in report.tables["statistics"]
        if (row["quantity"], row["command"], row["stage"], tuple(row["labels"])) == (law.quantity, step.program, step.stage, step.labels)
        and row[law.scale] is not None
        and row["median"] > 0
    ]


def _in_words(law: Law, quantity: Quantity, points: Sequence[tuple[str, float, float]]) -> str:
    values = ", ".join(f"{brief(y)} {quantity.unit} at {law.scale} {x:g}" for _, x, y in points)
    return f"{law.step.title}: a = {law.a:.3f}; {values}"


def _paint(
    figure: Figure, report: Report, quantity: Quantity, laws: Sequence[Law], points: dict[Law, list[tuple[str, float, float]]]
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    height = _HEIGHT - _BOTTOM - 0.05
    axes = axes_at(figure, _LEFT, _BOTTOM, _AXES, height)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    machines = sorted({machine for law in laws for machine, _, _ in points[law]})
    handles: list[Any] = []
    names: list[str] = []
    for number, law in enumerate(laws):
        look = stroke(number)
        line = {key: look[key] for key in ("color", "linestyle", "linewidth")}
        for offset in law.offsets:
            ends = [law.least, law.most]
            axes.plot(ends, [law.at(x, offset.machine) for x in ends], **line)
        for place, machine in enumerate(machines):
            some = [(x, y) for where, x, y in points[law] if where == machine]
            dots = {key: look[key] for key in ("color", "marker", "markersize", "markeredgecolor")}
            filled = _FILLED[place % len(_FILLED)] if len(machines) > 1 else "full"
            axes.plot([x for x, _ in some], [y for _, y in some], linestyle="none", fillstyle=filled, markerfacecoloralt="white", **dots)
        handles.append(Line2D([], [], **{**look, "markerfacecolor": look["color"]}))
        uncertain = "" if law.error is None else f" ± {law.error:.3f}"
        names.append(f"{shortened(law.step.title, 30)}\na = {law.a:.3f}{uncertain}, r: {shortened(law.scale, 12)}")
    handles, names = _seed(axes, quantity, laws, handles, names)
    if len(machines) > 1:
        for place, machine in enumerate(machines[: len(_FILLED)]):
            look = {"color": INK, "marker": "o", "markersize": 5, "fillstyle": _FILLED[place], "markerfacecoloralt": "white"}
            handles.append(Line2D([], [], linestyle="none", **look))
            names.append(shortened(f"on {machine}", 32))
    theirs = {float(SEED_MEASURED[quantity.name][0])} if any(name.startswith("the seed") for name in names) else set()
    seen = sorted({float(x) for law in laws for _, x, _ in points[law]} | theirs)
    axes.set_xticks(_spaced(seen), [f"{x:g}" for x in _spaced(seen)])
    axes.xaxis.set_minor_locator(LogLocator(base=2, subs=[]))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    decades = math.log10(high / low)
    axes.yaxis.set_major_locator(LogLocator(subs=[1.0] if decades > 1.8 else [1.0, 2.0, 5.0], numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.9g}" if value < 1e7 else f"{value:.0e}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(which="major")
    figure.text((_LEFT + _AXES / 2) / 8, 0.12 / figure.get_figheight(), "resolution r (bandwidth)", ha="center", va="bottom", size=10)
    label = f"{'time' if quantity.name == 'time' else 'peak memory'}, {quantity.unit}"
    figure.text(0.2 / 8, (_BOTTOM + height / 2) / figure.get_figheight(), label, rotation=90, ha="left", va="center", size=10)
    legend_at(figure, handles, names, _LEFT + _AXES + 0.2, _BOTTOM + height)


def _seed(axes: Any, quantity: Quantity, laws: Sequence[Law], handles: list[Any], names: list[str]) -> tuple[list[Any], list[str]]:
    """The seed's law, dashed, and what it measured, where one of `laws` is of what the seed measured."""
    from matplotlib.lines import Line2D

    theirs = [law for law in laws if not law.step.stage and (law.step.program, quantity.name) in SEED]
    if not theirs:
        return handles, names
    x, y = SEED_MEASURED[quantity.name]
    ends = [min(law.least for law in theirs), max(x, *(law.most for law in theirs))]
    look: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 3)), "linewidth": 1.2}
    axes.plot(ends, [seed_value(theirs[0].step, quantity.name, end) for end in ends], zorder=1, **look)
    axes.plot([x], [y], linestyle="none", marker="*", markersize=9, color=INK)
    a = SEED[theirs[0].step.program, quantity.name][0]
    handles.append(Line2D([], [], marker="*", markersize=8, **look))
    names.append(f"the seed's {theirs[0].step.program}: law, measured at {x}\na = {a:.3f}")
    return handles, names


def _spaced(seen: Sequence[float]) -> list[float]:
    """Those that labels have room for: a third of an inch apart."""
    chosen: list[float] = []
    whole = math.log2(seen[-1] / seen[0]) or 1.0
    for x in seen:
        if not chosen or math.log2(x / chosen[-1]) / whole * _AXES > 0.38:
            chosen.append(x)
    return chosen
