"""What a training run would be: the size of its model and the tokens it would read; nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from microtome.train.config import TrainConfig

PASSES = 3
"""A backward pass takes about twice the operations of a forward pass."""


@dataclass(frozen=True)
class TrainingPlan:
    """A resolved configuration, and what it amounts to."""

    config: TrainConfig
    vocabulary: int
    """Tokens of the vocabulary; of one that is still to be learned, those asked for."""
    parameters: int
    tokens: int
    """Tokens read in all steps."""
    flops: float
    """Operations of all forward and backward passes."""


def plan(config: TrainConfig) -> TrainingPlan:
    """Return what training with a configuration would be; no weights are allocated and no corpus is read.

    Raises:
        UserError: if no model has the tokenizer, or the sizes cannot be matched.
    """
    from microtome.models.architectures import flops_per_token, parameter_count
    from microtome.train.build import architecture

    learned = config.learned_tokens
    vocabulary = _vocabulary(config.tokenizer) if learned is None else learned
    model = architecture(config, vocabulary)
    tokens = config.steps * config.batch_size * config.sequence_length
    flops = PASSES * tokens * flops_per_token(model, config.sequence_length)
    return TrainingPlan(config, vocabulary, parameter_count(model), tokens, flops)


def _vocabulary(tokenizer: str) -> int:
    from microtome.corpora.encoding import vocabulary_size
    from microtome.models import load_tokenizer

    return vocabulary_size(load_tokenizer(tokenizer))
