"""Fits of operators from their factors, beside the same fits of dense matrices in float64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from microtome.measure.operators import (
    correction_curve,
    head_cosines,
    inner,
    ranks_needed,
    scalar_fit,
)

SHAPES = [(4, 3, 32), (1, 5, 9), (3, 8, 8), (2, 6, 8), (2, 1, 4)]
"""Heads, k and d: many columns, one head, a full rank, d < 2k, rank one."""


def drawn(seed: int, *shape: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q, k, p, l = torch.randn(4, *shape, generator=generator, dtype=torch.float64)  # noqa: E741 (formulas say L)
    return q, k, p, l


def dense(q: Tensor, k: Tensor) -> Tensor:
    return q.double().mT @ k.double()


def norm(w: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(w)


@pytest.mark.parametrize("shape", SHAPES)
def test_inner_products_and_fits_are_those_of_dense_matrices(shape):
    factors = drawn(0, *shape)
    w, v = dense(*factors[:2]), dense(*factors[2:])
    torch.testing.assert_close(inner(*factors), (w * v).sum((-2, -1)))
    fit = scalar_fit(*factors)
    solved = torch.linalg.lstsq(v.flatten(1)[..., None], w.flatten(1)[..., None]).solution.flatten()
    solved = solved.clamp(min=0)  # a temperature is not negative
    torch.testing.assert_close(fit.scale, solved)
    torch.testing.assert_close(fit.residual, norm(w - solved[:, None, None] * v) / norm(w))


@pytest.mark.parametrize("shape", SHAPES)
def test_cosines_of_all_pairs_are_those_of_a_loop(shape):
    q, k, p, l = drawn(1, *shape)  # noqa: E741
    p, l = torch.cat([p, q[:1]]), torch.cat([l, k[:1]])  # noqa: E741
    found = head_cosines(q, k, p, l)
    assert found.shape == (len(q), len(p))
    for h, i in torch.cartesian_prod(torch.arange(len(q)), torch.arange(len(p))).tolist():
        w, v = dense(q[h], k[h]), dense(p[i], l[i])
        assert found[h, i].item() == pytest.approx(float((w * v).sum() / norm(w) / norm(v)))
    assert found[0, -1].item() == pytest.approx(1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [0.0, 1.0, -0.7])
def test_curves_are_those_of_truncated_dense_decompositions(shape, scale):
    factors = drawn(2, *shape)
    w, v = dense(*factors[:2]), dense(*factors[2:])
    curve = correction_curve(*factors, torch.full(shape[:1], scale, dtype=torch.float64))
    ranks = min(2 * shape[1], shape[2])
    assert curve.shape == (shape[0], ranks + 1)
    u, s, x = torch.linalg.svd(w - scale * v)
    for rank in range(ranks + 1):
        correction = u[..., :rank] * s[..., None, :rank] @ x[..., :rank, :]
        left = norm(w - scale * v - correction) / norm(w)
        torch.testing.assert_close(curve[:, rank], left, atol=1e-9, rtol=1e-9)


def test_a_curve_begins_at_the_residual_and_falls_to_zero():
    factors = drawn(3, 5, 4, 20)
    fit = scalar_fit(*factors)
    curve = correction_curve(*factors, fit.scale)
    torch.testing.assert_close(curve[:, 0], fit.residual)
    assert (curve.diff() <= 0).all()
    assert (curve[:, -1] == 0).all()


@pytest.mark.parametrize("noise", [0.0, 1e-6, 0.02])
def test_a_planted_copy_leaves_its_noise(noise):
    q, k, p, _ = drawn(4, 3, 6, 40)
    perturbed = 2.5 * (q + noise * p)
    fit = scalar_fit(perturbed, k, q, k)
    torch.testing.assert_close(fit.scale, torch.full_like(fit.scale, 2.5), rtol=max(noise, 1e-12), atol=0)
    left = norm(dense(perturbed, k) - fit.scale[:, None, None] * dense(q, k)) / norm(dense(perturbed, k))
    torch.testing.assert_close(fit.residual, left, atol=3e-8, rtol=1e-6)
    curve = correction_curve(perturbed, k, q, k, fit.scale)
    torch.testing.assert_close(curve[:, 0], left, atol=1e-10, rtol=1e-6)
    assert (ranks_needed(curve, 0.1) == 0).all()


def test_a_low_rank_correction_is_counted():
    q, k, p, l = drawn(5, 3, 6, 40)  # noqa: E741
    changed = torch.cat([q, 5 * p[:, :2]], -2), torch.cat([k, l[:, :2]], -2)
    zeros = torch.zeros(3, 2, 40, dtype=torch.float64)
    anchor = torch.cat([q, zeros], -2), torch.cat([k, zeros], -2)
    curve = correction_curve(*changed, *anchor, torch.ones(3, dtype=torch.float64))
    assert (ranks_needed(curve, 1e-6) == 2).all()
    alone = correction_curve(*changed, *anchor, torch.zeros(3, dtype=torch.float64))
    assert (ranks_needed(alone, 1e-6) == 8).all()


@pytest.mark.parametrize(
    ("curve", "tolerance", "rank"),
    [
        ([1.0, 0.5, 0.2, 0.0], 0.1, 3),
        ([1.0, 0.5, 0.2, 0.0], 0.5, 2),  # below, not at
        ([0.05, 0.01, 0.0], 0.1, 0),
        ([math.nan, math.nan, math.nan], 0.1, math.nan),
    ],
)
def test_the_rank_is_the_first_below_the_tolerance(curve, tolerance, rank):
    assert ranks_needed(torch.tensor(curve), tolerance).item() == pytest.approx(rank, nan_ok=True)


@given(st.integers(0, 2**32), st.floats(-6, 6))
def test_residuals_know_no_scale_and_lie_between_0_and_1(seed, exponent):
    q, k, p, l = drawn(seed, 2, 3, 7)  # noqa: E741
    factor = 10**exponent
    fit, scaled = scalar_fit(q, k, p, l), scalar_fit(factor * q, k, p, l)
    torch.testing.assert_close(scaled.scale, factor * fit.scale, rtol=1e-8, atol=0)
    torch.testing.assert_close(scaled.residual, fit.residual)
    torch.testing.assert_close(scalar_fit(q, k, factor * p, l).residual, fit.residual)
    assert ((fit.residual >= 0) & (fit.residual <= 1)).all()
    torch.testing.assert_close(
        fit.residual, (1 - head_cosines(q, k, p, l).diagonal().clamp(min=0).square()).sqrt()
    )


@given(st.integers(0, 2**32))
def test_no_temperature_is_negative(seed):
    q, k, p, l = drawn(seed, 2, 3, 7)  # noqa: E741
    copy = scalar_fit(-2 * q, k, q, k)
    assert copy.scale.tolist() == [0, 0]
    assert copy.residual.tolist() == [1, 1]
    assert (scalar_fit(q, k, p, l).scale >= 0).all()


@given(st.integers(0, 2**32))
def test_a_change_of_basis_of_the_space_changes_nothing(seed):
    factors = drawn(seed, 2, 3, 7)
    o = torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64)).Q
    turned = [x @ o for x in factors]
    for plain, other in zip(scalar_fit(*factors), scalar_fit(*turned), strict=True):
        torch.testing.assert_close(plain, other)
    torch.testing.assert_close(head_cosines(*factors), head_cosines(*turned))
    one = torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close(correction_curve(*factors, one), correction_curve(*turned, scale=one))


@given(st.integers(0, 2**32))
def test_a_change_of_basis_of_a_head_changes_nothing(seed):
    q, k, p, l = drawn(seed, 2, 3, 7)  # noqa: E741
    a = torch.randn(3, 3, dtype=torch.float64) + 4 * torch.eye(3, dtype=torch.float64)
    fit = scalar_fit(a.T @ q, torch.linalg.inv(a) @ k, p, l)
    torch.testing.assert_close(fit.residual, scalar_fit(q, k, p, l).residual)


def test_what_a_zero_operator_leaves_is_undefined():
    q, k, p, l = drawn(6, 3, 2, 9)  # noqa: E741
    q[0], p[1] = 0, 0
    fit = scalar_fit(q, k, p, l)
    assert fit.scale.isnan().tolist() == [False, True, False]
    assert fit.scale[0] == 0
    assert fit.residual.isnan().tolist() == [True, True, False]
    cosines = head_cosines(q, k, p, l)
    assert cosines.isnan().tolist() == [[True] * 3, *[[False, True, False]] * 2]
    curve = correction_curve(q, k, p, l, torch.ones(3, dtype=torch.float64))
    assert curve.isnan().all(-1).tolist() == [True, False, False]
    assert not curve[1:].isnan().any()
    assert ranks_needed(curve, 0.1).isnan().tolist() == [True, False, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_factors_are_computed_in_float64(dtype):
    narrow = tuple(x.to(dtype) for x in drawn(7, 2, 3, 8))
    wide = tuple(x.double() for x in narrow)
    scale = scalar_fit(*narrow).scale
    torch.testing.assert_close(scale, scalar_fit(*wide).scale, rtol=0, atol=0)
    torch.testing.assert_close(head_cosines(*narrow), head_cosines(*wide), rtol=0, atol=0)
    torch.testing.assert_close(
        correction_curve(*narrow, scale=scale), correction_curve(*wide, scale=scale), rtol=0, atol=0
    )


def test_batches_may_have_any_number_of_axes():
    factors = drawn(8, 2, 3, 4, 9)
    single = tuple(x[1, 2] for x in factors)
    fit = scalar_fit(*factors)
    torch.testing.assert_close(fit.residual[1, 2], scalar_fit(*single).residual)
    curve = correction_curve(*factors, fit.scale)
    assert curve.shape == (2, 3, 9)
    torch.testing.assert_close(curve[1, 2], correction_curve(*single, scale=fit.scale[1, 2]))
