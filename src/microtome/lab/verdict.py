"""Verdicts: predictions meet estimates, corrected together by Holm's procedure on intervals.

A prediction is decided at error level a when the whole interval of level a lies in one of its regions and,
for support, the null's p is at most a. Holm (1979) starts at alpha/m with m predictions; each decided one
loosens the level for the rest to alpha/(m - decided). Intervals of one estimate nest, so testing intervals at
these levels is the same as sorting p-values.
"""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

from microtome.lab.estimate import Estimate, Interval, Null
from microtome.lab.prediction import Frozen, Prediction


class Outcome(StrEnum):
    """What a prediction came to."""

    SUPPORTED = "SUPPORTED"
    FALSIFIED = "FALSIFIED"
    INCONCLUSIVE = "INCONCLUSIVE"
    INSUFFICIENT = "INSUFFICIENT"
    INVALID = "INVALID"


class ControlResult(Frozen):
    """Whether a control passed, with what was measured."""

    name: str
    passed: bool
    detail: str


class Verdict(Frozen):
    """The outcome of one prediction and the evidence that decided it."""

    prediction: str
    outcome: Outcome
    reason: str
    alpha: float
    """The corrected error level at which the prediction was read."""
    interval: Interval | None
    estimate: Estimate
    controls: tuple[ControlResult, ...] = ()


def decide(
    predictions: Sequence[Prediction],
    estimates: Mapping[str, Estimate],
    controls: Mapping[str, ControlResult],
    alpha: float = 0.05,
) -> tuple[Verdict, ...]:
    """Return a verdict for each prediction, in their order.

    Args:
        predictions: all registered predictions of the run; their number is Holm's m.
        estimates: one for each prediction, by id. A missing one is an error of the study.
        controls: results by name; every control that a prediction names must be there.
        alpha: the error level for the family.

    Raises:
        KeyError: when an estimate or a control is missing.
    """
    barred = {p.id: bar for p in predictions if (bar := _bar(p, estimates[p.id], controls, alpha))}
    settled: dict[str, tuple[Outcome, float]] = {}
    level = alpha / max(1, len(predictions))
    while True:
        found = {
            p.id: (outcome, level)
            for p in predictions
            if p.id not in barred and p.id not in settled
            if (outcome := _read(p, estimates[p.id], level)) is not Outcome.INCONCLUSIVE
        }
        if not found:
            break
        settled |= found
        level = alpha / max(1, len(predictions) - len(settled))

    def verdict(p: Prediction) -> Verdict:
        estimate = estimates[p.id]
        outcome, at = settled.get(p.id, (Outcome.INCONCLUSIVE, level))
        reason = _explain(p, estimate, outcome, at)
        if outcome is Outcome.INCONCLUSIVE and (coarse := _too_coarse(p, estimate, at)):
            outcome, reason = Outcome.INSUFFICIENT, coarse
        outcome, reason = barred.get(p.id) or (outcome, reason)
        return Verdict(
            prediction=p.id,
            outcome=outcome,
            reason=reason,
            alpha=at,
            interval=estimate.at(at),
            estimate=estimate,
            controls=tuple(controls[name] for name in p.controls),
        )

    return tuple(verdict(p) for p in predictions)


def _bar(
    prediction: Prediction, estimate: Estimate, controls: Mapping[str, ControlResult], alpha: float
) -> tuple[Outcome, str] | None:
    """Return what keeps the prediction from being read at all, if anything does."""
    failed = [controls[name] for name in prediction.controls if not controls[name].passed]
    if failed:
        return Outcome.INVALID, "control failed: " + "; ".join(f"{c.name} ({c.detail})" for c in failed)
    if estimate.n < prediction.min_units:
        return (
            Outcome.INSUFFICIENT,
            f"{estimate.n} of the {prediction.min_units} {estimate.unit} that would be enough",
        )
    null = estimate.null
    if null and null.smallest_p > alpha:
        return Outcome.INSUFFICIENT, _coarse(null, alpha)
    if estimate.value is None:
        return Outcome.INSUFFICIENT, estimate.reason or "undefined"
    return None


def _too_coarse(prediction: Prediction, estimate: Estimate, alpha: float) -> str | None:
    """Say what would be enough when nothing but a null that cannot reach level ``alpha`` bars support."""
    interval, null = estimate.at(alpha), estimate.null
    supported = interval and prediction.supported_if.contains(interval.low, interval.high)
    return _coarse(null, alpha) if supported and null and null.smallest_p > alpha else None


def _coarse(null: Null, alpha: float) -> str:
    arrangements = math.ceil(1 / alpha - 1e-9)
    enough = null.enough or f"a null with at least {arrangements} arrangements would be enough"
    return f"the smallest p that can be reached is {null.smallest_p:.3g}, above {alpha:.3g}; {enough}"


def _read(prediction: Prediction, estimate: Estimate, alpha: float) -> Outcome:
    interval = estimate.at(alpha)
    if interval is None:
        return Outcome.INCONCLUSIVE
    if prediction.falsified_if.contains(interval.low, interval.high):
        return Outcome.FALSIFIED
    beyond_null = estimate.null is None or estimate.null.p <= alpha
    if beyond_null and prediction.supported_if.contains(interval.low, interval.high):
        return Outcome.SUPPORTED
    return Outcome.INCONCLUSIVE


def _explain(prediction: Prediction, estimate: Estimate, outcome: Outcome, alpha: float) -> str:
    interval = estimate.at(alpha)
    if interval is None:
        return "the interval is undefined"
    span = f"the {100 * (1 - alpha):.4g} % interval [{interval.low:.3g}, {interval.high:.3g}]"
    match outcome:
        case Outcome.SUPPORTED:
            return f"{span} lies in the supported region ({prediction.supported_if})"
        case Outcome.FALSIFIED:
            return f"{span} lies in the falsified region ({prediction.falsified_if})"
    null = estimate.null
    if null and null.p > alpha and prediction.supported_if.contains(interval.low, interval.high):
        return f"{span} lies in the supported region, but the null gives as much with p = {null.p:.3g}"
    return f"{span} lies in neither region"
