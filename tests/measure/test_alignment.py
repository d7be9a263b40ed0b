"""Rotations of one operator onto another: planted ones are found, and others come close to long searches."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from microtome.measure.alignment import aligned_cosine, core, random_bases
from microtome.measure.operators import head_cosines
from microtome.measure.spectra import product_singular_values

torch.set_num_threads(1)  # small matrices wait for threads longer than they take

SHAPES = [(6, 2, 12), (4, 8, 40), (2, 32, 100), (4, 6, 8), (4, 6, 6), (3, 1, 5)]
"""Operators, k and d: also d < 2k, a full rank and rank one."""


def factors(shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q, k = torch.randn(2, *shape, generator=generator)
    return q, k


def rotation(d: int, seed: int = 0, *batch: int) -> Tensor:
    return torch.linalg.qr(torch.randn(*batch, d, d, generator=torch.Generator().manual_seed(seed))).Q


def between_spectra(q: Tensor, k: Tensor, p: Tensor, l: Tensor) -> Tensor:  # noqa: E741
    """The cosine of singular values: von Neumann's bound on that of operators, however they are turned."""
    s, t = (product_singular_values(*pair).values for pair in ((q, k), (p, l)))
    return torch.cosine_similarity(s, t, dim=-1)


def slow(w: Tensor, v: Tensor, starts: int, steps: int) -> Tensor:
    """The best of many ascents from random rotations; each step is a polar factor by SVD and cannot lose."""
    w, v = (x.double() / torch.linalg.matrix_norm(x.double(), keepdim=True) for x in (w, v))
    c = 2 * torch.linalg.matrix_norm(w, 2, keepdim=True) * torch.linalg.matrix_norm(v, 2, keepdim=True)
    o = rotation(w.shape[-1], 1, starts, len(w)).double()
    for _ in range(steps):
        u, _, x = torch.linalg.svd(v @ o @ w.mT + v.mT @ o @ w + c * o)
        o = u @ x
    return (w * (o.mT @ v @ o)).sum((-2, -1)).amax(0)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_core_is_the_operator_in_fewer_dimensions(shape):
    q, k = factors(shape)
    found = core(q, k)
    m = min(2 * shape[1], shape[2])
    assert found.shape == (shape[0], m, m)
    wanted = torch.linalg.svdvals(q.mT @ k)[..., :m]
    torch.testing.assert_close(torch.linalg.svdvals(found), wanted, atol=1e-4, rtol=1e-4)
    symmetric = torch.linalg.eigvalsh(q.mT @ k + k.mT @ q)
    kept = symmetric.abs().argsort(descending=True)[..., :m]
    torch.testing.assert_close(
        torch.linalg.eigvalsh(found + found.mT),
        symmetric.gather(-1, kept).sort().values,
        atol=1e-4,
        rtol=1e-4,
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [0, 15])
def test_a_planted_rotation_is_found(shape, steps):
    q, k = factors(shape)
    o = rotation(shape[-1])
    found = aligned_cosine(core(q, k), core(3 * q @ o, k @ o), steps)
    torch.testing.assert_close(found, torch.ones(shape[0]), atol=1e-5, rtol=0)


def test_a_planted_rotation_is_found_where_queries_and_keys_share_directions():
    q, k = factors((5, 4, 20))
    shared = 0.3 * k + q  # the symmetric part no longer has as many negative eigenvalues
    o = rotation(20)
    found = aligned_cosine(core(q, shared), core(q @ o, shared @ o), 0)
    torch.testing.assert_close(found, torch.ones(5), atol=1e-5, rtol=0)
    found = aligned_cosine(core(q, q), core(q @ o, q @ o), 0)
    torch.testing.assert_close(found, torch.ones(5), atol=1e-5, rtol=0)


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_noise_on_a_planted_copy_is_all_that_is_left(noise):
    q, k = factors((4, 8, 60))
    other, _ = factors((4, 8, 60), 1)
    noisy, o = q + noise * other, rotation(60)
    found = aligned_cosine(core(q, k), core(noisy @ o, k @ o))
    unturned = head_cosines(q, k, noisy, k).diagonal().float()
    assert (found >= unturned - 1e-3).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_cosine_lies_between_that_of_the_start_and_that_of_the_spectra(shape):
    pairs = (*factors(shape), *factors(shape, 1))
    w, v = core(*pairs[:2]), core(*pairs[2:])
    found = [aligned_cosine(w, v, steps) for steps in (0, 5, 15)]
    assert (found[0] <= found[1]).all()
    assert (found[1] <= found[2]).all()
    assert (found[2] <= between_spectra(*pairs) + 1e-5).all()
    assert (found[0] > head_cosines(*pairs).diagonal()).all()


