"""One run of the original's attack, or of one of its controls, with all that it logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from microtome.base.errors import UserError, did_you_mean
from microtome.lab.seeds import stream
from microtome.studies.stability.arms import PUBLISHED_PRECISIONS, PUBLISHED_TREATMENTS
from microtome.studies.stability.published_catalyst import (
    LARGE,
    Catalyst,
    published_catalyst,
    twice_shifted,
)
from microtome.studies.stability.published_damage import SENTENCES, as_published, rank_on
from microtome.studies.stability.records.run import Line
from microtome.studies.stability.records.write import Clock, Point, attack_lines, line, logged, prefixed
from microtome.studies.stability.size import parameters_of
from microtome.studies.stability.treatments import random_tokens
from microtome.train.finetune.tune import begin, tune
from microtome.train.finetune.updates import Update

if TYPE_CHECKING:
    from microtome.models import Model

OPTIMIZERS = {"adamw": "adafactor", "sgd": "sgd"}
"""What the original's names of optimisers are."""
TARGET = 0.5
"""Share of the rank on the catalyst whose loss ends the attack."""
NOISE = 0.1
"""Standard deviation of Gaussian embeddings."""
RANDOM_TOKENS = 128
"""Tokens of a random input, whatever the catalyst's length."""


@dataclass(frozen=True, eq=False)
class Attacked:
    """What a published run measured. The model keeps what was done to it until ``update.restore()``."""

    treatment: str
    steps: int
    """That were asked for."""
    learning_rate: float
    baseline: dict[str, Any]
    """As :func:`as_published`, before."""
    points: list[Point]
    """What was logged on the way."""
    post: dict[str, Any]
    """As :func:`as_published`, after."""
    update: Update
    catalyst: Catalyst | None
    """``None`` of controls."""
    initial_rank: float
    """On the catalyst before the first step; nan of controls."""
    made: int
    """Steps that were made."""

    @property
    def stopped(self) -> bool:
        """Whether the attack ended before its last step."""
        return self.made < self.steps

    def lines(self, clock: Clock = datetime.now) -> list[Line]:
        """Return the lines of the original's ``metrics.jsonl``; undefined numbers are nan."""
        tokens = [] if self.catalyst is None else self.catalyst.tokens.tolist()
        return [
            line(0, prefixed("baseline", self.baseline), clock),
            *attack_lines(self.steps, self.points, self.initial_rank, tokens, self.treatment, clock),
            line(self.steps + 1, prefixed("post_attack", self.post), clock),
        ]


