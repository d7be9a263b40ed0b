"""Effective ranks: how many dimensions a spectrum of singular values spreads over.

All take singular values ``s [*, r]`` of any scale and order, and return ``[*]``; a spectrum that is zero has no rank
and gives nan. Each lies between 1 and the number of values that are not zero, and equals it when these are equal.
They weigh small values differently, so they are never to be compared with one another:

    entropy_rank        exp H(s / sum s)           counts small values most
    energy_rank         exp H(s^2 / sum s^2)
    participation_ratio (sum s^2)^2 / sum s^4
    stable_rank         sum s^2 / max s^2          looks at the largest value alone
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import entr

Values = Float[np.ndarray, "*batch r"]
Ranks = Float[np.ndarray, "*batch"] | np.float64

PUBLISHED_FLOOR = 0.01
"""Share of the sum at and below which the original of the study ``stability`` leaves a singular value out."""


def entropy_rank(s: Values) -> Ranks:
    """Return ``exp(-sum p ln p)`` with ``p = s / sum s`` (Roy & Vetterli 2007).

    Raises:
        ValueError: a singular value is negative or not finite.
    """
    return np.exp(entr(_shares(s)).sum(-1))


def energy_rank(s: Values) -> Ranks:
    """Return ``exp(-sum p ln p)`` with ``p = s^2 / sum s^2``: the entropy of the variance over components.

    Raises:
        ValueError: a singular value is negative or not finite.
    """
    return np.exp(entr(_energy_shares(s)).sum(-1))


def participation_ratio(s: Values) -> Ranks:
    """Return ``(sum s^2)^2 / sum s^4``.

    Raises:
        ValueError: a singular value is negative or not finite.
    """
    return 1 / np.square(_energy_shares(s)).sum(-1)


def stable_rank(s: Values) -> Ranks:
    """Return ``sum s^2 / max s^2``, the squared Frobenius norm over the squared spectral norm.

    Raises:
        ValueError: a singular value is negative or not finite.
    """
    return 1 / _energy_shares(s).max(-1)


def published_rank(s: Values, floor: float = PUBLISHED_FLOOR) -> Ranks:
    """Return the rank of the original of ``stability``: :func:`entropy_rank` without small shares.

    ``exp(-sum p ln p)`` over the ``p = s / sum s`` above ``floor``, which are not made to sum to one again. It can
    therefore fall when a value crosses the floor, and it is below one where few shares are left.

    Raises:
        ValueError: a singular value is negative or not finite.
    """
    shares = _shares(s)
    return np.exp(entr(np.where(shares <= floor, 0.0, shares)).sum(-1))


def spectral_gap(s: Values) -> Ranks:
    """Return the first eigenvalue of the covariance over the second, ``s_1^2 / s_2^2``, from centred rows' values.

    nan where the second is zero.

    Raises:
        ValueError: fewer than two singular values, or one that is negative or not finite.
    """
    if s.shape[-1] < 2:
        raise ValueError(f"expected at least 2 singular values, got {s.shape[-1]}")
    second, first = np.moveaxis(np.sort(_shares(s), -1)[..., -2:], -1, 0)
    ratio = np.divide(first, second, out=np.full_like(first, np.nan), where=second > 0)
    return np.square(ratio)[()]


def usual_rows(norms: Float[np.ndarray, "n"], limit: float = 10.0) -> Bool[np.ndarray, "n"]:
    """Return which rows have a norm of at most ``limit`` times the median.

    One massive activation (Sun et al. 2024) can be most of the energy of thousands of rows and alone decide every
    rank above, so ranks are to be read with and without the rows beyond the limit.

    Raises:
        ValueError: no rows, a norm that is negative or not finite, or a limit below 1.
    """
    if not norms.size or not np.isfinite(norms).all() or (norms < 0).any() or limit < 1:
        raise ValueError(f"expected finite norms of at least one row and a limit of at least 1, got {limit}")
    return norms <= limit * np.median(norms)


def _shares(s: Values) -> Values:
    """Return ``s / sum s`` in float64; nan for a spectrum that is zero."""
    s = np.asarray(s, np.float64)
    if not np.isfinite(s).all() or (s < 0).any():
        raise ValueError("expected singular values that are finite and not negative")
    total = s.sum(-1, keepdims=True)
    return np.divide(s, total, out=np.full_like(s, np.nan), where=total > 0)


def _energy_shares(s: Values) -> Values:
    """Return ``s^2 / sum s^2``, by way of the shares so that no square overflows."""
    energy = np.square(_shares(s))
    return energy / energy.sum(-1, keepdims=True)
