"""The optimisers of fine-tuning, each truly what it is called."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import nn

from microtome.base.errors import UserError, did_you_mean

Make = Callable[[nn.Parameter, float], torch.optim.Optimizer]


def adamw(parameter: nn.Parameter, rate: float) -> torch.optim.Optimizer:
    """Return AdamW (betas .9 and .999, eps 1e-8) without weight decay."""
    return torch.optim.AdamW([parameter], lr=rate, weight_decay=0.0)


def sgd(parameter: nn.Parameter, rate: float) -> torch.optim.Optimizer:
    """Return gradient descent without momentum: ``w <- w - rate * g``."""
    return torch.optim.SGD([parameter], lr=rate)


def adafactor(parameter: nn.Parameter, rate: float) -> torch.optim.Optimizer:
    """Return transformers' Adafactor with the rate as given, neither relative nor scaled by the weights' size.

    Second moments are kept as row and column means, and an update's root mean square is clipped to 1. The original
    used it under the name ``adamw``.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # which is imported too and says what it lacks
    from transformers.optimization import Adafactor

    return Adafactor([parameter], lr=rate, relative_step=False, scale_parameter=False, warmup_init=False)


OPTIMIZERS: Mapping[str, Make] = MappingProxyType({"adamw": adamw, "sgd": sgd, "adafactor": adafactor})
"""Each makes the optimiser of one parameter."""


def optimizer_named(name: str) -> Make:
    """Return what makes the optimiser of a name.

    Raises:
        UserError: If there is none.
    """
    if name not in OPTIMIZERS:
        raise UserError(
            f"Expected an optimizer of {', '.join(OPTIMIZERS)}, got '{name}'.{did_you_mean(name, OPTIMIZERS)}"
        )
    return OPTIMIZERS[name]
