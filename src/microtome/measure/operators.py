"""Fits of one bilinear operator by another, from their factors: no d x d matrix is formed.

An operator is ``W = Q' K`` with factors ``Q, K [k, d]``: the metric of an attention head. All functions take batches of
operators, on any device, and compute in float64.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from microtome.measure.spectra import product_singular_values

Factor = Float[Tensor, "*batch k d"]
Values = Float[Tensor, "*batch"]


class Fit(NamedTuple):
    """The best multiple of one operator for another."""

    scale: Values
    """``T``, the temperature."""
    residual: Values
    """``|W - T V| / |W|``, Frobenius norms; nan where W or V is zero. Below 1e-8 it is rounding."""


def inner(q: Factor, k: Factor, other_q: Factor, other_k: Factor) -> Values:
    """Return ``<Q'K, P'L> = tr(K'Q P'L) = sum((Q P') * (K L'))``, the Frobenius product of two operators."""
    cross_q = q.double() @ other_q.double().mT
    return (cross_q * (k.double() @ other_k.double().mT)).sum((-2, -1))


def scalar_fit(q: Factor, k: Factor, other_q: Factor, other_k: Factor) -> Fit:
    """Return ``T = <W, V> / |V|^2`` and its residual ``sqrt(1 - cos^2)`` for ``W = Q'K`` and ``V = P'L``.

    T is a temperature: where the product is negative it is 0, and the residual 1. T is nan where V is zero.
    """
    product = inner(q, k, other_q, other_k).clamp(min=0)
    own, other = inner(q, k, q, k), inner(other_q, other_k, other_q, other_k)
    return Fit(product / other, (1 - product.square() / other / own).clamp(min=0).sqrt())


def head_cosines(
    q: Float[Tensor, "heads k d"],
    k: Float[Tensor, "heads k d"],
    other_q: Float[Tensor, "others k d"],
    other_k: Float[Tensor, "others k d"],
) -> Float[Tensor, "heads others"]:
    """Return the cosine ``<W_h, V_i> / (|W_h| |V_i|)`` of every head's operator with every other's; nan for zeros."""
    k_rows, d = q.shape[-2:]

    def gram(a: Tensor, b: Tensor) -> Tensor:
        """Return ``a_h b_i'`` for all pairs, by one product: ``[heads, others, k, k]``."""
        flat = a.double().reshape(-1, d) @ b.double().reshape(-1, d).T
        return flat.unflatten(0, (-1, k_rows)).unflatten(2, (-1, k_rows)).transpose(1, 2)

    products = (gram(q, other_q) * gram(k, other_k)).sum((-2, -1))
    norms = inner(q, k, q, k).sqrt()[:, None] * inner(other_q, other_k, other_q, other_k).sqrt()
    return products / norms


def correction_curve(
    q: Factor, k: Factor, other_q: Factor, other_k: Factor, scale: Values
) -> Float[Tensor, "*batch ranks"]:
    """Return ``min_D |W - T V - D| / |W|`` over all D of rank 0, 1, ..., min(2k, d), for a given T; nan for a zero W.

    The best D keeps the largest singular values of ``W - T V`` (Eckart and Young 1936), and these come from the stacked
    factors: ``W - T V = [Q; -T P]' [K; L]``.
    """
    left = torch.cat([q.double(), -scale[..., None, None] * other_q.double()], -2)
    right = torch.cat([k.double(), other_k.double()], -2)
    values = product_singular_values(left[..., None, :, :], right[..., None, :, :]).values[..., 0, :]
    energy = values[..., : q.shape[-1]].square()  # no matrix of d columns has more
    tail = energy.flip(-1).cumsum(-1).flip(-1)
    own = inner(q, k, q, k)[..., None]
    share = torch.cat([tail, torch.zeros_like(tail[..., :1])], -1) / own
    return share.sqrt().masked_fill(own == 0, torch.nan)


def ranks_needed(curve: Float[Tensor, "*batch ranks"], tolerance: float) -> Values:
    """Return the smallest rank at which the residual is below ``tolerance``; nan where the curve is."""
    return (curve >= tolerance).sum(-1).double().masked_fill(curve.isnan().any(-1), torch.nan)
