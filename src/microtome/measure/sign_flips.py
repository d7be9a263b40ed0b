"""The sign-flip test of paired differences: without an effect, each difference could as well have the other sign."""

import numpy as np
from jaxtyping import Float

from microtome.measure.nulls import PermutationTest


def sign_flip_test(
    differences: Float[np.ndarray, "layers units"], rng: np.random.Generator, draws: int = 999
) -> PermutationTest:
    r"""Test whether the mean difference of each layer is above zero.

    The null multiplies the differences of each unit by a random sign, the same in all layers, so the dependence
    between layers is kept and ``adjusted_p`` corrects for their number. It is exact when the distribution of a
    difference is symmetric about zero, as it is when two conditions could be exchanged (Fisher 1935). With n units
    there are only ``2^n`` sign patterns, so p cannot be expected below ``2^-n``.

    Raises:
        ValueError: no units or no draws.
    """
    if differences.ndim != 2 or not differences.shape[1] or draws < 1:
        raise ValueError(
            f"expected differences [layers, units] and at least 1 draw, got {differences.shape} and {draws} draws"
        )
    signs = rng.choice((-1.0, 1.0), size=(draws, differences.shape[1]))
    return PermutationTest(differences.mean(1), signs @ differences.T / differences.shape[1])
