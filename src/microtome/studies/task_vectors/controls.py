"""The controls of a run: is the confound out, is steering exact, can the model do the tasks at all?"""

import polars as pl

from microtome.lab.seeds import stream
from microtome.lab.verdict import ControlResult
from microtome.measure.bootstrap import bootstrap_mean
from microtome.measure.centroids import centred_vectors
from microtome.studies.task_vectors.config import TaskVectorsConfig
from microtome.studies.task_vectors.data import Data

MOST_SIDE_EFFECT = 0.25
"""Nats per token of unrelated text beyond what random vectors of equal norm cost."""


def control_results(config: TaskVectorsConfig, data: Data) -> dict[str, ControlResult]:
    """Return the result of every control, by name."""
    results = (
        _same_final_token(data),
        _identity(data),
        _ability(config, data),
        _ceiling(config, data),
        _side_effect(data),
    )
    return {result.name: result for result in results}


def _same_final_token(data: Data) -> ControlResult:
    name = "same final token"
    differing = [
        template
        for template in ("suffix", "transfer", "word")
        if centred_vectors(getattr(data, template)[0]).any()
    ]
    if differing:
        detail = (
            f"the embeddings read in the {' and '.join(differing)} template differ between tasks: the tasks' "
            "words have different numbers of tokens, and this model embeds positions"
        )
        return ControlResult(name=name, passed=False, detail=detail)
    return ControlResult(
        name=name, passed=True, detail="the embeddings that are read are equal for all tasks"
    )


def _identity(data: Data) -> ControlResult:
    errors = pl.concat([data.sweep["identity_error"], data.steer["identity_error"]])
    if errors.is_empty():
        return ControlResult(name="identity", passed=True, detail="nothing was steered")
    worst = float(errors.max())  # pyright: ignore[reportArgumentType]
    return ControlResult(
        name="identity",
        passed=worst == 0,
        detail=f"largest change over {len(errors)} steered rows: {worst:g}",
    )


def _ability(config: TaskVectorsConfig, data: Data) -> ControlResult:
    from scipy.stats import binomtest

    right = data.answers.filter(pl.col("template") == "steering")["right"].to_numpy()
    count, chance = int((right == 1).sum()), 1 / len(config.tasks)
    p = binomtest(count, len(right), chance, alternative="greater").pvalue
    return ControlResult(
        name="ability",
        passed=bool(p < 0.05),
        detail=f"{count} of {len(right)} items answered, {chance:.0%} by guessing (p = {p:.2g})",
    )


def _ceiling(config: TaskVectorsConfig, data: Data) -> ControlResult:
    pairs = data.steered_pairs
    if len(pairs) < 2:
        return ControlResult(
            name="ceiling", passed=False, detail=f"{len(pairs)} operand pairs could be steered"
        )
    rng = stream(config.seeds[0], "controls", "ceiling")
    found = bootstrap_mean(pairs["ceiling"].to_numpy(), rng, config.resamples)
    low, high = found.interval(0.95)
    return ControlResult(
        name="ceiling",
        passed=bool(low > 0),
        detail=f"{found.value:.2f} nats [{low:.2f}, {high:.2f}] for really asking the target task",
    )


def _side_effect(data: Data) -> ControlResult:
    name = "side effect"
    nats = {
        kind: data.side_effect.filter(pl.col("kind") == kind)["nats"].to_numpy()
        for kind in ("task", "random")
    }
    if not len(nats["task"]) or not len(nats["random"]):
        return ControlResult(name=name, passed=True, detail="nothing was steered")
    task, random = nats["task"].mean(), nats["random"].mean()
    return ControlResult(
        name=name,
        passed=bool(task - random < MOST_SIDE_EFFECT),
        detail=f"{task:+.3f} nats per token on average, {random:+.3f} for random vectors of equal norm",
    )
