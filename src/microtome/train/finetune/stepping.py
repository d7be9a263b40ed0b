"""Steps inside the backward pass: a parameter is updated as soon as its gradient is whole, which is freed at once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from microtome.train.finetune.optimizers import Make

SCALE = 2.0**10
"""What a float16 model's loss is first multiplied with: gradients vanish below 6e-11, not below 6e-8."""


class _Stepped(NamedTuple):
    parameter: nn.Parameter
    wide: nn.Parameter
    """What the optimiser steps: the parameter itself, or a float32 copy of one in half precision."""
    optimizer: torch.optim.Optimizer


class InBackward:
    """Steps each parameter inside the backward pass, as long as it is entered as a context.

    A parameter's hook runs when its gradient is whole, also that of tied weights; no second gradient is alive then.
    Of half precision, the optimiser's state and arithmetic are float32, so that AdamW's eps of 1e-8 is not 0:

    - bfloat16 weights are widened for their step and rounded after it. What is below half a unit in a weight's last
      place is lost;
    - float16 weights are the rounded copy of float32 masters.

    Args:
        parameters: What is trained.
        make: Makes the optimiser of one of them.
        rate: Learning rate.
        scaled: Whether the pass runs in float16. The loss is scaled then; a parameter whose gradient overflows is not
            stepped, and the scale is halved for the next pass.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], make: Make, rate: float, *, scaled: bool = False
    ) -> None:
        self.scaled = scaled
        self.scale = SCALE if scaled else 1.0
        self.overflows = 0
        """Gradients that were not finite and not followed, of a float16 model."""
        self._stepped: list[_Stepped] = []
        for parameter in parameters:
            wide = _wide(parameter)
            self._stepped.append(_Stepped(parameter, wide, make(wide, rate)))

    def __enter__(self) -> Self:
        for stepped in self._stepped:
            stepped.parameter.requires_grad_(True)
        self._hooks = [
            stepped.parameter.register_post_accumulate_grad_hook(partial(self._step, stepped))
            for stepped in self._stepped
        ]
        return self

    def __exit__(self, *_: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        for stepped in self._stepped:
            stepped.parameter.requires_grad_(False)

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass of a loss, and with it a step of every parameter that the loss depends on."""
        before = self.overflows
        (loss * self.scale).backward()
        if self.overflows > before:
            self.scale = max(1.0, self.scale / 2)

    @torch.no_grad()
    def _step(self, stepped: _Stepped, _: Tensor) -> None:
        parameter, wide, optimizer = stepped
        assert parameter.grad is not None
        gradient = parameter.grad.to(wide.dtype)
        parameter.grad = None
        if self.scaled:
            gradient /= self.scale
            if (
                not torch.stack(torch.aminmax(gradient)).isfinite().all()
            ):  # the extremes show it without a copy
                self.overflows += 1
                return
        if parameter.dtype == torch.bfloat16:
            wide.data = parameter.float()
        wide.grad = gradient
        optimizer.step()
        wide.grad = None
        if wide is not parameter:
            parameter.copy_(wide)
        if parameter.dtype == torch.bfloat16:
            wide.data = parameter.new_empty(0, dtype=torch.float32)


def _wide(parameter: nn.Parameter) -> nn.Parameter:
    if parameter.dtype == torch.float16:
        return nn.Parameter(parameter.detach().float())
    if parameter.dtype == torch.bfloat16:
        return nn.Parameter(parameter.detach().new_empty(0, dtype=torch.float32))  # filled for each step
    return parameter
