"""Correlations of columns: against numpy, their axioms, and where they are undefined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.measure.pearson import moments, paired_pearson, pearson


def drawn(seed: int, n: int = 30, m: int = 4, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, m))
    return x, rng.standard_normal((n, k)) + x[:, :1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_agrees_with_numpy(dtype: type) -> None:
    x, y = (z.astype(dtype) for z in drawn(0))
    expected = np.corrcoef(x.astype(np.float64), y.astype(np.float64), rowvar=False)[:4, 4:]
    assert pearson(x, y).dtype == np.float64
    np.testing.assert_allclose(pearson(x, y), expected, atol=1e-14)
    np.testing.assert_allclose(paired_pearson(x[:, :3], y), np.diag(expected), atol=1e-14)


@given(st.integers(0, 2**32), st.floats(-6, 6), st.floats(-1e3, 1e3))
def test_neither_scale_nor_shift_matters_and_sign_turns_it(seed: int, exponent: float, shift: float) -> None:
    x, y = drawn(seed)
    r = pearson(x, y)
    np.testing.assert_allclose(pearson(10**exponent * (x + shift), y), r, atol=1e-9)
    np.testing.assert_allclose(pearson(x, shift - y), -r, atol=1e-9)
    np.testing.assert_allclose(pearson(y, x), r.T, atol=1e-14)
    assert (np.abs(r) <= 1).all()
    np.testing.assert_allclose(paired_pearson(x, x), 1)


@pytest.mark.parametrize("value", [0, 0.1, -1e30])
def test_a_constant_neuron_has_no_correlation(value: float) -> None:
    x, y = drawn(0)
    x[:, 1] = value
    undefined = np.isnan(pearson(x, y))
    assert undefined[1].all()
    assert not undefined[[0, 2, 3]].any()
    assert np.isnan(paired_pearson(x[:, :3], y)).tolist() == [False, True, False]


def test_moments_are_in_float64_and_a_constant_has_exactly_no_spread() -> None:
    x = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32) + 1000
    x[:, 1] = 0.1
    mean, spread = moments(x)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(0), rtol=1e-14)
    np.testing.assert_allclose(spread, x.astype(np.float64).std(0), rtol=1e-10, atol=1e-14)
    assert spread[1] == 0


@pytest.mark.usefixtures("unchecked")
def test_different_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the same rows on both sides, got 5 and 4"):
        pearson(np.zeros((5, 2)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"of the same shape, got \(5, 2\) and \(5, 3\)"):
        paired_pearson(np.zeros((5, 2)), np.zeros((5, 3)))
