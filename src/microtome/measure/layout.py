"""The layout of paired data, ``[*layers, pairs, labels, d]``, and the subtraction that keeps zero exact."""

import numpy as np
from jaxtyping import Float, Int

RESOLUTION = 64 * np.finfo(np.float64).eps
"""Differences below this share of the operands' norm are rounding, and are set to exactly zero."""


def paired(
    x: Float[np.ndarray, "*layers pairs labels d"], pairs: int = 1, labels: int = 2
) -> Float[np.ndarray, "*layers pairs labels d"]:
    """Return ``x`` in float64 after checking that it has at least ``pairs`` pairs and ``labels`` labels.

    Raises:
        ValueError: too few axes, pairs or labels, or vectors without coordinates.
    """
    if x.ndim < 3:
        raise ValueError(f"expected an array [*layers, pairs, labels, d], got {x.ndim} axes: {x.shape}")
    for name, least, got in (
        ("pairs", pairs, x.shape[-3]),
        ("labels", labels, x.shape[-2]),
        ("d", 1, x.shape[-1]),
    ):
        if got < least:
            raise ValueError(f"expected at least {least} along '{name}', got {got} in the shape {x.shape}")
    return np.asarray(x, np.float64)


def difference(
    x: Float[np.ndarray, "*#shape d"], y: Float[np.ndarray, "*#shape d"]
) -> Float[np.ndarray, "... d"]:
    """Return ``x - y``, with exact zeros for vectors that differ by rounding alone.

    Vectors that are equal by construction (a token read at an embedding) differ from their computed mean in
    the last bit. Without the zeros, cosines of that rounding would look like data.
    """
    z = x - y
    small = _square(z) <= RESOLUTION**2 * np.maximum(_square(x), _square(y))
    if small.any():
        z[np.broadcast_to(small, z.shape[:-1])] = 0.0
    return z


def centre(x: Float[np.ndarray, "*shape d"], axis: int | tuple[int, ...]) -> Float[np.ndarray, "*shape d"]:
    """Return ``x`` less its mean over ``axis`` (not the last axis, which holds the coordinates)."""
    return difference(x, x.mean(axis, keepdims=True))


def same_design(
    x: Float[np.ndarray, "*layers pairs labels d"], y: Float[np.ndarray, "*others more names e"]
) -> None:
    """Check that two paired arrays agree in pairs, labels and coordinates.

    Raises:
        ValueError: they differ.
    """
    if x.shape[-3:] != y.shape[-3:]:
        raise ValueError(
            f"expected two arrays with equal [pairs, labels, d], got {x.shape[-3:]} and {y.shape[-3:]}"
        )


def group_codes(groups: Int[np.ndarray, "names"], n: int) -> Int[np.ndarray, "n"]:
    """Return the groups of ``n`` items as codes 0, 1, ...

    Raises:
        ValueError: there is not one group for each item.
    """
    if groups.shape != (n,):
        raise ValueError(f"expected one group for each of {n} items, got groups of the shape {groups.shape}")
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def _square(x: Float[np.ndarray, "*shape d"]) -> Float[np.ndarray, "*shape"]:
    return np.asarray(np.einsum("...i,...i->...", x, x))
