"""How long visits with diagnoses lasted."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.datacentre.analyses.answers import Answer, Cell, Chart, Column, Series
from toolkit.datacentre.analyses.questions import Parameters, Question, Sums
from toolkit.datacentre.analyses.questions.counting import label, period_of, within_rows
from toolkit.datacentre.analyses.questions.options import ICD10

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_DAY = 86400
_OPEN, _NEGATIVE, _CLOSED = range(3)
# In whole seconds. Where either time lacks the hour, whole days; offsets of the zone count where both times have one.
_ZONE = """(CASE WHEN length({0}) < 3 THEN {0}::INTEGER * 60 ELSE {0}::INTEGER // 100 * 60 + {0}::INTEGER % 100 END)
    * CASE WHEN {0}_sign = '-' THEN -60 ELSE 60 END"""
_LENGTHS = f"""
    WITH times AS (
        SELECT series, regexp_extract(start, '^[0-9]*') AS one, regexp_extract("end", '^[0-9]*') AS other,
            regexp_extract(start, '([+-])[0-9]{{1,4}}$', 1) AS one_zone_sign,
            regexp_extract(start, '[+-]([0-9]{{1,4}})$', 1) AS one_zone,
            regexp_extract("end", '([+-])[0-9]{{1,4}}$', 1) AS other_zone_sign,
            regexp_extract("end", '[+-]([0-9]{{1,4}})$', 1) AS other_zone
        FROM visits JOIN coded USING (message_id)
    ), moments AS (
        SELECT *, try_strptime(left(one, 8), '%Y%m%d') AS one_day,
            CASE WHEN length(other) >= 8 THEN try_strptime(left(other, 8), '%Y%m%d') END AS other_day,
            CASE WHEN length(one) >= 10 THEN try_strptime(rpad(left(one, 14), 14, '0'), '%Y%m%d%H%M%S') END AS one_time,
            CASE WHEN length(other) >= 10 THEN try_strptime(rpad(left(other, 14), 14, '0'), '%Y%m%d%H%M%S') END AS other_time,
            CASE WHEN one_zone <> '' AND other_zone <> '' THEN {_ZONE.format("one_zone")} - {_ZONE.format("other_zone")} ELSE 0 END zones
        FROM times
    ), lengths AS (
        SELECT series, CASE WHEN one_time IS NULL OR other_time IS NULL THEN date_diff('day', one_day, other_day) * {_DAY}
            ELSE date_diff('second', one_time, other_time) + zones END AS seconds
        FROM moments
    )
    SELECT series, CASE WHEN seconds IS NULL THEN {_OPEN} WHEN seconds < 0 THEN {_NEGATIVE} ELSE {_CLOSED} END AS kind,
        greatest(coalesce(seconds, 0), 0) AS length, count(*)
    FROM lengths GROUP BY ALL
"""


def _counts(database: DuckDBPyConnection, parameters: Parameters) -> Iterator[tuple[Any, ...]]:
    yield from database.execute(_LENGTHS).fetchall()


def _answer(parameters: Parameters, sums: Sums) -> Answer:
    rows: list[tuple[Any, ...]] = []
    equations: list[tuple[Cell, tuple[Cell, ...]]] = []
    derived: dict[Cell, tuple[Cell, ...]] = {}
    found: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for (number, kind, length), count in sums.items():
        found[number, kind].append((length, count))
    for number, series in enumerate(parameters["icd10"]):
        lengths = sorted(found[number, _CLOSED])
        still_open, negative, closed = (sum(count for _, count in found[number, kind]) for kind in (_OPEN, _NEGATIVE, _CLOSED))
        rows.append((label(series), closed + still_open + negative, closed, *_moments(lengths), still_open, negative))
        equations.append((("table", number, 1), tuple(("table", number, column) for column in (2, 6, 7))))
        derived |= {("table", number, column): (("table", number, 2),) for column in (3, 4, 5)}
    return Answer(
        title="Length of stay",
        period=period_of(parameters),
        columns=(
            Column("icd10", "Diagnosis (ICD-10)", kind="label"),
            Column("visits", "Visits", kind="count"),
            Column("stays", "Closed stays", kind="count"),
            Column("mean", "Mean", "days", "number"),
            Column("standard_deviation", "Standard deviation", "days", "number"),
            Column("median", "Median", "days", "number"),
            Column("open", "End not known", kind="count"),
            Column("negative", "End before start", kind="count"),
        ),
        rows=tuple(rows),
        equations=tuple(equations),
        derived=derived,
        within=within_rows(parameters["icd10"], (1, 2, 6, 7)),
    )


def _moments(lengths: Sequence[tuple[int, int]]) -> tuple[float | None, float | None, float | None]:
    """Mean, standard deviation (of a sample, n - 1) and median in days, from lengths in seconds and how often each occurs; exact until the
    last division, so that the order in which parts were added changes no digit."""
    number = sum(count for _, count in lengths)
    if not number:
        return None, None, None
    total = sum(length * count for length, count in lengths)
    squares = sum(length * length * count for length, count in lengths)
    variance = (squares * number - total * total) / (number * (number - 1)) if number > 1 else None
    middle = [_at(lengths, (number - 1) // 2), _at(lengths, number // 2)]
    return total / number / _DAY, math.sqrt(variance) / _DAY if variance is not None else None, sum(middle) / 2 / _DAY


def _at(lengths: Sequence[tuple[int, int]], place: int) -> int:
    """The length at a place, from 0, in the order of lengths."""
    for length, count in lengths:
        place -= count
        if place < 0:
            return length
    raise AssertionError("there are fewer")


def _chart(parameters: Parameters, answer: Answer) -> Chart:
    return Chart(
        kind="spread",
        title=answer.title,
        subtitle=answer.period,
        x_label="Diagnosis (ICD-10)",
        y_label="Length of stay (days)",
        categories=tuple(str(row[0]) for row in answer.rows),
        series=(Series("mean", answer.plotted(3), answer.plotted(4)), Series("median", answer.plotted(5))),
        notes=answer.notes,
    )


QUESTION = Question(
    summary="length of stay of visits with diagnoses",
    tables=("visits", "diagnoses"),
    options=(ICD10,),
    answer=_answer,
    chart=_chart,
    counts=_counts,
)
