"""Patients by administrative sex, as their first visit in the period has it."""

from __future__ import annotations

from toolkit.datacentre.analyses.answers import Answer, Chart
from toolkit.datacentre.analyses.questions import Parameters, Question, Sums
from toolkit.datacentre.analyses.questions.counting import FIRST_VISIT, bars, by_first_visit, patients_by

# HL7 AdministrativeGender, then the reasons why there is none (NullFlavor); what comes first is taken where a patient has two first visits.
_SEXES = {
    "F": "female", "M": "male", "UN": "undifferentiated", "ASKU": "asked but unknown", "INV": "invalid", "MSK": "masked",
    "NA": "not applicable", "NASK": "not asked", "NAV": "temporarily unavailable", "NI": "no information", "OTH": "other",
    "UNK": "unknown", "": "nothing said",
}  # fmt: skip


def _patients(parameters: Parameters) -> str:
    ranks = " ".join(f"WHEN '{sex}' THEN {rank}" for rank, sex in enumerate(_SEXES))
    return by_first_visit(f"CASE sex {ranks} ELSE {len(_SEXES)} END")


def _answer(parameters: Parameters, sums: Sums) -> Answer:
    names = [f"{name} ({sex})" if sex else name for sex, name in _SEXES.items()] + ["another code"]
    counts = [(name, sums.get((rank,), 0)) for rank, name in enumerate(names)]
    shown = [(name, number) for rank, (name, number) in enumerate(counts) if number or rank < 2]
    return patients_by("Patients by sex", "sex", "Sex", shown, parameters)


def _chart(parameters: Parameters, answer: Answer) -> Chart:
    return bars(answer, "Sex")


QUESTION = Question(
    summary="patients by administrative sex",
    tables=("visits",),
    options=(),
    answer=_answer,
    chart=_chart,
    patients=_patients,
    per_patient=FIRST_VISIT,
)
