"""The inputs that every contender is given, and what it must return for them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from microtome.models import Model

TASKS = ("minimum", "maximum", "sum", "difference", "product")
PAIRS = ((25, 9), (42, 11), (7, 3), (99, 1), (15, 15))
TEMPLATE = "Answer minimally: Given the numbers {} and {} calculate the {}"
LAYER = 8


@dataclass(frozen=True)
class Workload:
    """Tokens, and the layers and positions whose residual stream is wanted."""

    name: str
    tokens: Tensor
    """``[N, T]``, padded on the right."""
    mask: Tensor
    """``[N, T]``: 1 at real tokens."""
    layers: tuple[int, ...]
    last: bool
    """Whether only each input's last token is wanted."""

    @property
    def sequences(self) -> list[list[int]]:
        """The inputs without padding."""
        pairs = zip(self.tokens.tolist(), self.mask.sum(1).tolist(), strict=True)
        return [row[:length] for row, length in pairs]

    @property
    def padded(self) -> dict[str, Tensor]:
        """The inputs as a Hugging Face model takes them."""
        return {"input_ids": self.tokens, "attention_mask": self.mask}

    def wanted(self, stream: Tensor) -> Tensor:
        """Return ``[N, d]`` or ``[N, T, d]`` from a layer's residual stream ``[N, T, d]``."""
        return stream[torch.arange(len(stream)), self.mask.sum(1) - 1] if self.last else stream


def workloads(model: Model) -> list[Workload]:
    """Return the four workloads: prompts or blocks, one layer or all of them."""
    prompts = [TEMPLATE.format(*pair, task) for task in TASKS for pair in PAIRS]
    encoded = model.tokenizer(prompts, return_tensors="pt", padding=True)
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(1000, model.anatomy.vocabulary, (8, 128), generator=generator)
    every = tuple(range(model.anatomy.layers))
    return [
        Workload(f"{name}, {scope}", tokens, mask, layers, last)
        for name, tokens, mask, last in (
            ("25 prompts, last token", encoded["input_ids"], encoded["attention_mask"], True),
            ("8 x 128 tokens", blocks, torch.ones_like(blocks), False),
        )
        for scope, layers in ((f"layer {LAYER}", (LAYER,)), ("all layers", every))
    ]
