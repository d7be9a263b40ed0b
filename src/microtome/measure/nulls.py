"""Reference values and permutation tests: what a measure shows when there is nothing to see."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from microtome.measure.layout import paired

Side = Literal["greater", "less", "two-sided"]


def simplex_cosine(k: int) -> float:
    """Return ``-1 / (k - 1)``, the mean off-diagonal cosine of ``k`` centred vectors of equal norm.

    Centred vectors sum to zero, so ``0 = |sum_i v_i|^2 = sum_i |v_i|^2 + sum_{i != j} <v_i, v_j>``. With all
    norms equal to r, the ``k (k - 1)`` products average ``-k r^2 / (k (k - 1))``, and their cosines ``-1 / (k
    - 1)``, whatever the vectors are: the value follows from the centring and shows nothing about the model.
    (If all cosines are equal too, the vectors point to the corners of a regular simplex.)

    Raises:
        ValueError: fewer than 2 vectors.
    """
    if k < 2:
        raise ValueError(f"expected at least 2 vectors, got {k}: one centred vector is zero")
    return -1 / (k - 1)


def smallest_p(draws: int, side: Side = "greater") -> float:
    """Return the smallest p value that a permutation test with so many draws can reach."""
    return min(1.0, (2 if side == "two-sided" else 1) / (1 + draws))


def permutation_p(
    observed: Float[np.ndarray, "*layers"] | float,
    null: Float[np.ndarray, "draws *layers"],
    side: Side = "greater",
) -> Float[np.ndarray, "*layers"]:
    """Return ``(1 + #{null as extreme as observed}) / (1 + draws)``, for each layer apart.

    The observed arrangement is one of the arrangements, hence the ones. Two-sided is twice the smaller
    one-sided p, at most 1. Values equal up to rounding (1e-10 of the largest) are ties and count as extreme,
    and so does an undefined draw. p is nan where the observed value is.

    Raises:
        ValueError: no draws, another shape than the observed value's, or an unknown side.
    """
    observed = np.asarray(observed, np.float64)
    if null.shape[1:] != observed.shape or not len(null):
        raise ValueError(f"expected draws of the shape {observed.shape}, at least one, got {null.shape}")
    if side not in ("greater", "less", "two-sided"):
        raise ValueError(f"expected the side 'greater', 'less' or 'two-sided', got '{side}'")
    rounding = 1e-10 * np.maximum(np.abs(observed), np.nan_to_num(np.abs(null)).max(0))
    greater = (1 + (~(null < observed - rounding)).sum(0)) / (1 + len(null))
    less = (1 + (~(null > observed + rounding)).sum(0)) / (1 + len(null))
    p = {"greater": greater, "less": less, "two-sided": np.minimum(1, 2 * np.minimum(greater, less))}[side]
    return np.where(np.isnan(observed), np.nan, p)


@dataclass(frozen=True)
class PermutationTest:
    """Observed statistics of some layers beside their values under permutation.

    All layers are permuted alike, so the layers' dependence is in the null.
    """

    observed: Float[np.ndarray, "layers"]
    null: Float[np.ndarray, "draws layers"]
    side: Literal["greater", "less"] = "greater"

    @property
    def p(self) -> Float[np.ndarray, "layers"]:
        """P of each layer as if it were the only one."""
        return permutation_p(self.observed, self.null, self.side)

    @property
    def adjusted_p(self) -> Float[np.ndarray, "layers"]:
        """P of each layer corrected for the search over layers (Westfall and Young 1993, single step).

        Each layer is compared with the null of the most extreme layer, which controls the chance of any false
        layer under any dependence. Layers whose statistics have different scales should be standardised
        first. A layer with an undefined value, observed or drawn, takes no part and is nan.
        """
        extreme = self._null_extreme
        if extreme is None:
            return np.full_like(self.observed, np.nan)
        null = np.broadcast_to(extreme[:, None], self.null.shape)
        return permutation_p(np.where(self._defined, self.observed, np.nan), null, self.side)

    @property
    def max_p(self) -> float:
        """P of the most extreme layer: the single test of "no layer at all"; nan if no layer is defined."""
        return float(np.nanmin(self.adjusted_p)) if self._defined.any() else np.nan

    @property
    def best_layer(self) -> int | None:
        """The layer with the most extreme statistic, the first of equals; None if no layer is defined."""
        if not self._defined.any():
            return None
        worst = -np.inf if self.side == "greater" else np.inf
        values = np.where(self._defined, self.observed, worst)
        return int(values.argmax() if self.side == "greater" else values.argmin())

    @property
    def smallest_p(self) -> float:
        """The smallest p value that this many draws can give."""
        return smallest_p(len(self.null))

    def standardised(self) -> "PermutationTest":
        """Return the test on z scores: each layer less the mean of its own null, over its deviation.

        Mean and deviation are over the observed value and all draws together, so that the observed
        arrangement remains exchangeable with the others and p stays exact. A layer without any spread becomes
        undefined.
        """
        pool = np.concatenate([self.observed[None], self.null])
        spread = pool.std(0)
        flat = ~(spread > 1e-12 * np.abs(pool).max(0))
        z = (pool - pool.mean(0)) / np.where(flat, np.nan, spread)
        return PermutationTest(z[0], z[1:], self.side)

    @cached_property
    def _defined(self) -> Bool[np.ndarray, "layers"]:
        return ~(np.isnan(self.observed) | np.isnan(self.null).any(0))

    @cached_property
    def _null_extreme(self) -> Float[np.ndarray, "draws"] | None:
        null = self.null[:, self._defined]
        if not null.shape[1]:
            return None
        return null.max(1) if self.side == "greater" else null.min(1)


def label_permutations(
    rng: np.random.Generator, draws: int, pairs: int, labels: int
) -> Int[np.ndarray, "draws pairs labels"]:
    """Draw permutations of the labels within each pair, independently for each pair."""
    return rng.permuted(np.broadcast_to(np.arange(labels), (draws, pairs, labels)), axis=-1)


def permute_labels(
    x: Float[np.ndarray, "*layers pairs labels d"], permutations: Int[np.ndarray, "draws pairs labels"]
) -> Float[np.ndarray, "draws *layers pairs labels d"]:
    """Return ``x`` with its labels permuted within pairs, alike in all layers, for each permutation.

    Raises:
        ValueError: permutations for another number of pairs or labels.
    """
    if permutations.shape[1:] != x.shape[-3:-1]:
        raise ValueError(
            f"expected permutations of {x.shape[-3:-1]} [pairs, labels], got {permutations.shape[1:]}"
        )
    rows = np.arange(x.shape[-3])[:, None]
    return np.moveaxis(x[..., rows, permutations, :], -4, 0)


def permutation_test(
    statistic: Callable[[Float[np.ndarray, "*batch pairs labels d"]], Float[np.ndarray, "*batch"]],
    x: Float[np.ndarray, "layers pairs labels d"],
    rng: np.random.Generator,
    draws: int = 999,
    side: Literal["greater", "less"] = "greater",
) -> PermutationTest:
    """Test a statistic of each layer against task labels permuted within pairs, the same in all layers.

    ``statistic`` maps ``[*batch, pairs, labels, d]`` to ``[*batch]`` and must not change when all vectors are
    rotated together (all cosines, norms, distances and variances are so). When ``d`` exceeds the number of
    vectors, they are first expressed in a basis of their own span, which keeps every inner product and saves
    the time.

    Raises:
        ValueError: not one value for each layer, or no draws.
    """
    if x.ndim != 4:
        raise ValueError(f"expected an array [layers, pairs, labels, d], got {x.ndim} axes: {x.shape}")
    if draws < 1:
        raise ValueError(f"expected at least 1 permutation, got {draws}")
    x = in_own_span(paired(x))
    observed = statistic(x)
    if observed.shape != x.shape[:1]:
        raise ValueError(
            f"expected one value for each of {len(x)} layers from the statistic, got {observed.shape}"
        )
    permutations = label_permutations(rng, draws, *x.shape[1:3])
    chunk = max(1, CHUNK // x.nbytes)
    null = [statistic(permute_labels(x, permutations[i : i + chunk])) for i in range(0, draws, chunk)]
    return PermutationTest(observed, np.concatenate(null), side)


CHUNK = 1 << 19
"""Bytes of permuted data at a time: about a processor's cache, beyond which it is slower, not faster."""


def in_own_span(
    x: Float[np.ndarray, "*layers pairs labels d"],
) -> Float[np.ndarray, "*layers pairs labels k"]:
    """Rotate each layer's vectors into ``min(d, pairs labels)`` coordinates; all inner products remain."""
    pairs, labels, d = x.shape[-3:]
    if d <= pairs * labels:
        return x
    flat = x.reshape(*x.shape[:-3], pairs * labels, d)
    triangle = np.asarray(np.linalg.qr(flat.swapaxes(-1, -2), mode="r"))
    return triangle.swapaxes(-1, -2).reshape(*x.shape[:-1], -1)
