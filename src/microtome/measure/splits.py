"""The exact test of two families of labels, over all splits, and how many labels such a test needs."""

from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Bool, Float

from microtome.measure.nulls import PermutationTest

MOST_SPLITS = 200_000


def exact_splits(n: int, k: int) -> int:
    """Return how many distinct ways split ``n`` labels into a family of ``k`` and one of ``n - k``.

    ``n! / (k! (n - k)!)``, and half of it for two equal halves, where swapping the families changes nothing.

    Raises:
        ValueError: a family would be empty.
    """
    if not 0 < k < n:
        raise ValueError(f"expected a family of 1 to {n - 1} of {n} labels, got {k}")
    return comb(n, k) // (2 if n == 2 * k else 1)


def smallest_p_of_splits(n: int, k: int) -> float:
    """Return the smallest p value of the exact test: 1 / splits (.1 for 5 into 3 and 2)."""
    return 1 / exact_splits(n, k)


def labels_needed(level: float, k: int | None = None) -> int:
    """Return the least number of labels whose exact test can reach ``level``.

    One family has ``k`` labels and the other all the rest; without ``k`` the split is as even as possible.
    Two labels in a family are the least that have a cosine within it.

    Raises:
        ValueError: the level is not between 0 and 1, or ``k`` is less than 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, such as 0.05, got {level}")
    if k is not None and k < 1:
        raise ValueError(f"expected a family of at least 1 label, got {k}")
    n = 3 if k is None else k + 1
    while smallest_p_of_splits(n, k or n // 2) > level:
        n += 1
    return n


def family_contrast(
    cosines: Float[np.ndarray, "*layers n n"], families: Bool[np.ndarray, "splits n"]
) -> Float[np.ndarray, "splits *layers"]:
    """Return the mean cosine within families less the mean between them, for each split and layer.

    All pairs within either family count alike.
    """
    n = cosines.shape[-1]
    i, j = np.triu_indices(n, 1)
    within = families[:, i] == families[:, j]
    weight = within / within.sum(1, keepdims=True) - ~within / (~within).sum(1, keepdims=True)
    return np.moveaxis(cosines[..., i, j] @ weight.T, -1, 0)


def family_test(
    cosines: Float[np.ndarray, "layers n n"], family: Bool[np.ndarray, "names"]
) -> PermutationTest:
    """Test whether labels are more alike within two families than between them, exactly.

    The statistic of :func:`family_contrast` is compared with all other splits into families of the same sizes
    (equal halves once). p is the share of splits, the observed among them, that reach the observed value; it
    cannot fall below one over their number, ``smallest_p_of_splits``. For a single layer give
    ``cosines[None]``.

    Raises:
        ValueError: a family for each label is missing, a family is empty, no pair is within a family, or the
            splits are too many to list.
    """
    n = cosines.shape[-1]
    if family.shape != (n,):
        raise ValueError(f"expected a family for each of {n} labels, got the shape {family.shape}")
    k = int(family.sum())
    if not 0 < k < n or n < 3:
        raise ValueError(
            f"expected two families with a pair of labels in one of them, got {k} and {n - k} labels"
        )
    if exact_splits(n, k) > MOST_SPLITS:
        raise ValueError(
            f"expected at most {MOST_SPLITS} splits, got {exact_splits(n, k)} of {n} labels: "
            "test fewer labels"
        )
    others = _splits(n, k)
    same = (others == family).all(1)
    if n == 2 * k:
        same |= (others == ~family).all(1)
    observed = family_contrast(cosines, family[None])[0]
    return PermutationTest(observed, family_contrast(cosines, others[~same]))


def _splits(n: int, k: int) -> Bool[np.ndarray, "splits n"]:
    """Return the members of the family of ``k``, one split a row; of equal halves, the one with label 0."""
    with_first = ((0, *rest) for rest in combinations(range(1, n), k - 1))
    rows = list(with_first if n == 2 * k else combinations(range(n), k))
    members = np.zeros((len(rows), n), bool)
    np.put_along_axis(members, np.array(rows), True, axis=1)
    return members
