"""The mean with Student's interval, against scipy; and what it says where there is none."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from microtome.lab.means import mean_estimate

LEVELS = (0.05, 0.025)


@pytest.mark.parametrize("n", [2, 3, 24])
def test_the_interval_is_that_of_scipys_t_test(n: int) -> None:
    x = np.random.default_rng(n).normal(2, 3, n)
    estimate = mean_estimate(pl.Series(x), LEVELS, "documents")
    assert (estimate.value, estimate.n, estimate.unit) == (pytest.approx(x.mean()), n, "documents")
    for interval, alpha in zip(estimate.intervals, LEVELS, strict=True):
        expected = stats.ttest_1samp(x, 0).confidence_interval(1 - alpha)
        assert interval.alpha == alpha
        assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_a_single_unit_has_a_mean_and_no_interval() -> None:
    estimate = mean_estimate(pl.Series([3]), LEVELS)
    assert (estimate.value, estimate.intervals) == (3.0, ())


@pytest.mark.parametrize("hole", [None, float("nan"), float("inf")])
def test_an_undefined_unit_leaves_no_mean(hole: float | None) -> None:
    estimate = mean_estimate(pl.Series([1.0, hole, 2.0]), LEVELS)
    assert (estimate.value, estimate.reason) == (None, "1 of 3 units are undefined")


def test_no_units_have_no_mean() -> None:
    assert mean_estimate(pl.Series([], dtype=pl.Float64), LEVELS).reason == "there are no units"
