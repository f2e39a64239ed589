"""An answer as CSV (RFC 4180) and as JSON."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from typing import Any, TextIO

from toolkit.datacentre.analyses.answers import Answer, Cell, Column, Value

HIDDEN = "*"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # texts that spreadsheets run


def write_csv(answer: Answer, stream: TextIO) -> None:
    """The table, headed by the names of its columns: shares with one decimal, other numbers with two, hidden cells as `*`.

    `stream` must leave line ends alone (open it with newline=""). Texts that a spreadsheet would run as a formula get an apostrophe.
    """
    lines = csv.writer(stream)
    lines.writerow(column.name for column in answer.columns)
    for row, values in enumerate(answer.rows):
        lines.writerow(
            HIDDEN if ("table", row, number) in answer.hidden else _text(value, column)
            for number, (value, column) in enumerate(zip(values, answer.columns, strict=True))
        )


def as_json(answer: Answer, about: Mapping[str, Any]) -> dict[str, Any]:
    """The answer as JSON has it, with `about` (parameters, version, digest of the input, runner, seconds) between title and table.

    Hidden cells are null, and so is what cannot be known (the mean of nothing); `suppressed` lists the hidden ones alone, by the
    row's label and the column's name, or by the count's name. Keys are in the same order each time.
    """
    names = [column.name for column in answer.columns]
    return {
        "title": answer.title,
        "period": answer.period,
        **about,
        "columns": [{"name": one.name, "title": one.title, "unit": one.unit, "kind": one.kind} for one in answer.columns],
        "rows": [dict(zip(names, map(_number, values), strict=True)) for values in answer.rows],
        "counts": dict(answer.counts),
        "suppressed": [_named(answer, cell) for cell in sorted(answer.hidden, key=lambda cell: (cell[0] != "table", cell))],
        "notes": list(answer.notes),
    }


def _text(value: Value, column: Column) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return "'" + value if len(value) > 1 and value.startswith(_FORMULA) else value
    decimals = {"share": 1, "number": 2}.get(column.kind)
    return str(value) if decimals is None else f"{round(value, decimals) + 0.0:.{decimals}f}"


def _number(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _named(answer: Answer, cell: Cell) -> dict[str, str]:
    if cell[0] == "count":
        return {"count": cell[1]}
    labels = [str(value) for value, column in zip(answer.rows[cell[1]], answer.columns, strict=True) if column.kind == "label"]
    return {"row": ", ".join(labels) or str(cell[1] + 1), "column": answer.columns[cell[2]].name}
