"""Bootstrap intervals over units: BCa (Efron 1987), widened for few units.

With n units, BCa and all other intervals made of bootstrap quantiles are too narrow: they use the normal's
tails where Student's t belongs, and a spread that is too small by sqrt((n - 1) / n). Two repairs are known,
and both give Student's interval for normal data: to take more extreme quantiles (Hesterberg's expanded
percentiles), and to stretch the two arms of the interval by the same ratio. The first stops at the most
extreme draws, which high (corrected) levels reach; the second is too short for discrete data. The widened
interval takes the farther of the two on each side.

One-sided errors in percent (truth below the interval, truth above it) of a mean at the nominal 2.5, from 4000
samples of each size and 2000 draws, with a Monte Carlo error of about 0.3:

    distribution              n = 8             n = 12            n = 24
                         BCa   widened      BCa   widened      BCa   widened
    normal            6.3  5.2  2.9  2.4   5.0  4.5  2.9  2.5   3.6  3.4  2.9  2.3
    uniform           3.9  4.3  1.7  2.1   3.1  3.0  1.7  1.5   3.0  2.6  2.1  1.8
    Student's t, 3    7.3  7.6  3.1  3.4   6.2  6.3  3.6  3.5   5.1  5.0  4.0  3.5
    hits of 5, p = .8 6.5  4.0  3.9  1.9   5.1  3.2  2.5  1.8   4.0  2.9  2.9  2.1
    exponential       2.8 11.2  0.4  7.1   2.9  7.7  1.2  5.2   2.8  5.7  1.9  4.4
    lognormal         1.7 17.3  0.2 12.3   2.1 13.8  0.7 10.2   2.3  9.8  1.3  8.1

No interval cures strong skewness at small n (the bootstrap-t errs by 7 and 10 in the last two rows at n = 8,
with intervals up to twice as long).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, ndtri, stdtrit

Statistic = Callable[[Int[np.ndarray, "draws m"]], Float[np.ndarray, "draws"]]
"""A statistic of resampled units: it takes a matrix with the units of one draw in each row."""


Bounds = tuple[float | int, float | int]
UNBOUNDED = (-np.inf, np.inf)


@dataclass(frozen=True)
class Bootstrap:
    """An estimate over ``n`` units with its bootstrap draws."""

    value: float
    draws: Float[np.ndarray, "draws"]
    acceleration: float
    """Skewness of the statistic's jackknife influence, over 6: how fast its spread changes with its value."""
    n: int
    bounds: Bounds = UNBOUNDED
    """The values that the mean of a unit can take at all; an interval does not leave them."""
    constant: bool = False
    """Whether all units are equal, so that resampling shows no spread."""
    undefined: str | None = None
    """Why there is no interval, or None."""

    def interval(self, level: float = 0.95, widen: bool = True) -> tuple[float, float]:
        """Return the BCa interval at a level, widened for few units unless ``widen`` is false.

        ``(nan, nan)`` when :attr:`undefined` says why. When all units are equal, resampling says nothing: the
        interval is the point itself if the values have no bounds. With bounds it is exact, free of
        assumptions: a value that all n units took has a probability of at least ``q = (alpha / 2) ** (1 /
        n)``, the rest can be anywhere between the bounds (for 12 of 12 right, the 95 % interval of the
        accuracy is [.735, 1]).

        Raises:
            ValueError: the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"expected a level between 0 and 1, such as 0.95, got {level}")
        if self.undefined:
            return np.nan, np.nan
        alpha = (1 - level) / 2
        if self.constant:
            return self._constant_interval(alpha)
        z = float(ndtri(alpha))
        low, high = self._bca(z)
        if widen:
            t = float(stdtrit(self.n - 1, alpha)) * np.sqrt(self.n / (self.n - 1))
            expanded = self._bca(t)
            low = min(expanded[0], self.value + t / z * (low - self.value))
            high = max(expanded[1], self.value + t / z * (high - self.value))
        return max(low, float(self.bounds[0])), min(high, float(self.bounds[1]))

    def _bca(self, z: float) -> tuple[float, float]:
        """Return the quantiles at the normal's ``z`` and ``-z``, corrected for bias and skewness."""
        offset = self.draws - self.value
        rounding = 1e-12 * max(abs(self.value), float(np.abs(self.draws).max()))
        below = ((offset < -rounding).mean() + (offset <= rounding).mean()) / 2
        half_a_draw = 0.5 / len(self.draws)
        bias = ndtri(np.clip(below, half_a_draw, 1 - half_a_draw))
        distance = bias + np.array([z, -z])
        shrink = 1 - self.acceleration * distance
        corrected = np.where(
            shrink > 0, bias + distance / np.maximum(shrink, 1e-300), np.inf * np.sign(distance)
        )
        low, high = np.quantile(self.draws, ndtr(corrected))
        return float(low), float(high)

    def _constant_interval(self, alpha: float) -> tuple[float, float]:
        if not np.isfinite(self.bounds).all():
            return self.value, self.value
        q = alpha ** (1 / self.n)
        return q * self.value + (1 - q) * self.bounds[0], q * self.value + (1 - q) * self.bounds[1]


