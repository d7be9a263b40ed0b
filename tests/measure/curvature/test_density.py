"""Stochastic Lanczos quadrature beside traces and eigenvalues of whole matrices."""

import numpy as np
import pytest
import torch
from tests.measure.curvature.conftest import Symmetric, with_spectrum

from microtome.measure.curvature import Density, random_signs, spectral_density

VALUES = np.concatenate([[9.0, -4], np.linspace(-1, 1, 98)])


def test_sums_of_a_diagonal_matrix_are_exact_for_every_probe():
    """Since the squares of signs are 1: ``q'A^k q = tr A^k / P``, and quadrature is exact below ``2 steps``."""
    operator = Symmetric(torch.from_numpy(VALUES))
    found = spectral_density(operator, 3, 4, np.random.default_rng(0), basis_dtype=torch.float64)
    assert found.nodes.shape == (3, 4)
    assert operator.products == 12
    for power in range(8):
        np.testing.assert_allclose(found.power_sums(power), (VALUES**power).sum(), rtol=1e-10)
    assert abs(found.power_sums(10) / (VALUES**10).sum() - 1).min() > 1e-10


@pytest.mark.parametrize("power", [1, 2])
def test_sums_are_the_trace_and_the_squared_frobenius_norm(power):
    """Within four standard errors: a probe's variance is twice the squares beside the diagonal (Hutchinson 1989)."""
    operator = with_spectrum(VALUES)
    raised = torch.linalg.matrix_power(operator.matrix, power)
    variance = 2 * float((raised**2).sum() - (raised.diagonal() ** 2).sum())
    found = spectral_density(operator, 200, 4, np.random.default_rng(1)).power_sums(power)
    assert abs(found.mean() - float(raised.trace())) < 4 * np.sqrt(variance / 200)
    if power == 2:
        assert float(raised.trace()) == pytest.approx(float((operator.matrix**2).sum()))


def test_the_sum_of_a_probe_is_its_own_quadratic_form():
    operator = with_spectrum(VALUES)
    found = spectral_density(operator, 1, 5, np.random.default_rng(2), basis_dtype=torch.float64)
    v = random_signs(operator, np.random.default_rng(2))
    for power in range(10):
        expected = float(v @ torch.linalg.matrix_power(operator.matrix, power) @ v)
        assert found.power_sums(power)[0] == pytest.approx(expected, rel=1e-9)


def test_all_steps_find_all_eigenvalues():
    operator = with_spectrum(VALUES[:20])
    found = spectral_density(operator, 2, 99, np.random.default_rng(0), basis_dtype=torch.float64)
    assert found.nodes.shape == (2, 20)
    np.testing.assert_allclose(found.nodes, [np.sort(VALUES[:20])] * 2, atol=1e-10)


def test_a_density_integrates_to_one_and_lies_where_the_eigenvalues_are():
    found = spectral_density(with_spectrum(VALUES), 20, 30, np.random.default_rng(3))
    grid = np.linspace(-8, 13, 5001)
    heights = found.at(grid, width=0.1)
    assert np.trapezoid(heights, grid) == pytest.approx(1, abs=1e-6)
    bulk = np.abs(grid) < 1.5
    assert np.trapezoid(heights[bulk], grid[bulk]) == pytest.approx(0.98, abs=0.01)
    # a probe's weight at one eigenvalue is chi-squared with one degree of freedom, over P
    assert np.trapezoid(heights[grid > 8], grid[grid > 8]) == pytest.approx(
        0.01, abs=4 * 0.01 * np.sqrt(2 / 20)
    )


def test_the_density_of_one_eigenvalue_is_a_gaussian():
    found = spectral_density(Symmetric(torch.full((5,), 3.0)), 2, 4, np.random.default_rng(0))
    assert found.weights.tolist() == [[1, 0, 0, 0]] * 2  # of exhausted probes
    np.testing.assert_allclose(found.power_sums(), 15, rtol=1e-6)
    expected = np.exp(-0.5) / np.sqrt(2 * np.pi) / 0.2
    np.testing.assert_allclose(found.at(np.array([2.8, 3.2]), 0.2), expected, rtol=1e-5)


def test_equal_generators_give_equal_densities():
    operator = with_spectrum(VALUES)
    first, second = (spectral_density(operator, 2, 5, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first.nodes, second.nodes)


def test_errors_say_what_was_expected():
    operator, rng = Symmetric(torch.ones(3)), np.random.default_rng(0)
    with pytest.raises(ValueError, match="expected at least 1 probe, got 0"):
        spectral_density(operator, 0, 3, rng)
    with pytest.raises(ValueError, match="expected at least 1 step, got 0"):
        spectral_density(operator, 1, 0, rng)
    with pytest.raises(ValueError, match="expected a width above 0, got 0"):
        Density(np.zeros((1, 1)), np.ones((1, 1)), 3).at(np.zeros(2), 0.0)
