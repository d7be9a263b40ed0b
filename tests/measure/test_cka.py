"""CKA against explicit n x n matrices; its invariances; its bias; streams against batches; the permuted null."""

import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from microtome.measure.cka import (
    StreamedCKA,
    debiased_cka,
    debiased_cka_of_grams,
    gram,
    linear_cka,
    permuted_cka,
)
from microtome.measure.rotations import random_rotation

seeds = st.integers(0, 2**32 - 1)
SIZES = [(4, 2, 3), (9, 20, 5), (30, 4, 7), (30, 40, 3), (6, 6, 6)]
"""Rows, features of x, features of y: both routes."""


def related(seed: int, n: int, p: int, q: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two representations with a common part, off the origin."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 2))
    x, y = (common @ rng.normal(size=(2, d)) + rng.normal(size=(n, d)) + rng.normal(size=d) for d in (p, q))
    return torch.from_numpy(x), torch.from_numpy(y)


def slow_hsic_1(k, m):
    """Song et al. 2012, from the definition."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    one = np.ones(n)
    total = np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


def slow_debiased(x, y):
    k, m = (z.double().numpy() @ z.double().numpy().T for z in (x, y))
    return slow_hsic_1(k, m) / math.sqrt(slow_hsic_1(k, k) * slow_hsic_1(m, m))


def slow_biased(x, y):
    n = len(x)
    centring = np.eye(n) - 1 / n
    k, m = (centring @ z.double().numpy() @ z.double().numpy().T @ centring for z in (x, y))
    return np.trace(k @ m) / math.sqrt(np.trace(k @ k) * np.trace(m @ m))


@pytest.mark.parametrize("size", SIZES)
def test_both_routes_are_the_definition(size):
    x, y = related(0, *size)
    assert debiased_cka(x, y) == pytest.approx(slow_debiased(x, y), abs=1e-11)
    assert linear_cka(x, y) == pytest.approx(slow_biased(x, y), abs=1e-11)


def test_hsic_1_is_a_mean_over_distinct_rows():
    """The U-statistic itself, over all ordered fours of distinct rows: the oracle's oracle."""
    x, y = related(1, 6, 3, 2)
    k, m = (x @ x.T).numpy(), (y @ y.T).numpy()
    fours = np.array([f for f in np.ndindex(6, 6, 6, 6) if len(set(f)) == 4])
    i, j, q, r = fours.T
    assert slow_hsic_1(k, m) == pytest.approx((k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])).mean())


@given(seeds, st.sampled_from(SIZES), st.floats(-6, 6), st.floats(-100, 100))
def test_rotation_translation_and_scale_change_nothing(seed, size, scale, shift):
    x, y = related(seed, *size)
    turned = 10**scale * (x @ random_rotation(size[1], np.random.default_rng(seed)) + shift)
    for cka in (linear_cka, debiased_cka):
        value = cka(x, y)
        assert cka(turned, y) == pytest.approx(value, abs=1e-7)
        assert cka(y, x) == pytest.approx(value, abs=1e-9)
        assert value <= 1 + 1e-9


@pytest.mark.parametrize("size", SIZES)
def test_a_rotated_copy_has_the_value_1(size):
    x, _ = related(0, *size)
    y = x @ random_rotation(size[1], np.random.default_rng(1))
    assert linear_cka(x, y) == pytest.approx(1)
    assert debiased_cka(x, y) == pytest.approx(1)


def test_only_the_debiased_value_of_unrelated_gaussians_is_near_0():
    n, p, draws = 64, 768, 200
    rng = np.random.default_rng(0)
    data = torch.from_numpy(rng.standard_normal((draws, 2, n, p), dtype=np.float32))
    debiased = np.array([debiased_cka(x, y) for x, y in data])
    biased = np.array([linear_cka(x, y) for x, y in data])
    assert abs(debiased.mean()) < 0.01
    assert debiased.min() < 0 < debiased.max()
    assert biased.mean() == pytest.approx(p / (n + p), abs=0.002)


@pytest.mark.parametrize("mean", [0, 1000])
@pytest.mark.parametrize("blocks", [(40,), (1, 20, 0, 3, 16), (7, 33)])
def test_a_stream_equals_the_batch(blocks, mean):
    x, y = related(2, 40, 5, 8)
    x, y = x + mean, y - mean
    sums = StreamedCKA(5, 8)
    for a, b in zip(x.split(blocks), y.split(blocks), strict=True):
        sums.update(a, b)
    assert sums.n == 40
    assert sums.value() == pytest.approx(debiased_cka(x, y), abs=1e-10)
    assert sums.biased() == pytest.approx(linear_cka(x, y), abs=1e-10)
    assert sums.value() == pytest.approx(slow_debiased(x - mean, y + mean), abs=1e-10)


def test_half_precision_is_summed_in_float64():
    x, y = (z.to(torch.bfloat16) for z in related(3, 60, 4, 4))
    assert debiased_cka(x, y) == pytest.approx(slow_debiased(x, y), abs=1e-11)


def test_a_restored_stream_goes_on_without_touching_what_was_saved():
    x, y = related(4, 30, 3, 4)
    sums = StreamedCKA(3, 4)
    sums.update(x[:11], y[:11])
    saved = sums.state()
    for _ in range(2):
        restored = StreamedCKA.restore(saved)
        restored.update(x[11:], y[11:])
        assert restored.value() == pytest.approx(debiased_cka(x, y), abs=1e-12)
    assert sums.n == 11
    assert {name: tuple(value.shape) for name, value in saved.items()} == {
        "origin_x": (3,),
        "origin_y": (4,),
        "xx": (5, 5),
        "xy": (5, 6),
        "yy": (6, 6),
    }


