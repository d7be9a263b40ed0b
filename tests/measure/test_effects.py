from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.weightstats import ttost_ind

from microtome.measure.effects import enough, hedges_g, paired, power, welch

X = np.array([1.2, 3.4, 2.2, 5.1, 4.0])
Y = np.array([0.3, 1.9, 1.1, 2.8])


def test_welch_is_scipys():
    ours = welch(X, Y)
    theirs: Any = stats.ttest_ind(X, Y, equal_var=False)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert ours.df == pytest.approx(theirs.df)
    assert ours.interval(0.9) == pytest.approx(tuple(theirs.confidence_interval(0.9)))


def test_pairs_are_scipys():
    ours = paired(X[:4], Y)
    theirs: Any = stats.ttest_rel(X[:4], Y)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert ours.interval() == pytest.approx(tuple(theirs.confidence_interval()))


@pytest.mark.parametrize("margin", [0.5, 2.0, 6.0])
def test_equivalence_is_statsmodels(margin):
    assert welch(X, Y).equivalence_p(margin) == pytest.approx(
        ttost_ind(X, Y, -margin, margin, usevar="unequal")[0]
    )


def test_a_large_p_is_not_equality():
    x, y = np.random.default_rng(0).normal(size=(2, 3)) * 5
    assert welch(x, y).p > 0.05
    assert welch(x, y).equivalence_p(1.0) > 0.05


def test_hedges_g_is_without_bias_where_cohens_d_is_not():
    rng = np.random.default_rng(0)
    x, y = rng.normal(1, 1, (4000, 4)), rng.normal(0, 1, (4000, 4))
    pooled = np.sqrt((x.var(1, ddof=1) + y.var(1, ddof=1)) / 2)
    cohen = ((x.mean(1) - y.mean(1)) / pooled).mean()
    found = np.mean([hedges_g(a, b).value for a, b in zip(x[:600], y[:600], strict=True)])
    assert cohen > 1.1
    assert found == pytest.approx(1, abs=0.1)


def test_the_interval_of_g_covers_and_agrees_with_the_test():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        x, y = rng.normal(0.8, 1, 5), rng.normal(0, 1, 7)
        low, high = hedges_g(x, y)[1:]
        usual: Any = stats.ttest_ind(x, y)
        assert (low > 0 or high < 0) == (usual.pvalue < 0.05)
        covered.append(low < 0.8 < high)  # the correction shrinks both ends a little
    assert 0.9 <= np.mean(covered) <= 0.98


def test_power_is_statsmodels_and_so_is_the_number_of_runs():
    solver = TTestIndPower()
    for d, n in ((1.0, 3), (0.5, 20), (2.0, 2)):
        assert power(d, n) == pytest.approx(solver.power(d, n, 0.05), abs=1e-6)
    for d in (0.2, 5 / 5.8, 3.0):
        n = enough(d)
        assert power(d, n) >= 0.8
        assert n == 2 or power(d, n - 1) < 0.8


def test_three_runs_an_arm_rarely_find_a_difference_of_one_sd():
    assert power(1.0, 3) == pytest.approx(0.16, abs=0.005)
    assert enough(5 / 5.8) == 23


def test_what_has_no_spread_is_undefined():
    same = np.ones(3)
    assert np.isnan(welch(same, same).p)
    assert np.isnan(welch(same, same).interval()).all()
    assert np.isnan(welch(same[:1], Y).p)
    assert np.isnan(paired(same, same).equivalence_p(1.0))
    assert np.isnan(hedges_g(same, same)).all()
    assert np.isnan(hedges_g(X[:1], Y)).all()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="expected pairs, got 5 and 4"):
        paired(X, Y)
    with pytest.raises(ValueError, match="expected a margin above 0, got 0"):
        welch(X, Y).equivalence_p(0.0)
    with pytest.raises(ValueError, match="at least 2 values an arm, got 1"):
        power(1.0, 1)
    with pytest.raises(ValueError, match="no number of runs"):
        enough(0.0)
