"""Overlap of two sets of units beside its expectation, strata, and matched control units."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import hypergeom, rankdata

from microtome.measure.layout import group_codes
from microtome.measure.nulls import permutation_p


def expected_overlap(a: int, b: int, n: int) -> float:
    """Return ``a b / n``, the mean overlap of two independent sets of sizes a and b among n units.

    Raises:
        ValueError: no units, or a set larger than all units.
    """
    _check_sizes(a, b, n)
    return a * b / n


def hypergeometric_p(overlap: int, a: int, b: int, n: int) -> float:
    """Return the chance that independent sets of sizes a and b among n units share at least ``overlap`` units.

    ``sum_{k >= overlap} C(b, k) C(n - b, a - k) / C(n, a)``: Fisher's exact test, one-sided. It takes all units to be
    equally likely members; where they are not, see :func:`stratified_overlap_test`.

    Raises:
        ValueError: no units, a set larger than all units, or an overlap that the sizes do not allow.
    """
    _check_sizes(a, b, n)
    least, most = max(0, a + b - n), min(a, b)
    if not least <= overlap <= most:
        raise ValueError(
            f"expected an overlap of {least} to {most} for sets of {a} and {b} of {n} units, got {overlap}"
        )
    return min(1.0, float(hypergeom.sf(overlap - 1, n, a, b)))


def jaccard(a: Bool[np.ndarray, "n"], b: Bool[np.ndarray, "n"]) -> float:
    """Return ``|a and b| / |a or b|``; nan when both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else np.nan


@dataclass(frozen=True)
class OverlapTest:
    """An overlap beside those of sets that have the same number of units in each stratum, but are independent."""

    observed: int
    """How many units are in both sets."""
    jaccard: float
    """Of the observed sets; a set's size stays as it is in the null, so p is also that of this index."""
    expected: float
    """The null's mean, ``sum_s a_s b_s / n_s`` over the strata."""
    null: Int[np.ndarray, "draws"]
    """Overlaps when one set is permuted within strata."""

    @property
    def p(self) -> float:
        """The chance of at least the observed overlap (Phipson and Smyth 2010)."""
        return float(permutation_p(float(self.observed), self.null.astype(np.float64)))


def stratified_overlap_test(
    a: Bool[np.ndarray, "n"],
    b: Bool[np.ndarray, "n"],
    strata: Int[np.ndarray, "n"],
    rng: np.random.Generator,
    draws: int = 9999,
) -> OverlapTest:
    """Test whether two sets share more units than their common preference for some strata explains.

    The null permutes one set within each stratum. The overlap in a stratum of n_s units is then hypergeometric, and
    independent of the other strata's, so it is drawn as such and nothing is permuted.

    Raises:
        ValueError: sets or strata of different lengths, or no draws.
    """
    if b.shape != a.shape or draws < 1:
        raise ValueError(
            f"expected two sets of the same units and at least 1 draw, got {a.shape}, {b.shape} and {draws} draws"
        )
    code = group_codes(strata, len(a))
    n = np.bincount(code)
    of_a, of_b = (np.bincount(code[members], minlength=len(n)) for members in (a, b))
    overlaps = rng.hypergeometric(of_b, n - of_b, of_a, size=(draws, len(n)))
    expected = float((of_a * of_b / n).sum())
    return OverlapTest(int((a & b).sum()), jaccard(a, b), expected, overlaps.sum(1))


def strata_of(values: Float[np.ndarray, "n"], count: int) -> Int[np.ndarray, "n"]:
    """Return the stratum 0 .. count - 1 of each value, of sizes as equal as can be; nan has -1, its own.

    Of m defined values, the one with r values below it has ``floor(count r / m)``. So equal values stay together,
    in the lowest of the strata that they would fill, and any increasing transform of the values changes nothing.

    Raises:
        ValueError: no strata.
    """
    if count < 1:
        raise ValueError(f"expected at least 1 stratum, got {count}")
    strata, defined = np.full(len(values), -1), ~np.isnan(values)
    below = rankdata(values[defined], "min").astype(np.int64) - 1
    strata[defined] = below * count // max(1, len(below))
    return strata


