import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from microtome.measure.bootstrap import (
    bootstrap_mean,
    bootstrap_statistic,
    coefficient_of_variation,
    leave_one_out,
    mean_of,
    ratio_of_means,
)


def rng(seed=0):
    return np.random.default_rng(seed)


SAMPLES = {  # exact sums: scipy sees a tie only where two means are equal to the bit
    "normal": np.round(1024 * rng(1).normal(size=12)) / 1024,
    "skewed": np.round(1024 * rng(2).exponential(size=9)) / 1024,
    "discrete": rng(3).binomial(4, 0.7, size=8) / 4,
    "many": np.round(1024 * rng(3).gamma(2, size=60)) / 1024,
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_bca_of_the_same_draws_is_scipys(name, level):
    x = SAMPLES[name]
    ours = bootstrap_mean(x, rng(), 4000)
    earlier = SimpleNamespace(bootstrap_distribution=ours.draws)
    theirs = scipy.stats.bootstrap(
        (x,), np.mean, n_resamples=0, bootstrap_result=earlier, confidence_level=level, method="BCa"
    ).confidence_interval
    np.testing.assert_allclose(ours.interval(level, widen=False), theirs, rtol=1e-12)


def test_bca_of_a_ratio_agrees_with_scipys_own_draws():
    above, below = rng(4).normal(2, 1, 15), rng(5).normal(4, 1, 15)
    ours = bootstrap_statistic(ratio_of_means(above, below), 15, rng(6), 40_000).interval(0.9, widen=False)
    theirs = scipy.stats.bootstrap(
        (above, below),
        lambda a, b, axis=-1: a.mean(axis) / b.mean(axis),
        paired=True,
        n_resamples=40_000,
        confidence_level=0.9,
        rng=rng(7),
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_the_widened_interval_of_a_normal_mean_is_close_to_students():
    x = scipy.stats.norm.ppf((np.arange(10) + 0.5) / 10)
    student = scipy.stats.t.interval(0.95, 9, x.mean(), x.std(ddof=1) / np.sqrt(10))
    np.testing.assert_allclose(bootstrap_mean(x, rng(), 50_000).interval(0.95), student, rtol=0.04)


@pytest.mark.parametrize(
    ("draw", "truth", "n", "most"),
    [
        (lambda g, n: g.normal(size=n), 0, 8, 0.05),
        (lambda g, n: g.random(n), 0.5, 8, 0.05),
        (lambda g, n: g.standard_t(3, n), 0, 8, 0.05),
        (lambda g, n: g.normal(size=n), 0, 24, 0.045),
        (lambda g, n: g.exponential(size=n), 1, 8, 0.10),
        (lambda g, n: g.exponential(size=n), 1, 24, 0.07),
        (lambda g, n: g.binomial(1, 0.9, n).astype(float), 0.9, 8, 0.03),
        (lambda g, n: g.binomial(5, 0.8, n) / 5, 0.8, 8, 0.045),
    ],
    ids=[
        "normal-8",
        "uniform-8",
        "t3-8",
        "normal-24",
        "exponential-8",
        "exponential-24",
        "binary-8",
        "hits-8",
    ],
)
def test_one_sided_errors_of_the_widened_interval_stay_within_the_stated_limits(draw, truth, n, most):
    g, runs = rng(8), 1500
    bounds = (0.0, 1.0) if truth in (0.5, 0.9) else (-np.inf, np.inf)
    limits = np.array([bootstrap_mean(draw(g, n), g, 1000, bounds=bounds).interval() for _ in range(runs)])
    allowed = most + 2.5 * np.sqrt(most * (1 - most) / runs)
    assert (limits[:, 0] > truth).mean() < allowed
    assert (limits[:, 1] < truth).mean() < allowed


def test_plain_bca_is_too_narrow_for_eight_units():
    g = rng(9)
    results = [bootstrap_mean(g.normal(size=8), g, 1000) for _ in range(1500)]
    plain = np.mean([result.interval(widen=False)[0] > 0 for result in results])
    widened = np.mean([result.interval()[0] > 0 for result in results])
    assert plain > 0.045 > widened


samples = st.lists(st.floats(-100, 100), min_size=4, max_size=15)


@given(samples, st.floats(-50, 50), st.floats(0.01, 100), st.sampled_from([0.8, 0.95, 0.995]), st.booleans())
def test_intervals_follow_shift_and_scale(values, shift, scale, level, widen):
    x = np.array(values)
    assume(np.ptp(x) > 1e-2)
    before = bootstrap_mean(x, rng(1), 200).interval(level, widen)
    after = bootstrap_mean(shift + scale * x, rng(1), 200).interval(level, widen)
    np.testing.assert_allclose(after, shift + scale * np.array(before), atol=1e-7 * scale * np.ptp(x))


@given(samples, st.booleans())
def test_intervals_are_nested_in_the_level_and_hold_the_value_when_widened(values, widen):
    x = np.array(values)
    assume(np.ptp(x) > 1e-2)
    result = bootstrap_mean(x, rng(2), 200)
    low, high = result.interval(0.9, widen)
    lower, higher = result.interval(0.99, widen)
    assert lower <= low <= high <= higher
    plain = result.interval(0.9, widen=False)
    assert result.interval(0.9)[0] <= plain[0]
    assert plain[1] <= result.interval(0.9)[1]


def test_a_draw_repeats_with_its_generator():
    x = SAMPLES["normal"]
    assert bootstrap_mean(x, rng(3)).interval() == bootstrap_mean(x, rng(3)).interval()
    assert bootstrap_mean(x, rng(3)).interval() != bootstrap_mean(x, rng(4)).interval()


def test_clusters_are_drawn_whole():
    g = rng(5)
    effects = g.normal(size=10)
    clusters = np.repeat(np.arange(10) * 7, 20)
    x = np.repeat(effects, 20) + 0.01 * g.normal(size=200)
    clustered = bootstrap_mean(x, g, clusters=clusters)
    assert clustered.n == 10
    assert clustered.value == pytest.approx(x.mean())
    assert clustered.draws.std() == pytest.approx(effects.std() / np.sqrt(10), rel=0.1)
    assert bootstrap_mean(x, g).draws.std() < clustered.draws.std() / 3


def test_clusters_of_unequal_size_keep_the_mean_of_units():
    x, clusters = np.array([1.0, 2, 3, 10]), np.array([0, 0, 0, 1])
    result = bootstrap_mean(x, rng(), clusters=clusters)
    assert result.value == 4
    assert set(np.unique(result.draws)) == {2.0, 4.0, 10.0}


def test_coefficient_of_variation_of_means_and_of_roots():
    x = np.abs(rng(6).normal(5, 1, size=(8, 4)))
    means = x.mean(0)
    result = bootstrap_statistic(coefficient_of_variation(x), 8, rng())
    assert result.value == pytest.approx(means.std(ddof=1) / means.mean())
    rooted = bootstrap_statistic(coefficient_of_variation(x, root=True), 8, rng())
    assert rooted.value == pytest.approx(np.sqrt(means).std(ddof=1) / np.sqrt(means).mean())
    assert np.isnan(coefficient_of_variation(x - 10, root=True)(np.arange(8)[None])).all()


def test_leave_one_out_lists_the_others():
    assert leave_one_out(3).tolist() == [[1, 2], [0, 2], [0, 1]]


def test_equal_units_give_the_point_without_bounds_and_an_exact_interval_with_them():
    ones = np.ones(12)
    assert bootstrap_mean(ones, rng()).constant
    assert bootstrap_mean(ones, rng()).interval() == (1, 1)
    low, high = bootstrap_mean(ones, rng(), bounds=(0, 1)).interval()
    exact = scipy.stats.binomtest(12, 12).proportion_ci(method="exact")
    assert (low, high) == pytest.approx((exact.low, exact.high))
    low, high = bootstrap_mean(np.full(12, 0.5), rng(), bounds=(0, 1)).interval()
    assert 0 < low < 0.5 < high < 1


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_intervals_stay_within_the_bounds(n, seed):
    x = rng(seed).binomial(1, 0.8, n).astype(float)
    low, high = bootstrap_mean(x, rng(seed), 100, bounds=(0, 1)).interval(0.99)
    assert 0 <= low <= high <= 1


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        ([], "there are no units"),
        ([3.0], "one unit has no spread"),
        ([1.0, np.nan, 2.0, np.nan], "2 of 4 units are undefined"),
    ],
)
def test_an_undefined_interval_says_why(x, reason):
    result = bootstrap_mean(np.array(x), rng())
    assert result.undefined == reason
    assert np.isnan(result.interval()).all()


