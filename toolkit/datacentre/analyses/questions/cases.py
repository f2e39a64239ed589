"""Visits or patients with diagnoses, by sub-period."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from toolkit.core.errors import UsageError
from toolkit.datacentre.analyses.answers import Answer, Cell, Chart, Column, Series
from toolkit.datacentre.analyses.questions import Option, Parameters, Question, Sums
from toolkit.datacentre.analyses.questions.counting import day, label, nested, parts_of_period, period_of
from toolkit.datacentre.analyses.questions.options import ICD10, periods

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def _counts(database: DuckDBPyConnection, parameters: Parameters) -> Iterator[tuple[Any, ...]]:
    if parameters["count"] == "visits":
        yield from database.execute(f"SELECT series, {_number(parameters)}, count(*) FROM coded GROUP BY ALL").fetchall()


def _patients(parameters: Parameters) -> str:
    if parameters["count"] == "visits":
        return ""
    return f"SELECT DISTINCT patient, series, {_number(parameters)} AS period FROM coded"


def _number(parameters: Parameters) -> str:
    """SQL for the number of the sub-period that a day lies in."""
    begins = [int(f"{first:%Y%m%d}") for first, _, _ in parts_of_period(parameters)]
    return " + ".join(f"(day >= {begin})::INTEGER" for begin in begins[1:]) or "0"


def _answer(parameters: Parameters, sums: Sums) -> Answer:
    names = [label(series) for series in parameters["icd10"]]
    whole = "patients" if parameters["count"] == "patients" else "visits"
    rows: list[tuple[Any, ...]] = []
    spans = list(parts_of_period(parameters))
    for number, (first, last, name) in enumerate(spans):
        rows.append((name, str(first), str(last), *(sums.get((series, number), 0) for series in range(len(names)))))
    if whole == "visits":
        totals = [sum(row[3 + series] for row in rows) for series in range(len(names))]
    else:
        totals = [sums.get((series, -1), 0) for series in range(len(names))]
    rows.append(("total", str(spans[0][0]), str(spans[-1][1]), *totals))
    equations: list[tuple[Cell, tuple[Cell, ...]]] = []
    if whole == "visits":
        for column in range(3, 3 + len(names)):
            equations.append((("table", len(spans), column), tuple(("table", row, column) for row in range(len(spans)))))
    inside = nested(parameters["icd10"])
    within: list[tuple[Cell, Cell]] = []
    for row in range(len(rows)):
        within += [(("table", row, 3 + part), ("table", row, 3 + all_of)) for part, all_of in inside]
    if whole == "patients":  # who came in several sub-periods counts once in the total
        columns = range(3, 3 + len(names))
        within += [(("table", row, column), ("table", len(spans), column)) for row in range(len(spans)) for column in columns]
    return Answer(
        title=f"{whole.capitalize()} with {names[0]}" if len(names) == 1 else f"{whole.capitalize()} by diagnosis",
        period=period_of(parameters),
        columns=(
            Column("period", "Sub-period", kind="label"),
            Column("from", "From", kind="label"),
            Column("to", "To", kind="label"),
            *(Column(name.lower().replace(", ", "_"), name, kind="count") for name in names),
        ),
        rows=tuple(rows),
        equations=tuple(equations),
        within=tuple(within),
    )


def _chart(parameters: Parameters, answer: Answer) -> Chart:
    rows = answer.rows[:-1]
    return Chart(
        kind="lines" if len(rows) > 12 else "bars",
        title=answer.title,
        subtitle=answer.period,
        x_label={"month": "Month", "quarter": "Quarter", "year": "Year"}.get(parameters["periods"], "Sub-period"),
        y_label=parameters["count"].capitalize(),
        categories=tuple(row[0] if isinstance(parameters["periods"], str) else row[1] for row in rows),  # type: ignore[misc]
        series=tuple(Series(column.title, answer.plotted(place)[:-1]) for place, column in enumerate(answer.columns) if place > 2),
        notes=answer.notes,
    )


def _check(parameters: Parameters) -> None:
    days = (day(parameters["to"]) - day(parameters["from"])).days + 1
    if isinstance(parameters["periods"], int) and parameters["periods"] > days:
        raise UsageError("--periods", f"the period has {days} days only", f"write at most {days}")


QUESTION = Question(
    summary="visits or patients with diagnoses, by sub-period",
    tables=("diagnoses",),
    options=(
        ICD10,
        Option("periods", "N|month|quarter|year", "Sub-periods: N equal ones, or the calendar's.", periods, default="month"),
        Option("count", "visits|patients", "What is counted.", str, default="visits", choices=("visits", "patients")),
    ),
    answer=_answer,
    chart=_chart,
    check=_check,
    counts=_counts,
    patients=_patients,
    per_patient="""
        SELECT series, period, count(*) FROM (SELECT DISTINCT low, high, series, period FROM rows) GROUP BY ALL
        UNION ALL SELECT series, -1, count(*) FROM (SELECT DISTINCT low, high, series FROM rows) GROUP BY ALL
    """,
)
