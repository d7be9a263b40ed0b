"""Overlaps against enumeration and permutation, strata, and matching against all matchings."""

from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from microtome.measure.overlap import (
    expected_overlap,
    hypergeometric_p,
    jaccard,
    matched_controls,
    standardised_differences,
    strata_of,
    stratified_overlap_test,
)

seeds = st.integers(0, 2**32 - 1)


def rng(seed=0):
    return np.random.default_rng(seed)


def members(seed, n, share=0.4):
    a, b = rng(seed).random((2, n)) < share
    return a, b


@pytest.mark.parametrize("n", [1, 4, 7])
def test_expectation_and_p_are_those_of_all_pairs_of_sets(n):
    for a in range(n + 1):
        for b in range(n + 1):
            overlaps = [len(set(range(a)) & set(other)) for other in combinations(range(n), b)]
            assert expected_overlap(a, b, n) == pytest.approx(np.mean(overlaps))
            for k in range(min(overlaps), max(overlaps) + 1):
                p = np.mean([overlap >= k for overlap in overlaps])
                assert hypergeometric_p(k, a, b, n) == pytest.approx(p)


@given(st.integers(1, 40_000), st.floats(0, 1), st.floats(0, 1))
def test_p_falls_from_one_and_does_not_depend_on_the_order(n, share_a, share_b):
    a, b = int(share_a * n), int(share_b * n)
    least, most = max(0, a + b - n), min(a, b)
    assert hypergeometric_p(least, a, b, n) == pytest.approx(1)
    steps = sorted({least, (least + most) // 2, most})
    p = [hypergeometric_p(k, a, b, n) for k in steps]
    assert (np.diff(p) <= 1e-12).all()
    assert all(0 <= value <= 1 for value in p)
    assert [hypergeometric_p(k, b, a, n) for k in steps] == pytest.approx(p, rel=1e-6)


def test_a_tiny_p_keeps_its_digits():
    assert hypergeometric_p(30, 30, 30, 3072) == pytest.approx(1 / comb(3072, 30), rel=1e-8)


@pytest.mark.parametrize("sizes", [(0, 0, 0), (-1, 2, 5), (2, 6, 5)])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="expected sets of 0 to n of at least 1 unit, got sizes"):
        expected_overlap(*sizes)
    with pytest.raises(ValueError, match="expected sets of 0 to n of at least 1 unit, got sizes"):
        hypergeometric_p(0, *sizes)


@pytest.mark.parametrize("overlap", [1, 4])
def test_impossible_overlaps_are_refused(overlap):
    with pytest.raises(ValueError, match="an overlap of 2 to 3 for sets of 3 and 4 of 5 units, got"):
        hypergeometric_p(overlap, 3, 4, 5)


@given(seeds, st.integers(0, 12))
def test_jaccard_is_that_of_python_sets(seed, n):
    a, b = members(seed, n)
    one, other = set(np.flatnonzero(a)), set(np.flatnonzero(b))
    if one | other:
        assert jaccard(a, b) == jaccard(b, a) == len(one & other) / len(one | other)
        assert jaccard(a | b, a | b) == 1
    else:
        assert np.isnan(jaccard(a, b))


def test_the_stratified_null_is_that_of_permuting_within_strata():
    a, b = members(0, 40)
    strata = rng(1).integers(-1, 3, 40)
    found = stratified_overlap_test(a, b, strata, rng(2), draws=4000)
    permuted, overlaps = b.copy(), []
    generator = rng(3)
    for _ in range(4000):
        for stratum in range(-1, 3):
            permuted[strata == stratum] = generator.permutation(b[strata == stratum])
        overlaps.append((a & permuted).sum())
    assert found.null.shape == (4000,)
    size = max(found.null.max(), max(overlaps)) + 1
    counts = np.stack([np.bincount(x, minlength=size) for x in (found.null, overlaps)])
    common = counts.sum(0) >= 20
    assert chisquare(counts[0, common], counts[:, common].mean(0), sum_check=False).pvalue > 0.01
    assert found.expected == pytest.approx(np.mean(overlaps), abs=0.1)
    assert found.expected == pytest.approx(found.null.mean(), abs=0.1)
    assert found.p == pytest.approx(np.mean(overlaps >= (a & b).sum()), abs=0.03)


@given(seeds, st.integers(1, 40))
def test_one_stratum_is_the_hypergeometric_test(seed, n):
    a, b = members(seed, n)
    found = stratified_overlap_test(a, b, np.zeros(n, int), rng(seed), draws=2000)
    sizes = int(a.sum()), int(b.sum()), n
    assert found.observed == (a & b).sum()
    np.testing.assert_equal(found.jaccard, jaccard(a, b))
    assert found.expected == pytest.approx(expected_overlap(*sizes))
    assert found.p == pytest.approx(hypergeometric_p(found.observed, *sizes), abs=0.07)


@given(seeds, st.integers(0, 20))
def test_strata_of_one_unit_leave_nothing_to_permute(seed, n):
    a, b = members(seed, n)
    found = stratified_overlap_test(a, b, np.arange(n), rng(seed), draws=20)
    assert (found.null == found.observed).all()
    assert found.expected == found.observed
    assert found.p == 1


def test_sets_that_only_prefer_the_same_strata_are_no_finding():
    strata = np.repeat(np.arange(10), 300)
    pure, stratified = [], []
    for seed in range(100):
        a, b = rng(seed).random((2, 3000)) < 0.01 + 0.3 * (strata == 9)
        pure.append(hypergeometric_p(int((a & b).sum()), int(a.sum()), int(b.sum()), 3000))
        stratified.append(stratified_overlap_test(a, b, strata, rng(seed), draws=499).p)
    assert max(pure) < 0.001
    assert kstest(stratified, "uniform").pvalue > 0.01


def test_a_shared_set_is_found():
    a = members(0, 200, 0.1)[0]
    found = stratified_overlap_test(a, a, np.arange(200) % 5, rng(), draws=999)
    assert found.p == 1 / 1000
    assert found.jaccard == 1


@pytest.mark.usefixtures("unchecked")
def test_units_must_be_the_same_in_both_sets_and_strata():
    a, b = members(0, 5)
    with pytest.raises(ValueError, match="expected two sets of the same units and at least 1 draw, got"):
        stratified_overlap_test(a, b[:4], np.zeros(5, int), rng())
    with pytest.raises(ValueError, match="and 0 draws"):
        stratified_overlap_test(a, b, np.zeros(5, int), rng(), draws=0)
    with pytest.raises(ValueError, match="expected one group for each of 5 items"):
        stratified_overlap_test(a, b, np.zeros(4, int), rng())


@given(st.lists(st.integers(-5, 5) | st.just(float("nan")), max_size=30), st.integers(1, 12))
def test_strata_count_the_values_below(values, count):
    values = np.array(values, np.float64)
    found = strata_of(values, count)
    defined = [v for v in values if not np.isnan(v)]
    for value, stratum in zip(values, found, strict=True):
        if np.isnan(value):
            assert stratum == -1
        else:
            assert stratum == count * sum(v < value for v in defined) // len(defined)
    np.testing.assert_array_equal(strata_of(np.exp(values), count), found)


@given(seeds, st.integers(1, 100), st.integers(1, 12))
def test_distinct_values_fill_the_strata_evenly_in_order(seed, n, count):
    values = rng(seed).normal(size=n)
    found = strata_of(values, count)
    assert (np.diff(found[values.argsort()]) >= 0).all()
    assert np.ptp(np.bincount(found, minlength=count)) <= 1


def test_infinite_values_are_values():
    assert strata_of(np.array([np.inf, -np.inf, 0.0, np.nan]), 3).tolist() == [2, 0, 1, -1]
    with pytest.raises(ValueError, match="expected at least 1 stratum, got 0"):
        strata_of(np.zeros(3), 0)


def cost(treated, controls, features, scale):
    """The sum of distances of the matched pairs, in standard deviations."""
    return sum(
        np.linalg.norm((features[i] - features[j]) / scale)
        for i, j in zip(treated, controls, strict=True)
        if j >= 0
    )


@given(seeds, st.integers(1, 4), st.integers(1, 5))
def test_the_matching_is_the_best_of_all(seed, count, size):
    features = rng(seed).normal(size=(count + size, 2)) * [1, 1000]
    units = rng(seed).permutation(count + size)
    treated, pool = units[:count], units[count:]
    found = matched_controls(treated, pool, features, np.zeros(len(units), int))
    scale = features.std(0)
    padded = [*pool, *[-1] * max(0, count - size)]
    best = min(cost(treated, order, features, scale) for order in permutations(padded, count))
    assert (found >= 0).sum() == min(count, size)
    assert len(set(found[found >= 0])) == min(count, size)
    assert set(found) <= {*pool, -1}
    assert cost(treated, found, features, scale) == pytest.approx(best)


@given(seeds)
def test_controls_come_from_the_same_group(seed):
    generator = rng(seed)
    exact = generator.integers(0, 4, 60)
    features = generator.normal(size=(60, 3)) + 10 * exact[:, None]
    units = generator.permutation(60)
    treated, pool = units[:20], units[20:50]
    found = matched_controls(treated, pool, features, exact)
    matched = found >= 0
    np.testing.assert_array_equal(exact[treated[matched]], exact[found[matched]])
    for group in range(4):
        of_treated, of_pool = (int((exact[x] == group).sum()) for x in (treated, pool))
        assert matched[exact[treated] == group].sum() == min(of_treated, of_pool)
        own, others = treated[exact[treated] == group], pool[exact[pool] == group]
        alone = matched_controls(own, others, features, exact)
        np.testing.assert_array_equal(found[exact[treated] == group], alone)


@given(seeds, st.floats(0.01, 100), st.floats(-100, 100))
def test_units_of_measurement_do_not_matter(seed, scale, shift):
    features = rng(seed).normal(size=(20, 2))
    treated, pool, exact = np.arange(6), np.arange(6, 20), np.arange(20) % 2
    found = matched_controls(treated, pool, features, exact)
    other = features * [scale, 1] + [shift, 0]
    np.testing.assert_array_equal(matched_controls(treated, pool, other, exact), found)
    np.testing.assert_allclose(
        standardised_differences(treated, found, other),
        standardised_differences(treated, found, features),
        atol=1e-9,
    )


def test_an_empty_or_undefined_match_is_minus_one():
    features, exact = np.zeros((5, 1)), np.array([0, 0, 1, 0, 1])
    features[3] = np.nan
    treated, pool = np.array([0, 2, 3]), np.array([1])
    assert matched_controls(treated, pool, features, exact).tolist() == [1, -1, -1]
    assert matched_controls(treated, np.array([4]), features, exact).tolist() == [-1, 4, -1]
    assert matched_controls(np.array([0]), np.array([3]), features, exact).tolist() == [-1]
    none = np.zeros(0, int)
    assert matched_controls(none, pool, features, exact).shape == (0,)
    assert matched_controls(treated, none, features, exact).tolist() == [-1, -1, -1]


def test_a_constant_feature_has_no_say():
    features = np.stack([np.full(6, 0.1), np.array([0.0, 5, 1, 4, 9, 9])], 1)
    found = matched_controls(np.array([0, 1]), np.array([2, 3, 4, 5]), features, np.zeros(6, int))
    assert found.tolist() == [2, 3]


def test_ties_are_broken_at_random_with_a_generator():
    features, exact = np.zeros((9, 1)), np.zeros(9, int)
    treated, pool = np.array([0]), np.arange(1, 9)
    assert len({int(matched_controls(treated, pool, features, exact)[0]) for _ in range(20)}) == 1
    drawn = [int(matched_controls(treated, pool, features, exact, rng(s))[0]) for s in range(200)]
    assert set(drawn) == set(range(1, 9))


def test_matching_balances_what_differs():
    generator = rng()
    features = generator.normal(size=(3000, 3))
    chance = 0.05 / (1 + np.exp(-2 * features[:, 0]))
    chosen = generator.random(3000) < chance
    treated, pool = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    exact = np.arange(3000) % 3
    before = standardised_differences(treated, pool, features)
    found = matched_controls(treated, pool, features, exact)
    after = standardised_differences(treated, found, features)
    assert before[0] > 0.4
    assert (np.abs(after) < 0.1).all()


def test_standardised_differences_are_those_of_the_formula():
    features = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0], [10.0, 1.0], [14.0, 1.0], [99.0, 1.0]])
    found = standardised_differences(np.array([0, 1, 2]), np.array([3, 4]), features)
    assert found[0] == pytest.approx((2 - 12) / np.sqrt((4 + 8) / 2))
    assert np.isnan(found[1])


