"""A prompt's keys and values, computed once and shared by every row that continues it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache

from microtome.capture.batches import Batch
from microtome.capture.passes import Stop, decode
from microtome.models.sites import Site

if TYPE_CHECKING:
    from microtome.models import Model


class SharedPrefix(DynamicCache):
    """A key-value cache of one row that rows without number may continue, and that no pass changes.

    In each layer the prefix is expanded to as many rows as that layer has, so that rows may also join in the
    middle of a pass.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config=config)
        self.complete = False

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Return the prefix followed by the new keys and values; store them only while it is being built."""
        if not self.complete:
            return super().update(key_states, value_states, layer_idx, *args, **kwargs)
        layer: Any = self.layers[layer_idx]
        shape = (len(key_states), -1, -1, -1)
        keys = torch.cat([layer.keys.expand(shape), key_states], dim=-2)
        return keys, torch.cat([layer.values.expand(shape), value_states], dim=-2)


def shared_prefix(
    model: Model, tokens: Sequence[int], sites: Sequence[str | Site] = ()
) -> SharedPrefix | None:
    """Return the cache of a prefix, or ``None`` for an empty one.

    If ``sites`` are given, it is as deep as they lie, and ``None`` if they come before the first attention.
    """
    if not tokens:
        return None
    cache = SharedPrefix(model.module.config)
    width = len(tokens)
    fed = torch.tensor([tokens], device=model.device)
    with ExitStack() as hooks:
        waiting = set(map(str, sites))
        for name in tuple(waiting):
            see = partial(_seen, name, waiting)
            hooks.callback(model.anatomy.point(name).attach(model.module, see).remove)
        decode(model, Batch(torch.zeros(1).long(), torch.tensor([width]), width, 1, fed), cache)
    cache.complete = True
    return cache if cache.get_seq_length() == width else None


def _seen(name: str, waiting: set[str], _: Tensor) -> None:
    waiting.discard(name)
    if not waiting:
        raise Stop


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Return how many first tokens all sequences share."""
    low, high = min(map(list, sequences)), max(map(list, sequences))
    pairs = enumerate(zip(low, high, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(low), len(high)))
