"""Ratios whose values were worked out by hand."""

import itertools
import math
from collections import Counter

import pytest

from tests.unit.experiment.reporting.records import command
from tests.unit.experiment.reporting.test_laws import report_of
from toolkit.core.errors import UsageError
from toolkit.experiment.reporting.comparison import Ratio, _bounds, _distribution, ratio


@pytest.mark.parametrize(("first", "second"), [(1, 1), (2, 3), (4, 4), (5, 3)])
def test_the_distribution_is_that_of_all_orders(first, second):
    places = range(first + second)
    counted = Counter(
        sum(other < one for one in chosen for other in places if other not in chosen) for chosen in itertools.combinations(places, first)
    )
    assert _distribution(first, second) == [counted[value] for value in range(first * second + 1)]


def test_by_hand():
    # ratios 1/2 2/3 1 1 4/3 2 2 3 ... of 3 and 3: all nine; P(U = 0) = 1/20 on each side, so the extremes enclose 90 %
    got = ratio([10, 20, 40], [20, 40, 80])
    assert got == Ratio(2.0, 0.5, 8.0, 0.9)


def test_four_and_four_give_more_than_95_percent():
    # P(U = 0) = 1/70 on each side: 97.1 %; P(U <= 1) = 2/70: 94.3 %, too little
    got = ratio([1, 2, 4, 8], [1, 2, 4, 8])
    assert (got.ratio, got.low, got.high) == (1.0, 1 / 8, 8.0)
    assert got.confidence == pytest.approx(1 - 2 / 70)


def test_published_critical_values():
    # the two-sided 5 % critical value of U for 10 and 10 is 23, for 7 and 9 it is 12 (Mann-Whitney tables): U <= that is significant
    assert _bounds(10, 10)[0] == 23
    assert _bounds(7, 9)[0] == 12


def test_large_samples_agree_with_the_exact_count():
    exact = _bounds(20, 20)
    below, confidence = _bounds(20, 21)
    assert exact[0] <= below <= exact[0] + 12
    assert 0.95 <= confidence < 0.96
    assert 0.95 <= exact[1] < 0.96


def test_one_and_one_have_no_interval():
    assert ratio([3], [6]) == Ratio(2.0, None, None, None)


def test_very_many_values_are_thinned():
    got = ratio(list(range(1_000_000, 1_010_000)), list(range(2_000_000, 2_020_000, 2)))
    assert got.ratio == pytest.approx(2.0, rel=1e-4)


def runs():
    made = []
    for host, factor in (("anvil", 1), ("bellows", 3)):
        for day, (noise, tag) in itertools.product(range(1, 5), ((0, "64"), (1, "128"))):
            began = f"2026-1{factor // 3}-0{day}T00:00:00Z"
            nanoseconds = factor * (10**9 + day * 10**6 + noise)
            made.append(command("scc", nanoseconds, 10**8, tags={"output": tag}, host=host, began=began))
    return made


def test_machines(tmp_path):
    report = report_of(tmp_path, runs(), compare=("anvil", "bellows"))
    times = [row for row in report.tables["comparison"] if row["quantity"] == "time"]
    assert [(row["output"], row["n_first"], row["n_second"], row["differs"]) for row in times] == [(64, 4, 4, True), (128, 4, 4, True)]
    assert all(math.isclose(row["ratio"], 3.0, rel_tol=0.001) for row in times)
    memory = [row for row in report.tables["comparison"] if row["quantity"] == "memory"]
    assert all((row["ratio"], row["low"], row["high"], row["differs"]) == (1, 1, 1, False) for row in memory)


@pytest.mark.parametrize(
    ("second", "counted", "times"), [("2026-11", 4, 3.0), ("2026-11-01", 1, 3.0), ("2026-10-02", 1, 1.0), ("2026", 8, 2)]
)
def test_dates(tmp_path, second, counted, times):
    rows = [row for row in report_of(tmp_path, runs(), compare=("2026-10", second)).tables["comparison"] if row["quantity"] == "time"]
    assert {(row["n_first"], row["n_second"]) for row in rows} == {(4, counted)}
    assert [row["ratio"] for row in rows] == pytest.approx([times] * 2, rel=0.01)


def test_an_unknown_side(tmp_path):
    with pytest.raises(
        UsageError, match="--compare 2025: is no machine and no date of these records; there are: anvil, bellows, 2026-10-01"
    ):
        report_of(tmp_path, runs(), compare=("anvil", "2025"))
