"""Second moments of rows, streamed: products in float32, their sums in float64; from them the rows' singular values.

Moments of rows that are apart add up, so every selection of rows is the sum of a few parts, and each row is multiplied
once, whatever number of selections it is in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

ROUNDING = 1e-12
"""Share of the uncentred energy up to which what centring leaves is rounding: all rows are equal."""


@dataclass(frozen=True)
class Moment:
    """What the spectrum of ``n`` rows ``x [d]`` depends on."""

    n: float
    total: Float[np.ndarray, "d"]
    """``sum x``."""
    product: Float[np.ndarray, "d d"]
    """``sum x x'``."""

    def spectrum(self, centred: bool) -> Float[np.ndarray, "d"]:
        """Return the singular values of the matrix ``[n, d]`` of the rows, or of the rows less their mean.

        ``s = sqrt(eig(sum x x' - n m m'))`` with the mean ``m``, 0 if not centred; the largest first, and zeros where
        there are fewer rows than dimensions. nan if there are no rows or one of them is not finite.
        """
        product = self.product
        if not self.n or not np.isfinite(product).all():
            return np.full(len(product), np.nan)
        if centred:
            product = product - np.outer(self.total, self.total / self.n)
            if np.trace(product) <= ROUNDING * np.trace(self.product):
                return np.zeros(len(product))
        return np.sqrt(np.linalg.eigvalsh(product)[::-1].clip(min=0))


def combined(moments: Sequence[Moment], weights: Sequence[float] | None = None) -> Moment:
    """Return the moment of all rows together, each part counted as often as its weight says."""
    weighted = list(zip(np.ones(len(moments)) if weights is None else weights, moments, strict=True))
    total, product = np.zeros_like(moments[0].total), np.zeros_like(moments[0].product)
    for weight, moment in weighted:
        if weight and moment.n:  # a part that is not drawn does not spoil the others with its nan
            total += weight * moment.total
            product += weight * moment.product
    return Moment(float(sum(weight * moment.n for weight, moment in weighted)), total, product)


class RowSums:
    """Adds up rows ``[n, d]`` as they come.

    Rows are taken about an origin, the mean of the first ones, so that a float32 product rounds what they differ in,
    not what they share.

    Args:
        d: Width of a row.
        exact: Products are computed in float64 on the CPU: for few rows of any size.
    """

    def __init__(self, d: int, exact: bool = False) -> None:
        self.exact = exact
        self.n = 0
        self.origin = torch.zeros(d)
        self.total, self.product = np.zeros(d), np.zeros((d, d))

    def update(self, rows: Float[Tensor, "n d"]) -> None:
        """Add rows."""
        if not len(rows):
            return
        rows = rows.cpu().double() if self.exact else rows.to(torch.promote_types(rows.dtype, torch.float32))
        if not self.n:
            self.origin = rows.mean(0)
        rows = rows - self.origin
        self.n += len(rows)
        self.total += rows.sum(0).cpu().numpy()
        self.product += (rows.T @ rows).cpu().numpy()

    def moment(self) -> Moment:
        """Return the moment of the rows so far, about zero; all nan if one of them is not finite."""
        if not np.isfinite(self.product).all():
            return Moment(self.n, np.full_like(self.total, np.nan), np.full_like(self.product, np.nan))
        origin = self.origin.cpu().double().numpy()
        cross = np.outer(self.total, origin)
        product = self.product + cross + cross.T + self.n * np.outer(origin, origin)
        return Moment(self.n, self.total + self.n * origin, product)
