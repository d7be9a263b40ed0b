import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from microtome.measure.choice import confusion, correctness, permuted_accuracy, votes
from microtome.measure.nulls import label_permutations

NAN = np.nan


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1, 3, 2], [0, 1, 0]),
        ([3, 3, 2], [0.5, 0.5, 0]),
        ([0, 0, 0, 0], [0.25] * 4),
        ([1, 1 + 1e-13, 0], [0.5, 0.5, 0]),
        ([NAN, 2, 1], [NAN, 1, 0]),
        ([NAN, 2, NAN], [NAN, NAN, NAN]),
        ([-np.inf, -5, -7], [0, 1, 0]),
        ([-np.inf, -np.inf, NAN], [0.5, 0.5, NAN]),
    ],
)
def test_votes(scores, expected):
    np.testing.assert_array_equal(votes(np.array(scores, float)), expected)


@given(arrays(np.float64, (3, 4), elements=st.floats(-9, 9).map(round).map(float)), st.permutations(range(4)))
def test_votes_sum_to_one_and_follow_the_options(scores, order):
    np.testing.assert_allclose(votes(scores).sum(-1), 1)
    np.testing.assert_array_equal(votes(scores[:, order]), votes(scores)[:, order])


def test_correctness_and_confusion_read_the_votes():
    cast = votes(np.random.default_rng(0).normal(size=(2, 5, 3, 3)))
    for layer, p, t in np.ndindex(2, 5, 3):
        assert correctness(cast)[layer, p, t] == cast[layer, p, t, t]
    np.testing.assert_allclose(confusion(cast).sum(-1), 1)
    np.testing.assert_allclose(
        np.trace(confusion(cast), axis1=1, axis2=2) / 3, correctness(cast).mean((1, 2))
    )


def test_permuted_accuracy_agrees_with_a_loop():
    cast = votes(np.random.default_rng(1).normal(size=(2, 5, 3, 3)))
    cast[0, 2] = NAN
    drawn = label_permutations(np.random.default_rng(2), 7, 5, 3)
    result = permuted_accuracy(cast, drawn)
    assert result.shape == (7, 2)
    for b, layer in np.ndindex(7, 2):
        slow = [cast[layer, p, t, drawn[b, p, t]] for p in range(5) for t in range(3)]
        assert result[b, layer] == pytest.approx(np.nanmean(slow))


def test_permuted_accuracy_averages_to_chance_whatever_the_votes():
    cast = votes(np.eye(4) + np.zeros((6, 1, 1)))
    drawn = label_permutations(np.random.default_rng(3), 4000, 6, 4)
    assert permuted_accuracy(cast, drawn).mean() == pytest.approx(0.25, abs=0.01)


def test_permutations_must_match():
    with pytest.raises(ValueError, match=r"permutations of \(6, 4\) \[pairs, labels\], got \(6, 3\)"):
        inspect.unwrap(permuted_accuracy)(np.zeros((6, 4, 4)), np.zeros((2, 6, 3), int))
