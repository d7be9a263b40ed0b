import inspect
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.measure.centroids import centred_centroids, held_out_cosine, squared_norm
from microtome.measure.nulls import (
    PermutationTest,
    in_own_span,
    label_permutations,
    permutation_p,
    permutation_test,
    permute_labels,
    simplex_cosine,
    smallest_p,
)
from microtome.measure.similarity import cosine_matrix, mean_off_diagonal
from microtome.measure.variance import two_way


def rng(seed=0):
    return np.random.default_rng(seed)


@given(st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_centred_vectors_of_equal_norm_have_the_simplex_cosine(k, seed):
    # Rotations of a figure by 360/k degrees sum to zero and have one norm, in any number of random planes.
    angles = 2 * np.pi * np.arange(k) / k
    radii = rng(seed).uniform(0.1, 2, 3)
    v = np.concatenate([np.stack([r * np.cos(angles), r * np.sin(angles)], 1) for r in radii], 1)
    np.testing.assert_allclose(mean_off_diagonal(cosine_matrix(v)), simplex_cosine(k), atol=1e-9)


def test_random_centroids_show_about_the_simplex_cosine():
    x = rng().normal(size=(3, 5, 4000))
    assert mean_off_diagonal(cosine_matrix(centred_centroids(x))) == pytest.approx(
        simplex_cosine(5), abs=0.005
    )


@pytest.mark.parametrize(("side", "p"), [("greater", 3 / 6), ("less", 5 / 6), ("two-sided", 1.0)])
def test_permutation_p_counts_the_observed_arrangement_and_ties(side, p):
    null = np.array([1.0, 2.0, 3.0 + 1e-14, 0.0, 9.0])
    assert permutation_p(3.0, null, side) == pytest.approx(p)


def test_undefined_draws_count_as_extreme_and_an_undefined_value_has_no_p():
    assert permutation_p(3.0, np.array([1.0, np.nan, 2.0])) == 0.5
    assert np.isnan(permutation_p(np.nan, np.ones(3)))


@pytest.mark.parametrize(
    ("draws", "side", "p"), [(19, "greater", 0.05), (199, "two-sided", 0.01), (0, "less", 1)]
)
def test_smallest_p(draws, side, p):
    assert smallest_p(draws, side) == pytest.approx(p)
    if draws:
        assert permutation_p(1.0 if side != "less" else -1.0, np.zeros(draws), side) == pytest.approx(p)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_permutations_stay_within_pairs(draws, pairs, labels, seed):
    drawn = label_permutations(rng(seed), draws, pairs, labels)
    assert drawn.shape == (draws, pairs, labels)
    np.testing.assert_array_equal(np.sort(drawn, -1), np.broadcast_to(np.arange(labels), drawn.shape))


def test_all_permutations_are_equally_likely():
    drawn = label_permutations(rng(), 3000, 2, 3).reshape(-1, 3)
    counts = [(drawn == order).all(1).sum() for order in permutations(range(3))]
    assert np.ptp(counts) < 5 * np.sqrt(1000)


def test_permute_labels_agrees_with_a_loop():
    x, drawn = rng().normal(size=(2, 3, 4, 5)), label_permutations(rng(1), 6, 3, 4)
    result = permute_labels(x, drawn)
    assert result.shape == (6, 2, 3, 4, 5)
    for b, layer, p, t in np.ndindex(6, 2, 3, 4):
        np.testing.assert_array_equal(result[b, layer, p, t], x[layer, p, drawn[b, p, t]])


def test_own_span_keeps_all_inner_products():
    x = rng().normal(size=(2, 3, 4, 50))
    flat, small = x.reshape(2, 12, 50), in_own_span(x).reshape(2, 12, -1)
    assert small.shape == (2, 12, 12)
    np.testing.assert_allclose(small @ small.swapaxes(1, 2), flat @ flat.swapaxes(1, 2), atol=1e-10)


def share(x):
    return two_way(x).label_share


def slow_test(statistic, x, permutations):
    observed = np.array([statistic(layer) for layer in x])
    null = np.array(
        [[statistic(permute_labels(layer, drawn[None])[0]) for layer in x] for drawn in permutations]
    )
    alone = [(1 + sum(null[:, i] >= value)) / (1 + len(null)) for i, value in enumerate(observed)]
    corrected = [(1 + sum(null.max(1) >= value)) / (1 + len(null)) for value in observed]
    return observed, null, alone, corrected


@pytest.mark.parametrize("d", [3, 40])
def test_permutation_test_agrees_with_loops(d, monkeypatch):
    monkeypatch.setattr("microtome.measure.nulls.CHUNK", 5000)
    x = rng().normal(size=(3, 4, 3, d)) + 0.3 * rng(1).normal(size=(3, 1, 3, d))
    result = permutation_test(share, x, rng(2), 29)
    observed, null, alone, corrected = slow_test(share, x, label_permutations(rng(2), 29, 4, 3))
    np.testing.assert_allclose(result.observed, observed)
    np.testing.assert_allclose(result.null, null)
    np.testing.assert_allclose(result.p, alone)
    np.testing.assert_allclose(result.adjusted_p, corrected)
    assert result.max_p == min(corrected)
    assert result.best_layer == observed.argmax()
    assert result.smallest_p == 1 / 30


def test_p_is_uniform_or_larger_when_labels_mean_nothing():
    g = rng(3)
    layers = g.normal(size=(400, 1, 5, 4, 6)) + 0.5 * g.normal(size=(400, 3, 5, 4, 6))  # dependent layers
    tests = [permutation_test(lambda y: held_out_cosine(y).mean((-1, -2)), x, g, 19) for x in layers]
    for level in (0.05, 0.1, 0.25):
        allowed = level + 2.5 * np.sqrt(level * (1 - level) / 400)
        assert np.mean([result.max_p <= level for result in tests]) < allowed
        assert np.mean([result.p[0] <= level for result in tests]) < allowed
        assert np.mean([result.standardised().max_p <= level for result in tests]) < allowed
    assert np.mean([result.p.min() <= 0.25 for result in tests]) > 0.3  # what the correction is for


def test_a_planted_label_effect_is_found_in_its_layer():
    x = rng(4).normal(size=(4, 12, 5, 16))
    x[2] += 2 * rng(5).normal(size=(5, 16))
    result = permutation_test(lambda y: squared_norm(y).mean(-1), x, rng(6), 199)
    assert result.best_layer == 2
    assert result.max_p == result.smallest_p == 1 / 200
    assert (np.delete(result.adjusted_p, 2) > 0.05).all()


def test_standardising_makes_layers_of_different_scale_comparable():
    g = rng(7)
    null = g.normal(size=(199, 2)) * [1, 1000]
    result = PermutationTest(np.array([6.0, 500.0]), null)
    assert result.adjusted_p[0] > 0.4
    assert result.standardised().adjusted_p[0] == pytest.approx(1 / 200)


def test_the_lower_side_mirrors_the_upper():
    g = rng(8)
    observed, null = g.normal(size=3), g.normal(size=(50, 3))
    upper, lower = PermutationTest(observed, null), PermutationTest(-observed, -null, "less")
    np.testing.assert_array_equal(lower.p, upper.p)
    np.testing.assert_array_equal(lower.adjusted_p, upper.adjusted_p)
    assert lower.best_layer == upper.best_layer


def test_an_undefined_layer_takes_no_part():
    x = rng(9).normal(size=(3, 6, 4, 5))
    x[0] = 0.1  # as at an embedding where all prompts end in one token
    result = permutation_test(share, x, rng(10), 49)
    rest = permutation_test(share, x[1:], rng(10), 49)
    assert np.isnan(result.adjusted_p[0])
    np.testing.assert_array_equal(result.adjusted_p[1:], rest.adjusted_p)
    assert result.best_layer == 1 + (rest.best_layer or 0)
    empty = permutation_test(share, x[:1], rng(10), 9)
    assert np.isnan(empty.max_p)
    assert empty.best_layer is None


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: simplex_cosine(1), "at least 2 vectors, got 1"),
        (lambda: permutation_p(1.0, np.empty(0)), r"draws of the shape \(\), at least one, got \(0,\)"),
        (lambda: inspect.unwrap(permutation_p)(1.0, np.ones(3), "up"), "'two-sided', got 'up'"),
        (lambda: inspect.unwrap(permutation_test)(share, np.ones((3, 4, 5)), rng()), "got 3 axes"),
        (lambda: permutation_test(share, np.ones((1, 3, 2, 2)), rng(), 0), "at least 1 permutation, got 0"),
        (
            lambda: permutation_test(squared_norm, np.ones((1, 3, 2, 2)), rng()),
            r"one value for each of 1 layers from the statistic, got \(1, 2\)",
        ),
        (
            lambda: inspect.unwrap(permute_labels)(np.ones((4, 3, 2)), np.zeros((1, 4, 2), int)),
            r"permutations of \(4, 3\) \[pairs, labels\], got \(4, 2\)",
        ),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
