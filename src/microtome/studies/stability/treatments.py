"""The inputs of the arms: all of one length, the same at every step but for the healthy one, stored and read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from microtome.base.errors import UserError
from microtome.studies.stability.arms import TREATMENTS

if TYPE_CHECKING:
    from microtome.corpora import PackedTokens
    from microtome.models import Model

WITHOUT_INPUT = ("isotropic", "noop")


@dataclass(frozen=True, eq=False)
class Input:
    """What an arm is trained on."""

    tokens: Int[Tensor, "n T"]
    """One row, or one for each step in turn; with ``embeddings`` the labels alone."""
    embeddings: Float[Tensor, "T d"] | None = None
    """What the model is fed in the place of tokens."""

    @property
    def fed(self) -> Tensor:
        """What the model is fed at the first step: ids ``[T]``, or embeddings ``[T, d]``."""
        return self.tokens[0] if self.embeddings is None else self.embeddings

    @property
    def labels(self) -> Int[Tensor, " T"]:
        """Those of the first step, not shifted."""
        return self.tokens[0]

    def batches(self, steps: int) -> Iterator[dict[str, Tensor]]:
        """Yield a batch of one sequence for each step: ``input_ids`` or ``inputs_embeds``, and ``labels``."""
        for row in islice(cycle(self.tokens), steps):
            fed = (
                {"input_ids": row[None]}
                if self.embeddings is None
                else {"inputs_embeds": self.embeddings[None]}
            )
            yield fed | {"labels": row[None]}


def inputs(
    names: Sequence[str],
    found: Int[Tensor, " T"],
    start: Int[Tensor, " T"],
    model: Model,
    text: PackedTokens,
    rng: np.random.Generator,
    steps: int,
) -> dict[str, Input]:
    """Return the input of each treatment that has one.

    Each draws from a stream of its own, so that none depends on which others are asked for. Gaussian embeddings have
    the standard deviation of all numbers of the model's embeddings, and labels drawn like random tokens.

    Args:
        names: Of treatments.
        found: The optimised input.
        start: What its search started from.
        model: Its vocabulary and embeddings.
        text: Blocks of text that damage is not measured on, as long as the input at least: of each, the first T tokens.
        rng: Of the draws.
        steps: How many blocks the healthy arm reads, each once.

    Raises:
        UserError: If a treatment is unknown, or the text is too short.
    """
    if unknown := [name for name in names if name not in TREATMENTS]:
        raise UserError(f"Expected treatments among {', '.join(TREATMENTS)}; got {', '.join(unknown)}.")
    blocks, width = text.tokens.shape
    if width < len(found) or ("healthy" in names and blocks < steps):
        raise UserError(
            f"Expected at least {steps} blocks of {len(found)} tokens of text, one for each step, got {blocks} of "
            f"{width}. Use a longer corpus or more of its documents, or fewer steps."
        )
    rows = torch.from_numpy(text.tokens[:, : len(found)].astype(np.int64))
    streams: dict[str, np.random.Generator] = dict(zip(TREATMENTS, rng.spawn(len(TREATMENTS)), strict=True))
    makers: dict[str, Callable[[np.random.Generator], Input]] = {
        "optimised": lambda _: Input(found[None]),
        "start": lambda _: Input(start[None]),
        "shuffled": lambda own: Input(shuffled(found, own)[None]),
        "random_tokens": lambda own: Input(random_tokens(model, len(found), own)[None]),
        "natural_text": lambda own: Input(rows[[own.integers(blocks)]]),
        "gaussian": lambda own: Input(
            random_tokens(model, len(found), own)[None], noise(model, len(found), own)
        ),
        "healthy": lambda own: Input(rows[own.permutation(blocks)[:steps]]),
    }
    return {name: makers[name](streams[name]) for name in names if name not in WITHOUT_INPUT}


def random_tokens(model: Model, length: int, rng: np.random.Generator) -> Int[Tensor, " T"]:
    """Return tokens drawn evenly from those that both the tokenizer and the model know."""
    return torch.from_numpy(rng.integers(min(len(model.tokenizer), model.anatomy.vocabulary), size=length))


def shuffled(tokens: Int[Tensor, " T"], rng: np.random.Generator) -> Int[Tensor, " T"]:
    """Return the tokens in another order; equal ones make some orders the same, and these are drawn again.

    Raises:
        ValueError: If all are equal, so that there is no other order.
    """
    if not (tokens != tokens[0]).any():
        raise ValueError("expected tokens that differ, got one alone or the same all over")
    while True:
        found = tokens[rng.permutation(len(tokens))]
        if not torch.equal(found, tokens):
            return found


@torch.no_grad()
def noise(model: Model, length: int, rng: np.random.Generator) -> Float[Tensor, "T d"]:
    """Return Gaussian rows whose numbers have the standard deviation of those of the model's embeddings."""
    embedding: Any = model.module.get_input_embeddings()
    table = embedding(torch.arange(model.anatomy.vocabulary, device=model.device)).float()
    values = rng.standard_normal((length, table.shape[1])) * float(table.std())
    return torch.from_numpy(values).float()


def arrays(inputs: Mapping[str, Input]) -> dict[str, np.ndarray]:
    """Return inputs as arrays: ``TREATMENT.tokens [n, T]``, int64, and ``TREATMENT.embeddings [T, d]``, float32."""
    found = {f"{name}.tokens": one.tokens.numpy() for name, one in inputs.items()}
    return found | {
        f"{name}.embeddings": one.embeddings.numpy()
        for name, one in inputs.items()
        if one.embeddings is not None
    }


def stored(arrays: Mapping[str, np.ndarray], treatment: str) -> Input:
    """Return a treatment's input from what :func:`arrays` gave.

    Raises:
        KeyError: If it is not among them.
    """
    embeddings = arrays.get(f"{treatment}.embeddings")
    return Input(
        torch.from_numpy(arrays[f"{treatment}.tokens"]),
        None if embeddings is None else torch.from_numpy(embeddings),
    )
