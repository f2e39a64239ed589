"""Charts for the terminal: bars of eighth blocks, or a row of blocks a series where there are many values."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from toolkit.datacentre.analyses.answers import Chart, Series
from toolkit.datacentre.analyses.lettering import (
    EMPTY,
    HIDDEN,
    decimals_of,
    drawn,
    explained_notes,
    figures,
    fold,
    is_empty,
    of_hundred,
    printable,
)

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII_LEVELS = "_.:-=+#@"
_MOST_BARS = 60


def terminal(chart: Chart, width: int = 80, blocks: bool = True) -> str:
    """The chart in lines of at most `width` signs (40 at least), each ended; without `blocks` it is all ASCII."""
    ascii = not blocks
    chart, width = printable(chart, ascii), max(width, 40)
    lines = [*_folded(chart.title, width), *_folded(chart.subtitle, width), ""]
    if is_empty(chart):
        lines.append(EMPTY)
    else:
        many = len(chart.categories) * len(chart.series) > _MOST_BARS
        own = ", each to its own scale" if many and len(chart.series) > 1 else ""
        lines += _folded(f"{chart.y_label} by {chart.x_label}{own}", width)
        lines += _rows_of_blocks(chart, width, ascii) if many else _bars(chart, width, ascii)
    if notes := explained_notes(chart):
        lines += ["", *(line for note in notes for line in _folded(note, width))]
    text = "".join(line.rstrip() + "\n" for line in lines)
    return text.replace("…", "~") if ascii else text


def _bars(chart: Chart, width: int, ascii: bool) -> Iterator[str]:
    """A line a value: label, bar, figure; of several series a line with the category above them."""
    grouped = len(chart.series) > 1
    labels = [one.name for one in chart.series] if grouped else list(chart.categories)
    margin = 2 * grouped
    values = {
        (number, place): _figures(chart, one, place, ascii) for number, one in enumerate(chart.series) for place in range(len(one.values))
    }
    right = max(map(len, values.values()))
    left = min(max(map(_width, labels)), max(6, min(width // 2, width - right - margin - 12)))
    room = max(width - margin - left - right - 2, 1)
    highest = max((value for one in chart.series for value in one.values if drawn(value)), default=0.0)
    if of_hundred(chart):
        highest = max(highest, 100.0)
    for place, category in enumerate(chart.categories):
        if grouped:
            yield _cut(category, width)
        for number, one in enumerate(chart.series):
            value = one.values[place]
            bar = _bar(value / highest * room if drawn(value) and highest else 0.0, ascii)
            label = _padded(one.name if grouped else category, left)
            yield " " * margin + f"{label} {bar:<{room}} {values[number, place]:>{right}}"


def _rows_of_blocks(chart: Chart, width: int, ascii: bool) -> Iterator[str]:
    """A block a value, each series to its own scale; each row begins with its first category."""
    left = min(max(map(_width, chart.categories)), width // 3)
    room = width - left - 1
    room -= room % 12 if room > 12 else 0  # months
    levels = _ASCII_LEVELS if ascii else _LEVELS
    for one in chart.series:
        known = [value for value in one.values if drawn(value)]
        highest = max(known, default=0.0)
        decimals = decimals_of(chart)
        span = f" ({figures(min(known), decimals)} to {figures(max(known), decimals)})" if known else ""
        yield _cut(one.name, width - len(span)) + span
        for begin in range(0, len(one.values), room):
            row = one.values[begin : begin + room]
            line = "".join(HIDDEN if value is None else _level(value, highest, levels) if drawn(value) else " " for value in row)
            yield f"{_padded(chart.categories[begin], left)} {line}"


def _figures(chart: Chart, one: Series, place: int, ascii: bool) -> str:
    value = one.values[place]
    if not drawn(value):
        return HIDDEN if value is None else "-"
    text = figures(value, decimals_of(chart))
    spread = one.spread[place] if one.spread else None
    if drawn(spread):
        text += f" {'+-' if ascii else '±'} {figures(spread, decimals_of(chart))}"
    return text


def _bar(length: float, ascii: bool) -> str:
    if ascii:
        return "#" * round(length)
    eighths = round(length * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _level(value: float, highest: float, levels: str) -> str:
    """Zero has the lowest block for itself."""
    if value <= 0 or highest <= 0:
        return levels[0]
    return levels[max(1, min(len(levels) - 1, round(value / highest * (len(levels) - 1))))]


def _width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def _folded(text: str, width: int) -> list[str]:
    return fold(text, width, _width, lines=12)


def _cut(text: str, width: int) -> str:
    return "".join(fold(text, max(width, 1), _width, lines=1))


def _padded(text: str, width: int) -> str:
    text = _cut(text, width)
    return text + " " * (width - _width(text))