def bootstrap_mean(
    x: Float[np.ndarray, "n"],
    rng: np.random.Generator,
    draws: int = 2000,
    clusters: Int[np.ndarray, "n"] | None = None,
    bounds: Bounds = UNBOUNDED,
) -> Bootstrap:
    """Bootstrap the mean of ``x`` over its units, or over the clusters that the units belong to.

    Clusters are drawn whole, and the mean stays the mean of all units (the ratio of the drawn clusters' sums
    to their sizes), so clusters may differ in size; ``n`` is then the number of clusters.

    Raises:
        ValueError: clusters of another length than ``x``, or values outside the bounds.
    """
    if clusters is not None and clusters.shape != x.shape:
        raise ValueError(f"expected one cluster for each of {len(x)} units, got the shape {clusters.shape}")
    x = np.asarray(x, np.float64)
    missing = int(np.isnan(x).sum())
    if missing:
        return _undefined(np.nan, len(x), f"{missing} of {len(x)} units are undefined")
    if x.size and not (bounds[0] <= x.min() and x.max() <= bounds[1]):
        raise ValueError(f"expected values within the bounds {bounds}, got [{x.min()}, {x.max()}]")
    if clusters is None:
        statistic, n = mean_of(x), len(x)
    else:
        codes, sizes = np.unique(clusters, return_inverse=True, return_counts=True)[1:]
        statistic, n = ratio_of_means(np.bincount(codes, x, len(sizes)), sizes.astype(np.float64)), len(sizes)
    return bootstrap_statistic(statistic, n, rng, draws, bounds)


def bootstrap_statistic(
    statistic: Statistic,
    n: int,
    rng: np.random.Generator,
    draws: int = 2000,
    bounds: Bounds = UNBOUNDED,
) -> Bootstrap:
    """Bootstrap any statistic of ``n`` units.

    ``statistic`` takes a matrix ``[draws, m]`` of units, a row for each draw, and returns ``[draws]`` values.
    It is called with the n units in order (the value), with n of them resampled (the draws), and with each
    unit left out (the acceleration, so m is n - 1). See :func:`mean_of`, :func:`ratio_of_means`,
    :func:`coefficient_of_variation`.

    Raises:
        ValueError: fewer than 2 draws.
    """
    if draws < 2:
        raise ValueError(f"expected at least 2 bootstrap draws, got {draws}")
    if n < 1:
        return _undefined(np.nan, n, "there are no units")
    value = float(statistic(np.arange(n)[None])[0])
    if np.isnan(value):
        return _undefined(value, n, "the statistic is undefined on the data")
    if n < 2:
        return _undefined(value, n, "one unit has no spread")
    resampled = statistic(rng.integers(n, size=(draws, n)))
    left_out = statistic(leave_one_out(n))
    missing = float(np.isnan(np.concatenate([resampled, left_out])).mean())
    if missing:
        return _undefined(value, n, f"the statistic is undefined on {missing:.1%} of the resamples")
    spread = max(float(np.ptp(resampled)), float(np.ptp(left_out)))
    constant = spread <= 1e-12 * max(abs(value), float(np.abs(resampled).max()))
    return Bootstrap(value, resampled, _acceleration(left_out), n, bounds, constant)


def mean_of(x: Float[np.ndarray, "n"]) -> Statistic:
    """Return the mean as a statistic of resampled units."""
    return lambda units: x[units].mean(-1)


def ratio_of_means(numerator: Float[np.ndarray, "n"], denominator: Float[np.ndarray, "n"]) -> Statistic:
    """Return ``mean(numerator) / mean(denominator)`` as a statistic; nan where the denominator is zero.

    Raises:
        ValueError: the two differ in length.
    """
    if numerator.shape != denominator.shape:
        raise ValueError(f"expected equal lengths, got {numerator.shape} over {denominator.shape}")

    def statistic(units: Int[np.ndarray, "draws m"]) -> Float[np.ndarray, "draws"]:
        below = denominator[units].mean(-1)
        return np.divide(numerator[units].mean(-1), below, out=np.full(len(units), np.nan), where=below != 0)

    return statistic


def coefficient_of_variation(x: Float[np.ndarray, "n labels"], root: bool = False) -> Statistic:
    """Return the coefficient of variation over labels of the mean over units, as a statistic.

    ``sd_labels(m) / mean_labels(m)`` with ``m = mean_units(x)``, or its root when ``x`` holds squared norms
    (``root``); the standard deviation has ``labels - 1`` below. nan where a squared norm is negative or the
    mean is not positive.
    """

    def statistic(units: Int[np.ndarray, "draws m"]) -> Float[np.ndarray, "draws"]:
        means = x[units].mean(-2)
        if root:
            means = np.sqrt(np.where(means < 0, np.nan, means))
        centre = means.mean(-1)
        return np.divide(means.std(-1, ddof=1), centre, out=np.full(len(units), np.nan), where=centre > 0)

    return statistic


def leave_one_out(n: int) -> Int[np.ndarray, "n m"]:
    """Return the ``n`` rows of units that leave unit 0, 1, ... out."""
    kept = np.arange(n - 1)[None]
    return kept + (kept >= np.arange(n)[:, None])


def _acceleration(left_out: Float[np.ndarray, "n"]) -> float:
    influence = left_out.mean() - left_out
    spread = np.square(influence).sum()
    return float((influence**3).sum() / (6 * spread**1.5)) if spread > 0 else 0.0


def _undefined(value: float, n: int, reason: str) -> Bootstrap:
    return Bootstrap(value, np.empty(0), np.nan, n, undefined=reason)
