"""Neuron-by-neuron correlations in rotated bases: what they would be if the neurons' basis meant nothing.

``Y Q`` has the activations Y of d neurons in another orthonormal basis. Its covariances are ``C_xy Q`` with x and
``Q' C_yy Q`` within, so second moments, streamed once, give the correlations for any number of rotations.

The baseline is that of Gurnee et al. 2024 (arXiv 2401.12181): the excess of a neuron is
``max_j r(x_i, y_j) - E_Q max_j r(x_i, (Y Q)_j)``.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor


def random_rotation(
    d: int, rng: np.random.Generator, dtype: torch.dtype = torch.float64
) -> Float[Tensor, "d d"]:
    """Return an orthogonal matrix drawn uniformly (Haar); half of them are reflections.

    Q of a Gaussian matrix, with the signs of R's diagonal, without which it is not uniform (Mezzadri 2007,
    arXiv math-ph/0609050). Normals are drawn in float32, so either dtype has the same rotation; the factors are taken
    in ``dtype``. At d = 2048, float32 takes .6 of the time, and ``Q'Q`` is then 1 to within 1e-5.
    """
    normals = torch.from_numpy(rng.standard_normal((d, d), dtype=np.float32)).to(dtype)
    q, r = torch.linalg.qr(normals)
    return q * torch.where(r.diagonal() < 0, -1, 1)


def rotated_correlations(
    c_xy: Float[Tensor, "m d"],
    sd_x: Float[Tensor, "m"],
    c_yy: Float[Tensor, "d d"],
    q: Float[Tensor, "d d"],
) -> Float[Tensor, "m d"]:
    """Return ``r(x_i, (Y Q)_j)``: the columns of ``C_xy Q`` over ``sd_x`` and the roots of ``diag(Q' C_yy Q)``.

    All in the dtype and on the device of ``c_xy``. nan where x_i or ``(Y Q)_j`` is constant.

    Args:
        c_xy: Covariances of m variables with d neurons, of centred columns.
        sd_x: Standard deviations of the m variables, with the same divisor (n or n - 1) as the covariances.
        c_yy: Covariances among the d neurons.
        q: An orthogonal matrix.
    """
    q = q.to(c_xy)
    r = c_xy @ q
    r /= _positive(sd_x.to(c_xy))[:, None]
    r /= _rotated_sd(c_yy.to(c_xy), q)
    return r


@dataclass(frozen=True)
class Maxima:
    """The rotated neurons that correlate most with each variable, for each rotation."""

    r: Float[Tensor, "rotations m"]
    """nan where no correlation is defined."""
    index: Int[Tensor, "rotations m"]
    sd: Float[Tensor, "rotations m"]
    """Standard deviation of that rotated neuron."""


def rotation_maxima(
    c_xy: Float[Tensor, "m d"],
    sd_x: Float[Tensor, "m"],
    c_yy: Float[Tensor, "d d"],
    rotations: Iterable[Tensor],
) -> Maxima:
    """Return the largest of each ``rotated_correlations`` over the neurons, leaving out those that are nan.

    Rotations are used one at a time, so a generator of them needs memory for one.

    Raises:
        ValueError: no rotation.
    """
    c_yy = c_yy.to(c_xy)

    def largest(q: Tensor) -> tuple[Tensor, ...]:
        q = q.to(c_xy)
        sd = _rotated_sd(c_yy, q)
        r = c_xy @ q
        r /= _positive(sd_x.to(c_xy))[:, None]
        r /= sd
        most, index = r.masked_fill_(r.isnan(), -torch.inf).max(1)
        return most.masked_fill(most == -torch.inf, torch.nan), index, sd[index]

    found = [largest(q) for q in rotations]
    r, index, sd = (_stacked(one[i] for one in found) for i in range(3))
    return Maxima(r, index, sd)


def mean_rotated_same_index(
    c_xy: Float[Tensor, "m d"],
    sd_x: Float[Tensor, "m"],
    c_yy: Float[Tensor, "d d"],
    rotations: Iterable[Tensor],
) -> Float[Tensor, "m"]:
    """Return the mean over rotations of ``r(x_i, (Y Q)_i)``, leaving out those that are nan.

    nan where x_i is constant, and for i >= d, where no neuron has the same index.

    Raises:
        ValueError: no rotation.
    """
    c_yy = c_yy.to(c_xy)
    m, d = c_xy.shape
    same = min(m, d)

    def correlations(q: Tensor) -> Tensor:
        q = q.to(c_xy)[:, :same]
        return (c_xy[:same] * q.T).sum(1) / _rotated_sd(c_yy, q)

    mean = c_xy.new_full((m,), torch.nan)
    mean[:same] = _stacked(correlations(q) for q in rotations).nanmean(0)
    return mean / _positive(sd_x.to(c_xy))


def _rotated_sd(c_yy: Float[Tensor, "d d"], q: Float[Tensor, "d k"]) -> Float[Tensor, "k"]:
    """Return the standard deviations of ``Y Q``, nan where nothing but rounding is left of Y's variances."""
    variance = (q * (c_yy @ q)).sum(0)
    rounding = 10 * torch.finfo(q.dtype).eps * (q.square() * c_yy.diagonal()[:, None]).sum(0)
    return variance.where(variance > rounding, torch.nan).sqrt()


def _positive(sd: Float[Tensor, "m"]) -> Float[Tensor, "m"]:
    return sd.where(sd > 0, torch.nan)


def _stacked(rows: Iterable[Tensor]) -> Shaped[Tensor, "rotations m"]:
    rows = list(rows)
    if not rows:
        raise ValueError("expected at least 1 rotation, got none")
    return torch.stack(rows)
