from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import OrthogonalMatchingPursuit

from microtome.measure.atoms import best_replacement
from microtome.measure.similarity import cosine


def problem(seed, m=30, d=12):
    """A target, and rows of norms from 1e-2 to 1e2."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(m, d)) * 10 ** generator.uniform(-2, 2, size=(m, 1))
    return generator.normal(size=d), rows


def projected(target, rows):
    """The cosine of a target with its projection on the span of rows."""
    q = np.linalg.qr(rows.T)[0]
    return np.linalg.norm(q.T @ target) / np.linalg.norm(target)


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_planted_combinations_are_recovered(seed, k):
    _, rows = problem(seed, m=100, d=200)
    planted = np.random.default_rng(seed).choice(100, k, replace=False)
    coefficients = np.linspace(1, 2, k) * (-1) ** np.arange(k) / np.linalg.norm(rows[planted], axis=1)
    for equal_norm in (True, False):
        found = best_replacement(coefficients @ rows[planted], rows, k, equal_norm)
        order, expected = found.indices.argsort(), planted.argsort()
        np.testing.assert_array_equal(found.indices[order], planted[expected])
        np.testing.assert_allclose(found.coefficients[order], coefficients[expected], rtol=1e-9)
        assert found.cosine == pytest.approx(1)


@given(st.integers(0, 10_000), st.integers(1, 8))
def test_rows_and_coefficients_are_those_of_scikit_learn(seed, k):
    target, rows = problem(seed)
    norms = np.linalg.norm(rows, axis=1)
    peer = OrthogonalMatchingPursuit(n_nonzero_coefs=k, fit_intercept=False)
    expected = peer.fit((rows / norms[:, None]).T, target).coef_ / norms
    found = best_replacement(target, rows, k, equal_norm=False)
    assert len(found.indices) == k
    filled = np.zeros(len(rows))
    filled[found.indices] = found.coefficients
    np.testing.assert_allclose(filled * norms, expected * norms, atol=1e-9)


@given(st.integers(0, 10_000))
def test_one_row_is_the_nearest_and_two_are_at_most_as_near_as_the_best_pair(seed):
    target, rows = problem(seed, m=7)
    one, two = (best_replacement(target, rows, k) for k in (1, 2))
    nearest = np.abs(cosine(rows, target))
    assert one.indices.tolist() == [nearest.argmax()]
    assert one.cosine == pytest.approx(nearest.max())
    pairs = [projected(target, rows[list(pair)]) for pair in combinations(range(7), 2)]
    assert one.cosine <= two.cosine + 1e-12
    assert two.cosine <= max(pairs) + 1e-12
    assert two.cosine == pytest.approx(projected(target, rows[two.indices]))


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_equal_norm_changes_the_scale_alone(seed, k):
    target, rows = problem(seed)
    scaled, fitted = (best_replacement(target, rows, k, equal_norm) for equal_norm in (True, False))
    combined = [found.coefficients @ rows[found.indices] for found in (scaled, fitted)]
    assert np.linalg.norm(combined[0]) == pytest.approx(np.linalg.norm(target))
    assert np.linalg.norm(combined[1]) == pytest.approx(fitted.cosine * np.linalg.norm(target))
    np.testing.assert_allclose(combined[0] * fitted.cosine, combined[1], atol=1e-9)
    assert cosine(combined[0], target) == pytest.approx(scaled.cosine) == pytest.approx(fitted.cosine)


@given(st.integers(0, 10_000), st.floats(-3, 3))
def test_norms_and_signs_of_rows_do_not_matter(seed, size):
    target, rows = problem(seed)
    factors = np.random.default_rng(seed).choice([-1, 1], size=(len(rows), 1)) * 10**size
    before, after = (best_replacement(target, x, 3) for x in (rows, rows * factors))
    np.testing.assert_array_equal(before.indices, after.indices)
    np.testing.assert_allclose(before.coefficients, after.coefficients * factors[after.indices, 0], rtol=1e-7)


def test_a_row_that_is_excluded_is_not_chosen():
    _, rows = problem(0)
    whole = best_replacement(rows[4], rows, 3)
    assert whole.indices.tolist() == [4]  # the target is reached: no further row helps
    assert whole.coefficients == pytest.approx([1])
    without = best_replacement(rows[4], rows, 3, exclude=[4])
    assert 4 not in without.indices
    assert without.cosine < 1
    alone = best_replacement(rows[4], np.delete(rows, 4, 0), 3)
    np.testing.assert_array_equal(without.indices - (without.indices > 4), alone.indices)


def test_rows_that_cannot_help_are_not_chosen():
    rows = np.array([[0.0, 0, 0], [0, 2, 0], [0, 4, 0], [1, 1, 0]])
    assert best_replacement(np.array([0.0, 1, 1]), rows, 4, equal_norm=False).indices.tolist() == [1]
    for target in ([0.0, 0, 1], [0.0, 0, 0]):
        found = best_replacement(np.array(target), rows, 2)
        assert found.indices.shape == found.coefficients.shape == (0,)
        assert np.isnan(found.cosine)


def test_float32_is_computed_in_float64():
    target, rows = problem(1)
    target, rows = target.astype(np.float32), rows.astype(np.float32)
    single = best_replacement(target, rows, 3)
    double = best_replacement(target.astype(np.float64), rows.astype(np.float64), 3)
    np.testing.assert_array_equal(single.coefficients, double.coefficients)


@pytest.mark.parametrize(
    ("k", "exclude", "message"),
    [
        (0, (), "expected k from 1 to 30, the rows that may be chosen, got 0"),
        (29, (3, 4), "expected k from 1 to 28, the rows that may be chosen, got 29"),
        (1, (30,), r"expected rows from 0 to 29 to exclude, got \[30\]"),
        (1, (-1,), r"expected rows from 0 to 29 to exclude, got \[-1\]"),
    ],
)
def test_mistakes_are_explained(k, exclude, message):
    target, rows = problem(2)
    with pytest.raises(ValueError, match=message):
        best_replacement(target, rows, k, exclude=exclude)


def test_values_must_be_finite():
    target, rows = problem(3)
    rows[4, 5] = np.nan
    with pytest.raises(ValueError, match="expected a finite target and dictionary"):
        best_replacement(target, rows, 1)
