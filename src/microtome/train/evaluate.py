"""The loss on whole sets of blocks, in nats per token."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def losses(module: Any, blocks: Tensor) -> Tensor:
    """Return the cross-entropy of each predicted token of ``blocks [B, T + 1]``, in nats, ``[B * T]``."""
    logits = module(input_ids=blocks[:, :-1]).logits
    return F.cross_entropy(logits.flatten(0, 1).float(), blocks[:, 1:].flatten(), reduction="none")


@torch.no_grad()
def nats_per_token(
    module: nn.Module, blocks: Tensor, batch: int, device: torch.device, cast: AbstractContextManager
) -> float:
    """Return the mean cross-entropy over every predicted token of ``blocks [n, T + 1]``, in nats.

    Args:
        module: is left in the mode it was in.
        blocks: on any device.
        batch: blocks of one pass.
        device: of the module.
        cast: the precision of products.
    """
    training = module.training
    module.eval()
    with cast:
        total = sum(float(losses(module, part.to(device)).double().sum()) for part in blocks.split(batch))
    module.train(training)
    return total / (blocks.shape[0] * (blocks.shape[1] - 1))
