import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group
from sklearn.neighbors import NearestCentroid

from microtome.measure.centroids import centred_centroids, centred_vectors
from microtome.measure.choice import correctness, votes
from microtome.measure.similarity import cosine
from microtome.measure.transfer import transfer, transfer_votes

seeds = st.integers(0, 2**32 - 1)


def templates(seed=0, pairs=6, labels=4, d=5, signal=1.0, shape=()):
    """Two templates with shared label directions, operand effects and far apart means."""
    g = np.random.default_rng(seed)
    label, pair = signal * g.normal(size=(labels, d)), 3 * g.normal(size=(pairs, 1, d))
    noise = g.normal(size=(2, *shape, pairs, labels, d))
    return label + pair + noise[0] + 20, label + pair + noise[1] - 30


def slow(x_a, x_b, metric, centring):
    pairs, labels, _ = x_a.shape
    right = np.empty((pairs, labels))
    for p in range(pairs):
        train_a, train_b = np.delete(x_a, p, 0), np.delete(x_b, p, 0)
        cents = train_a.mean(0) - train_a.mean((0, 1))
        mean = x_b[p].mean(0) if centring == "pair" else train_b.mean((0, 1))
        for t in range(labels):
            query = x_b[p, t] - mean
            if metric == "cosine":
                scores = [cosine(query, c) for c in cents]
            else:
                scores = [-np.linalg.norm(query - c) for c in cents]
            right[p, t] = np.argmax(scores) == t
    return right


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("centring", ["pair", "training"])
def test_agrees_with_loops_over_held_out_pairs(metric, centring):
    wrong = 0
    for seed in range(10):
        x_a, x_b = templates(seed)
        expected = slow(x_a, x_b, metric, centring)
        np.testing.assert_array_equal(transfer(x_a, x_b, metric, centring), expected)
        wrong += (expected == 0).sum()
    assert 10 < wrong < 200  # neither all right nor all wrong


def test_euclidean_choice_is_scikit_learns():
    x_a, x_b = templates(3)
    y_a, y_b = (x - x.mean(1, keepdims=True) for x in (x_a, x_b))
    for p in range(6):
        model = NearestCentroid().fit(np.delete(y_a, p, 0).reshape(-1, 5), np.tile(np.arange(4), 5))
        np.testing.assert_array_equal(
            transfer(x_a, x_b, "euclidean")[p], model.predict(y_b[p]) == np.arange(4)
        )


@given(seeds, st.sampled_from(["cosine", "euclidean"]), st.sampled_from(["pair", "training"]))
def test_does_not_change_under_rotation_scale_and_each_templates_own_shift(seed, metric, centring):
    x_a, x_b = templates(seed)
    turn = 2 * ortho_group.rvs(5, random_state=seed)
    np.testing.assert_allclose(
        transfer_votes(x_a @ turn + 7, x_b @ turn - 4, metric, centring),
        transfer_votes(x_a, x_b, metric, centring),
    )


def test_layers_are_classified_apart_and_broadcast():
    x_a, x_b = templates(1, shape=(3,))
    for layer in range(3):
        np.testing.assert_array_equal(transfer(x_a, x_b)[layer], transfer(x_a[layer], x_b[layer]))
        np.testing.assert_array_equal(transfer(x_a[0], x_b)[layer], transfer(x_a[0], x_b[layer]))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("centring", ["pair", "training"])
def test_ends_at_chance_without_a_label_effect(metric, centring):
    x_a, x_b = templates(2, signal=0, shape=(600,))
    accuracy = transfer(x_a, x_b, metric, centring).mean((1, 2))
    assert abs(accuracy.mean() - 0.25) < 4 * accuracy.std() / np.sqrt(600)


def test_label_effects_of_single_operands_do_not_leak_into_the_score():
    # Each operand has label effects of its own, in both templates, and no effect is common to the operands.
    x = np.random.default_rng(4).normal(size=(300, 4, 3, 10))
    accuracy = transfer(x, x).mean((1, 2))
    assert abs(accuracy.mean() - 1 / 3) < 4 * accuracy.std() / np.sqrt(300)
    with_the_tested_pair = centred_vectors(x) @ centred_centroids(x)[:, None].swapaxes(-1, -2)
    assert correctness(votes(with_the_tested_pair)).mean() > 0.7


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("centring", ["pair", "training"])
def test_equal_vectors_earn_exactly_chance(metric, centring):
    x = np.broadcast_to(np.random.default_rng(5).normal(size=7), (5, 4, 7)).copy()
    np.testing.assert_array_equal(transfer(x, x, metric, centring), 0.25)


def test_undefined_data_give_undefined_answers():
    x_a, x_b = templates(6)
    x_b[2, 1] = np.nan
    assert np.isnan(transfer(x_a, x_b)[2]).all()
    assert not np.isnan(transfer(x_a, x_b)[[0, 1, 3, 4, 5]]).any()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            (np.ones((4, 3, 2)), np.ones((4, 2, 2))),
            r"equal \[pairs, labels, d\], got \(4, 3, 2\) and \(4, 2, 2\)",
        ),
        ((np.ones((1, 3, 2)), np.ones((1, 3, 2))), "at least 2 along 'pairs', got 1"),
        ((np.ones((4, 3, 2)), np.ones((4, 3, 2)), "manhattan"), "'cosine' or 'euclidean', got 'manhattan'"),
        ((np.ones((4, 3, 2)), np.ones((4, 3, 2)), "cosine", "none"), "'pair' or 'training', got 'none'"),
    ],
)
def test_bad_input_is_named(arguments, text):
    with pytest.raises(ValueError, match=text):
        inspect.unwrap(transfer_votes)(*arguments)
