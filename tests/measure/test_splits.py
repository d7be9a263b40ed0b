import inspect
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.measure.similarity import cosine_matrix
from microtome.measure.splits import exact_splits, family_test, labels_needed, smallest_p_of_splits


@given(st.integers(2, 9), st.data())
def test_exact_splits_counts_distinct_partitions(n, data):
    k = data.draw(st.integers(1, n - 1))
    parts = {frozenset([frozenset(c), frozenset(range(n)) - frozenset(c)]) for c in combinations(range(n), k)}
    assert exact_splits(n, k) == len(parts)
    assert smallest_p_of_splits(n, k) == 1 / len(parts)


def test_five_tasks_cannot_show_two_families():
    assert exact_splits(5, 3) == 10
    assert smallest_p_of_splits(5, 2) == 0.1


@pytest.mark.parametrize(
    ("level", "k", "n"), [(0.1, None, 5), (0.05, None, 7), (0.01, None, 9), (0.05, 2, 7)]
)
def test_labels_needed_is_the_least_number(level, k, n):
    assert labels_needed(level, k) == n
    assert smallest_p_of_splits(n, k or n // 2) <= level
    assert smallest_p_of_splits(n - 1, k or (n - 1) // 2) > level


def slow_contrast(cosines, family):
    n = len(cosines)
    pairs = list(combinations(range(n), 2))
    within = [cosines[i, j] for i, j in pairs if family[i] == family[j]]
    between = [cosines[i, j] for i, j in pairs if family[i] != family[j]]
    return np.mean(within) - np.mean(between)


@pytest.mark.parametrize(("n", "k"), [(5, 3), (5, 2), (6, 3), (4, 1)])
def test_family_test_agrees_with_a_loop_over_all_splits(n, k):
    cosines = cosine_matrix(np.random.default_rng(n + k).normal(size=(2, n, 6)))
    family = np.isin(np.arange(n), np.random.default_rng(k).permutation(n)[:k])
    result = family_test(cosines, family)
    chosen = {
        frozenset([frozenset(c), frozenset(range(n)) - frozenset(c)]) for c in combinations(range(n), k)
    }
    for layer in range(2):
        observed = slow_contrast(cosines[layer], family)
        splits = [
            slow_contrast(cosines[layer], np.isin(np.arange(n), list(next(s for s in parts if len(s) == k))))
            for parts in chosen
        ]
        assert result.observed[layer] == pytest.approx(observed)
        np.testing.assert_allclose(np.sort([*result.null[:, layer], observed]), np.sort(splits))
        assert result.p[layer] == pytest.approx(np.mean(np.array(splits) >= observed - 1e-12))
    assert result.smallest_p == pytest.approx(smallest_p_of_splits(n, k))


def test_a_planted_family_reaches_the_smallest_p_and_no_less():
    g = np.random.default_rng(0)
    family = np.array([1, 1, 1, 0, 0, 0, 0], bool)
    x = g.normal(size=(7, 20)) + 3 * np.where(family[:, None], g.normal(size=20), g.normal(size=20))
    result = family_test(cosine_matrix(x)[None], family)
    assert result.max_p == pytest.approx(1 / 35)
    assert family_test(cosine_matrix(x)[None], ~family).max_p == pytest.approx(1 / 35)


def test_p_is_uniform_or_larger_without_families():
    cosines = cosine_matrix(np.random.default_rng(1).normal(size=(800, 5, 4)))
    family = np.array([1, 1, 1, 0, 0], bool)
    p = family_test(cosines, family).p
    for level in (0.1, 0.2, 0.5):
        assert (p <= level + 1e-9).mean() == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / 800))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: exact_splits(5, 5), "a family of 1 to 4 of 5 labels, got 5"),
        (lambda: labels_needed(1.5), "level between 0 and 1, such as 0.05, got 1.5"),
        (lambda: labels_needed(0.5, 0), "a family of at least 1 label, got 0"),
        (lambda: family_test(np.ones((1, 5, 5)), np.zeros(5, bool)), "got 0 and 5 labels"),
        (lambda: family_test(np.ones((1, 2, 2)), np.array([True, False])), "got 1 and 1 labels"),
        (
            lambda: family_test(np.ones((1, 24, 24)), np.arange(24) < 12),
            "at most 200000 splits, got 1352078 of 24",
        ),
        (
            lambda: inspect.unwrap(family_test)(np.ones((1, 5, 5)), np.zeros(4, bool)),
            r"a family for each of 5 labels, got the shape \(4,\)",
        ),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
