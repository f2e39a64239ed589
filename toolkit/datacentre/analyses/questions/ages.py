"""Patients by age at their first visit in the period."""

from __future__ import annotations

from toolkit.datacentre.analyses.answers import Answer, Chart
from toolkit.datacentre.analyses.questions import Option, Parameters, Question, Sums
from toolkit.datacentre.analyses.questions.counting import FIRST_VISIT, bars, by_first_visit, patients_by
from toolkit.datacentre.analyses.questions.options import edges


def _patients(parameters: Parameters) -> str:
    interval = " + ".join(f"(age >= {float(edge)!r})::INTEGER" for edge in parameters["edges"])
    return by_first_visit(f"CASE WHEN age IS NULL OR isnan(age) THEN {len(parameters['edges']) + 1} ELSE {interval} END")


def _answer(parameters: Parameters, sums: Sums) -> Answer:
    given = parameters["edges"]
    between = [_between(low, high) for low, high in zip(given, given[1:], strict=False)]
    names = [f"under {given[0]}", *between, f"{given[-1]} and over", "unknown"]
    counts = [(name, sums.get((rank,), 0)) for rank, name in enumerate(names)]
    if given[0] == 0 and counts[0][1] == 0:
        del counts[0]
    return patients_by("Patients by age", "age", "Age at the first visit in the period (years)", counts, parameters)


def _between(low: float, high: float) -> str:
    """A half-open interval as people write ages."""
    whole = isinstance(low, int) and isinstance(high, int)
    return (f"{low}" if high == low + 1 else f"{low} to {high - 1}") if whole else f"{low} to under {high}"


def _chart(parameters: Parameters, answer: Answer) -> Chart:
    return bars(answer, "Age at the first visit in the period (years)")


QUESTION = Question(
    summary="patients by age",
    tables=("visits",),
    options=(
        Option("edges", "YEARS,...", "Ages at which intervals begin; each goes up to the next.", edges, default="0,18,30,45,60,75"),
    ),
    answer=_answer,
    chart=_chart,
    patients=_patients,
    per_patient=FIRST_VISIT,
)  # fmt: skip
