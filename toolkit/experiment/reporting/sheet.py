"""The space that a figure has below its heading, measured in inches, and what the figures have in common."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.core.drawing import COLOURS, DASHES, GREY, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8.0  # inches
MOST_LINES = 8  # lines or colours that can be told apart


@dataclass(frozen=True)
class Sheet:
    """What is to be drawn: its height, inches; its values in words; and the function that draws it at the bottom of a figure."""

    height: float
    words: str
    paint: Callable[[Figure], None]


def nothing(reason: str) -> Sheet:
    """A low sheet that says why it is empty."""

    def paint(figure: Figure) -> None:
        figure.text(0.5, 0.3, textwrap.fill(reason, 80), ha="center", va="center", size=10, color=GREY)

    return Sheet(0.8, reason, paint)


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at this place, inches from the figure's lower left corner."""
    whole = figure.get_figheight()
    return figure.add_axes((left / WIDTH, bottom / whole, width / WIDTH, height / whole))


def legend_at(figure: Figure, handles: Sequence[Any], names: Sequence[str], left: float, top: float) -> None:
    """A legend with its upper left corner there, inches from the figure's lower left corner."""
    figure.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(left / WIDTH, top / figure.get_figheight()),
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=2.6,
        labelspacing=0.6,
        fontsize=8,
    )


def stroke(number: int) -> dict[str, Any]:
    """How line `number` is told from others, with and without colours."""
    colour = COLOURS[number % len(COLOURS)]
    return {
        "color": colour,
        "linestyle": DASHES[number % len(DASHES)],
        "linewidth": 1.4,
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 5,
        "markerfacecolor": colour if number % 2 == 0 else "white",
        "markeredgecolor": colour,
    }


def shortened(text: str, letters: int) -> str:
    """At most so many letters: names of commands and machines can be long."""
    return text if len(text) <= letters else text[: letters - 1] + "…"


def brief(value: float) -> str:
    """A number with three digits that count, as it is said: 0.00123, 12.3, 1230, 1.23e+09."""
    if value and (abs(value) < 1e-4 or abs(value) >= 1e7):
        return f"{value:.2e}"
    digits = 2
    size = abs(value)
    while size >= 10 and digits:
        size, digits = size / 10, digits - 1
    while size and size < 1:
        size, digits = size * 10, digits + 1
    text = f"{value:.{digits}f}"
    return text


def at_resolutions(scales: Sequence[Any]) -> str:
    """A pair of resolutions as it stands beside rows: ``512, 256``; a resolution that was not tagged is a dash."""
    return ", ".join("–" if value is None else f"{value:g}" for value in scales)
