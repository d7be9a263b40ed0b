"""Pearson's correlation between the columns (neurons) of two matrices over the same rows (tokens)."""

import numpy as np
from jaxtyping import Float

from microtome.measure.layout import RESOLUTION


def pearson(x: Float[np.ndarray, "n m"], y: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "m k"]:
    """Return ``r_ij``, the correlation of column i of ``x`` with column j of ``y``, in float64.

    nan in the rows and columns of constant neurons.

    Raises:
        ValueError: the numbers of rows differ.
    """
    same_rows(x, y)
    return np.clip(_unit(x).T @ _unit(y), -1, 1)


def paired_pearson(x: Float[np.ndarray, "n m"], y: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "m"]:
    """Return the correlation of each column of ``x`` with the same column of ``y``: the diagonal of ``pearson``.

    Raises:
        ValueError: the shapes differ.
    """
    if x.shape != y.shape:
        raise ValueError(f"expected two matrices of the same shape, got {x.shape} and {y.shape}")
    return np.clip(np.einsum("nm,nm->m", _unit(x), _unit(y)), -1, 1)


def moments(x: Float[np.ndarray, "n m"]) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m"]]:
    """Return the mean and the standard deviation (over ``n``) of each column, in float64.

    The deviation is exactly 0 where it is no more than the mean's rounding: such a column is constant.
    """
    mean = x.mean(0, dtype=np.float64)
    centred = x - mean
    spread = np.sqrt(np.einsum("nm,nm->m", centred, centred) / len(x))
    return mean, np.where(spread <= RESOLUTION * np.abs(mean), 0.0, spread)


def same_rows(x: Float[np.ndarray, "n m"], y: Float[np.ndarray, "n k"]) -> None:
    """Check that two matrices have the same number of rows.

    Raises:
        ValueError: they differ.
    """
    if len(x) != len(y):
        raise ValueError(f"expected the same rows on both sides, got {len(x)} and {len(y)}")


def _unit(x: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    """Return the columns centred and of norm 1; nan where constant."""
    mean, spread = moments(x)
    return (x - mean) / np.where(spread > 0, spread * np.sqrt(len(x)), np.nan)