def test_a_statistic_that_fails_on_resamples_has_no_interval():
    statistic = ratio_of_means(np.array([1.0, 2, 3]), np.array([0.0, 0, 1]))
    result = bootstrap_statistic(statistic, 3, rng())
    assert result.value == 6
    assert "the statistic is undefined on" in str(result.undefined)
    nothing = bootstrap_statistic(ratio_of_means(np.ones(3), np.zeros(3)), 3, rng())
    assert nothing.undefined == "the statistic is undefined on the data"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: bootstrap_mean(np.ones(3), rng()).interval(95.0),
            "level between 0 and 1, such as 0.95, got 95.0",
        ),
        (
            lambda: bootstrap_mean(np.array([0.5, 2]), rng(), bounds=(0, 1)),
            r"within the bounds \(0, 1\), got \[0.5",
        ),
        (lambda: bootstrap_statistic(mean_of(np.ones(3)), 3, rng(), 1), "at least 2 bootstrap draws, got 1"),
        (
            lambda: inspect.unwrap(bootstrap_mean)(np.ones(3), rng(), clusters=np.arange(2)),
            r"one cluster for each of 3 units, got the shape \(2,\)",
        ),
        (
            lambda: inspect.unwrap(ratio_of_means)(np.ones(3), np.ones(2)),
            r"equal lengths, got \(3,\) over \(2,\)",
        ),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
