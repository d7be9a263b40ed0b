"""Full fine-tuning: every weight may change; what they were is kept on the CPU, in their own precision."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from microtome.base.errors import UserError
from microtome.models.load import Model
from microtome.train.finetune.rounding import stepped, wide
from microtome.train.finetune.updates import Norms, Update, frobenius


class Full(Update):
    """The update of all of a model's weights since now.

    Raises:
        UserError: If the weights are quantised: there is no gradient with respect to them.
    """

    def __init__(self, model: Model) -> None:
        self._named = dict(model.module.named_parameters())
        if packed := [name for name, p in self._named.items() if not p.is_floating_point()]:
            raise UserError(
                f"Expected weights in floating point for full fine-tuning, got {self._named[packed[0]].dtype} in "
                f"'{packed[0]}'. Use the method 'lora', or load the model without quantising it."
            )
        self.parameters = list(self._named.values())
        self._before = {name: p.detach().to("cpu", copy=True) for name, p in self._named.items()}

    @property
    def names(self) -> list[str]:
        """The tensors."""
        return list(self._named)

    def delta(self, name: str) -> Tensor:
        """Return the present ``dW`` of a tensor."""
        now = self._named[name].detach()
        return wide(now) - wide(self._before[name].to(now.device))

    def norms(self) -> Norms:
        """Return ``|dW|_F`` of each tensor."""
        return {name: frobenius(self.delta(name)) for name in self._named}

    def sizes(self) -> Norms:
        """Return ``|W|_F`` of each tensor before the update."""
        return {name: frobenius(before) for name, before in self._before.items()}

    @torch.no_grad()
    def restore(self) -> None:
        """Undo the update, bit for bit."""
        for name, parameter in self._named.items():
            parameter.copy_(self._before[name])

    def _scale(self, norms: Mapping[str, float]) -> Norms:
        generator = torch.Generator().manual_seed(0)
        return {name: self._put(name, self.delta(name), norms[name], generator) for name in norms}

    def _draw(self, norms: Mapping[str, float], generator: torch.Generator) -> Norms:
        return {name: self._put(name, self._noise(name, generator), norms[name], generator) for name in norms}

    def _noise(self, name: str, generator: torch.Generator) -> Tensor:
        like = self._named[name]
        return torch.randn(like.shape, generator=generator).to(like.device)

    @torch.no_grad()
    def _put(self, name: str, direction: Tensor, target: float, generator: torch.Generator) -> float:
        """Set a tensor to where it was, moved along a direction by a distance; return how far it is then."""
        parameter, before = self._named[name], self._before[name].to(direction.device)
        parameter.copy_(stepped(before, direction, target, generator) if direction.any() else before)
        return frobenius(self.delta(name))
