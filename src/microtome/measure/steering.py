"""Statistics of causal results: specific effects, shares of a ceiling, forced choice, the echo baseline."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from microtome.measure.bootstrap import Bootstrap, bootstrap_statistic, ratio_of_means
from microtome.measure.choice import votes
from microtome.measure.layout import RESOLUTION


def specific_effect(
    steered: Float[np.ndarray, "*shape"],
    base: Float[np.ndarray, "*shape_1"],
    steered_elsewhere: Float[np.ndarray, "*shape_2"],
    base_elsewhere: Float[np.ndarray, "*shape_3"],
) -> Float[np.ndarray, "*shape"]:
    """Return how far steering moves this pair's answers beyond how far it moves another pair's, in nats.

    ``(steered - base) - (steered_elsewhere - base_elsewhere)``, each a log-probability difference (target's
    answer less source's) under the same prompt; *elsewhere* scores the answers that another operand pair
    would have. Steering that only makes numbers, or the target task's kind of number, more likely has a
    specific effect of 0.

    Raises:
        ValueError: the four arrays differ in shape.
    """
    shapes = [array.shape for array in (steered, base, steered_elsewhere, base_elsewhere)]
    if len(set(shapes)) > 1:
        raise ValueError(f"expected four arrays of one shape, got {shapes}")
    return np.asarray((steered - base) - (steered_elsewhere - base_elsewhere))


def share_of_ceiling(
    effect: Float[np.ndarray, "pairs *items"],
    ceiling: Float[np.ndarray, "other_pairs *other_items"],
    rng: np.random.Generator,
    draws: int = 2000,
    least_positive: float = 0.975,
) -> Bootstrap:
    """Return the mean effect over the mean ceiling, with its bootstrap over pairs.

    The ceiling is the effect of really swapping the task word in the same items. Items of a pair (axes after
    the first) are averaged first and pairs resampled, effect and ceiling together. A share of a ceiling that
    is not clearly there means nothing: the interval is undefined unless the ceiling's mean is positive in the
    share ``least_positive`` of the resamples.

    Raises:
        ValueError: effect and ceiling differ in shape, or are empty.
    """
    if effect.shape != ceiling.shape or not effect.size:
        raise ValueError(
            f"expected an effect and a ceiling of one shape, got {effect.shape} and {ceiling.shape}"
        )
    pairs = len(effect)
    above, below = effect.reshape(pairs, -1).mean(1), ceiling.reshape(pairs, -1).mean(1)
    positive = float((below[rng.integers(pairs, size=(draws, pairs))].mean(1) > 0).mean())
    result = bootstrap_statistic(ratio_of_means(above, below), pairs, rng, draws)
    if positive >= least_positive or result.undefined:
        return result
    reason = f"the ceiling is positive in only {positive:.1%} of the resamples (needed: {least_positive:.1%})"
    return replace(result, undefined=reason)


def calibrated(
    logp: Float[np.ndarray, "*layers pairs prompts answers"],
) -> Float[np.ndarray, "*layers pairs prompts answers"]:
    """Return log-probabilities less the mean of each answer over the prompts of its pair.

    A number that is likely whatever the task (a short one, an echo of an operand) loses that advantage; what
    is left says which prompt favours it (contextual calibration, with the other tasks' prompts as context).
    An answer with an undefined log-probability under any prompt of its pair becomes nan under all of them.
    """
    logp = np.asarray(logp, np.float64)
    shift = logp - logp.mean(-2, keepdims=True)
    return np.where(np.abs(shift) <= RESOLUTION * np.abs(logp).max(-2, keepdims=True), 0.0, shift)


def forced_choice(
    logp: Float[np.ndarray, "*layers pairs labels answers"], calibrate: bool = True
) -> Float[np.ndarray, "*layers pairs labels answers"]:
    """Return each prompt's votes for the tasks' answers by log-probability, calibrated unless told otherwise.

    Entry ``[pair, task asked, task whose answer it is]``. Answers that tie share a vote, so two tasks with
    the same answer for a pair get half each; an undefined answer is not offered. Take
    :func:`microtome.measure.choice.correctness` of the votes for the accuracy.

    Raises:
        ValueError: the prompts of a pair are not as many as its answers, or fewer than 2.
    """
    if logp.ndim < 3 or logp.shape[-1] != logp.shape[-2] or logp.shape[-1] < 2:
        raise ValueError(
            f"expected [*layers, pairs, labels, labels] with at least 2 labels, got {logp.shape}"
        )
    return votes(calibrated(logp) if calibrate else logp)


def echo_correctness(
    operands: Int[np.ndarray, "pairs k"], answers: Int[np.ndarray, "other_pairs labels"], position: int = 0
) -> Float[np.ndarray, "other_pairs labels"]:
    """Return 1 where repeating the operand at ``position`` would be the right answer, else 0.

    The accuracy of a model that echoes its first operand: high for minimum and maximum, and no arithmetic.

    Raises:
        ValueError: operands and answers are not of the same pairs, or there is no such operand.
    """
    if len(operands) != len(answers):
        raise ValueError(
            f"expected operands and answers of the same pairs, got {len(operands)} and {len(answers)}"
        )
    if not 0 <= position < operands.shape[1]:
        raise ValueError(f"expected an operand position from 0 to {operands.shape[1] - 1}, got {position}")
    return (answers == operands[:, position, None]).astype(np.float64)
