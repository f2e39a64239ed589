import math

import pytest

from toolkit.datacentre.analyses.answers import Answer, Column
from toolkit.datacentre.analyses.suppression import hide

COLUMNS = (Column("icd10", "Diagnosis", kind="label"), Column("stays", "Stays"), Column("mean", "Mean", "days", "number"))
ANSWER = Answer(
    "Stays",
    "2026",
    COLUMNS,
    (("I50", 9, 2.5), ("J45", 3, 1.0), ("Q00", 0, None)),
    {"open": 7},
    derived={("table", row, 2): (("table", row, 1),) for row in range(3)},
)


def test_what_is_hidden_is_none_on_a_chart_and_what_is_not_there_is_nan() -> None:
    stays, means = (hide(ANSWER, 5).plotted(column) for column in (1, 2))
    assert stays == (9, None, 0)
    assert means[:2] == (2.5, None)
    assert means[2] is not None
    assert math.isnan(means[2])


def test_text_is_not_plotted() -> None:
    with pytest.raises(ValueError, match="I50"):
        ANSWER.plotted(0)


def test_values() -> None:
    assert ANSWER.value(("table", 0, 2)) == 2.5
    assert ANSWER.value(("count", "open")) == 7
    with pytest.raises(KeyError):
        ANSWER.value(("count", "closed"))