def test_a_missing_control_leaves_out_its_pair():
    features = rng().normal(size=(8, 2))
    found = standardised_differences(np.array([0, 1, 2]), np.array([5, -1, 7]), features)
    expected = standardised_differences(np.array([0, 2]), np.array([5, 7]), features)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="expected one control, or -1, for each of 3 treated units, got 2"):
        standardised_differences(np.array([0, 1, 2]), np.array([5, -1]), features)
    assert np.isnan(standardised_differences(np.array([0, 1]), np.array([5, -1]), features)).all()


def test_infinite_features_have_no_difference():
    features = np.array([[0.0], [1.0], [2.0], [-np.inf]])
    assert np.isnan(standardised_differences(np.array([0, 1]), np.array([2, 3]), features)).all()


@pytest.mark.usefixtures("unchecked")
def test_mismatched_units_are_refused():
    features, exact = np.zeros((5, 1)), np.zeros(5, int)
    with pytest.raises(ValueError, match="expected a group for each of 5 units, got 4"):
        matched_controls(np.array([0]), np.array([1]), features, exact[:4])
    for treated, pool in (([0], [0, 1]), ([0], [1, 1]), ([5], [1]), ([0], [-1])):
        with pytest.raises(ValueError, match="treated and pool units that are different rows of 5"):
            matched_controls(np.array(treated), np.array(pool), features, exact)
