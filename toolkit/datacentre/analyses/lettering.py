"""Texts and numbers of charts: what they look like, how wide they are, where they break."""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from toolkit.datacentre.analyses.answers import Chart

EMPTY = "No visit in the period"
HIDDEN = "*"
_HIDDEN_NOTE = "* hidden: a small count, or one that a small count could be computed from"
_STEPS = (1, 2, 3, 6, 12, 24, 36, 60, 120)  # months make quarters, halves and years
_LONGEST = 600  # signs of a text


@dataclass(frozen=True)
class Labels:
    """What stands below the axis, and at which categories."""

    places: list[int]
    texts: list[str]
    height: float  # inches
    turned: bool = False

    @property
    def thinned(self) -> bool:
        """Whether some categories have no label."""
        return len(self.places) > 1 and self.places[1] - self.places[0] > 1


def labels_below(categories: Sequence[str], width: float, left: float) -> Labels:
    """Labels of categories below `width` inches: beside each other, in two or three lines, turned, or only every second, third, ...

    `left` inches are free on the left, where turned labels begin.
    """
    slot = width / len(categories)
    everyone = list(range(len(categories)))
    for lines in (1, 2, 3):
        broken = [wrapped(name, slot * 0.92, 9, False, lines) for name in categories]
        if all("…" not in "".join(parts) for parts in broken) or (lines == 3 and len(categories) == 1):
            return Labels(everyone, ["\n".join(parts) for parts in broken], 0.15 * max(map(len, broken)))
    if len(categories) <= 16:
        rooms = [(left + slot * (place + 0.5) - 0.1) / math.cos(math.radians(35)) for place in everyone]
        short = [shortened(name, min(1.8, room), 9) for name, room in zip(categories, rooms, strict=True)]
        return Labels(everyone, short, 0.15 + max(size_of(name, 9)[0] for name in short) * math.sin(math.radians(35)), turned=True)
    short = [shortened(name, 1.2, 9) for name in categories]
    widest = max(size_of(name, 9)[0] for name in short) + 0.1
    step = step_of(widest / slot)
    return Labels(everyone[::step], short[::step], 0.15)


def step_of(least: float) -> int:
    """Each how many-th category gets a label, when labels need room for `least` categories."""
    return next((step for step in _STEPS if step >= least), math.ceil(least))


def ticks(highest: float, whole: bool) -> list[float]:
    """Round numbers from 0 to a little more than `highest`, four to seven of them."""
    if highest <= 0:
        return [0.0]
    power = 10.0 ** math.floor(math.log10(highest / 5))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= highest / 6)
    if whole and step < 1:
        step = 1.0
    elif whole and step == 2.5:
        step = 5.0
    return [number * step for number in range(int(highest * 1.1 / step) + 1)]


def drawn(value: float | None) -> TypeGuard[float]:
    """Whether a value is neither hidden (None) nor nothing (NaN)."""
    return value is not None and not math.isnan(value)


def figures(value: float, decimals: int | None) -> str:
    """With commas between thousands; None: as many decimals as a measurement deserves."""
    if decimals is None:
        decimals = 1 if value >= 10 else 2
    return f"{value:,.{decimals}f}"


def of_hundred(chart: Chart) -> bool:
    """Whether its bars are shares of 100 %."""
    return chart.kind == "stacked" and "%" in chart.y_label


def decimals_of(chart: Chart) -> int | None:
    """How many decimals its values have: shares one, counts none, others what `figures` gives them."""
    if of_hundred(chart):
        return 1
    return 0 if all(value == int(value) for one in chart.series for value in (*one.values, *one.spread) if drawn(value)) else None


def tick_labels(values: Sequence[float]) -> list[str]:
    """All with as many decimals as the one that needs most."""
    decimals = max(len(f"{value:.6g}".partition(".")[2]) if value < 1e6 else 0 for value in values)
    return [figures(value, decimals) for value in values]


@functools.lru_cache(maxsize=4096)
def size_of(text: str, size: float, bold: bool = False) -> tuple[float, float]:
    """Width and height of a line in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, height, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(size=size, weight="bold" if bold else "normal"), ismath=False
    )
    return width / 72, height / 72


def wrapped(text: str, width: float, size: float, bold: bool, lines: int) -> list[str]:
    """At most so many lines of at most `width` inches; what does not fit ends with an ellipsis."""
    return fold(text, width, lambda line: size_of(line, size, bold)[0], lines)


def shortened(text: str, width: float, size: float) -> str:
    """One line of at most `width` inches."""
    return "".join(wrapped(text, width, size, False, 1))


def fold(text: str, width: float, measure: Callable[[str], float], lines: int, more: str = "…") -> list[str]:
    """The same for any measure of width; `more` stands for what is left out."""
    found: list[str] = []
    words = text.split()
    while words:
        line = words.pop(0)
        while words and measure(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        if len(found) == lines - 1 and words:
            line, words = " ".join([line, *words]), []
        if measure(line) > width:
            keep = len(line) - 1
            while keep > 0 and measure(line[:keep].rstrip() + more) > width:
                keep -= 1
            line = line[:keep].rstrip() + more
        found.append(line)
    return found


def printable(chart: Chart, ascii: bool = False) -> Chart:
    """Without control characters, which texts out of documents may hold, and not endlessly long.

    With `ascii` other signs become "?", and letters lose their accents. Raises ValueError where a series has not a value a category.
    """
    if any(len(values) != len(chart.categories) for one in chart.series for values in (one.values, one.spread or one.values)):
        raise ValueError("a series does not have one value a category")

    def clean(text: str) -> str:
        text = "".join(sign if sign.isprintable() else " " for sign in text[:_LONGEST]).strip()
        if ascii:
            text = "".join(sign for sign in unicodedata.normalize("NFD", text) if not unicodedata.combining(sign))
            text = text.encode("ascii", "replace").decode()
        return text

    return replace(
        chart,
        title=clean(chart.title),
        subtitle=clean(chart.subtitle),
        x_label=clean(chart.x_label),
        y_label=clean(chart.y_label),
        categories=tuple(map(clean, chart.categories)),
        series=tuple(replace(one, name=clean(one.name)) for one in chart.series),
        notes=tuple(map(clean, chart.notes)),
    )


def is_empty(chart: Chart) -> bool:
    """Whether there is nothing to draw, not even a mark that something is hidden."""
    return not any(value is None or drawn(value) for one in chart.series for value in one.values)


def explained_notes(chart: Chart) -> list[str]:
    """The notes, with one on the mark of hidden values only where there is one, and without what an empty chart says itself."""
    hidden = any(value is None for one in chart.series for value in one.values)
    notes = [note for note in chart.notes if hidden or not note.startswith(HIDDEN)]
    if hidden and not any(note.startswith(HIDDEN) for note in notes):
        notes.append(_HIDDEN_NOTE)
    return [note for note in notes if not (note.rstrip(".") == EMPTY and is_empty(chart))]
