"""Scores of a model as it is or under interventions: continuations of prompts, and running text."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from microtome.base.errors import UserError
from microtome.capture.batches import MAX_TOKENS, Batch, Inputs, batches, pad, tokenize
from microtome.capture.continuations import Segment, check_tokens, next_logprobs, segments
from microtome.capture.interventions import Intervention, intervene, intervening
from microtome.capture.passes import decode
from microtome.capture.prefix import SharedPrefix, common_prefix, shared_prefix

if TYPE_CHECKING:
    from microtome.models import Model


@torch.no_grad()
def logprobs(
    model: Model,
    prompts: Inputs,
    continuations: Sequence[Sequence[int]] | Sequence[Sequence[Sequence[int]]],
    *,
    interventions: Sequence[Intervention] = (),
    max_tokens: int = MAX_TOKENS,
) -> Float[Tensor, "N C"]:
    """Return ``log p(continuation | prompt)`` in nats for each prompt and each of its continuations.

    The first tokens that all prompts share are computed once, unless interventions are in force. The position
    ``last`` of an intervention is the last token of the prompt; its rows are the prompts.

    Args:
        model: A loaded model.
        prompts: Texts or token sequences.
        continuations: Tokens of each continuation, the same for every prompt (``[C][tokens]``), or for each
            prompt its own (``[N][C][tokens]``, with one ``C``).
        interventions: In force while the scores are computed, besides those of an enclosing ``intervene``.
        max_tokens: Tokens of one pass, padding included.

    Returns:
        Sums of log-probabilities over each continuation's tokens, on the CPU in float32.

    Raises:
        UserError: If a prompt, a continuation or an intervention does not fit.
    """
    sequences = tokenize(model, prompts)
    options = _options(continuations, len(sequences))
    for tokens, own in zip(sequences, options, strict=True):
        check_tokens(model, own, len(tokens))
    scores = torch.zeros(len(sequences), len(options[0]))
    with intervene(model, interventions):
        start = 0 if intervening() else min(common_prefix(sequences), min(map(len, sequences)) - 1)
        prefix = shared_prefix(model, sequences[0][:start])
        work = [(i, segment) for i, own in enumerate(options) for segment in segments(own)]
        work.sort(key=lambda item: -len(sequences[item[0]]) - len(item[1].fed))
        while work:
            width = len(sequences[work[0][0]]) + len(work[0][1].fed) - start
            count = max(1, max_tokens // width)
            _score(model, sequences, work[:count], start, prefix, scores)
            work = work[count:]
    return scores


def _score(
    model: Model,
    sequences: Sequence[Sequence[int]],
    work: Sequence[tuple[int, Segment]],
    start: int,
    prefix: SharedPrefix | None,
    scores: Tensor,
) -> None:
    """Run one batch of rows, each a prompt after the shared prefix with one segment, and add their scores."""
    fed, mask = pad([[*sequences[i][start:], *segment.fed] for i, segment in work], model)
    if mask is not None and start:
        mask = torch.cat([mask.new_ones(len(mask), start), mask], dim=1)
    rows = torch.tensor([i for i, _ in work])
    lasts = torch.tensor([len(sequences[i]) - 1 for i, _ in work])
    lengths = lasts + torch.tensor([1 + len(segment.fed) for _, segment in work])
    batch = Batch(rows, lengths, fed.shape[1], len(sequences), fed, mask, start, lasts)
    hidden = decode(model, batch, prefix)
    assert hidden is not None
    reads = [
        (row, len(sequences[i]) - 1 - start + position, token, i, continuation)
        for row, (i, segment) in enumerate(work)
        for position, token, continuation in segment.reads
    ]
    at_rows, columns, tokens, prompts, continuations = torch.tensor(reads).unbind(1)
    found = next_logprobs(model, hidden, at_rows, columns, tokens)
    scores.index_put_((prompts, continuations), found, accumulate=True)


def _options(continuations: Sequence, prompts: int) -> list[Sequence[Sequence[int]]]:
    nested = len(continuations) > 0 and len(continuations[0]) > 0 and not isinstance(continuations[0][0], int)
    if not nested:
        return [continuations] * prompts
    if len(continuations) != prompts or len({len(own) for own in continuations}) != 1:
        raise UserError(
            f"Expected as many continuations for each of the {prompts} prompts, got "
            f"{[len(own) for own in continuations]}."
        )
    return list(continuations)


@torch.no_grad()
def nats_per_token(
    model: Model,
    inputs: Inputs,
    *,
    interventions: Sequence[Intervention] = (),
    max_tokens: int = MAX_TOKENS,
) -> Float[Tensor, " N"]:
    """Return the mean cross-entropy of each input, in nats per predicted token.

    Every token but an input's first is predicted from those before it. Under interventions this is the side
    effect of, for example, steering at all positions of unrelated text.

    Args:
        model: A loaded model.
        inputs: Texts, token sequences, or tokens ``[N, T]`` without padding, of at least two tokens.
        interventions: In force meanwhile, besides those of an enclosing ``intervene``.
        max_tokens: Tokens of one pass, padding included.

    Returns:
        ``[N]`` on the CPU in float32. For inputs of one length the mean of it is the mean over tokens.

    Raises:
        UserError: If an input is too short or too long, or an intervention does not fit.
    """
    sequences = tokenize(model, inputs)
    if (shortest := min(map(len, sequences))) < 2:
        raise UserError(f"Expected at least two tokens in every input, got {shortest}: nothing to predict.")
    nats = torch.empty(len(sequences))
    with ExitStack() as stack:
        stack.enter_context(intervene(model, interventions))
        for batch in batches(model, sequences, max_tokens):
            nats[batch.rows] = _nats(model, batch)
    return nats


def _nats(model: Model, batch: Batch) -> Tensor:
    hidden = decode(model, batch)
    assert hidden is not None
    assert batch.tokens is not None
    real = torch.arange(1, batch.width) < batch.lengths[:, None]
    rows, columns = real.nonzero(as_tuple=True)
    targets = batch.tokens.cpu()[rows, columns + 1]
    losses = -next_logprobs(model, hidden, rows, columns, targets).double()
    sums = losses.new_zeros(len(hidden)).index_add_(0, rows, losses)
    return (sums / (batch.lengths - 1)).float()
