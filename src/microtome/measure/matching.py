"""Which neuron of one model is which of another: assignment and optimal transport on the matrix of ``|r|``.

All three are exact. A sign carries no identity, so a neuron may match one that does the opposite. A match is the
best of many, hence its correlation on the rows that chose it is inflated: score it on other rows.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from microtome.measure.pearson import moments, pearson

UNMATCHED = -1
STEPS = 10_000_000
"""Most steps of POT's network simplex, whose default of 100,000 is too few for some thousand neurons."""


def one_to_one(r: Float[np.ndarray, "m k"]) -> Int[np.ndarray, "m"]:
    """Return for each row the column that an assignment with the largest ``sum |r_ij|`` gives it, else -1.

    No column is given twice, so ``|m - k|`` neurons of the larger side stay unmatched. So do constant neurons,
    whose correlations are nan: they count as 0 in the sum. Uniform masses make this the plan of exact optimal
    transport, found faster (Kuhn 1955; Crouse 2016).
    """
    return _match(r, *linear_sum_assignment(_similarity(r), maximize=True))


def partial_match(r: Float[np.ndarray, "m k"], share: float) -> Int[np.ndarray, "m"]:
    """Return for each row its column in the best match of only a share of the neurons, -1 for the others.

    Partial optimal transport (Chapel, Alaya and Gasso 2020) of unit masses at the cost ``1 - |r_ij|`` that moves
    ``share`` of the smaller side's mass, rounded to whole neurons. Whole masses move whole (the problem's vertices are
    integer), so the plan is a one-to-one match of the neurons that suit each other best, and the rest match nothing.
    Constant neurons count in the share and stay unmatched.

    Raises:
        ValueError: the share is not above 0 and at most 1.
    """
    import ot

    if not 0 < share <= 1:
        raise ValueError(f"expected a share above 0 and at most 1, got {share}")
    m, k = r.shape
    # One more than 1 - |r| gives the same plan. POT keeps mass out of its dummies by twice the largest cost, which
    # must not be 0.
    cost = 2 - _similarity(r)
    moved = float(round(share * min(m, k)))
    plan = np.asarray(ot.partial.partial_wasserstein(np.ones(m), np.ones(k), cost, m=moved, numItermax=STEPS))
    return _match(r, *np.nonzero(plan > 0.5))


@dataclass(frozen=True)
class Transport:
    """The neurons of ``a`` with the largest variance, each with the one of ``b`` that gets most of its mass."""

    neurons_a: Int[np.ndarray, "pairs"]
    """By falling variance."""
    neurons_b: Int[np.ndarray, "pairs"]
    """One may repeat if the two sides differ in number, as mass is then split."""
    correlations: Float[np.ndarray, "pairs"]
    """``|r|`` of each pair, on the rows that chose it."""
    cost: float
    """``sum_ij plan_ij (1 - |r_ij|)``: 0 where all neurons have a perfect partner, 1 where none has any."""

    def count_above(self, threshold: float) -> int:
        """Return how many pairs have ``|r| > threshold``."""
        return int((self.correlations > threshold).sum())


def transported(x: Float[np.ndarray, "n m"], y: Float[np.ndarray, "n k"], top: int = 100) -> Transport:
    """Match the ``top`` neurons of largest variance of each side by exact optimal transport.

    Uniform masses, the cost ``1 - |r_ij|``. A side with fewer neurons that vary at all gives those. This is AKIRA's
    procedure; neurons of large variance are a model's outliers, so it says little of the others.

    Raises:
        ValueError: the numbers of rows differ, ``top`` is less than 1, or a side has only constant neurons.
    """
    import ot

    if top < 1:
        raise ValueError(f"expected at least 1 neuron of each side, got {top}")
    a, b = _most_variable(x, top), _most_variable(y, top)
    r = np.abs(pearson(x[:, a], y[:, b]))
    mass_a, mass_b = (np.full(len(z), 1 / len(z)) for z in (a, b))
    plan = np.asarray(ot.emd(mass_a, mass_b, 1 - r, numItermax=STEPS))
    partner = plan.argmax(1)
    return Transport(
        neurons_a=a,
        neurons_b=b[partner],
        correlations=r[np.arange(len(a)), partner],
        cost=float((plan * (1 - r)).sum()),
    )


def _similarity(r: Float[np.ndarray, "m k"]) -> Float[np.ndarray, "m k"]:
    return np.nan_to_num(np.abs(r).astype(np.float64))


def _match(
    r: Float[np.ndarray, "m k"], rows: Int[np.ndarray, "pairs"], columns: Int[np.ndarray, "pairs"]
) -> Int[np.ndarray, "m"]:
    """Return the column of each row, -1 for rows without one and for undefined pairs."""
    match = np.full(len(r), UNMATCHED)
    match[rows] = np.where(np.isnan(r[rows, columns]), UNMATCHED, columns)
    return match


def _most_variable(x: Float[np.ndarray, "n m"], top: int) -> Int[np.ndarray, "pairs"]:
    _, spread = moments(x)
    order = np.argsort(-spread, kind="stable")[: min(top, np.count_nonzero(spread))]
    if not len(order):
        raise ValueError(f"expected a neuron that varies, got {x.shape[1]} constant ones over {len(x)} rows")
    return order
