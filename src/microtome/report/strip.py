"""The drawing of one estimate's interval against the regions of its prediction: geometry only.

Positions are percentages of the strip's width, so that the template can draw it at any size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from microtome.lab.prediction import Prediction, Region
from microtome.lab.verdict import Verdict
from microtome.report.words import number


@dataclass(frozen=True)
class Span:
    """A stretch of the strip, from ``left`` over ``width``, in percent."""

    left: float
    width: float


@dataclass(frozen=True)
class Tick:
    """A labelled place on the strip."""

    at: float
    label: str


@dataclass(frozen=True)
class Strip:
    """Everything that is drawn."""

    supported: tuple[Span, ...]
    falsified: tuple[Span, ...]
    interval: Span | None
    value: float | None
    null: float | None
    ticks: tuple[Tick, ...]
    label: str
    """The drawing in words, for those who cannot see it."""


def strip(prediction: Prediction, verdict: Verdict, beside: Verdict | None = None) -> Strip:
    """Lay out the interval that decided, the value, the null's centre and both regions on one scale.

    The scale has room for ``beside`` too, so that two strips of one prediction can be compared by eye.
    """
    estimate, interval = verdict.estimate, verdict.interval
    null = estimate.null.center if estimate.null else None
    edges = _finite_bounds(prediction.supported_if) + _finite_bounds(prediction.falsified_if)
    low, high = _range(edges + _marks(verdict) + (_marks(beside) if beside else []))

    def at(x: float) -> float:
        return 100 * (x - low) / (high - low)

    def spans(region: Region) -> tuple[Span, ...]:
        inside = [(max(a, low), min(b, high)) for a, b in region.bounds]
        return tuple(Span(at(a), at(b) - at(a)) for a, b in inside if b > a)

    return Strip(
        supported=spans(prediction.supported_if),
        falsified=spans(prediction.falsified_if),
        interval=Span(at(interval.low), at(interval.high) - at(interval.low)) if interval else None,
        value=None if estimate.value is None else at(estimate.value),
        null=None if null is None else at(null),
        ticks=_ticks(sorted(set(edges)), at),
        label=_in_words(prediction, verdict),
    )


def _finite_bounds(region: Region) -> list[float]:
    return [x for span in region.bounds for x in span if math.isfinite(x)]


def _marks(verdict: Verdict) -> list[float]:
    estimate, interval = verdict.estimate, verdict.interval
    ends = [interval.low, interval.high] if interval else []
    null = estimate.null.center if estimate.null else None
    return ends + [x for x in (estimate.value, null) if x is not None]


def _range(points: list[float]) -> tuple[float, float]:
    """Return the ends of the scale: every point, and room on both sides."""
    low, high = min(points, default=0.0), max(points, default=1.0)
    room = 0.18 * (high - low) or max(1.0, abs(low))
    return low - room, high + room


def _ticks(edges: list[float], at: Callable[[float], float]) -> tuple[Tick, ...]:
    """Label the regions' edges, leaving out those that would print over their neighbour."""
    ticks: list[Tick] = []
    for x in edges:
        place = at(x)
        if not ticks or place - ticks[-1].at > 11:
            ticks.append(Tick(place, number(x)))
    return tuple(ticks)


def _in_words(prediction: Prediction, verdict: Verdict) -> str:
    regions = f"supported if {prediction.supported_if}; falsified if {prediction.falsified_if}"
    if verdict.interval is None:
        return f"No interval; {regions}."
    return f"Interval from {number(verdict.interval.low)} to {number(verdict.interval.high)}; {regions}."
