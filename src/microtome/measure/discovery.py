"""Which of many units to call discoveries: p values from a pooled null, and control of the false discovery rate."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import false_discovery_control


def adjusted_p(p: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Return Benjamini and Hochberg's adjusted p values: the least q at which each is a discovery.

    ``min_{j >= i} m p_(j) / j`` for the i-th smallest of the m defined values, at most 1. nan stays nan and is not
    counted among the m.

    Raises:
        ValueError: a value outside 0 to 1.
    """
    defined = ~np.isnan(p)
    if not ((p[defined] >= 0) & (p[defined] <= 1)).all():
        raise ValueError(f"expected p values from 0 to 1, got {p[defined].min()} to {p[defined].max()}")
    adjusted = np.full(len(p), np.nan)
    adjusted[defined] = false_discovery_control(p[defined].astype(np.float64))
    return adjusted


def benjamini_hochberg(p: Float[np.ndarray, "n"], q: float) -> Bool[np.ndarray, "n"]:
    """Return which units are discoveries when q of them may be false on average (Benjamini and Hochberg 1995).

    The k smallest p are, for the largest k with ``p_(k) <= k q / m``, counting equality up to rounding. This controls
    the false discovery rate for independent p values and for positively dependent ones (Benjamini and Yekutieli 2001).
    A unit whose p is nan never is a discovery.

    Raises:
        ValueError: q is not between 0 and 1, or a p outside 0 to 1.
    """
    if not 0 < q < 1:
        raise ValueError(f"expected a false discovery rate between 0 and 1, such as 0.05, got {q}")
    return adjusted_p(p) <= q * (1 + 1e-12)


def pooled_p(
    observed: Float[np.ndarray, "n"],
    null: Float[np.ndarray, "draws n"],
    side: Literal["greater", "two-sided"] = "greater",
) -> Float[np.ndarray, "n"]:
    """Return each unit's p from the null values of all units, each unit scaled by its own null.

    ``p_i = (1 + #{null z >= z_i}) / (1 + draws n)``, where ``z_i`` is the observed value over the root mean square
    about zero of the unit's draws, and each null z is a draw over that of the unit's *other* draws; two-sided compares
    absolute values. So a few draws of many units give p values far below ``1 / draws``.

    No value is part of its own scale, so a null z has the tails of the observed z of a unit without effect (Student's t
    for normal draws), and slightly heavier ones, as it has one draw fewer: the error is on the safe side.

    Two assumptions, which a unit's own permutation test does not need. Scaled nulls have the same distribution in all
    units, centred at zero or not. And the draws are enough to stand for what units have in common: with D draws, units
    that all rise together exceed their pool in up to one of 1 + D data sets. For normal units that all correlate at .6,
    with 5 draws, q = .05 gives a false discovery rate of .07; at .3, or with 10 draws or more, it is not above q by
    more than the simulation's error of .01.

    Values equal up to rounding are ties and count. A unit takes no part and has nan where its observed value or a
    draw is undefined, or its draws are all equal.

    Raises:
        ValueError: fewer than 2 draws, another number of units, or an unknown side.
    """
    if null.shape[1:] != observed.shape or len(null) < 2:
        raise ValueError(f"expected at least 2 draws of {len(observed)} units, got {null.shape}")
    if side not in ("greater", "two-sided"):
        raise ValueError(f"expected the side 'greater' or 'two-sided', got '{side}'")
    p = np.full(len(observed), np.nan)
    defined = ~np.isnan(observed) & np.isfinite(null).all(0)
    defined &= np.ptp(np.where(defined, null, 0), 0) > 1e-12 * np.abs(np.where(defined, null, 0)).max(0)
    z, null_z = _scaled(observed[defined].astype(np.float64), null[:, defined].astype(np.float64))
    if side == "two-sided":
        z, null_z = np.abs(z), np.abs(null_z)
    pool = np.sort(null_z, axis=None)
    least = z * (1 - 1e-10 * np.sign(z))  # ties up to rounding
    p[defined] = (1 + len(pool) - np.searchsorted(pool, least)) / (1 + len(pool))
    return p


def _scaled(
    observed: Float[np.ndarray, "n"], null: Float[np.ndarray, "draws n"]
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "draws n"]]:
    """Return values over the root mean square of all draws, and draws over that of the others."""
    largest = np.abs(null).max(0)  # so that no square leaves the floating range
    observed, null = observed / largest, null / largest
    squares = np.square(null)
    others = np.maximum(squares.sum(0) - squares, 0) / (len(null) - 1)
    with np.errstate(divide="ignore"):  # a draw among zeros is infinitely extreme
        return observed / np.sqrt(squares.mean(0)), null / np.sqrt(others)