@pytest.mark.parametrize("n", [5, 40])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_a_constant_has_no_alignment(n, value):
    x, y = related(0, n, 6, 6)
    flat = torch.full_like(x, value)
    for cka in (linear_cka, debiased_cka):
        assert math.isnan(cka(flat, y))
        assert math.isnan(cka(y, flat))


@pytest.mark.parametrize("n", [5, 40])
def test_a_single_different_row_has_no_debiased_alignment(n):
    x, y = related(0, n, 6, 6)
    odd = torch.full_like(x, 0.1)
    odd[2] = torch.arange(6)
    assert math.isnan(debiased_cka(odd, y))
    assert not math.isnan(linear_cka(odd, y))


def layers(seed: int, count: int, n: int, p: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.stack([gram(torch.from_numpy(rng.normal(size=(n, p)) + 3)) for _ in range(count)])


def test_all_pairs_of_layers_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 12, 5)), rng.normal(size=(2, 12, 4))
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    found = debiased_cka_of_grams(torch.stack([gram(z) for z in x]), torch.stack([z @ z.T for z in y]))
    expected = [[slow_debiased(a, b) for b in y] for a in x]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_grams_in_float32_are_good_to_1e5():
    rng = np.random.default_rng(0)
    stretch = np.logspace(0, -2, 50)
    x = torch.from_numpy(rng.standard_normal((3, 200, 50)) * stretch + 10)
    x[:, 0] *= 20
    whole = torch.stack([gram(z) for z in x])
    half = torch.stack([gram(z, torch.float32) for z in x])
    assert half.dtype == torch.float32
    torch.testing.assert_close(
        debiased_cka_of_grams(half, half), debiased_cka_of_grams(whole, whole), atol=1e-5, rtol=0
    )
    groups = np.arange(200) // 10
    found, expected = (permuted_cka(k, k, groups, np.random.default_rng(1), 5) for k in (half, whole))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_permuted_values_are_those_of_a_loop():
    n, groups = 12, np.array([5, 5, 1, 1, 9, 9, 1, 5, 9, 1, 5, 9])
    x, y = np.random.default_rng(0).normal(size=(2, 3, n, 4))
    k, m = (torch.stack([gram(torch.from_numpy(a)) for a in z]) for z in (x, y))
    found = permuted_cka(k, m[:2], groups, np.random.default_rng(7), 6)
    assert found.shape == (6, 3, 2)
    rng = np.random.default_rng(7)
    for draw in found:
        order = rng.permutation(3)
        permuted = y.copy()
        for place, taken in zip((1, 5, 9), np.array([1, 5, 9])[order], strict=True):
            permuted[:, groups == place] = y[:, groups == taken]
        expected = [[slow_debiased(*map(torch.from_numpy, (a, b))) for b in permuted[:2]] for a in x]
        np.testing.assert_allclose(draw, expected, atol=1e-12)


def test_the_permuted_null_of_related_layers_is_near_0_and_reproducible():
    x, y = related(0, 60, 30, 30)
    k, m = gram(x)[None], gram(y)[None]
    assert debiased_cka_of_grams(k, m) > 0.1
    groups = np.repeat(np.arange(30), 2)
    null = permuted_cka(k, m, groups, np.random.default_rng(0), 300)
    assert abs(null.mean()) < 3 * null.std() / math.sqrt(300)
    np.testing.assert_array_equal(null, permuted_cka(k, m, groups, np.random.default_rng(0), 300))


def test_permuting_a_single_group_changes_nothing():
    k, m = layers(0, 2, 8, 5), layers(1, 3, 8, 5)
    null = permuted_cka(k, m, np.zeros(8, int), np.random.default_rng(0), 2)
    np.testing.assert_allclose(null, np.broadcast_to(debiased_cka_of_grams(k, m), (2, 2, 3)), atol=1e-12)


@pytest.mark.parametrize("columns", [2, 20])
def test_too_few_rows_are_refused(columns):
    x, y = related(0, 3, columns, 2)
    with pytest.raises(ValueError, match="expected at least 4 rows for the unbiased HSIC, got 3"):
        debiased_cka(x, y)
    with pytest.raises(ValueError, match="got 0"):
        StreamedCKA(columns, 2).value()


def test_groups_of_different_sizes_are_refused():
    k = layers(0, 1, 6, 3)
    with pytest.raises(ValueError, match="expected groups of equal size, got sizes from 2 to 4"):
        permuted_cka(k, k, np.array([0, 0, 1, 1, 1, 1]), np.random.default_rng(0), 1)


def test_other_sizes_are_refused():
    x, y = torch.zeros(5, 2), torch.zeros(6, 2)
    rows = "expected as many rows of y as of x, got 5 of x and 6 of y"
    for cka in (linear_cka, debiased_cka):
        with pytest.raises(ValueError, match=rows):
            inspect.unwrap(cka)(x, y)
    with pytest.raises(ValueError, match=rows):
        inspect.unwrap(debiased_cka_of_grams)(torch.zeros(1, 5, 5), torch.zeros(1, 6, 6))
    with pytest.raises(ValueError, match=r"expected \(3, 2\) features of x and y, got \(2, 2\)"):
        StreamedCKA(3, 2).update(x, x)
