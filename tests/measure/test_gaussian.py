"""Spectra of Gaussian products drawn from triangular factors, beside those of whole matrices."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor

from microtome.measure.gaussian import gaussian_products


def slow(heads: int, groups: int, k: int, d: int, draws: int) -> Tensor:
    """The same from dense d x d matrices."""
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(draws, heads, k, d, generator=generator, dtype=torch.float64)
    b = torch.randn(draws, groups, k, d, generator=generator, dtype=torch.float64)
    shared = torch.stack([b[:, h // (heads // groups)] for h in range(heads)], 1)
    return torch.linalg.svdvals(a.mT @ shared)[..., :k]


@pytest.mark.parametrize(
    ("k", "d"), [(3, 9), (4, 4), (1, 6), (5, 6)], ids=["tall", "square", "one row", "d < 2k"]
)
def test_values_are_distributed_as_those_of_whole_matrices(k, d):
    found = gaussian_products(2, 1, k, d, 800, np.random.default_rng(0))
    wanted = slow(2, 1, k, d, 800)
    assert found.shape == wanted.shape == (800, 2, k)
    for i in range(k):
        test: Any = ks_2samp(found[:, 0, i], wanted[:, 0, i])
        assert test.pvalue > 1e-3
    apart = [(x[:, 0] / x[:, 1]).log().std(0) for x in (found, wanted)]  # shared keys make heads alike
    torch.testing.assert_close(*apart, rtol=0.15, atol=0)


def test_the_mean_squared_norm_is_its_closed_form():
    """``E |A'B|^2 = E tr(AA' BB') = k d^2``: AA' has mean ``d``, and the two are independent."""
    k, d = 4, 30
    squares = gaussian_products(1, 1, k, d, 4000, np.random.default_rng(0)).square().sum(-1)
    error = squares.std() / 4000**0.5
    assert abs(squares.mean() - k * d**2) < 4 * error


def test_heads_of_a_group_share_its_keys():
    groups = [(4, 4), (4, 2), (4, 1)]
    spread = []
    for sizes in groups:
        norms = gaussian_products(*sizes, 2, 6, 3000, np.random.default_rng(0)).norm(dim=-1).log()
        spread.append(torch.corrcoef(norms.T))
    own, halves, all_of_one = spread
    assert abs(own[0, 1]) < 0.1
    assert halves[0, 1] > 0.25 > 0.1 > abs(halves[0, 2])
    assert all_of_one[0, 3] > 0.25


def test_the_generator_decides_and_values_descend():
    def draw(seed: int) -> Tensor:
        return gaussian_products(2, 2, 3, 8, 5, np.random.default_rng(seed))

    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
    assert (draw(0).diff(dim=-1) <= 0).all()
    assert draw(0).dtype == torch.float64


@pytest.mark.parametrize(("heads", "groups", "k", "d"), [(2, 2, 5, 4), (3, 2, 1, 4)])
def test_shapes_that_cannot_be_are_refused(heads, groups, k, d):
    message = (
        f"expected k <= d and groups that divide heads; got k={k}, d={d}, heads={heads}, groups={groups}"
    )
    with pytest.raises(ValueError, match=message):
        gaussian_products(heads, groups, k, d, 1, np.random.default_rng(0))
