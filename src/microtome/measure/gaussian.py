"""Singular values of products of Gaussian matrices: what an attention metric shows that has learned nothing."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from microtome.measure.spectra import product_singular_values


def gaussian_products(
    heads: int, groups: int, k: int, d: int, draws: int, rng: np.random.Generator, device: str = "cpu"
) -> Float[Tensor, "draws heads k"]:
    """Return the singular values of ``A' B`` for random ``A, B [k, d]`` with independent standard normal entries.

    Each group of ``heads / groups`` heads shares its B, as query heads share a key. Only the triangular factors of A
    and B are drawn, since the values depend on nothing else: normal below the diagonal and, on it, the root of a
    chi-square with ``d, d - 1, ...`` degrees of freedom (Bartlett 1933).

    Raises:
        ValueError: more rows than columns, or heads that cannot be shared out among the groups.
    """
    if k > d or heads % groups:
        raise ValueError(f"expected k <= d and groups that divide heads; got {k=}, {d=}, {heads=}, {groups=}")

    def factor(count: int) -> Tensor:
        triangle = np.tril(rng.standard_normal((draws, count, k, k)), -1)
        diagonal = np.arange(k)
        triangle[..., diagonal, diagonal] = np.sqrt(rng.chisquare(d - diagonal, (draws, count, k)))
        return torch.from_numpy(triangle).to(device)

    return product_singular_values(factor(heads), factor(groups)).values
