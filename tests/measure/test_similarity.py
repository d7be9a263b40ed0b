import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics.pairwise import cosine_similarity

from microtome.measure.similarity import cosine, cosine_matrix, mean_off_diagonal, mean_within_and_between

vectors = arrays(np.float64, st.tuples(st.integers(2, 5), st.integers(1, 6)), elements=st.floats(-1e3, 1e3))


def test_cosine_matrix_agrees_with_scikit_learn():
    x = np.random.default_rng(0).normal(size=(7, 5))
    np.testing.assert_allclose(cosine_matrix(x), cosine_similarity(x), atol=1e-14)


def test_layers_are_measured_apart():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(cosine_matrix(x)[index], cosine_matrix(x[index]))


@given(vectors)
def test_cosines_are_symmetric_bounded_and_one_on_the_diagonal(x):
    matrix = cosine_matrix(x)
    defined = (x != 0).any(1)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert (np.abs(matrix[np.ix_(defined, defined)]) <= 1).all()
    assert (np.diag(matrix)[defined] == 1).all()


@given(vectors, st.floats(-30, 30))
def test_cosines_do_not_depend_on_the_scale(x, exponent):
    x = np.where(np.abs(x) < 1e-3, 0, x)
    np.testing.assert_allclose(cosine_matrix(x * 10**exponent), cosine_matrix(x), atol=1e-9)


@pytest.mark.parametrize("scale", [1e-200, 1e-310, 1e200])
def test_extreme_scales_neither_underflow_nor_overflow(scale):
    x = np.array([[1.0, 0], [1, 1]])
    np.testing.assert_allclose(cosine_matrix(x * scale)[0, 1], np.sqrt(0.5), rtol=1e-8)
    np.testing.assert_allclose(cosine(x[0] * scale, x[1]), np.sqrt(0.5), rtol=1e-8)


def test_a_zero_vector_has_no_cosine():
    matrix = cosine_matrix(np.array([[1.0, 2], [0, 0], [3, 1]]))
    assert np.isnan(matrix[1]).all()
    assert np.isnan(matrix[:, 1]).all()
    assert not np.isnan(matrix[[0, 0, 2, 2], [0, 2, 0, 2]]).any()
    assert np.isnan(cosine(np.zeros(3), np.ones(3)))


def test_mean_off_diagonal_leaves_the_diagonal_out():
    assert mean_off_diagonal(np.array([[9.0, 1, 2], [3, 9, 4], [5, 6, 9]])) == pytest.approx(3.5)


def test_means_within_and_between_groups_are_those_of_a_loop():
    rng = np.random.default_rng(1)
    matrix, groups = rng.normal(size=(3, 6, 6)), np.array([7, 7, 2, 2, 2, 9])
    within, between = mean_within_and_between(matrix, groups)
    for layer in range(3):
        entries = [
            (matrix[layer, i, j], groups[i] == groups[j]) for i in range(6) for j in range(6) if i != j
        ]
        assert within[layer] == pytest.approx(np.mean([value for value, same in entries if same]))
        assert between[layer] == pytest.approx(np.mean([value for value, same in entries if not same]))


def test_a_mean_over_no_entries_is_undefined():
    matrix = np.eye(3)
    assert np.isnan(mean_within_and_between(matrix, np.arange(3))[0])
    assert np.isnan(mean_within_and_between(matrix, np.zeros(3, int))[1])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"at least 2 rows, got the shape \(1, 1\)"):
        mean_off_diagonal(np.ones((1, 1)))
    with pytest.raises(ValueError, match=r"one group for each of 3 items, got groups of the shape \(2,\)"):
        inspect.unwrap(mean_within_and_between)(np.eye(3), np.arange(2))
