"""Charts for print, screens and the terminal, readable without colours.

The same chart gives the same bytes; see toolkit.core.drawing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from toolkit.core.drawing import COLOURS, DASHES, DOTS, GREY, HATCHES, INK, MARKERS, prepare
from toolkit.core.drawing import draw as drawn_figure
from toolkit.datacentre.analyses.answers import Chart, Series
from toolkit.datacentre.analyses.lettering import (
    EMPTY,
    HIDDEN,
    decimals_of,
    drawn,
    explained_notes,
    figures,
    is_empty,
    labels_below,
    of_hundred,
    printable,
    shortened,
    size_of,
    step_of,
    tick_labels,
    ticks,
    wrapped,
)
from toolkit.datacentre.analyses.terminal import terminal

__all__ = ["draw", "prepare", "terminal"]

_WIDTH, _HEIGHT = 8.0, 5.0  # inches
_MARGIN = 0.2  # inches
_LEAST = 2.2  # inches of the axes: with long texts the page grows
_THIN = 0.09  # inches of a bar below which it gets no hatch


def draw(chart: Chart, svg: BinaryIO, png: BinaryIO) -> None:
    """Draw a chart twice: as SVG, its text as text, with title and description for who listens; as PNG of 1600 x 1000 dots.

    With long texts both are higher. Raises ValueError where a series has not a value a category.
    """
    chart = printable(chart)
    drawing, picture = drawn_figure(lambda: _page(chart).figure, chart.title, _in_words(chart), "mdc-analyse")
    svg.write(drawing)
    png.write(picture)


def _page(chart: Chart) -> _Page:
    page = _Page(chart)
    return _Page(chart, page.height + page.missing) if page.missing > 0 else page


class _Page:
    """Title, subtitle, legend, axes and notes, from top to bottom; all sizes in inches and points."""

    def __init__(self, chart: Chart, height: float = _HEIGHT) -> None:
        from matplotlib.figure import Figure

        self.chart, self.height = chart, height
        self.missing = 0.0  # of height, for the axes to be as high as they should
        self.figure: Figure = Figure(figsize=(_WIDTH, height), dpi=DOTS, facecolor="white")
        top = self._heading()
        bottom = self._notes()
        if is_empty(chart):
            self.figure.text(0.5, (top + bottom) / 2 / self.height, EMPTY, ha="center", va="center", size=14, color=GREY)
            return
        self.axes: Axes = self.figure.add_axes((0.1, 0.1, 0.8, 0.8))
        self.decimals = decimals_of(chart)
        least = _THIN * len(chart.series) * len(chart.categories)  # that bars beside each other need
        lines = chart.kind == "lines" or (chart.kind == "bars" and len(chart.series) > 1 and least > 0.8 * (_WIDTH - 1))
        self.hatched = chart.kind != "stacked" or len(chart.categories) <= 24
        if len(chart.series) > 1 or chart.kind in ("stacked", "spread"):
            top -= self._legend(top, lines)
        if lines:  # bars too thin to be told apart are no better
            self._lines(top, bottom)
        else:
            {"bars": self._bars, "stacked": self._stacked, "spread": self._spread}[chart.kind](top, bottom)

    def _heading(self) -> float:
        """Draws title and subtitle; where the free space begins below them."""
        top = self.height - _MARGIN
        for text, size, weight, colour in ((self.chart.title, 13, "bold", INK), (self.chart.subtitle, 10, "normal", GREY)):
            for line in wrapped(text, _WIDTH - 2 * _MARGIN, size, weight == "bold", lines=3):
                self.figure.text(_MARGIN / _WIDTH, top / self.height, line, size=size, weight=weight, color=colour, va="top", ha="left")
                top -= size * 1.35 / 72
        return top - 0.05

    def _notes(self) -> float:
        """Draws the notes; where the free space ends above them."""
        lines = [line for note in explained_notes(self.chart) for line in wrapped(note, _WIDTH - 2 * _MARGIN, 8, False, lines=4)]
        bottom = 0.12
        for line in reversed(lines[:40]):
            self.figure.text(_MARGIN / _WIDTH, bottom / self.height, line, size=8, color=GREY, va="bottom", ha="left")
            bottom += 8 * 1.3 / 72
        return bottom + 0.05

    def _legend(self, top: float, lines: bool) -> float:
        """Draws the legend below `top`; its height."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        names = [shortened(one.name, 2.6, 9) for one in self.chart.series]
        handles: list[Any] = []
        for number, one in enumerate(self.chart.series):
            if self.chart.kind in ("bars", "stacked") and not lines:
                handles.append(Patch(**_fill(number, self.hatched)))
            else:
                handles.append(Line2D([], [], **_stroke(number, dashed=lines)))
                if one.spread:
                    names[number] += " ± standard deviation"
        widest = max(size_of(name, 9)[0] for name in names) + 0.65
        columns = max(1, min(len(names), int((_WIDTH - 2 * _MARGIN) / widest)))
        rows = math.ceil(len(names) / columns)
        self.figure.legend(
            handles,
            names,
            ncols=columns,
            loc="upper left",
            bbox_to_anchor=(_MARGIN / _WIDTH, top / self.height),
            frameon=False,
            borderpad=0.2,
            borderaxespad=0,
            handlelength=2.4,
            handleheight=1.0,
            labelspacing=0.35,
            columnspacing=1.4,
            fontsize=9,
        )
        return rows * 0.175 + 0.08

    def _upright(self, top: float, bottom: float, highest: float) -> None:
        """Places the axes, with values upwards from 0 and categories beside each other."""
        chart, axes = self.chart, self.axes
        values = ticks(highest, self.decimals == 0)
        labels = tick_labels(values)
        left = _MARGIN + 0.22 + max((size_of(label, 9)[0] for label in labels), default=0) + 0.1
        width = _WIDTH - left - _MARGIN
        shown = labels_below(chart.categories, width, left)
        floor = bottom + 0.22 + shown.height + (0.14 if shown.thinned else 0.08)
        axes.set_position((left / _WIDTH, floor / self.height, width / _WIDTH, max(top - floor - 0.05, 0.1) / self.height))
        self.missing = _LEAST - (top - floor)
        axes.set_xlim(-0.5, len(chart.categories) - 0.5)
        axes.set_ylim(0, highest * 1.1 if highest > 0 else 1)
        axes.set_yticks(values, labels)
        turned: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if shown.turned else {}
        axes.set_xticks(shown.places, shown.texts, **turned)
        axes.tick_params(axis="x", length=3 if shown.thinned else 0)
        axes.grid(axis="y")
        label = shortened(chart.x_label, width, 10)
        self.figure.text((left + width / 2) / _WIDTH, (bottom + 0.05) / self.height, label, ha="center", va="bottom", size=10)
        middle = (floor + (top - floor) / 2) / self.height
        label = shortened(chart.y_label, top - floor, 10)
        self.figure.text(_MARGIN / _WIDTH, middle, label, ha="left", va="center", rotation=90, size=10)
        self.slot = width / len(chart.categories)  # inches

    def _bars(self, top: float, bottom: float) -> None:
        chart, axes = self.chart, self.axes
        highest = max((value for one in chart.series for value in one.values if drawn(value)), default=0.0)
        self._upright(top, bottom, highest)
        each = min(0.8, 1.6 / self.slot) / len(chart.series)  # of a slot
        upright = all(size_of(self._label(value), 8)[0] <= each * self.slot for one in chart.series for value in one.values if drawn(value))
        turned = not upright and each * self.slot >= 0.125
        if turned:
            axes.set_ylim(0, highest * 1.2)
        for number, one in enumerate(chart.series):
            places = [place + (number - (len(chart.series) - 1) / 2) * each for place in range(len(one.values))]
            known = [(place, value) for place, value in zip(places, one.values, strict=True) if drawn(value)]
            fill = _fill(number, self.hatched)
            if each * self.slot < _THIN:
                fill |= {"linewidth": 0.0}
            axes.bar([place for place, _ in known], [value for _, value in known], width=each * 0.94, **fill)
            for place, value in known if upright or turned else []:
                axes.annotate(
                    self._label(value), (place, value), (0, 2), textcoords="offset points", ha="center", va="bottom", size=8,
                    rotation=90 if turned else 0,
                )  # fmt: skip
            marks = [(place, 0) for place, value in zip(places, one.values, strict=True) if value is None]
            self._hidden(marks, size=min(11.0, max(7.0, each * self.slot * 72 * 1.6)))

    def _lines(self, top: float, bottom: float) -> None:
        chart = self.chart
        highest = max((value for one in chart.series for value in one.values if drawn(value)), default=0.0)
        self._upright(top, bottom, highest)
        size = min(5.0, max(2.2, self.slot * 72 * 0.4))
        for number, one in enumerate(chart.series):
            values = [value if drawn(value) else math.nan for value in one.values]
            stroke = _stroke(number, dashed=True) | {"markersize": size}
            self.axes.plot(range(len(values)), values, clip_on=False, zorder=3, **stroke)
        missing: dict[int, int] = {}
        for number, one in enumerate(chart.series):
            for place in (place for place, value in enumerate(one.values) if value is None):
                colour = COLOURS[number % len(COLOURS)] if len(chart.series) > 1 else INK
                self._hidden([(place, 0)], above=missing.get(place, 0) * 7, colour=colour)
                missing[place] = missing.get(place, 0) + 1
        values = [value if drawn(value) else math.nan for value in chart.series[0].values]
        if len(chart.series) == 1 and all(size_of(self._label(value), 8)[0] <= self.slot for value in values):
            for place, value in enumerate(values):
                beside = [near for near in (values[max(place - 1, 0)], *values[place + 1 : place + 2]) if not math.isnan(near)]
                if not math.isnan(value):
                    below = value < sum(beside) / len(beside) and value > 0.1 * highest
                    self.axes.annotate(
                        self._label(value), (place, value), (0, -5 if below else 5), textcoords="offset points",
                        ha="center", va="top" if below else "bottom", size=8,
                    )  # fmt: skip

    def _stacked(self, top: float, bottom: float) -> None:
        """Bars from the left; what is hidden of shares is left white, and at the end of other bars; both with a mark."""
        chart, axes = self.chart, self.axes
        count = len(chart.categories)
        height = top - bottom - 0.55
        self.missing = _LEAST - height
        height = max(height, 0.1)
        step = step_of(0.16 * count / height)
        names = ["" if place % step else shortened(name, 2.2, 9) for place, name in enumerate(chart.categories)]
        left = _MARGIN + (0.25 if chart.x_label else 0) + max(size_of(name, 9)[0] for name in names) + 0.1
        width = _WIDTH - left - _MARGIN - 0.15
        axes.set_position((left / _WIDTH, (bottom + 0.5) / self.height, width / _WIDTH, height / self.height))
        most = max([_sum(chart.series, place) for place in range(count)], default=0.0)
        most = max(most, 100.0) if of_hundred(chart) else most * 1.08 or 1.0
        thick = min(0.8, 0.9 / (height / count)) if count <= 60 else 1.0  # thinner gaps than dots would flicker
        for number, one in enumerate(chart.series):
            begins = [_sum(chart.series[:number], place) for place in range(count)]
            values = [value if drawn(value) else 0.0 for value in one.values]
            axes.barh(range(count), values, left=begins, height=thick, **_fill(number, self.hatched))
            for place, value in enumerate(one.values):
                text = self._label(value) if drawn(value) else ""
                if text and size_of(text, 8)[0] + 0.12 <= values[place] / most * width and thick * height / count > 0.14:
                    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
                    axes.text(begins[place] + values[place] / 2, place, text, ha="center", va="center", size=8, bbox=box)
        for place in range(count):
            if any(one.values[place] is None for one in chart.series):
                known = _sum(chart.series, place)
                rest: dict[str, Any] = {"facecolor": "none", "edgecolor": GREY, "linestyle": ":", "linewidth": 0.8}
                long = most - known if of_hundred(chart) else most * 0.06
                axes.barh([place], [long], left=[known], height=thick, **rest)
                axes.text(known + long / 2, place, HIDDEN, ha="center", va="center_baseline", size=11, weight="bold")
        axes.set_xlim(0, most)
        axes.set_ylim(count - 0.5, -0.5)
        axes.set_yticks(range(0, count, step), names[::step])
        axes.tick_params(axis="y", length=3 if step > 1 else 0)
        marks = [float(mark) for mark in range(0, 101, 20)] if of_hundred(chart) else ticks(most / 1.1, self.decimals == 0)
        axes.set_xticks(marks, tick_labels(marks))
        axes.grid(axis="x")
        label = shortened(chart.y_label, width, 10)
        self.figure.text((left + width / 2) / _WIDTH, (bottom + 0.05) / self.height, label, ha="center", va="bottom", size=10)
        middle = (bottom + 0.5 + height / 2) / self.height
        self.figure.text(_MARGIN / _WIDTH, middle, shortened(chart.x_label, height, 10), ha="left", va="center", rotation=90, size=10)

    def _spread(self, top: float, bottom: float) -> None:
        chart, axes = self.chart, self.axes
        reach = [
            value + (spread if drawn(spread) else 0.0)
            for one in chart.series
            for value, spread in itertools.zip_longest(one.values, one.spread)
            if drawn(value)
        ]
        self._upright(top, bottom, max(reach, default=0.0))
        apart = min(0.22, 0.25 / self.slot)
        for number, one in enumerate(chart.series):
            shift = (number - (len(chart.series) - 1) / 2) * apart
            stroke = _stroke(number, dashed=False) | {"linestyle": "none", "markersize": min(7.0, max(3.0, self.slot * 72 * 0.3))}
            known = [(place, value) for place, value in enumerate(one.values) if drawn(value)]
            spread = [one.spread[place] if one.spread else None for place, _ in known]
            bars = [width if drawn(width) else 0.0 for width in spread] if one.spread else None
            axes.errorbar(
                [place + shift for place, _ in known], [value for _, value in known], bars,
                capsize=min(4.0, self.slot * 72 * 0.15), elinewidth=1.2, zorder=3, **stroke,
            )  # fmt: skip
            self._hidden((place + shift, 0) for place, value in enumerate(one.values) if value is None)
            side = -1 if number == 0 and len(chart.series) > 1 else 1
            for place, value in known:
                if size_of(self._label(value), 8)[0] + 0.15 + abs(shift) * self.slot < self.slot / 2:
                    axes.annotate(
                        self._label(value), (place + shift, value), (7 * side, 0), textcoords="offset points",
                        ha="right" if side < 0 else "left", va="center", size=8,
                    )  # fmt: skip

    def _label(self, value: float) -> str:
        return figures(value, self.decimals)

    def _hidden(self, places: Iterable[tuple[float, float]], above: float = 0.0, colour: str = INK, size: float = 11.0) -> None:
        """A mark at each place (x, y), `above` points over it."""
        for place in places:
            self.axes.annotate(
                HIDDEN, place, (0, above - 1.5), textcoords="offset points", ha="center", va="bottom", size=size, weight="bold",
                color=colour, zorder=4,
            )  # fmt: skip


