"""Lanczos' method on spectra that are known, beside the same without reorthogonalisation."""

import numpy as np
import pytest
import torch
from scipy.linalg import eigh_tridiagonal
from tests.measure.curvature.conftest import Symmetric, dense_hessian, gpt2, with_spectrum
from torch import Tensor

from microtome.measure.curvature import lanczos, random_signs, residual

OUTLIERS = (100.0, -80.0, 50.0, 30.0, 20.0)
SIZE, STEPS = 2000, 200


def outliers(dtype: torch.dtype = torch.float32) -> tuple[Symmetric, Tensor]:
    """A diagonal matrix with a few eigenvalues far from the bulk, and a start."""
    rng = np.random.default_rng(0)
    values = np.concatenate([OUTLIERS, rng.uniform(-1, 1, SIZE - len(OUTLIERS))])
    operator = Symmetric(torch.from_numpy(values).to(dtype))
    return operator, random_signs(operator, rng)


def plain_lanczos(operator: Symmetric, start: Tensor, steps: int) -> np.ndarray:
    """The eigenvalues of T from the recurrence of three terms alone."""
    q, before, beta = start / start.norm(), torch.zeros_like(start), 0.0
    alphas, betas = [], []
    for _ in range(steps):
        w = operator(q) - beta * before
        alphas.append(float(w @ q))
        w -= alphas[-1] * q
        beta = float(w.norm())
        betas.append(beta)
        before, q = q, w / beta
    values, _ = eigh_tridiagonal(np.array(alphas), np.array(betas[:-1]))
    return values


def copies(found: np.ndarray) -> list[int]:
    """How many values lie at each outlier."""
    return [int((abs(found - value) < 1e-2 * abs(value)).sum()) for value in OUTLIERS]


@pytest.mark.parametrize("basis", [torch.float32, torch.bfloat16])
def test_outliers_are_found_once_each(basis):
    operator, start = outliers()
    assert min(copies(plain_lanczos(operator, start, STEPS))) > 1  # what reorthogonalisation is for
    found = lanczos(operator, start, STEPS, basis_dtype=basis)
    assert copies(found.values.numpy()) == [1] * len(OUTLIERS)
    assert len(found.values) == STEPS
    assert not found.exhausted


def test_the_largest_come_first_with_their_vectors():
    operator, start = outliers()
    found = lanczos(operator, start, 60, keep=5)
    assert operator.products == 60
    np.testing.assert_allclose(found.values, OUTLIERS, rtol=1e-6)
    np.testing.assert_allclose(found.vectors[:, :5].abs(), np.eye(5), atol=1e-4)
    assert float(found.residuals.max()) < 1e-2
    assert found.values.dtype == found.residuals.dtype == torch.float64


