"""The eight figures of a report, numbered as the seed's: time and memory against resolution with fitted laws, the stages' shares of time,
memory over time, and how well the correlations know the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.core.drawing import DOTS, GREY, INK, draw
from toolkit.experiment.reporting.figures_of_laws import against_resolution
from toolkit.experiment.reporting.figures_of_quality import false_ratios, ranks
from toolkit.experiment.reporting.figures_of_runs import memory_over_time, shares_of_stages
from toolkit.experiment.reporting.report import Report
from toolkit.experiment.reporting.sheet import WIDTH, Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEADING = 0.66  # inches that title and subtitle take
_LAWS = "Medians, and fitted laws log10(y) = a log2(r) + b"
_FIGURES: tuple[tuple[str, str, str, Callable[[Report], Sheet]], ...] = (
    ("fig-04", "Time of commands against resolution", _LAWS, lambda report: against_resolution(report, "time", False)),
    ("fig-05", "Peak memory of commands against resolution", _LAWS, lambda report: against_resolution(report, "memory", False)),
    ("fig-06", "Time of stages against resolution", _LAWS, lambda report: against_resolution(report, "time", True)),
    ("fig-07", "Peak memory of stages against resolution", _LAWS, lambda report: against_resolution(report, "memory", True)),
    ("fig-08", "Shares of stages in the time of commands", "A moment belongs to the innermost stage", shares_of_stages),
    ("fig-09", "Memory over time", "All processes of a command, at its largest resolutions; when its stages ran", memory_over_time),
    ("fig-10", "Quantiles of the false ratio", "Cells that score above the truth's best, as a share of all, by resolution", false_ratios),
    ("fig-11", "Where the truth was ranked", "Share of correlations, by resolution", ranks),
)


@dataclass(frozen=True)
class Drawn:
    """A figure: the beginning of its files' names, its title, its values in words, and its bytes."""

    name: str
    title: str
    words: str
    svg: bytes
    png: bytes


def all_figures(report: Report) -> list[Drawn]:
    """Every figure; one that nothing was measured for says so."""
    return [_drawn(name, title, subtitle, make(report)) for name, title, subtitle, make in _FIGURES]


def _drawn(name: str, title: str, subtitle: str, sheet: Sheet) -> Drawn:
    def page() -> Figure:
        from matplotlib.figure import Figure

        whole = sheet.height + _HEADING
        figure = Figure(figsize=(WIDTH, whole), dpi=DOTS, facecolor="white")
        figure.text(0.2 / WIDTH, 1 - 0.16 / whole, title, size=13, weight="bold", color=INK, va="top", ha="left")
        figure.text(0.2 / WIDTH, 1 - 0.42 / whole, subtitle, size=9.5, color=GREY, va="top", ha="left")
        sheet.paint(figure)
        return figure

    svg, png = draw(page, title, f"{subtitle}. {sheet.words}", name)
    return Drawn(name, title, sheet.words, svg, png)
