"""Abnormal laboratory results of visits with diagnoses.

Interpretation codes are wrong often enough (whole archives say "normal" of everything), so what is trusted is an option:
"interpretation": the code where there is one, else the reference range, else the range as printed; "range": range, printed range, code;
"either": abnormal by the code, else by a range, and a code says "normal" only where no range decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from toolkit.datacentre.analyses.answers import Answer, Cell, Chart, Column, Series
from toolkit.datacentre.analyses.questions import Option, Parameters, Question, Sums
from toolkit.datacentre.analyses.questions.counting import label, period_of, share, within_rows
from toolkit.datacentre.analyses.questions.options import ICD10

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ABNORMAL = ("L", "LL", "H", "HH", "A", "AA", "<", ">")  # HL7 ObservationInterpretation
_TRUST = ("interpretation", "range", "either")
_BY_RULE = {"interpretation": ("coded", "ranged", "as_printed"), "range": ("ranged", "as_printed", "coded")}
_OUTSIDE = """CASE WHEN value IS NULL OR ({low} IS NULL AND {high} IS NULL) THEN NULL
    ELSE coalesce(value < {low} OR (value = {low} AND NOT {low_inclusive}), FALSE)
        OR coalesce(value > {high} OR (value = {high} AND NOT {high_inclusive}), FALSE) END"""
_RULES = ("coded", "ranged", "as_printed")


def _counts(database: DuckDBPyConnection, parameters: Parameters) -> Iterator[tuple[Any, ...]]:
    columns = "value, unit, low, high, low_inclusive, high_inclusive, interpretation, printed"
    database.execute(f"CREATE TABLE chosen AS SELECT series, {columns} FROM results JOIN coded USING (message_id)")  # one pass over all
    _read_printed(database)
    names = {name: name for name in ("low", "high", "low_inclusive", "high_inclusive")}
    printed = {name: f"ranges.{name}" for name in names}
    rules = f"""
        SELECT series, CASE WHEN interpretation = '' THEN NULL ELSE interpretation IN {_ABNORMAL} END AS coded,
            {_OUTSIDE.format(**{name: f"chosen.{name}" for name in names})} AS ranged,
            {_OUTSIDE.format(**printed)} AS as_printed
        FROM chosen LEFT JOIN ranges USING (printed, unit)
    """
    deciding = _deciding(parameters["trust"])
    database.execute(f"CREATE TABLE judged AS SELECT series, coded, ranged, as_printed, {deciding} AS rule FROM ({rules})")
    verdict = "CASE rule " + " ".join(f"WHEN '{rule}' THEN {rule}" for rule in _RULES) + " END"
    columns = f"series, coalesce(rule, ''), coalesce({verdict}, FALSE), count(*)"
    yield from database.execute(f"SELECT {columns} FROM judged GROUP BY ALL").fetchall()
    yield from database.execute("SELECT series, 'visits', FALSE, count(*) FROM coded GROUP BY ALL").fetchall()


def _deciding(trust: str) -> str:
    """SQL for the name of the rule that decides."""
    first = "WHEN coded THEN 'coded' " if trust == "either" else ""
    order = _BY_RULE["interpretation" if trust == "interpretation" else "range"]
    return f"CASE {first}" + " ".join(f"WHEN {rule} IS NOT NULL THEN '{rule}'" for rule in order) + " END"


def _read_printed(database: DuckDBPyConnection) -> None:
    """Make the table ``ranges`` of what printed ranges say to values of a unit; without those whose unit differs."""
    from toolkit.datacentre.analyses.rows import table_of
    from toolkit.datacentre.cda import parse_printed, same_unit

    texts = database.execute("SELECT DISTINCT printed, unit FROM chosen WHERE printed <> ''").fetchall()
    read = [(printed, unit, *parse_printed(printed)) for printed, unit in texts]
    ranges = [one[:6] for one in read if (one[2] is not None or one[3] is not None) and same_unit(one[1], one[6])]
    kinds = ("printed VARCHAR", "unit VARCHAR", "low DOUBLE", "high DOUBLE", "low_inclusive BOOLEAN", "high_inclusive BOOLEAN")
    table_of(database, "ranges", {kind: [one[place] for one in ranges] for place, kind in enumerate(kinds)})


def _answer(parameters: Parameters, sums: Sums) -> Answer:
    rows: list[tuple[Any, ...]] = []
    equations: list[tuple[Cell, tuple[Cell, ...]]] = []
    derived: dict[Cell, tuple[Cell, ...]] = {}
    for number, series in enumerate(parameters["icd10"]):
        by_rule = {rule: [sums.get((number, rule, verdict), 0) for verdict in (False, True)] for rule in ("", *_RULES)}
        normal, abnormal = (sum(by_rule[rule][verdict] for rule in _RULES) for verdict in (False, True))
        undecided = by_rule[""][0]
        visits = sums.get((number, "visits", False), 0)
        judged = normal + abnormal
        rules = [sum(by_rule[rule]) for rule in _RULES]
        rows.append((label(series), visits, judged + undecided, judged, abnormal, share(abnormal, judged), normal, *rules, undecided))
        cells: dict[int, Cell] = {column: ("table", number, column) for column in range(11)}
        equations += [
            (cells[2], (cells[3], cells[10])),
            (cells[3], (cells[4], cells[6])),
            (cells[3], (cells[7], cells[8], cells[9])),
        ]
        derived[cells[5]] = (cells[4], cells[3])
        derived |= {cells[column]: (cells[1],) for column in (2, 3, 4, 6, 7, 8, 9, 10)}  # results of few visits are those of few patients
    return Answer(
        title="Laboratory results outside their reference range",
        period=period_of(parameters),
        columns=(
            Column("icd10", "Diagnosis (ICD-10)", kind="label"),
            Column("visits", "Visits", kind="count"),
            Column("results", "Results", kind="count"),
            Column("judged", "Judged", kind="count"),
            Column("abnormal", "Abnormal", kind="count"),
            Column("percent", "Abnormal of judged", "%", "share"),
            Column("normal", "Normal", kind="count"),
            Column("by_interpretation", "By interpretation code", kind="count"),
            Column("by_range", "By reference range", kind="count"),
            Column("by_printed_range", "By printed range", kind="count"),
            Column("undecided", "Undecided", kind="count"),
        ),
        rows=tuple(rows),
        equations=tuple(equations),
        derived=derived,
        within=within_rows(parameters["icd10"], (1, 2, 3, 4, 6, 7, 8, 9, 10)),
    )


def _chart(parameters: Parameters, answer: Answer) -> Chart:
    columns = {column.name: tuple(row[place] for row in answer.rows) for place, column in enumerate(answer.columns)}
    return Chart(
        kind="stacked",
        title=answer.title,
        subtitle=answer.period,
        x_label="Diagnosis (ICD-10)",
        y_label="Share of the laboratory results (%)",
        categories=columns["icd10"],  # type: ignore[arg-type]
        series=tuple(Series(name, tuple(map(_of, columns[name], columns["results"]))) for name in ("abnormal", "normal", "undecided")),
        notes=answer.notes,
    )


def _of(part: Any, whole: Any) -> float | None:
    """A share, where neither is hidden; that of nothing is nothing to draw."""
    return None if part is None or whole is None else math.nan if whole == 0 else share(part, whole)


QUESTION = Question(
    summary="abnormal laboratory results of visits with diagnoses",
    tables=("diagnoses", "results"),
    options=(
        ICD10,
        Option("trust", "|".join(_TRUST), "What decides first.", str, default="either", choices=_TRUST),
    ),
    answer=_answer,
    chart=_chart,
    counts=_counts,
)
