"""Inputs as token sequences, and token sequences as padded batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from microtome.base.errors import UserError

if TYPE_CHECKING:
    from microtome.models import Model

Inputs = Sequence[str] | Sequence[Sequence[int]] | Tensor
"""Texts, token sequences, or a tensor ``[N, T]`` of tokens without padding."""

MAX_TOKENS = 4096
"""How many tokens, padding included, one forward pass holds unless the caller says otherwise."""


@dataclass(frozen=True)
class Batch:
    """The rows of one forward pass, which covers the positions from ``start`` on."""

    rows: Tensor
    """``[B]``: which input each row is."""
    lengths: Tensor
    """``[B]``: real tokens of each row, those before ``start`` included."""
    width: int
    """Positions in the pass, padding included."""
    inputs: int
    """How many inputs there are in all the batches together."""
    tokens: Tensor | None = None
    """``[B, width]`` on the model's device."""
    mask: Tensor | None = None
    """``[B, width]``: 1 at real tokens; absent when there is no padding."""
    start: int = 0
    """The position of the first token of the pass; those before it are in a cache."""
    lasts: Tensor | None = None
    """``[B]``: the position called ``last``, where it is not the last real token."""

    @property
    def last(self) -> Tensor:
        """``[B]``: the position that ``last`` means."""
        return self.lengths - 1 if self.lasts is None else self.lasts


def tokenize(model: Model, inputs: Inputs) -> list[list[int]]:
    """Return each input as its tokens; texts get the special tokens that the tokenizer adds by itself.

    Raises:
        UserError: If there are no inputs, one is empty or longer than the model's context, or a token is not
            in the vocabulary.
    """
    if isinstance(inputs, str):
        raise UserError("Expected a list of texts, got one text. Write [text].")
    if isinstance(inputs, Tensor):
        if inputs.ndim != 2 or inputs.is_floating_point():
            raise UserError(
                f"Expected tokens as integers [N, T], got {inputs.dtype} of shape {tuple(inputs.shape)}. "
                "Write tokens[None] for one sequence."
            )
        sequences: list[list[int]] = inputs.tolist()
    elif all(isinstance(item, str) for item in inputs):
        sequences = model.tokenizer([str(text) for text in inputs]).input_ids if len(inputs) else []
    else:
        sequences = [_plain(item) for item in inputs]
    _check(model, sequences)
    return sequences


def _plain(item: Any) -> list[int]:
    if isinstance(item, str):
        raise UserError("Expected texts or token sequences, got both. Tokenise the texts first.")
    try:
        return [int(token) for token in item]
    except (TypeError, ValueError) as error:
        raise UserError(
            f"Expected texts, token sequences or a tensor [N, T], got an input of type {type(item).__name__}."
        ) from error


def _check(model: Model, sequences: list[list[int]]) -> None:
    if not sequences:
        raise UserError("Expected at least one input, got none.")
    vocabulary, context = model.anatomy.vocabulary, model.anatomy.context
    for i, sequence in enumerate(sequences):
        if not sequence:
            raise UserError(f"Expected at least one token in every input, got none in input {i}.")
        if len(sequence) > context:
            raise UserError(
                f"Expected at most {context} tokens, the model's context, got {len(sequence)} in input {i}. "
                "Cut it, or split it into several inputs."
            )
        if min(sequence) < 0 or max(sequence) >= vocabulary:
            raise UserError(
                f"Expected tokens from 0 to {vocabulary - 1}, got {min(sequence)} to {max(sequence)} in "
                f"input {i}. Were they made by another model's tokenizer?"
            )


def batches(
    model: Model,
    sequences: Sequence[Sequence[int]],
    max_tokens: int = MAX_TOKENS,
    batch_size: int | None = None,
    start: int = 0,
) -> Iterator[Batch]:
    """Yield batches of similar length, the longest first, so that a lack of memory shows at once.

    Args:
        model: Its tokenizer says what pads and its device where the tokens go.
        sequences: Token sequences, none of them empty.
        max_tokens: Tokens of one pass, padding included; a longer sequence passes alone.
        batch_size: Rows of one pass at most.
        start: First tokens of every sequence that are in a cache, and are not fed.
    """
    for name, value in (("max_tokens", max_tokens), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise UserError(f"Expected {name} of at least 1, got {value}.")
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
    first = 0
    while first < len(order):
        width = len(sequences[order[first]]) - start
        rows = order[first : first + min(batch_size or len(order), max(1, max_tokens // width))]
        first += len(rows)
        tokens, mask = pad([sequences[i][start:] for i in rows], model)
        if mask is not None and start:
            mask = torch.cat([mask.new_ones(len(mask), start), mask], dim=1)
        lengths = torch.tensor([len(sequences[i]) for i in rows])
        yield Batch(torch.tensor(rows), lengths, width, len(sequences), tokens, mask, start)


def pad(sequences: Sequence[Sequence[int]], model: Model) -> tuple[Tensor, Tensor | None]:
    """Return sequences as one tensor padded on the right, and the mask of real tokens if any is padded."""
    width = max(map(len, sequences))
    if all(len(sequence) == width for sequence in sequences):
        return torch.tensor(sequences, device=model.device), None
    padding: Any = model.tokenizer.pad_token_id
    filled = [[*sequence, *[padding] * (width - len(sequence))] for sequence in sequences]
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    mask = (torch.arange(width) < lengths[:, None]).long()
    return torch.tensor(filled, device=model.device), mask.to(model.device)
