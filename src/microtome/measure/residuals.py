"""What is left of variables once group membership and further regressors are taken out."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

RANK = 1e-6
"""Singular values of the design below this share of the largest are rounding."""


def partial_out(
    x: Float[Tensor, "n m"], groups: Int[Tensor, "n"], design: Float[Tensor, "n p"]
) -> Float[Tensor, "n m"]:
    """Return the residuals of a regression of each column on one constant per group and on the design.

    By the theorem of Frisch, Waugh and Lovell: columns and design lose their groups' means, and then the columns lose
    their projection on what is left of the design. So the number of groups costs nothing. Rows that are alone in their
    group become 0.
    """
    within = _without_means(design, groups)
    basis, values, _ = torch.linalg.svd(within, full_matrices=False)
    basis = basis[:, values > RANK * values.max().clamp(min=1e-30)].to(x)
    rest = _without_means(x, groups)
    return rest - basis @ (basis.T @ rest)


def _without_means(x: Float[Tensor, "n m"], groups: Int[Tensor, "n"]) -> Float[Tensor, "n m"]:
    _, codes, counts = groups.unique(return_inverse=True, return_counts=True)
    means = x.new_zeros(len(counts), x.shape[1]).index_add_(0, codes, x) / counts[:, None].to(x)
    return x - means[codes]
