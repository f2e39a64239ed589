"""What several questions say in SQL, and how they name what they found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from toolkit.datacentre.analyses.answers import Answer, Cell, Chart, Column, Series
from toolkit.datacentre.analyses.questions import Parameters

_MOMENT = "TRY_CAST(rpad(regexp_extract(start, '^[0-9]{8,14}'), 14, '0') AS BIGINT)"
_RANKS = 1000
FIRST_VISIT = f"SELECT first % {_RANKS}, count(*) FROM (SELECT min(first) AS first FROM rows GROUP BY low, high) GROUP BY ALL"


def by_first_visit(rank: str) -> str:
    """SQL for `Question.patients`, with `FIRST_VISIT` behind it: a patient counts under the `rank`, an SQL expression below 1000, of the
    first visit; of several that began at the same time, under the lowest."""
    return f"SELECT patient, min({_MOMENT} * {_RANKS} + ({rank})) AS first FROM visits GROUP BY patient"


def period_of(parameters: Parameters) -> str:
    """The period in words."""
    return f"{day(parameters['from'])} to {day(parameters['to'])}"


def day(number: int) -> date:
    """The day of YYYYMMDD."""
    return date(number // 10000, number // 100 % 100, number % 100)


def label(series: Sequence[str]) -> str:
    """A series of codes as people write them: ``I50, I11.0``."""
    return ", ".join(code if len(code) == 3 else f"{code[:3]}.{code[3:]}" for code in series)


def nested(series: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Pairs of series of codes of which the second counts all that the first one does: I50.9 within I50."""
    numbered = list(enumerate(series))
    inside = [(part, whole) for part in numbered for whole in numbered if part[0] != whole[0]]
    return [(part, whole) for (part, codes), (whole, others) in inside if all(code.startswith(tuple(others)) for code in codes)]


def within_rows(series: Sequence[Sequence[str]], columns: Sequence[int]) -> tuple[tuple[Cell, Cell], ...]:
    """Which counts of a table with a row for each series are within which others."""
    return tuple((("table", part, column), ("table", whole, column)) for part, whole in nested(series) for column in columns)


def patients_by(title: str, name: str, heading: str, counts: Sequence[tuple[str, int]], parameters: Parameters) -> Answer:
    """A table of distinct patients by something, with shares and a total."""
    total = sum(number for _, number in counts)
    rows = tuple((word, number, share(number, total)) for word, number in (*counts, ("total", total)))
    parts: tuple[Cell, ...] = tuple(("table", row, 1) for row in range(len(counts)))
    whole: Cell = ("table", len(counts), 1)
    derived: Mapping[Cell, tuple[Cell, ...]] = {("table", row, 2): (("table", row, 1), whole) for row in range(len(rows))}
    return Answer(
        title=title,
        period=period_of(parameters),
        columns=(Column(name, heading, kind="label"), Column("patients", "Patients"), Column("percent", "Share", "%", "share")),
        rows=rows,
        equations=((whole, parts),),
        derived=dict(derived),
    )


def bars(answer: Answer, heading: str) -> Chart:
    """The second column of all rows but the total, as bars."""
    rows = answer.rows[:-1]
    return Chart(
        kind="bars",
        title=answer.title,
        subtitle=answer.period,
        x_label=heading,
        y_label=answer.columns[1].title,
        categories=tuple(str(row[0]) for row in rows),
        series=(Series(answer.columns[1].title, answer.plotted(1)[:-1]),),
        notes=answer.notes,
    )


def share(part: int, whole: int) -> float | None:
    """In per cent; None of nothing."""
    return 100 * part / whole if whole else None


def parts_of_period(parameters: Parameters) -> Iterator[tuple[date, date, str]]:
    """First day, last day and name of each sub-period; the calendar's are cut by the period."""
    begin, end, periods = day(parameters["from"]), day(parameters["to"]), parameters["periods"]
    if isinstance(periods, int):
        days = (end - begin).days + 1
        starts = [begin + timedelta(number * days // periods) for number in range(periods)]
        for first, following in zip(starts, [*starts[1:], end + timedelta(1)], strict=True):
            yield first, following - timedelta(1), f"{first} to {following - timedelta(1)}"
        return
    months = {"month": 1, "quarter": 3, "year": 12}[periods]
    first = begin
    while first <= end:
        number = first.year * 12 + (first.month - 1) // months * months + months  # the month after
        last = min(end, date(number // 12, number % 12 + 1, 1) - timedelta(1))
        names: dict[str, Any] = {"month": f"{first:%Y-%m}", "quarter": f"{first.year} Q{(first.month + 2) // 3}", "year": f"{first:%Y}"}
        yield first, last, names[periods]
        first = last + timedelta(1)
