"""Effects of one condition against another, on the scale of their spread: Hedges' g, equivalence, and power."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats
from scipy.optimize import brentq
from scipy.special import gammaln

Sample = Float[np.ndarray, "_"]


class Difference(NamedTuple):
    """A difference of means; every number is nan where it is undefined."""

    value: float
    """Mean of ``x`` less mean of ``y``, in their unit."""
    error: float
    """Its standard error."""
    df: float
    """Degrees of freedom of Student's t."""

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return Student's interval at a level; ``(nan, nan)`` without spread."""
        if not self.error > 0:
            return np.nan, np.nan
        half = _half_width(self.error, self.df, level)
        return self.value - half, self.value + half

    @property
    def p(self) -> float:
        """Return the two-sided p of no difference."""
        if not self.error > 0:
            return np.nan
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.df))

    def equivalence_p(self, margin: float) -> float:
        """Return the p of two one-sided tests that the difference is not within ``margin`` of 0 (Schuirmann 1987).

        A p of at most alpha says that the two are equal up to the margin, which a large :attr:`p` does not.

        Raises:
            ValueError: the margin is not above 0.
        """
        if not margin > 0:
            raise ValueError(f"expected a margin above 0, got {margin}")
        if not self.error > 0:
            return np.nan
        return float(stats.t.sf((margin - abs(self.value)) / self.error, self.df))


def half_width(x: Sample, level: float = 0.95) -> float:
    """Return half of Student's interval of the mean of ``x``; nan of fewer than two values."""
    return _half_width(_error(x), float(len(x) - 1), level)


def welch(x: Sample, y: Sample) -> Difference:
    """Return the difference of means of two independent samples that may differ in spread (Welch 1947)."""
    if len(x) < 2 or len(y) < 2:
        return Difference(_mean(x) - _mean(y), np.nan, np.nan)
    a, b = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    if a + b == 0:
        return Difference(_mean(x) - _mean(y), 0.0, np.nan)
    df = (a + b) ** 2 / (a**2 / (len(x) - 1) + b**2 / (len(y) - 1))
    return Difference(_mean(x) - _mean(y), float(np.sqrt(a + b)), float(df))


def paired(x: Sample, y: Sample) -> Difference:
    """Return the mean difference of pairs, such as two arms under the same seeds.

    Raises:
        ValueError: the samples differ in length.
    """
    if len(x) != len(y):
        raise ValueError(f"expected pairs, got {len(x)} and {len(y)} values")
    d = x - y
    return Difference(_mean(d), _error(d), float(len(d) - 1))


class Standardised(NamedTuple):
    """Hedges' g with an interval; nan where undefined."""

    value: float
    low: float
    high: float


def hedges_g(x: Sample, y: Sample, level: float = 0.95) -> Standardised:
    """Return the difference of means in pooled standard deviations, without small-sample bias (Hedges 1981).

    ``g = J (mean x - mean y) / s_pooled`` with ``J = Gamma(m / 2) / (sqrt(m / 2) Gamma((m - 1) / 2))`` and
    ``m = n_x + n_y - 2``. The interval is that of the noncentral t (Steiger & Fouladi 1997): the noncentralities under
    which a t at least, and at most, as large as the observed one has a chance of half the error.
    """
    n, k = len(x), len(y)
    m = n + k - 2
    if min(n, k) < 2:
        return Standardised(np.nan, np.nan, np.nan)
    pooled = np.sqrt(((n - 1) * x.var(ddof=1) + (k - 1) * y.var(ddof=1)) / m)
    if pooled == 0:
        return Standardised(np.nan, np.nan, np.nan)
    size = np.sqrt(n * k / (n + k))
    t = float((x.mean() - y.mean()) / pooled * size)
    correction = np.exp(gammaln(m / 2) - gammaln((m - 1) / 2)) / np.sqrt(m / 2)
    alpha = (1 - level) / 2
    low, high = _noncentrality(t, m, 1 - alpha), _noncentrality(t, m, alpha)
    return Standardised(*(float(correction * value / size) for value in (t, low, high)))


def _noncentrality(t: float, df: int, below: float) -> float:
    """Return the noncentrality under which a noncentral t is at most ``t`` with probability ``below``."""

    def excess(nc: float) -> float:
        chance = float(stats.nct.cdf(t, df, nc))
        if np.isnan(chance):  # SciPy gives none far out, where it is 0 or 1
            chance = float(nc < t)
        return chance - below

    reach = 10 + 5 * abs(t)
    root: Any = brentq(excess, t - reach, t + reach)
    return float(root)


def power(d: float, n: int, alpha: float = 0.05) -> float:
    """Return the power of the two-sided t test of two samples of ``n`` each at a true difference of ``d`` sd.

    Raises:
        ValueError: fewer than two values an arm.
    """
    if n < 2:
        raise ValueError(f"expected at least 2 values an arm, got {n}")
    df, nc = 2 * n - 2, d * np.sqrt(n / 2)
    limit = stats.t.isf(alpha / 2, df)
    return float(stats.nct.sf(limit, df, nc) + stats.nct.cdf(-limit, df, nc))


def enough(d: float, power_wanted: float = 0.8, alpha: float = 0.05) -> int:
    """Return the smallest ``n`` an arm with which :func:`power` reaches what is wanted.

    Raises:
        ValueError: the difference is 0, for which no number is enough.
    """
    if d == 0:
        raise ValueError("expected a difference other than 0: no number of runs finds one that is not there")
    n = 2
    while power(d, n, alpha) < power_wanted:
        n += max(1, n // 64)
    while n > 2 and power(d, n - 1, alpha) >= power_wanted:
        n -= 1
    return n


def _mean(x: Sample) -> float:
    return float(x.mean()) if len(x) else np.nan


def _error(x: Sample) -> float:
    """Return the standard error of the mean."""
    return float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else np.nan


def _half_width(error: float, df: float, level: float) -> float:
    return float(stats.t.ppf((1 + level) / 2, df) * error)