@pytest.mark.parametrize(
    ("shape", "gap"), [((6, 2, 12), 0.08), ((4, 8, 40), 0.03), ((2, 32, 100), 0.03), ((4, 6, 8), 0.08)]
)
def test_long_searches_from_many_starts_find_little_more(shape, gap):
    w, v = core(*factors(shape)), core(*factors(shape, 1))
    best = slow(w, v, starts=8, steps=80).float()
    found = aligned_cosine(w, v)
    assert (found > best - gap).all()
    assert (aligned_cosine(w, v, 300) >= found).all()


def test_the_rotation_is_the_same_on_both_sides():
    """A rotation for each side would take any operator onto any other of the same singular values."""
    upper = torch.tensor([[[0.0, 1], [0, 0]]])
    projection = torch.tensor([[[1.0, 0], [0, 0]]])
    assert between_spectra(upper, torch.eye(2)[None], projection, torch.eye(2)[None]) == 1
    assert aligned_cosine(upper, projection).item() == pytest.approx(0.5, abs=1e-3)


@given(st.integers(0, 2**32), st.floats(-6, 6))
def test_neither_scale_nor_basis_matters(seed, exponent):
    q, k, p, l = (x.double() for i in (0, 1) for x in factors((2, 3, 9), seed + i))  # noqa: E741
    found = aligned_cosine(core(q, k), core(p, l))
    o = torch.linalg.qr(rotation(9, seed).double()).Q
    turned = aligned_cosine(core(q @ o * 10**exponent, k @ o), core(p, l))
    torch.testing.assert_close(turned, found, atol=1e-6, rtol=0)


def test_the_cosine_with_a_zero_operator_is_undefined():
    q, k = factors((3, 2, 9))
    w = core(q, k)
    v = w.clone()
    w[0], v[1] = 0, 0
    for steps in (0, 15):
        found = aligned_cosine(w, v, steps)
        assert found.isnan().tolist() == [True, True, False]
        assert found[2].item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_factors_are_widened(dtype):
    q, k = (x.to(dtype) for x in factors((2, 3, 12)))
    torch.testing.assert_close(core(q, k), core(q.float(), k.float()), atol=0, rtol=0)


def test_random_bases_keep_the_singular_values():
    values = torch.tensor([[3.0, 1, 0.5], [2, 2, 0]], dtype=torch.float64)
    q, k = random_bases(values, 7, np.random.default_rng(0))
    assert q.shape == k.shape == (2, 3, 7)
    torch.testing.assert_close(torch.linalg.svdvals(q.mT @ k)[:, :3], values)
    again, _ = random_bases(values, 7, np.random.default_rng(0))
    assert torch.equal(q, again)


def test_random_bases_favour_no_direction():
    q, k = random_bases(torch.ones(4000, 2, dtype=torch.float64), 4, np.random.default_rng(0))
    for basis in (q, k):  # every entry has mean 0 and variance 1/4
        assert basis.mean(0).abs().max() < 5 * 0.5 / 4000**0.5
        torch.testing.assert_close(basis.var(0), torch.full((2, 4), 0.25).double(), atol=0.03, rtol=0)
    assert (q.mT @ k).mean(0).abs().max() < 5 * 0.5 / 4000**0.5


def test_more_values_than_dimensions_are_refused():
    with pytest.raises(ValueError, match="expected at most 3 singular values in 3 dimensions, got 4"):
        random_bases(torch.ones(2, 4), 3, np.random.default_rng(0))