@pytest.mark.parametrize("basis", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
@pytest.mark.parametrize("steps", [3, 20, 60])
def test_certificates_hold(precision, basis, steps):
    """No pair's residual exceeds its certificate, and an eigenvalue lies within it."""
    rng = np.random.default_rng(1)
    true = np.concatenate([[40.0, 39.9, -25, 3], rng.normal(0, 0.5, 196)])
    operator = with_spectrum(true, seed=2, dtype=precision)
    found = lanczos(operator, random_signs(operator, rng), steps, basis_dtype=basis)
    exact = operator.matrix.double()
    true = torch.linalg.eigvalsh(exact)
    u = found.vectors.double()
    lengths = u.norm(dim=1)
    left = (exact @ u.mT - found.values * u.mT).norm(dim=0) / lengths
    slack = 1 + 1e-4  # rounding of a residual that was itself computed in float32
    assert (left <= slack * found.residuals).all()
    nearest = (found.values[:, None] - true).abs().min(1).values
    assert (nearest <= slack * found.residuals).all()
    worst = max(torch.finfo(basis).eps, torch.finfo(precision).eps)
    torch.testing.assert_close(lengths, torch.ones_like(lengths), rtol=0, atol=4 * worst)


def test_certificates_are_tight():
    operator = with_spectrum(np.linspace(-1, 1, 100) ** 3)
    found = lanczos(operator, random_signs(operator, np.random.default_rng(0)), 10, basis_dtype=torch.float64)
    for value, vector, bound in zip(
        found.values.tolist(), found.vectors, found.residuals.tolist(), strict=True
    ):
        assert residual(operator, value, vector) == pytest.approx(bound, rel=1e-6)


def test_the_basis_of_a_long_run_stays_orthonormal():
    operator, start = outliers()
    vectors = lanczos(operator, start, STEPS).vectors.double()
    assert float((vectors @ vectors.mT - torch.eye(STEPS)).abs().max()) < 1e-5


def test_all_steps_give_all_eigenpairs():
    true = np.array([5.0, -4, 3, 2.5, 1, -0.5, 0.1])
    operator = with_spectrum(true)
    found = lanczos(operator, torch.ones(7, dtype=torch.float64), 50, basis_dtype=torch.float64)
    assert operator.products == 7
    assert found.exhausted
    np.testing.assert_allclose(found.values, true, atol=1e-12)
    assert float(found.residuals.max()) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_start_of_few_eigenvectors_is_exhausted(dtype):
    operator = Symmetric(torch.arange(1.0, 101, dtype=dtype))
    start = torch.zeros(100, dtype=dtype)
    start[[4, 49, 79]] = 1
    found = lanczos(operator, start, 30, basis_dtype=dtype)
    assert found.exhausted
    assert operator.products == 3
    np.testing.assert_allclose(found.values, [80, 50, 5], rtol=1e-6)


def test_equal_eigenvalues_are_found_once():
    operator = Symmetric(torch.tensor([2.0, 2, 2, -1, -1]))
    found = lanczos(operator, torch.tensor([1.0, 2, 2, 1, 0]), 5)
    assert found.exhausted
    np.testing.assert_allclose(found.values, [2, -1], rtol=1e-6)
    np.testing.assert_allclose(found.vectors[0].abs(), [1 / 3, 2 / 3, 2 / 3, 0, 0], atol=1e-6)


def test_the_zero_matrix_has_the_eigenvalue_zero():
    found = lanczos(Symmetric(torch.zeros(6)), torch.ones(6), 4)
    assert found.exhausted
    assert found.values.tolist() == found.residuals.tolist() == [0]


def test_it_finds_the_top_of_a_language_models_hessian():
    problem = gpt2()
    true = torch.linalg.eigvalsh(dense_hessian(problem))
    true = true[true.abs().argsort(descending=True)][:5]
    with problem.hessian() as hessian:
        start = random_signs(hessian, np.random.default_rng(0))
        found = lanczos(hessian, start, 60, keep=5, basis_dtype=torch.float64)
    torch.testing.assert_close(found.values, true, rtol=1e-6, atol=0)
    assert ((found.values - true).abs() <= found.residuals + 1e-12).all()


def test_a_product_may_write_to_one_place():
    operator, start = outliers()
    place = torch.empty(SIZE)

    def product(v: Tensor) -> Tensor:
        return torch.mul(operator.matrix, v, out=place)

    found, expected = lanczos(product, start, 30), lanczos(operator, start, 30)
    assert torch.equal(found.values, expected.values)
    assert torch.equal(found.vectors, expected.vectors)
    rounded = lanczos(product, start, 30, keep=3, basis_dtype=torch.bfloat16)
    assert torch.equal(rounded.residuals, lanczos(operator, start, 30, 3, torch.bfloat16).residuals)


def test_the_start_is_left_as_it_was():
    operator, start = outliers()
    before = start.clone()
    lanczos(operator, start, 5)
    assert torch.equal(start, before)


def test_the_residual_of_no_vector_is_undefined():
    assert np.isnan(residual(Symmetric(torch.ones(3)), 1.0, torch.zeros(3)))


def test_errors_say_what_was_expected():
    operator, ones = Symmetric(torch.ones(3)), torch.ones(3)
    with pytest.raises(ValueError, match="expected at least 1 step, got 0"):
        lanczos(operator, ones, 0)
    with pytest.raises(ValueError, match="expected to keep at least 1 pair, got 0"):
        lanczos(operator, ones, 2, keep=0)
    for start in (torch.zeros(3), ones * np.nan, ones * np.inf):
        with pytest.raises(ValueError, match="expected a start that is finite and not 0, got one of length"):
            lanczos(operator, start, 2)
    with pytest.raises(ValueError, match="expected finite products, got one that is not at step 1"):
        lanczos(Symmetric(ones * np.nan), ones, 2)