def _sum(series: Sequence[Series], place: int) -> float:
    return math.fsum(value for one in series if drawn(value := one.values[place]))


def _fill(number: int, hatched: bool) -> dict[str, Any]:
    return {
        "facecolor": COLOURS[number % len(COLOURS)],
        "hatch": HATCHES[number % len(HATCHES)] if hatched else "",
        "hatchcolor": "white",
        "edgecolor": INK,
        "linewidth": 0.5 if hatched else 0.0,
    }


def _stroke(number: int, dashed: bool) -> dict[str, Any]:
    colour = COLOURS[number % len(COLOURS)]
    return {
        "color": colour,
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 6,
        "markerfacecolor": colour if number % 2 == 0 else "white",
        "markeredgecolor": colour,
        "linestyle": DASHES[number % len(DASHES)] if dashed else "none",
        "linewidth": 1.5,
    }


def _in_words(chart: Chart) -> str:
    """All values, as a screen reader says them."""
    decimals = decimals_of(chart)
    values = "; ".join(
        (f"{one.name}: " if one.name else "")
        + ", ".join(
            f"{name} {HIDDEN if value is None else figures(value, decimals)}"
            for name, value in zip(chart.categories, one.values, strict=True)
            if value is None or drawn(value)
        )
        for one in chart.series
    )
    return f"{chart.subtitle}. {chart.y_label} by {chart.x_label}: {values or EMPTY}. {' '.join(chart.notes)}".strip()
