"""An estimate: a value with its intervals, the number of units, the method, and its null if it has one."""

import math
from collections.abc import Callable, Iterable
from typing import Self

from pydantic import FiniteFloat, model_validator

from microtome.lab.prediction import Frozen


def alphas(predictions: int, alpha: float = 0.05) -> tuple[float, ...]:
    """Return the error levels alpha/m, ..., alpha/2, alpha at which Holm's procedure may decide."""
    return tuple(alpha / k for k in range(predictions, 0, -1))


class Interval(Frozen):
    """A two-sided interval that misses the estimand with probability ``alpha``."""

    alpha: float
    low: FiniteFloat
    high: FiniteFloat


class Null(Frozen):
    """What the estimate would be if the claim had nothing to it."""

    description: str
    p: float
    """Chance of a value at least this extreme under the null: (1 + #) / (1 + draws)."""
    smallest_p: float
    """The smallest p that this null can give, with the draws or arrangements that there are."""
    center: float | None = None
    """Mean of the null distribution, on the scale of the estimate."""
    enough: str | None = None
    """What would make the null fine enough, said when it is too coarse."""


class Estimate(Frozen):
    """A measured value on the scale of its prediction."""

    value: float | None
    intervals: tuple[Interval, ...] = ()
    n: int
    """How many units the interval is taken over."""
    unit: str
    """What those units are, in the plural: ``operand pairs``, ``neurons`` ..."""
    method: str
    null: Null | None = None
    reason: str | None = None
    """Why the value is missing; required when it is."""

    @model_validator(mode="after")
    def _undefined_has_a_reason(self) -> Self:
        if self.value is None and not self.reason:
            raise ValueError("an estimate without a value needs a reason")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"expected a finite value, or None with a reason; got {self.value}")
        return self

    @classmethod
    def missing(cls, reason: str, *, n: int, unit: str, method: str) -> "Estimate":
        """Return the estimate of something that cannot be computed."""
        return cls(value=None, n=n, unit=unit, method=method, reason=reason)

    @classmethod
    def with_intervals(
        cls,
        value: float,
        interval: Callable[[float], tuple[float, float]],
        levels: Iterable[float],
        *,
        n: int,
        unit: str,
        method: str,
        null: Null | None = None,
    ) -> "Estimate":
        """Return an estimate with ``interval(1 - alpha)`` for each error level alpha in ``levels``."""
        found = [(alpha, *interval(1 - alpha)) for alpha in levels]
        intervals = tuple(
            Interval(alpha=alpha, low=float(low), high=float(high))
            for alpha, low, high in found
            if math.isfinite(low) and math.isfinite(high)
        )
        return cls(value=float(value), intervals=intervals, n=n, unit=unit, method=method, null=null)

    def at(self, alpha: float) -> Interval | None:
        """Return the interval with error level ``alpha``, or None where it is undefined."""
        return next((i for i in self.intervals if math.isclose(i.alpha, alpha)), None)
