"""Sparse replacement: the few vectors of a dictionary that, combined, are nearest to a target in direction."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from microtome.measure.similarity import cosine

ROUNDING = 1e-12
"""What is left of a target and lies along a row, as a share of the target: below this it is rounding."""


class Replacement(NamedTuple):
    """The combination ``sum_i coefficients[i] dictionary[indices[i]]`` in place of a target."""

    indices: Int[np.ndarray, "k"]
    """Rows of the dictionary, in the order in which they were chosen."""
    coefficients: Float[np.ndarray, "k"]
    cosine: float
    """Between the combination and the target; nan if there are no rows."""


def best_replacement(
    target: Float[np.ndarray, "d"],
    dictionary: Float[np.ndarray, "m d"],
    k: int,
    equal_norm: bool = True,
    exclude: Sequence[int] = (),
) -> Replacement:
    """Return up to ``k`` rows whose combination is near to a target in direction, by orthogonal matching pursuit.

    Each step chooses the row with the largest ``|cosine|`` to what is left of the target, and fits all chosen
    rows anew by least squares (Pati, Rezaiifar and Krishnaprasad 1993). No combination of the rows chosen has
    a larger cosine with the target; other rows may have one, since the choice is greedy.

    There are fewer than ``k`` rows where no further row lies along what is left: the target is reached, or
    all others are orthogonal to the rest of it. For a zero target there are none.

    Args:
        target: What is to be replaced.
        dictionary: The candidates, of any norms.
        k: How many rows at most.
        equal_norm: Give the combination the target's norm; by least squares it has ``cosine`` times that.
        exclude: Rows that may not be chosen.

    Raises:
        ValueError: too few rows to choose ``k``, rows to exclude that do not exist, or values not finite.
    """
    rows = len(dictionary)
    if any(not 0 <= row < rows for row in exclude):
        raise ValueError(f"expected rows from 0 to {rows - 1} to exclude, got {list(exclude)}")
    allowed = np.ones(rows, bool)
    allowed[list(exclude)] = False
    if not 1 <= k <= allowed.sum():
        raise ValueError(f"expected k from 1 to {allowed.sum()}, the rows that may be chosen, got {k}")
    if not (np.isfinite(target).all() and np.isfinite(dictionary).all()):
        raise ValueError("expected a finite target and dictionary, got nan or infinite values")
    target, dictionary = np.asarray(target, np.float64), np.asarray(dictionary, np.float64)
    norms = np.linalg.norm(dictionary, axis=1)
    allowed &= norms > 0
    units = dictionary / np.where(norms > 0, norms, 1)[:, None]
    chosen: list[int] = []
    coefficients, combination = np.zeros(0), np.zeros_like(target)
    for _ in range(k):
        along = np.where(allowed, np.abs(units @ (target - combination)), 0)
        best = int(along.argmax())
        if along[best] <= ROUNDING * np.linalg.norm(target):
            break
        chosen.append(best)
        allowed[best] = False
        coefficients = np.linalg.lstsq(units[chosen].T, target, rcond=None)[0]
        combination = coefficients @ units[chosen]
    indices = np.array(chosen, np.int64)
    if not chosen:
        return Replacement(indices, coefficients, np.nan)
    scale = np.linalg.norm(target) / np.linalg.norm(combination) if equal_norm else 1.0
    return Replacement(indices, scale * coefficients / norms[chosen], float(cosine(combination, target)))
