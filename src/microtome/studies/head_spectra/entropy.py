"""How spread out each head's attention is, without ever holding more than one layer's attention map."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from microtome.base.errors import UserError
from microtome.capture import capture
from microtome.models import Model


@dataclass(frozen=True, eq=False)
class AttentionEntropy:
    """What each head's attention comes to, averaged over the query positions of all blocks; arrays ``[L, H]``.

    A query at position ``m`` sees ``n_m = min(m + 1, window)`` keys.
    """

    mean: np.ndarray
    """Entropy ``-sum p log p`` in nats; 0 at the first position, which sees itself alone."""
    normalised: np.ndarray
    """Entropy divided by its greatest value ``log n_m``, over positions with at least two visible keys."""
    first_token: np.ndarray
    """Share of attention on the block's first token, over the later positions that see it."""
    positions: int
    """Query positions of all blocks together."""


class _Sums:
    """Entropy and attention to the first token, summed over blocks, at each position of each head: ``[T, H]``."""

    def __init__(self, length: int, heads: int) -> None:
        self.entropy = torch.zeros(length, heads, dtype=torch.float64)
        self.first = torch.zeros(length, heads, dtype=torch.float64)

    def update(self, values: Tensor, /) -> None:
        """Take the attention of whole blocks, ``[blocks * T, H, T]``; one block at a time needs memory beside it."""
        for pattern in values.split(len(self.entropy)):
            pattern = pattern.to(torch.promote_types(pattern.dtype, torch.float32))
            self.entropy += torch.special.entr(pattern).sum(-1).cpu()
            self.first += pattern[..., 0].cpu()


def attention_entropy(
    model: Model,
    tokens: Tensor,
    *,
    batch_size: int,
    advance: Callable[[float], None] | None = None,
) -> AttentionEntropy:
    """Measure the attention of every head on blocks of text.

    Entropies are taken in at least float32 and summed in float64.

    Args:
        model: A model with eager attention.
        tokens: Blocks ``[N, T]`` of equal length.
        batch_size: Blocks of one pass; memory grows with ``batch_size * H * T^2``, not with layers.
        advance: Is called with the number of blocks done after each pass.

    Raises:
        UserError: If the model's attention is not eager, or a block has fewer than two tokens, more than the model's
            context, or tokens that are not in its vocabulary.
    """
    blocks, length = tokens.shape
    if length < 2:
        raise UserError(f"Expected blocks of at least 2 tokens, got {length}: one token sees only itself.")
    anatomy = model.anatomy
    sums = [_Sums(length, anatomy.heads) for _ in range(anatomy.layers)]
    streams = {f"attn_pattern.{layer}": stream for layer, stream in enumerate(sums)}
    capture(
        model,
        tokens,
        list(streams),
        positions="all",
        reduce=streams,
        max_tokens=batch_size * length,
        batch_size=batch_size,
        advance=advance,
    )
    mean, normalised, first = [], [], []
    for stream, window in zip(sums, anatomy.windows, strict=True):
        visible = torch.arange(1, length + 1, dtype=torch.float64).clamp(max=window or length)
        mean.append(stream.entropy.mean(0))
        several = visible > 1
        normalised.append((stream.entropy[several] / visible[several].log()[:, None]).mean(0))
        first.append(stream.first[1 : window or length].mean(0))
    return AttentionEntropy(
        *((torch.stack(layers) / blocks).numpy() for layers in (mean, normalised, first)),
        positions=blocks * length,
    )
