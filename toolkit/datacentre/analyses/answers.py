"""What an analysis answers: a table with a few counts beside it, and the chart of it.

An answer knows how its numbers hang together, so that small counts can be hidden without being computable from what is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Value = str | int | float | None
Cell = tuple[Literal["table"], int, int] | tuple[Literal["count"], str]  # row and column of the table from 0; or the name of a count
Equation = tuple[Cell, tuple[Cell, ...]]  # a total and the cells that add up to it


@dataclass(frozen=True)
class Column:
    """A column of the table: ``name`` heads it in CSV and JSON (lower_case), ``title`` is for people.

    ``kind`` says what it holds: text (label), whole numbers of patients, visits or results (count), per cent (share) or other
    numbers, in ``unit`` (number).
    """

    name: str
    title: str
    unit: str = ""
    kind: Literal["label", "count", "share", "number"] = "count"


@dataclass(frozen=True)
class Answer:
    """What an analysis found, before or after small counts are hidden.

    ``period`` is for people: "2026-01-01 to 2026-12-31". ``counts`` are beside the table: documents, visits in the period,
    excluded. ``equations`` name totals and the cells that add up to them. ``within`` are pairs of counts of which the first counts
    some of what the second does (I50.1 and I50; patients of a month and of the year): their difference must not be small either.
    ``derived`` names for a share or a mean the counts that it comes from: a share is hidden with any of them, a mean if they are
    few. Cells in ``hidden`` hold None; None elsewhere is what cannot be known, such as the mean of nothing.
    """

    title: str
    period: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    counts: Mapping[str, int | None] = field(default_factory=dict)
    equations: tuple[Equation, ...] = ()
    derived: Mapping[Cell, tuple[Cell, ...]] = field(default_factory=dict)
    hidden: frozenset[Cell] = frozenset()
    notes: tuple[str, ...] = ()
    within: tuple[tuple[Cell, Cell], ...] = ()

    def value(self, cell: Cell) -> Value:
        """What a cell holds. Raises KeyError or IndexError where there is none."""
        return self.counts[cell[1]] if cell[0] == "count" else self.rows[cell[1]][cell[2]]

    def plotted(self, column: int) -> tuple[float | None, ...]:
        """A column as the values of a `Series`: None where hidden, NaN where there is nothing. Raises ValueError where there is text."""
        found: list[float | None] = []
        for number, row in enumerate(self.rows):
            value = row[column]
            if value is None:
                found.append(None if ("table", number, column) in self.hidden else math.nan)
            else:
                found.append(value if isinstance(value, int) else float(value))
        return tuple(found)


@dataclass(frozen=True)
class Series:
    """A row of values, one a category; None is hidden, NaN is nothing to draw (the mean of no visit).

    ``spread``: the standard deviation of each value, if it has one.
    """

    name: str
    values: tuple[float | None, ...]
    spread: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Chart:
    """What is drawn. None is a mark that something is hidden, never zero; where nothing is drawn, the chart says so.

    ``bars``: grouped where there are several series. ``lines``: one a series over the categories. ``stacked``: a bar a category, the
    series one after the other; of 100 % if ``y_label`` names the unit %. ``spread``: the first series are means with their standard
    deviations, the second one, if there is one, medians. ``x_label`` says what the categories are and ``y_label`` what the values
    are, whichever way they are drawn. ``subtitle`` is the period; ``notes`` are printed below.
    """

    kind: Literal["bars", "lines", "stacked", "spread"]
    title: str
    subtitle: str
    x_label: str
    y_label: str
    categories: tuple[str, ...]
    series: tuple[Series, ...]
    notes: tuple[str, ...] = ()