def matched_controls(
    treated: Int[np.ndarray, "t"],
    pool: Int[np.ndarray, "p"],
    features: Float[np.ndarray, "n k"],
    exact: Int[np.ndarray, "n"],
    rng: np.random.Generator | None = None,
) -> Int[np.ndarray, "t"]:
    """Return for each treated unit a unit of the pool with an equal ``exact`` and like features; -1 without one.

    Optimal matching without replacement (Rosenbaum 1989): within each group of equal ``exact`` (such as a layer) the
    features are divided by their standard deviation over the group's treated and pool units, and the sum of the
    Euclidean distances is the least there is. Where a group has more treated units than the pool, those that cost
    the most remain without. Units with an undefined feature are not matched.

    Args:
        treated: Units to match, as rows of ``features``.
        pool: Units to choose from, none of them treated.
        features: What the controls should share with the treated.
        exact: A group for each unit.
        rng: Shuffles the pool, so that ties are not broken by order.

    Raises:
        ValueError: not one group for each row of features, or units that are not rows or named twice.
    """
    units = np.concatenate([treated, pool])
    if len(exact) != len(features):
        raise ValueError(f"expected a group for each of {len(features)} units, got {len(exact)}")
    if not ((units >= 0) & (units < len(features))).all() or len(np.unique(units)) < len(units):
        raise ValueError(f"expected treated and pool units that are different rows of {len(features)}")
    if rng is not None:
        pool = rng.permutation(pool)
    controls, usable = np.full(len(treated), -1), np.all(np.isfinite(features), axis=1)
    pool = pool[usable[pool]]
    for group in np.unique(exact[treated]):
        at = np.flatnonzero((exact[treated] == group) & usable[treated])
        candidates = pool[exact[pool] == group]
        if not len(at) or not len(candidates):
            continue
        rows = features[np.concatenate([treated[at], candidates])].astype(np.float64)
        spread = rows.std(0)
        z = rows / np.where(_varies(spread, rows), spread, np.inf)
        matched, control = linear_sum_assignment(cdist(z[: len(at)], z[len(at) :]))
        controls[at[matched]] = candidates[control]
    return controls


def standardised_differences(
    treated: Int[np.ndarray, "t"], controls: Int[np.ndarray, "c"], features: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, "k"]:
    """Return ``(mean of treated - mean of controls) / sqrt((s_t^2 + s_c^2) / 2)`` of each feature.

    Below .1 in absolute value is commonly called balanced (Austin 2009). With the pool in the place of the controls
    it is the balance before matching. A control of -1 leaves its pair out, as :func:`matched_controls` means it. nan
    where a feature varies in neither set, or a set has fewer than 2 units.

    Raises:
        ValueError: -1 among controls that are not one for each treated unit.
    """
    if (controls < 0).any():
        if len(controls) != len(treated):
            raise ValueError(
                f"expected one control, or -1, for each of {len(treated)} treated units, got {len(controls)}"
            )
        treated, controls = treated[controls >= 0], controls[controls >= 0]
    x, y = (features[units].astype(np.float64) for units in (treated, controls))
    if min(len(x), len(y)) < 2:
        return np.full(features.shape[1], np.nan)
    with np.errstate(invalid="ignore"):  # infinite features
        spread = np.sqrt((x.var(0, ddof=1) + y.var(0, ddof=1)) / 2)
        return (x.mean(0) - y.mean(0)) / np.where(_varies(spread, np.concatenate([x, y])), spread, np.nan)


def _varies(spread: Float[np.ndarray, "k"], x: Float[np.ndarray, "n k"]) -> Bool[np.ndarray, "k"]:
    """Return whether a spread is more than rounding of the values."""
    return spread > 1e-12 * np.abs(x).max(0)


def _check_sizes(a: int, b: int, n: int) -> None:
    if n < 1 or not (0 <= a <= n and 0 <= b <= n):
        raise ValueError(f"expected sets of 0 to n of at least 1 unit, got sizes {a} and {b} of {n=}")
