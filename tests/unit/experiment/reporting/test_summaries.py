"""Statistics whose values were worked out by hand, and against numpy."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.experiment.reporting.summaries import QUANTILES, Summary, quantile, summary


def test_by_hand():
    # 2, 4, 4, 4, 5, 5, 7, 9: sum 40, squares about the mean 32, so s = sqrt(32 / 7); quantiles at places 0.35, 1.75, 5.25 and 6.65
    got = summary([9, 2, 4, 7, 4, 5, 4, 5])
    assert (got.n, got.mean, got.least, got.median, got.most) == (8, 5.0, 2.0, 4.5, 9.0)
    assert got.sd == pytest.approx((32 / 7) ** 0.5, rel=1e-15)
    assert got.quantiles == (2.7, 4.0, 5.5, 8.3)


def test_one_value_has_no_deviation_and_units_are_divided_out():
    assert summary([1_500_000_000], 10**9) == Summary(1, 1.5, None, 1.5, 1.5, 1.5, (1.5,) * 4)


def test_numbers_beyond_what_floats_tell_apart():
    values = [10**17, 10**17 + 1, 10**17 + 2]
    assert summary(values).sd == 1.0
    assert summary(values, 10**17).mean == float(Fraction(10**17 + 1, 10**17))


@given(st.lists(st.integers(0, 10**15), min_size=2, max_size=30), st.randoms())
def test_as_numpy_and_in_any_order(values, chance):
    got = summary(values, 1000)
    scaled = np.array(values) / 1000
    assert got.mean == pytest.approx(scaled.mean(), rel=1e-12)
    assert got.sd == pytest.approx(scaled.std(ddof=1), rel=1e-9, abs=1e-6)
    assert got.quantiles == pytest.approx(np.percentile(scaled, QUANTILES), rel=1e-9)
    chance.shuffle(values)
    assert summary(values, 1000) == got


def test_quantiles_of_fractions():
    assert quantile([Fraction(1, 3), Fraction(2, 3)], Fraction(1, 2)) == 0.5
    assert quantile([Fraction(1, 3)], Fraction(9, 10)) == 1 / 3
