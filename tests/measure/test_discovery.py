"""Discoveries against statsmodels and exact fractions; pooled p against a loop, its uniformity and its axioms."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from statsmodels.stats.multitest import multipletests

from microtome.measure.discovery import adjusted_p, benjamini_hochberg, pooled_p

seeds = st.integers(0, 2**32 - 1)


def rng(seed=0):
    return np.random.default_rng(seed)


def slow_pooled_p(observed, null, two_sided):
    """From the definition, one comparison at a time."""
    draws, n = null.shape
    absolute = abs if two_sided else float
    pool = []
    for i in range(n):
        for d in range(draws):
            others = [float(null[e, i]) for e in range(draws) if e != d]
            pool.append(absolute(float(null[d, i]) / np.sqrt(np.mean(np.square(others)))))
    z = [absolute(float(observed[i]) / np.sqrt(np.mean(np.square(null[:, i])))) for i in range(n)]
    return [(1 + sum(value >= z_i for value in pool)) / (1 + draws * n) for z_i in z]


def correlated(seed, draws, n, rho):
    """Observed values and draws of units that all correlate at rho."""
    common, own = rng(seed).normal(size=(draws + 1, 1)), rng(seed + 1).normal(size=(draws + 1, n))
    x = np.sqrt(rho) * common + np.sqrt(1 - rho) * own
    return x[0], x[1:]


@given(seeds, st.integers(1, 60), st.sampled_from([0.01, 0.05, 0.2, 0.5]))
def test_discoveries_and_adjusted_p_are_statsmodels(seed, n, q):
    p = rng(seed).uniform(size=n) ** 3
    found, adjusted, *_ = multipletests(p, alpha=q, method="fdr_bh")
    np.testing.assert_array_equal(benjamini_hochberg(p, q), found)
    assert adjusted_p(p) == pytest.approx(adjusted)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=30), st.sampled_from([1, 5, 10, 25]))
def test_equality_counts_whatever_rounding_does(hundredths, percent):
    m, q = len(hundredths), Fraction(percent, 100)
    ranked = sorted(Fraction(p, 100) for p in hundredths)
    taken = [p for k, p in enumerate(ranked, 1) if p <= k * q / m]
    expected = [bool(taken) and Fraction(p, 100) <= taken[-1] for p in hundredths]
    assert benjamini_hochberg(np.array(hundredths) / 100, percent / 100).tolist() == expected


@given(seeds, st.integers(1, 20), st.integers(1, 5))
def test_undefined_p_is_no_discovery_and_not_counted(seed, n, undefined):
    p = rng(seed).uniform(size=n) ** 4
    at = rng(seed).permutation(n + undefined)[:n]
    padded = np.full(n + undefined, np.nan)
    padded[at] = p
    np.testing.assert_array_equal(adjusted_p(padded)[at], adjusted_p(p))
    assert np.isnan(adjusted_p(padded)).sum() == undefined
    found = benjamini_hochberg(padded, 0.2)
    np.testing.assert_array_equal(found[at], benjamini_hochberg(p, 0.2))
    assert found.sum() == found[at].sum()


def test_no_units_have_no_discoveries():
    assert adjusted_p(np.zeros(0)).shape == benjamini_hochberg(np.zeros(0), 0.05).shape == (0,)
    assert not benjamini_hochberg(np.full(3, np.nan), 0.05).any()


@pytest.mark.parametrize("p", [-0.1, 1.1, np.inf])
def test_p_outside_0_to_1_is_refused(p):
    with pytest.raises(ValueError, match=r"expected p values from 0 to 1, got"):
        adjusted_p(np.array([0.5, p]))


@pytest.mark.parametrize("q", [0.0, 1.0, float("nan")])
def test_rates_outside_0_to_1_are_refused(q):
    with pytest.raises(ValueError, match="expected a false discovery rate between 0 and 1"):
        benjamini_hochberg(np.array([0.5]), q)


@pytest.mark.parametrize("side", ["greater", "two-sided"])
@pytest.mark.parametrize(("draws", "n"), [(2, 1), (2, 7), (5, 4)])
def test_pooled_p_is_that_of_a_loop(side, draws, n):
    observed, null = correlated(draws, draws, n, 0.2)
    observed[0] += 3
    expected = slow_pooled_p(observed, null, side == "two-sided")
    np.testing.assert_allclose(pooled_p(observed, null, side), expected)


@pytest.mark.parametrize("side", ["greater", "two-sided"])
@pytest.mark.parametrize("draws", [5, 20])
def test_p_is_uniform_without_effects_and_never_small_too_often(side, draws):
    scale = np.exp(rng().normal(size=20_000))
    x = scale * rng(1).normal(size=(draws + 1, 20_000))
    p = pooled_p(x[0], x[1:], side)
    assert kstest(p, "uniform").statistic < 0.025
    for level in (0.05, 0.01, 0.001):
        assert (p <= level).mean() < level + 3 * np.sqrt(level / 20_000)


def test_a_draw_in_its_own_scale_would_bound_the_null():
    """Such a z cannot exceed sqrt(draws), so that every large observed value would be beyond the pool."""
    x = rng().normal(size=(4, 20_000))
    own = x[1:] / np.sqrt(np.square(x[1:]).mean(0))
    z = x[0] / np.sqrt(np.square(x[1:]).mean(0))
    assert (z > own.max()).mean() > 0.02
    assert (pooled_p(x[0], x[1:]) <= 0.001).mean() < 0.002


@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_the_false_discovery_rate_is_controlled(rho):
    """30 of 300 units have an effect; 10 draws, units that all correlate at rho."""
    q, false, power = 0.1, [], []
    for seed in range(300):
        observed, null = correlated(2 * seed, 10, 300, rho)
        observed[:30] += 6
        found = benjamini_hochberg(pooled_p(observed, null), q)
        false.append(found[30:].sum() / max(1, found.sum()))
        power.append(found[:30].mean())
    assert np.mean(false) <= q + 3 * np.std(false) / np.sqrt(len(false))
    assert np.mean(power) > 0.9


@given(seeds, st.sampled_from(["greater", "two-sided"]))
def test_p_falls_as_the_observed_value_grows(seed, side):
    observed, null = correlated(seed, 4, 9, 0.1)
    observed = np.abs(observed)
    grown = observed + rng(seed).exponential(size=9)
    assert (pooled_p(grown, null, side) <= pooled_p(observed, null, side)).all()


@given(seeds, st.sampled_from(["greater", "two-sided"]), st.floats(0, 200))
def test_scales_of_units_do_not_matter(seed, side, decades):
    observed, null = correlated(seed, 4, 9, 0.1)
    scale = 10 ** (decades * rng(seed).uniform(-1, 1, 9))
    np.testing.assert_array_equal(
        pooled_p(scale * observed, scale * null, side), pooled_p(observed, null, side)
    )


@given(seeds)
def test_order_of_units_and_draws_does_not_matter(seed):
    observed, null = correlated(seed, 4, 9, 0.1)
    units, draws = rng(seed).permutation(9), rng(seed).permutation(4)
    np.testing.assert_array_equal(
        pooled_p(observed[units], null[draws][:, units]), pooled_p(observed, null)[units]
    )


@given(seeds)
def test_two_sided_does_not_see_signs(seed):
    observed, null = correlated(seed, 4, 9, 0.1)
    signs = rng(seed).choice([-1.0, 1.0], size=(5, 9))
    np.testing.assert_array_equal(
        pooled_p(signs[0] * observed, signs[1:] * null, "two-sided"), pooled_p(observed, null, "two-sided")
    )


@given(seeds)
def test_undefined_units_take_no_part(seed):
    observed, null = correlated(seed, 4, 9, 0.1)
    more, drawn = np.append(observed, [np.nan, 1.0, 1.0, 1.0, 1.0]), np.pad(null, ((0, 0), (0, 5)))
    drawn[:, 9] = rng(seed).normal(size=4)
    drawn[:, 10] = [1, 2, np.nan, 3]
    drawn[:, 11] = [1, 2, np.inf, 3]
    drawn[:, 12] = 0.1 + 1e-17 * np.arange(4)
    found = pooled_p(more, drawn)
    np.testing.assert_array_equal(found[:9], pooled_p(observed, null))
    assert np.isnan(found[9:]).all(), "unit 13 has draws that are all zero"


def test_a_draw_among_zeros_is_infinitely_extreme():
    null = np.array([[0.0, 1.0], [0.0, -1.0], [5.0, 2.0]])
    assert pooled_p(np.array([1e9, np.inf]), null).tolist() == [2 / 7, 2 / 7]
    assert pooled_p(np.array([-np.inf, 0.0]), null).tolist() == [1, 6 / 7]


def test_all_undefined():
    assert np.isnan(pooled_p(np.ones(2), np.ones((3, 2)))).all()
    assert pooled_p(np.zeros(0), np.zeros((3, 0))).shape == (0,)


def test_one_draw_has_no_others():
    with pytest.raises(ValueError, match=r"expected at least 2 draws of 3 units, got \(1, 3\)"):
        pooled_p(np.zeros(3), np.zeros((1, 3)))


@pytest.mark.usefixtures("unchecked")
def test_units_and_side_must_be_those_known():
    with pytest.raises(ValueError, match=r"expected at least 2 draws of 3 units, got \(5, 2\)"):
        pooled_p(np.zeros(3), np.zeros((5, 2)))
    with pytest.raises(ValueError, match="expected the side 'greater' or 'two-sided', got 'less'"):
        pooled_p(np.zeros(3), np.zeros((5, 3)), "less")  # type: ignore[arg-type]
