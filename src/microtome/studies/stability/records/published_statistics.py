"""The tests of the published analysis: of signed reductions, uncorrected, and undefined with a reason."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

SIGNIFICANT = 0.05
MARKS = {"***": 0.001, "**": 0.01, "*": SIGNIFICANT}
"""The p below which each mark is set; ``ns`` otherwise."""


def mark(p: float | None) -> str:
    """Return the stars of a p, ``ns`` or an empty string."""
    if p is None:
        return ""
    return next((sign for sign, limit in MARKS.items() if p < limit), "ns")


def why_untested(groups: Sequence[np.ndarray]) -> str | None:
    """Return why means of groups cannot be compared; ``None`` if they can."""
    if len(groups) < 2:
        return "one group has nothing to be compared with"
    if not all(np.isfinite(group).all() for group in groups):
        return "a run's value is not finite"
    if max(map(len, groups)) < 2:
        return "no group has two runs, so the spread within groups is unknown"
    if all(np.ptp(group) == 0 for group in groups):
        return "no group has any spread"
    return None


def anova(groups: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return F and p of the one-way analysis of variance of signed values; ``None`` with the reason in ``error``."""
    from scipy.stats import f_oneway

    reason = why_untested(groups)
    statistic, p = (None, None) if reason else map(float, f_oneway(*groups))
    return {"f_statistic": statistic, "p_value": p, "significant": _significant(p), "error": reason}


def t_test(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Return t and p of Student's test of two samples of one variance; as :func:`anova` where undefined."""
    from scipy.stats import t

    reason = why_untested([x, y])
    statistic = p = None
    if not reason:
        df = len(x) + len(y) - 2
        within = ((x - x.mean()) ** 2).sum() + ((y - y.mean()) ** 2).sum()
        statistic = float((x.mean() - y.mean()) / np.sqrt(within / df * (1 / len(x) + 1 / len(y))))
        p = float(2 * t.sf(abs(statistic), df))
    return {"t_statistic": statistic, "p_value": p, "significant": _significant(p), "error": reason}


def pairwise(groups: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Return the p of :func:`t_test` of each pair by ``<one> vs <other>``, with ``error`` where it is undefined."""
    found = {}
    for one, other in combinations(groups, 2):
        test = t_test(groups[one], groups[other])
        kept = ("p_value",) if test["error"] is None else ("p_value", "error")
        found[f"{one} vs {other}"] = {name: test[name] for name in kept}
    return found


def _significant(p: float | None) -> bool | None:
    return None if p is None else p < SIGNIFICANT
