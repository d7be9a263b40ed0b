"""Rotated correlations against rotated data; uniform rotations; the maximum's baseline against simulation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from microtome.measure.rotations import (
    mean_rotated_same_index,
    random_rotation,
    rotated_correlations,
    rotation_maxima,
)


def data(seed: int, n: int, m: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Variables and neurons that share a part, off the origin and of different scales."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 2))
    x, y = (
        (common @ rng.normal(size=(2, k)) + rng.normal(size=(n, k)) + 5) * rng.uniform(0.1, 10, k)
        for k in (m, d)
    )
    return x, y


def moments(x: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    centred = y - y.mean(0)
    c_xy = (x - x.mean(0)).T @ centred / len(x)
    return torch.from_numpy(c_xy), torch.from_numpy(x.std(0)), torch.from_numpy(centred.T @ centred / len(x))


def rotations(seed: int, count: int, d: int) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    return [random_rotation(d, rng) for _ in range(count)]


def slow_correlations(x, y, q):
    rotated = y @ q.numpy()
    return np.array([[np.corrcoef(a, b)[0, 1] for b in rotated.T] for a in x.T])


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 6))
def test_correlations_are_those_of_rotated_data(seed, m, d):
    x, y = data(seed, 30, m, d)
    qs = rotations(seed, 3, d)
    slow = np.array([slow_correlations(x, y, q) for q in qs])
    found = torch.stack([rotated_correlations(*moments(x, y), q) for q in qs])
    np.testing.assert_allclose(found, slow, atol=1e-6)
    maxima = rotation_maxima(*moments(x, y), iter(qs))
    np.testing.assert_allclose(maxima.r, slow.max(2), atol=1e-6)
    spread = np.array([(y @ q.numpy()).std(0) for q in qs])
    np.testing.assert_allclose(maxima.sd, np.take_along_axis(spread, maxima.index.numpy(), 1), rtol=1e-6)
    np.testing.assert_allclose(
        np.take_along_axis(slow, maxima.index.numpy()[..., None], 2)[..., 0], maxima.r, atol=1e-6
    )
    same = min(m, d)
    mean = mean_rotated_same_index(*moments(x, y), iter(qs))
    np.testing.assert_allclose(mean[:same], slow.mean(0).diagonal(), atol=1e-6)
    assert mean[same:].isnan().all(), "no neuron has that index"


def test_the_identity_leaves_the_plain_correlations():
    x, y = data(0, 50, 3, 4)
    found = rotated_correlations(*moments(x, y), torch.eye(4))
    np.testing.assert_allclose(found, np.corrcoef(x.T, y.T)[:3, 3:])


def test_float32_moments_are_kept_in_float32():
    x, y = data(0, 50, 3, 4)
    q = rotations(0, 1, 4)[0]
    c_xy, sd_x, c_yy = moments(x, y)
    found = rotated_correlations(c_xy.float(), sd_x, c_yy, q)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, slow_correlations(x, y, q), atol=1e-5)


def test_constants_have_no_correlation():
    x, y = data(0, 30, 3, 4)
    x[:, 1], y[:, 2] = 5, 5
    c_xy, sd_x, c_yy = moments(x, y)
    found = rotated_correlations(c_xy, sd_x, c_yy, torch.eye(4))
    expected = np.zeros((3, 4), bool)
    expected[1], expected[:, 2] = True, True
    np.testing.assert_array_equal(found.isnan(), expected)
    swap = torch.eye(4)[[2, 1, 0, 3]]
    maxima = rotation_maxima(c_xy, sd_x, c_yy, [torch.eye(4), swap]).r
    np.testing.assert_array_equal(maxima.isnan(), [[False, True, False]] * 2)
    plain = np.corrcoef(x[:, 0], y[:, [0, 1, 3]].T)[0, 1:]
    assert maxima[0, 0] == pytest.approx(plain.max())
    mean = mean_rotated_same_index(c_xy, sd_x, c_yy, [torch.eye(4), swap])
    assert mean.isnan().tolist() == [False, True, False]
    assert mean[0] == pytest.approx(plain[0]), "the swapped neuron is constant, and left out"


def test_a_direction_without_variance_is_constant_though_rounding_is_left():
    x, y = data(0, 30, 2, 3)
    y[:, 2] = y[:, 0] - 3 * y[:, 1]
    normal = np.linalg.qr(np.array([[1.0, 0, 0], [-3, 1, 0], [-1, 0, 1]]))[0]
    found = rotated_correlations(*moments(x, y), torch.from_numpy(normal))
    assert found.isnan().all(0).tolist() == [True, False, False]


def test_no_rotation_is_refused():
    x, y = data(0, 10, 2, 3)
    for statistic in (rotation_maxima, mean_rotated_same_index):
        with pytest.raises(ValueError, match="expected at least 1 rotation, got none"):
            statistic(*moments(x, y), [])


@pytest.mark.parametrize(
    ("d", "dtype", "atol"),
    [
        (1, torch.float64, 0),
        (7, torch.float64, 1e-14),
        (300, torch.float64, 1e-12),
        (300, torch.float32, 1e-5),
    ],
)
def test_rotations_are_orthogonal_and_reproducible(d, dtype, atol):
    q = random_rotation(d, np.random.default_rng(0), dtype)
    assert q.dtype == dtype
    torch.testing.assert_close(q.T @ q, torch.eye(d, dtype=dtype), atol=atol, rtol=0)
    assert torch.equal(q, random_rotation(d, np.random.default_rng(0), dtype))
    torch.testing.assert_close(q, random_rotation(d, np.random.default_rng(0)).to(dtype), atol=1e-4, rtol=0)


def test_rotations_are_uniform():
    """Means, both determinants and the law of an entry, also after another rotation."""
    qs = torch.stack(rotations(0, 2000, 3))
    assert qs.mean(0).abs().max() < 4 / np.sqrt(3 * 2000)
    assert 0.45 < (torch.linalg.det(qs) > 0).double().mean() < 0.55
    for entry in (qs[:, 0, 0], qs[:, 2, 2], qs[:, 1, 0]):
        assert kstest(entry, "uniform", (-1, 2)).pvalue > 0.001, "in 3 dimensions (Archimedes)"
    turned = rotations(1, 1, 3)[0] @ qs
    assert kstest(turned[:, 2, 2], "uniform", (-1, 2)).pvalue > 0.001
    assert turned.mean(0).abs().max() < 4 / np.sqrt(3 * 2000)


def test_the_baseline_of_unrelated_gaussians_is_the_simulated_maximum():
    n, m, d = 400, 60, 50
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, m)), rng.standard_normal((n, d))
    found = rotation_maxima(*moments(x, y), rotations(1, 20, d)).r.mean()
    simulated = np.mean(
        [
            np.corrcoef(rng.standard_normal((n, m)).T, rng.standard_normal((n, d)).T)[:m, m:].max(1)
            for _ in range(20)
        ]
    )
    assert float(found) == pytest.approx(simulated, abs=0.01)
