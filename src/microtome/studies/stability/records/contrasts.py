"""Cells of runs on the signed scale y = ln(R after / R before), and the difference between two of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from jaxtyping import Float

from microtome.lab.estimate import Null
from microtome.lab.seeds import stream
from microtome.measure.effects import (
    Difference,
    Standardised,
    enough,
    hedges_g,
    paired,
    power,
    welch,
)
from microtome.studies.stability.protocol import IMMUNE

EXACT = 20_000
"""Arrangements up to which a permutation test takes every one; of more it draws this many."""


@dataclass(frozen=True, eq=False)
class Cell:
    """The signed effects of the runs that differ in nothing but their seed."""

    name: str
    seeds: tuple[int, ...]
    values: Float[np.ndarray, " n"]
    """y of each run."""

    @property
    def mean(self) -> Difference:
        """Return the mean, as a difference from no effect."""
        return paired(self.values, np.zeros_like(self.values))

    @property
    def sd(self) -> float:
        """Return the standard deviation over runs; nan of one."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else np.nan

    @property
    def null(self) -> Null | None:
        """Return the exact test of no effect: every run's sign could as well be the other (Fisher 1935)."""
        return _sign_flips(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True, eq=False)
class Comparison:
    """One cell less another."""

    first: Cell
    second: Cell

    @property
    def name(self) -> str:
        """Return ``first less second``."""
        return f"{self.first.name} less {self.second.name}"

    @property
    def shared(self) -> tuple[int, ...]:
        """Return the seeds by which runs are paired: all of the smaller cell, or none."""
        both = sorted({*self.first.seeds} & {*self.second.seeds})
        smaller = min(len(self.first.seeds), len(self.second.seeds))
        return tuple(both) if len(both) == smaller > 1 else ()

    @property
    def n(self) -> int:
        """Return the number of pairs, or of runs in the smaller cell."""
        return len(self.shared) or min(len(self.first.values), len(self.second.values))

    @property
    def method(self) -> str:
        """Return how the interval is made."""
        return "paired by seed, Student's interval" if self.shared else "Welch's interval"

    @property
    def difference(self) -> Difference:
        """Return the difference of means: of pairs where the seeds are shared, else Welch's."""
        return paired(*self._pairs) if self.shared else welch(self.first.values, self.second.values)

    @property
    def g(self) -> Standardised:
        """Return Hedges' g of the two cells, pairs aside, with its 95 % interval."""
        return hedges_g(self.first.values, self.second.values)

    @property
    def null(self) -> Null | None:
        """Return the permutation test of no difference: of signs within pairs, else of the runs' cells."""
        if min(len(self.first.values), len(self.second.values)) < 2:
            return None
        if self.shared:
            x, y = self._pairs
            return _sign_flips(x - y)
        return _relabelled(self.first.values, self.second.values)

    @property
    def power(self) -> float:
        """Return the power of these runs to find a difference of one standard deviation."""
        return power(1.0, self.n) if self.n > 1 else np.nan

    @property
    def needed(self) -> float:
        """Return how many runs a cell would find a difference of 5 % of the rank with a power of 80 %."""
        spread = np.sqrt((self.first.sd**2 + self.second.sd**2) / 2)
        return enough(IMMUNE / spread) if spread > 0 else np.nan

    @property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        first, second = (
            np.array([dict(zip(cell.seeds, cell.values, strict=True))[seed] for seed in self.shared])
            for cell in (self.first, self.second)
        )
        return first, second


def holm(p: Sequence[float]) -> list[float]:
    """Return p corrected together by Holm's procedure (1979); an undefined p stays out of the family."""
    from statsmodels.stats.multitest import multipletests

    p_, defined = np.asarray(p, float), np.isfinite(np.asarray(p, float))
    if defined.any():
        p_[defined] = multipletests(p_[defined], method="holm")[1]
    return p_.tolist()


def equivalence(difference: Difference) -> float:
    """Return the p of two one-sided tests that a mean or difference lies within 5 % of the rank."""
    return difference.equivalence_p(IMMUNE)


def _sign_flips(d: np.ndarray) -> Null:
    words = "the signs of the differences are flipped, in every pattern"
    return _permuted((d,), lambda x, axis: x.mean(axis), "samples", 2 ** len(d), words, _signs_enough)


def _relabelled(x: np.ndarray, y: np.ndarray) -> Null:
    words = "the runs are dealt to the two cells anew, in every way"

    def statistic(a: Any, b: Any, axis: int) -> Any:
        return a.mean(axis) - b.mean(axis)

    return _permuted((x, y), statistic, "independent", comb(len(x) + len(y), len(x)), words, _deals_enough)


def _permuted(
    data: tuple[np.ndarray, ...],
    statistic: Callable[..., Any],
    kind: str,
    arrangements: int,
    words: str,
    least: Callable[[float], int],
) -> Null:
    from scipy import stats

    exact = arrangements <= EXACT
    found = stats.permutation_test(
        data,
        statistic,
        permutation_type=kind,
        n_resamples=EXACT,
        vectorized=True,
        rng=stream(0, "permutation"),
    )
    return Null(
        description=words if exact else f"{words.rsplit(',', 1)[0]}, {EXACT} times at random",
        p=float(found.pvalue),
        smallest_p=min(1.0, 2 / (arrangements if exact else EXACT + 1)),
        center=0.0,
        enough=f"{least(0.05)} runs would be enough for one claim alone",
    )


def _signs_enough(alpha: float) -> int:
    return next(n for n in range(2, 99) if 2 / 2**n <= alpha)


def _deals_enough(alpha: float) -> int:
    return next(n for n in range(2, 99) if 2 / comb(2 * n, n) <= alpha)
