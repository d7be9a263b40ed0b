"""Full fine-tuning: every weight may change; what they were is kept on the CPU, in their own precision."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from microtome.base.errors import UserError
from microtome.models.load import Model
from microtome.train.finetune.updates import Norms, Update, frobenius

TOLERANCE = 1e-4
"""Of a norm, up to which an update is rescaled."""
TRIES = 40


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
        return _wide(now) - _wide(self._before[name].to(now.device))

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
        found, miss = before, target  # of the best try
        scale = target / size if (size := frobenius(direction)) else 0.0
        for attempt in range(TRIES if scale else 0):
            moved = torch.add(_wider(before), direction, alpha=scale)
            if attempt:
                moved += _dither(before, generator)
            moved = moved.to(before.dtype)
            got = frobenius(_wide(moved) - _wide(before))
            if abs(got - target) < miss:
                found, miss = moved, abs(got - target)
            if miss <= TOLERANCE * target:
                break
            # The norm grows as the scale, or with rounding as its root: between them, both converge.
            scale *= (target / got) ** (4 / 3) if got else 2.0
        parameter.copy_(found)
        return frobenius(self.delta(name))


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _wider(x: Tensor) -> Tensor:
    """Return the numbers in a precision in which parts of their last place can be added."""
    return x.to(torch.float32 if x.itemsize == 2 else torch.float64)


def _dither(before: Tensor, generator: torch.Generator) -> Tensor:
    """Return noise of up to half a unit in each number's last place.

    Most weights of a bfloat16 model move by one unit or none, as many of a float32 model do under a small rate: scaled
    by less than a half, all would round to no update at all. With the noise a weight moves with a chance, so that the
    update is right in expectation, and its norm can be set.
    """
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[before.itemsize]
    size = before.abs()
    below = (size.view(integer) - 1).clamp_(min=0).view(before.dtype)  # the next number toward 0
    noise = torch.empty(before.shape).uniform_(-0.499, 0.499, generator=generator).to(before.device)
    return noise * (_wider(size) - _wider(below))
