import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.measure.centroids import (
    centred_centroids,
    centred_vectors,
    centroids,
    held_out_cosine,
    leave_one_out_centroids,
    norm,
    squared_norm,
    squared_norm_pseudovalues,
)
from microtome.measure.layout import paired
from microtome.measure.similarity import cosine

shapes = st.tuples(st.integers(3, 6), st.integers(2, 5), st.integers(1, 7))
seeds = st.integers(0, 2**32 - 1)


def planted(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def slow_squared_norm(x):
    """The mean over ordered pairs of distinct pairs, by loops."""
    pairs, labels, _ = x.shape
    y = x - x.mean(1, keepdims=True)
    return [
        np.mean([y[p, t] @ y[q, t] for p in range(pairs) for q in range(pairs) if p != q])
        for t in range(labels)
    ]


def test_centroids_are_means_over_pairs_and_centred_ones_sum_to_zero():
    x = planted((2, 4, 3, 5)) + 100
    np.testing.assert_allclose(centroids(x)[1, 2], np.mean([x[1, p, 2] for p in range(4)], axis=0))
    np.testing.assert_allclose(centred_centroids(x).sum(-2), 0, atol=1e-12)
    np.testing.assert_allclose(centred_centroids(x), centred_vectors(x).mean(-3), atol=1e-12)


@given(shapes, seeds)
def test_leave_one_out_centroids_are_means_of_the_other_pairs(shape, seed):
    x = planted(shape, seed)
    slow = [np.delete(x, p, axis=0).mean(0) for p in range(len(x))]
    np.testing.assert_allclose(leave_one_out_centroids(x), slow, atol=1e-12)


@given(shapes, seeds)
def test_squared_norm_and_its_pseudovalues_agree_with_loops(shape, seed):
    x = planted(shape, seed)
    np.testing.assert_allclose(squared_norm(x), slow_squared_norm(x), atol=1e-10)
    pairs = len(x)
    slow = [
        pairs * squared_norm(x) - (pairs - 1) * np.array(slow_squared_norm(np.delete(x, p, axis=0)))
        for p in range(pairs)
    ]
    np.testing.assert_allclose(squared_norm_pseudovalues(x), slow, atol=1e-9)
    np.testing.assert_allclose(squared_norm_pseudovalues(x).mean(-2), squared_norm(x), atol=1e-10)


def test_squared_norm_is_unbiased_where_the_plain_one_is_not():
    truth = np.array([[1.0, 0, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 0]])
    x = truth + planted((4000, 6, 3, 4))
    error = squared_norm(x).std(0) / np.sqrt(4000)
    assert (np.abs(squared_norm(x).mean(0) - [1, 1, 0]) < 4 * error).all()
    plain = np.square(centred_centroids(x)).sum(-1).mean(0)
    np.testing.assert_allclose(plain - [1, 1, 0], 4 * (2 / 3) / 6, rtol=0.1)  # d (1 - 1/labels) / pairs


def test_pseudovalues_give_the_standard_error_of_the_squared_norm():
    x = np.array([[2.0, 0, 0], [-2, 0, 0]]) + planted((4000, 10, 2, 3))
    values = squared_norm_pseudovalues(x)
    estimated = values.std(-2, ddof=1) / np.sqrt(10)
    np.testing.assert_allclose(np.sqrt(np.square(estimated).mean(0)), squared_norm(x).std(0), rtol=0.1)


def test_a_negative_square_has_no_norm():
    x = planted((40, 4, 3, 5))
    squares, norms = squared_norm(x), norm(x)
    assert (squares < 0).any()
    assert np.isnan(norms[squares < 0]).all()
    np.testing.assert_allclose(norms[squares >= 0] ** 2, squares[squares >= 0])


@given(shapes, seeds)
def test_held_out_cosine_agrees_with_a_loop(shape, seed):
    x = planted(shape, seed)
    y = x - x.mean(1, keepdims=True)
    slow = [
        [cosine(y[p, t], np.delete(y, p, axis=0)[:, t].mean(0)) for t in range(shape[1])]
        for p in range(shape[0])
    ]
    np.testing.assert_allclose(held_out_cosine(x), slow, atol=1e-10)


def test_held_out_cosine_is_one_without_noise_and_zero_on_average_without_signal():
    labels = planted((1, 4, 8))
    np.testing.assert_allclose(held_out_cosine(labels + 5 * planted((6, 1, 8), 1)), 1)
    assert abs(held_out_cosine(planted((500, 6, 4, 8), 2)).mean()) < 0.01


def test_labels_that_are_equal_up_to_rounding_have_no_direction():
    token = np.random.default_rng(3).normal(size=(1, 1, 64)).astype(np.float32).astype(np.float64) * 0.1
    x = np.broadcast_to(token, (6, 3, 64)) * np.array([1, 1 + 2e-16, 1])[:, None]
    assert (centred_vectors(x) == 0).all()
    assert np.isnan(held_out_cosine(x)).all()
    np.testing.assert_array_equal(squared_norm(x), 0)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((4, 5), r"expected an array \[\*layers, pairs, labels, d\], got 2 axes: \(4, 5\)"),
        ((1, 3, 4), r"at least 2 along 'pairs', got 1 in the shape \(1, 3, 4\)"),
        ((3, 1, 4), r"at least 2 along 'labels', got 1"),
        ((3, 2, 0), r"at least 1 along 'd', got 0"),
    ],
)
def test_bad_input_is_named(shape, text):
    with pytest.raises(ValueError, match=text):
        inspect.unwrap(paired)(np.zeros(shape), pairs=2)


def test_pseudovalues_need_three_pairs():
    with pytest.raises(ValueError, match="at least 3 along 'pairs', got 2"):
        squared_norm_pseudovalues(np.zeros((2, 3, 4)))
