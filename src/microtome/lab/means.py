"""The simplest estimate: a mean over units, with Student's interval."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from microtome.lab.estimate import Estimate

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


def mean_estimate(
    values: "pl.Series | np.ndarray",
    levels: Iterable[float],
    unit: str = "units",
    method: str = "Mean with Student's interval",
) -> Estimate:
    """Return the mean of ``n`` independent units with the interval ``mean ± t sd / sqrt(n)`` at each error level.

    ``t`` is Student's quantile with ``n - 1`` degrees of freedom and ``sd`` has ``n - 1`` below. The interval is exact
    for normal values. Of fewer than two units there is no interval.

    Args:
        values: one for each unit; where one is null or NaN, there is no mean.
        levels: error levels alpha.
        unit: what the units are, in the plural.
        method: the method in the study's words.
    """
    import numpy as np
    from scipy.stats import t

    x = np.asarray(values, float)
    n = len(x)
    if not n or not np.isfinite(x).all():
        reason = (
            f"{int((~np.isfinite(x)).sum())} of {n} {unit} are undefined" if n else f"there are no {unit}"
        )
        return Estimate.missing(reason, n=n, unit=unit, method=method)
    mean = float(x.mean())
    error = float(x.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan

    def interval(level: float) -> tuple[float, float]:
        reach = float(t.ppf((1 + level) / 2, n - 1)) * error
        return mean - reach, mean + reach

    return Estimate.with_intervals(mean, interval, levels, n=n, unit=unit, method=method)
