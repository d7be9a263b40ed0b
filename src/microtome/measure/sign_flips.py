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
    there are only ``2^n`` sign patterns, so p cannot be expected below ``2^-n``. Where ``draws`` would be enough for
    all of them, all are taken, each once, and nothing is left to chance.

    Raises:
        ValueError: no units or no draws.
    """
    if differences.ndim != 2 or not differences.shape[1] or draws < 1:
        raise ValueError(
            f"expected differences [layers, units] and at least 1 draw, got {differences.shape} and {draws} draws"
        )
    units = differences.shape[1]
    signs = (
        _all_but_the_observed(units)
        if 2**units - 1 <= draws
        else rng.choice((-1.0, 1.0), size=(draws, units))
    )
    return PermutationTest(differences.mean(1), signs @ differences.T / units)


def _all_but_the_observed(units: int) -> Float[np.ndarray, "patterns units"]:
    """Return every pattern of signs with at least one minus: the bits of 1 to 2^n - 1."""
    return 1.0 - 2.0 * (np.arange(1, 2**units)[:, None] >> np.arange(units) & 1)
