"""Values of products against whole matrices and 60 digits; bounds that hold; both routes; axioms; groups."""

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from microtome.measure.operators import correction_curve
from microtome.measure.spectra import TOLERANCE, product_singular_values

seeds = st.integers(0, 2**32 - 1)
HALF = (torch.float16, torch.bfloat16)


def factors(
    seed: int, heads: int, groups: int, k: int, d: int, q_decades: float = 0.0, k_decades: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussian factors whose rows are scaled, and mixed, so that they span about so many decades."""
    rng = np.random.default_rng(seed)

    def factor(count, decades):
        mix, rows = rng.normal(size=(count, k, k)), rng.normal(size=(count, k, d))
        return torch.from_numpy(mix @ (np.logspace(0, -decades, k)[:, None] * rows))

    return factor(heads, q_decades), factor(groups, k_decades)


def slow_values(q, k):
    """The singular values of each head's d x d matrix, from the definition."""
    q, k = q.double().numpy(), k.double().numpy()
    rows, d = q.shape[-2:]
    found = np.zeros((len(q), max(rows, d)))
    for h, left in enumerate(q):
        found[h, :d] = np.linalg.svd(left.T @ k[h // (len(q) // len(k))], compute_uv=False)
    return found[:, :rows]


def exact_values(q, k):
    """The same for one head in 60 digits."""
    with mpmath.workdps(60):
        q, k = (mpmath.matrix(x.double().tolist()) for x in (q, k))
        return sorted(mpmath.svd_r(q.T * k, compute_uv=False), reverse=True)


def assert_within_bound(found, q, k):
    for h in range(len(q)):
        exact = exact_values(q[h], k[h // (len(q) // len(k))])
        pairs = zip(found.values[h].tolist(), exact, strict=False)
        error = max(float(abs(value - true)) for value, true in pairs)
        assert error <= float(found.bound[h]) * float(exact[0]), h


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *HALF])
@pytest.mark.parametrize(
    ("heads", "groups", "k", "d"),
    [(1, 1, 1, 1), (4, 4, 3, 8), (6, 2, 5, 5), (9, 3, 8, 40), (2, 1, 4, 600)],
)
def test_values_are_those_of_the_whole_matrices(heads, groups, k, d, dtype):
    q, keys = (x.to(dtype) for x in factors(0, heads, groups, k, d))
    found = product_singular_values(q, keys)
    slow = slow_values(q, keys)
    assert found.values.dtype == torch.float64
    assert found.certified.all()
    np.testing.assert_allclose(found.values, slow, rtol=0, atol=1e-9 * slow.max())


def test_all_leading_axes_are_a_batch():
    q, k = factors(0, 12, 6, 3, 7)
    found = product_singular_values(q.view(3, 2, 2, 3, 7), k.view(3, 2, 1, 3, 7))
    for whole, flat in zip(found, product_singular_values(q, k), strict=True):
        torch.testing.assert_close(whole.flatten(0, 2), flat)


@given(
    seeds,
    st.sampled_from([(1, 1), (2, 1), (2, 2)]),
    st.integers(1, 4),
    st.integers(1, 5),
    st.floats(0, 16),
    st.floats(0, 16),
)
def test_the_bound_holds_against_60_digits(seed, shared, k, d, q_decades, k_decades):
    heads, groups = shared
    q, keys = factors(seed, heads, groups, k, d, q_decades, k_decades)
    found = product_singular_values(q, keys)
    assert (found.values.diff(dim=-1) <= 0).all()
    assert torch.equal(found.certified, (found.bound <= TOLERANCE) & found.certified)
    assert_within_bound(found, q, keys)


@given(seeds, st.floats(-30, 30), st.floats(-30, 30))
def test_scales_of_the_factors_do_not_matter(seed, q_scale, k_scale):
    q, k = factors(seed, 2, 1, 3, 6)
    found, scaled = product_singular_values(q, k), product_singular_values(10**q_scale * q, 10**k_scale * k)
    torch.testing.assert_close(scaled.values / 10 ** (q_scale + k_scale), found.values)
    torch.testing.assert_close(scaled.bound, found.bound)
    assert scaled.certified.all()


@pytest.mark.parametrize("scale", [1e-150, 1e100])
def test_what_underflows_or_overflows_when_squared_is_not_certified(scale):
    q, k = factors(0, 2, 1, 3, 6)
    found = product_singular_values(scale * q, scale * k)
    assert not found.certified.any()
    torch.testing.assert_close(found.values / scale / scale, product_singular_values(q, k).values)


def test_only_heads_without_a_bound_go_by_qr():
    q, k = factors(0, 4, 2, 6, 30)
    q[1, -1] = q[1, 0] + 1e-12 * q[1, -1]
    found = product_singular_values(q, k)
    assert found.certified.tolist() == [True, False, True, True]
    np.testing.assert_allclose(
        found.values, slow_values(q, k), rtol=0, atol=1e-12 * float(found.values.max())
    )
    assert (found.bound < 1e-10).all()


@pytest.mark.parametrize("deficient", ["queries", "keys"])
def test_the_zeros_of_deficient_factors_are_below_the_bound(deficient):
    q, k = factors(0, 2, 1, 5, 12)
    (q if deficient == "queries" else k)[:, 3:] = 0
    found = product_singular_values(q, k)
    assert not found.certified.any()
    assert (found.values[:, 3:] <= found.bound[:, None] * found.values[:, :1]).all()
    np.testing.assert_allclose(found.values, slow_values(q, k), atol=1e-12)


@pytest.mark.parametrize("zero", ["queries", "keys", "both"])
def test_a_zero_factor_has_zero_values_without_error(zero):
    q, k = factors(0, 2, 2, 3, 5)
    if zero != "keys":
        q[0] = 0
    if zero != "queries":
        k[0] = 0
    found = product_singular_values(q, k)
    assert not found.values[0].any()
    assert found.bound[0] == 0
    assert found.certified.tolist() == [False, True]


def test_a_product_that_cancels_has_no_relative_bound():
    row = torch.tensor([1.0, 2.0, 2.0])
    found = product_singular_values(torch.stack([row, row])[None], torch.stack([row, -row])[None])
    assert not found.certified.any()
    np.testing.assert_allclose(found.values, 0, atol=1e-12)
    assert (found.bound > TOLERANCE).all()


def test_more_rows_than_columns_end_in_zeros():
    q, k = factors(0, 2, 1, 7, 4)
    found = product_singular_values(q, k)
    assert not found.values[:, 4:].any()
    assert_within_bound(found, q, k)
    np.testing.assert_allclose(found.values, slow_values(q, k), rtol=1e-12)


def test_correction_curves_end_at_the_width_of_the_space():
    q, k = factors(0, 2, 2, 3, 4)
    other_q, other_k = factors(1, 2, 2, 3, 4)
    curve = correction_curve(q, k, other_q, other_k, torch.tensor([0.0, 0.5]))
    assert curve.shape == (2, 5), "a 4 x 4 matrix has no rank above 4"
    assert curve[0, 0] == pytest.approx(1)
    np.testing.assert_allclose(curve[:, 4:], 0, atol=1e-12)


@pytest.mark.parametrize("groups", [2, 4])
def test_groups_that_do_not_divide_the_heads_are_refused(groups):
    q, k = factors(0, 3, groups, 2, 5)
    with pytest.raises(
        ValueError, match=f"expected groups that divide the heads; got heads=3, groups={groups}"
    ):
        product_singular_values(q, k)
