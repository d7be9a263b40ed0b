"""Continuations as a tree: which token sequences must be fed so that every continuation can be scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from microtome.base.errors import UserError

if TYPE_CHECKING:
    from microtome.models import Model

HEAD_NUMBERS = 2**24
"""Logits that the head computes at once (64 MiB in float32)."""


@dataclass(frozen=True)
class Segment:
    """Tokens to feed after the prompt, and what to read where."""

    fed: tuple[int, ...]
    """Fed after the prompt's last token: a continuation without its last token, which need not be fed."""
    reads: tuple[tuple[int, int, int], ...]
    """Position in the segment (0 is the prompt's last token), token scored there, its continuation."""


def segments(continuations: Sequence[Sequence[int]]) -> list[Segment]:
    """Return the fewest segments that score every continuation; shared beginnings are scored once.

    Raises:
        UserError: If there are no continuations or one is empty.
    """
    if not len(continuations) or any(not len(tokens) for tokens in continuations):
        raise UserError(
            "Expected at least one continuation, each of at least one token, got "
            f"{[list(tokens) for tokens in continuations]}."
        )
    reads: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
    for c, tokens in enumerate(continuations):
        for j, token in enumerate(tokens):
            reads.setdefault(tuple(tokens[:j]), []).append((j, int(token), c))
    found: list[Segment] = []
    for path in sorted(reads, key=len, reverse=True):
        # A longer segment has read what its beginnings give.
        if path in reads:
            within = [reads.pop(path[:j], []) for j in range(len(path) + 1)]
            found.append(Segment(path, tuple(read for at_place in within for read in at_place)))
    return found


def check_tokens(model: Model, continuations: Sequence[Sequence[int]], longest: int) -> None:
    """Check that continuations fit the vocabulary, and the context after the longest prompt.

    Raises:
        UserError: If one does not.
    """
    vocabulary, context = model.anatomy.vocabulary, model.anatomy.context
    for tokens in continuations:
        if any(not 0 <= token < vocabulary for token in tokens):
            raise UserError(
                f"Expected continuations of tokens from 0 to {vocabulary - 1}, got {list(tokens)}."
            )
        if longest + len(tokens) - 1 > context:
            raise UserError(
                f"Expected prompt and continuation within {context} tokens, the model's context, got "
                f"{longest} and {len(tokens)}. Shorten the prompt."
            )


def next_logits(model: Model, hidden: Tensor) -> Tensor:
    """Return the logits of the next token after each place ``[..., d]``, within the model's bound if it has one."""
    logits = model.module.get_submodule(model.anatomy.head)(hidden)
    bound = getattr(model.module.config.get_text_config(), "final_logit_softcapping", None)
    return logits if bound is None else torch.tanh(logits / bound) * bound


def next_logprobs(model: Model, hidden: Tensor, rows: Tensor, columns: Tensor, tokens: Tensor) -> Tensor:
    """Return the log-probabilities of tokens after some places, in nats.

    The head is applied once to each place, to some places at a time.

    Args:
        model: Gives the head and the bound on its logits, if it has one.
        hidden: ``[B, T, d]``, what the decoder returned.
        rows: ``[m]``, the row of each place.
        columns: ``[m]``, the position of each place.
        tokens: ``[m]``, the token that comes next.

    Returns:
        ``[m]`` on the CPU, in float32.
    """
    places, place = torch.unique(rows * hidden.shape[1] + columns, return_inverse=True)
    flat = hidden.flatten(0, 1)
    found = torch.empty(len(tokens))
    step = max(1, HEAD_NUMBERS // model.anatomy.vocabulary)
    for first in range(0, len(places), step):
        logits = next_logits(model, flat[places[first : first + step].to(flat.device)])
        logs = torch.log_softmax(logits.float(), dim=-1)
        inside = ((place >= first) & (place < first + step)).nonzero()[:, 0]
        found[inside] = logs[(place[inside] - first).to(logs.device), tokens[inside].to(logs.device)].cpu()
    return found
