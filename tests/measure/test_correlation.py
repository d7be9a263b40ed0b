"""Correlations over units of several values: against numpy, their axioms, and the permutation null."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from microtome.measure.bootstrap import bootstrap_statistic
from microtome.measure.correlation import correlation_of, permuted_correlations
from microtome.measure.nulls import permutation_p


def drawn(seed: int, n: int = 6, m: int = 3) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.random.default_rng(seed).standard_normal((2, n, m))
    return x, y + 0.5 * x


@given(st.integers(0, 2**32), st.floats(-1e6, 1e6))
def test_every_draw_is_numpys_correlation_of_its_units(seed: int, shift: float) -> None:
    x, y = drawn(seed)
    units = np.random.default_rng(seed).integers(6, size=(20, 6))
    expected = [np.corrcoef(x[draw].ravel(), y[draw].ravel())[0, 1] for draw in units]
    np.testing.assert_allclose(correlation_of(x + shift, y)(units), expected, atol=1e-6)


@given(st.integers(0, 2**32), st.floats(0.01, 100))
def test_scale_changes_nothing_and_sign_turns_it(seed: int, scale: float) -> None:
    x, y = drawn(seed)
    units = np.arange(6)[None]
    value = correlation_of(x, y)(units)
    assert correlation_of(scale * x, y)(units) == pytest.approx(value)
    assert correlation_of(x, -scale * y)(units) == pytest.approx(-value)
    assert correlation_of(x, 3 * x)(units) == pytest.approx(1)


def test_a_constant_has_no_correlation() -> None:
    x, y = drawn(0)
    assert np.isnan(correlation_of(np.ones_like(x), y)(np.arange(6)[None])).all()
    found = bootstrap_statistic(correlation_of(np.full_like(x, 0.1), y), 6, np.random.default_rng(0))
    assert found.undefined == "the statistic is undefined on the data"


def test_permuting_keeps_units_whole() -> None:
    """Values that differ between units only can be permuted in 3! ways, however many there are in each."""
    x = np.repeat([[0.0], [1.0], [5.0]], 4, axis=1)
    found = permuted_correlations(x, x, np.random.default_rng(0), 400)
    assert len(np.unique(found.round(9))) <= 6
    assert found.max() == pytest.approx(1)


def test_p_is_uniform_when_x_knows_nothing_of_y_though_units_differ() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(300):
        x, y = (rng.standard_normal((12, 1)) + 0.5 * rng.standard_normal((12, 4)) for _ in range(2))
        observed = float(correlation_of(x, y)(np.arange(12)[None])[0])
        found.append(float(permutation_p(observed, permuted_correlations(x, y, rng, 99), "less")))
    assert kstest(found, "uniform").pvalue > 0.01


@pytest.mark.usefixtures("unchecked")
def test_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected values of the same shape"):
        permuted_correlations(np.zeros((3, 2)), np.zeros((4, 2)), np.random.default_rng(0), 9)