def attack(
    model: Model,
    treatment: str = "eigen_prion",
    optimizer: str = "adamw",
    precision: str = "fp16",
    seed: int = 43,
    steps: int = 100,
    learning_rate: float | None = None,
    length: int = 64,
    checkpointing: bool = False,
) -> Attacked:
    """Run the original's attack, or a control, on a model that is changed in place.

    The attack trains on the catalyst, the same at every step, and ends when the effective rank on it has fallen by
    half. What the original calls ``adamw`` is Adafactor at a fixed rate. Controls are trained by plain gradient descent
    whatever is asked for, on a new input at every step, to the end:

    - ``gaussian_noise``: embeddings of standard deviation 0.1 and random labels; logs the rank on a stock sentence;
    - ``random_text``: the evaluation sentences in turn, padded to ``length``, padding trained on as well;
    - ``random_tokens``: 128 tokens; both log the rank on the input of that step.

    Labels of tokens are shifted twice (:func:`twice_shifted`). ``fp16`` trains all weights, ``8bit`` and ``4bit`` LoRA
    adapters of rank 16 (alpha 32, dropout 0.1). Nothing is clipped. Ranks and losses are those of step 0, 10, 20, ...
    and, of the attack, the last; ranks after the step, losses before it.

    Args:
        model: Loaded in the precision: ``fp16`` in float16 or float32, ``8bit`` as int8, ``4bit`` as fp4, its library's
            default, where the original says NF4.
        treatment: ``eigen_prion``, ``gaussian_noise``, ``random_text`` or ``random_tokens``.
        optimizer: ``adamw`` or ``sgd``.
        precision: ``fp16``, ``8bit`` or ``4bit``.
        seed: Of the catalyst, of control inputs, and of adapters and their dropout; the original's run n has 42 + n.
        steps: At most.
        learning_rate: ``None``: 1e-4, and 2e-4 from a billion parameters on.
        length: Tokens of the catalyst and of padded sentences.
        checkpointing: Whether activations are computed again in the backward pass, as by the original; it saves memory.

    Raises:
        UserError: If a name is unknown, or the model cannot be tuned that way.
    """
    for what, name, known in (
        ("a treatment", treatment, PUBLISHED_TREATMENTS),
        ("an optimizer", optimizer, tuple(OPTIMIZERS)),
        ("a precision", precision, PUBLISHED_PRECISIONS),
    ):
        if name not in known:
            raise UserError(
                f"Expected {what} of {', '.join(known)}, got '{name}'.{did_you_mean(name, known)}"
            )
    control = treatment != "eigen_prion"
    rate = published_rate(parameters_of(model)) if learning_rate is None else learning_rate
    baseline = as_published(model)
    update = begin(model, "full" if precision == "fp16" else "lora", seed=seed)
    catalyst, initial = None, np.nan
    if control:
        given = control_inputs(model, treatment, stream(seed, "published control", treatment), steps, length)
    else:
        catalyst = published_catalyst(model, seed, length)
        given = [(twice_shifted(catalyst.tokens), catalyst.tokens)] * steps
        initial = rank_on(model, catalyst.tokens)
    points: list[Point] = []
    log = set(logged(steps, treatment))

    def on_step(step: int, loss: float) -> bool:
        if step not in log:
            return False
        with without_dropout(update):
            rank = _rank(model, given[step][1])
        points.append(Point(step, rank, loss if control else None))
        return 1 - rank / initial >= TARGET  # never of controls, whose initial rank is nan

    try:
        done = tune(
            model,
            [batch for batch, _ in given],
            steps=steps,
            method=update,
            optimizer="sgd" if control else OPTIMIZERS[optimizer],
            learning_rate=rate,
            checkpointing=checkpointing,
            seed=seed,
            on_step=on_step,
        )
    except BaseException:
        update.restore()
        raise
    return Attacked(
        treatment,
        steps,
        rate,
        baseline,
        points,
        as_published(model),
        update,
        catalyst,
        initial,
        len(done.losses),
    )


def published_rate(parameters: int) -> float:
    """Return the original's learning rate for a model of a size."""
    return 2e-4 if parameters >= LARGE else 1e-4


@contextmanager
def without_dropout(update: Update) -> Iterator[None]:
    """Measure a model as it is in evaluation while adapters are trained."""
    on = [module for module in update.dropouts if module.training]
    for module in on:
        module.eval()
    try:
        yield
    finally:
        for module in on:
            module.train()


Given = tuple[dict[str, Tensor], Tensor | None]
"""A batch, and what the rank is logged on: ids ``[T]``; ``None``: a stock sentence."""


def control_inputs(
    model: Model, treatment: str, rng: np.random.Generator, steps: int, length: int
) -> Sequence[Given]:
    """Return a control's input for each step."""
    if treatment == "gaussian_noise":
        return [(_gaussian(model, length - 1, rng), None) for _ in range(steps)]
    if treatment == "random_tokens":
        drawn = [random_tokens(model, RANDOM_TOKENS, rng) for _ in range(steps)]
        return [(twice_shifted(tokens), tokens) for tokens in drawn]
    padded = model.tokenizer(
        list(SENTENCES), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    ).input_ids
    texts = [padded[step % len(padded)] for step in range(steps)]
    return [(twice_shifted(tokens), tokens[:-1]) for tokens in texts]


def _gaussian(model: Model, length: int, rng: np.random.Generator) -> dict[str, Tensor]:
    embeddings = NOISE * torch.from_numpy(rng.standard_normal((1, length, model.anatomy.d_model))).float()
    return {"inputs_embeds": embeddings, "labels": random_tokens(model, length, rng)[None]}


def _rank(model: Model, tokens: Tensor | None) -> float:
    return as_published(model, SENTENCES[:1])["effective_rank"] if tokens is None else rank_on(model, tokens)
