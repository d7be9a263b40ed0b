"""Cosine similarity, and what a matrix of cosines says on average."""

import numpy as np
from jaxtyping import Float, Int

from microtome.measure.layout import group_codes


def unit(x: Float[np.ndarray, "*shape d"]) -> Float[np.ndarray, "*shape d"]:
    """Return ``x`` scaled to norm 1 along its last axis; a zero vector has no direction and gives nan."""
    x = np.asarray(x, np.float64)
    squares = inner(x, x)
    if not _safe(squares):
        x = _scaled(x)
        squares = inner(x, x)
    return x / np.sqrt(squares)[..., None]


def cosine(x: Float[np.ndarray, "*#shape d"], y: Float[np.ndarray, "*#shape d"]) -> Float[np.ndarray, "..."]:
    """Return the cosine of the angle between ``x`` and ``y`` along the last axis, nan where one is zero."""
    squares = inner(x, x), inner(y, y)
    if not (_safe(squares[0]) and _safe(squares[1])):
        x, y = _scaled(np.asarray(x, np.float64)), _scaled(np.asarray(y, np.float64))
        squares = inner(x, x), inner(y, y)
    return np.asarray(np.clip(inner(x, y) / (np.sqrt(squares[0]) * np.sqrt(squares[1])), -1, 1))


def inner(x: Float[np.ndarray, "*#shape d"], y: Float[np.ndarray, "*#shape d"]) -> Float[np.ndarray, "..."]:
    """Return the inner product along the last axis, in float64."""
    return np.asarray(np.einsum("...i,...i->...", x, y, dtype=np.float64))


def cosine_matrix(x: Float[np.ndarray, "*layers n d"]) -> Float[np.ndarray, "*layers n n"]:
    """Return the cosines of all pairs of rows, exactly symmetric, with 1 on the diagonal.

    A zero vector has no direction: its row and column are nan, never 0.
    """
    u = unit(x)
    gram = u @ u.swapaxes(-1, -2)
    gram = np.clip((gram + gram.swapaxes(-1, -2)) / 2, -1, 1)
    diagonal = np.arange(x.shape[-2])
    gram[..., diagonal, diagonal] = np.where(np.isnan(u[..., 0]), np.nan, 1.0)
    return gram


def mean_off_diagonal(matrix: Float[np.ndarray, "*layers n n"]) -> Float[np.ndarray, "*layers"]:
    """Return the mean of the ``n (n - 1)`` entries off the diagonal; nan if one of them is nan.

    Raises:
        ValueError: the matrix has a single row, so nothing is off its diagonal.
    """
    n = matrix.shape[-1]
    if n < 2:
        raise ValueError(f"expected a matrix with at least 2 rows, got the shape {matrix.shape}")
    return np.asarray(matrix[..., ~np.eye(n, dtype=bool)].mean(-1))


def mean_within_and_between(
    matrix: Float[np.ndarray, "*layers n n"], groups: Int[np.ndarray, "names"]
) -> tuple[Float[np.ndarray, "*layers"], Float[np.ndarray, "*layers"]]:
    """Return the mean of the entries within groups (off the diagonal) and of those between groups.

    This is what the blocks of a prompt-by-prompt heat map show. A mean over no entries is nan: the one within
    when each group has one item, the one between when there is one group.

    Raises:
        ValueError: ``groups`` does not name one group for each row.
    """
    n = matrix.shape[-1]
    codes = group_codes(groups, n)
    same = codes[:, None] == codes
    within = matrix[..., same & ~np.eye(n, dtype=bool)]
    between = matrix[..., ~same]
    return _mean(within), _mean(between)


def _mean(values: Float[np.ndarray, "*layers n"]) -> Float[np.ndarray, "*layers"]:
    return np.asarray(values.mean(-1)) if values.shape[-1] else np.full(values.shape[:-1], np.nan)


def _safe(squares: Float[np.ndarray, "*shape"]) -> bool:
    """Return whether squared norms are far from under- and overflow; zero is not safe either."""
    return bool(((squares > 1e-200) & (squares < 1e200)).all())


def _scaled(x: Float[np.ndarray, "*shape d"]) -> Float[np.ndarray, "*shape d"]:
    """Return ``x`` with 1 as each vector's largest coordinate, so that no square under- or overflows."""
    largest = np.abs(x).max(-1, keepdims=True)
    return np.divide(x, largest, out=np.full_like(x, np.nan), where=largest > 0)
