"""LoRA: a low-rank update beside each projection of attention and MLP, on weights of any precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from microtome.base.errors import UserError
from microtome.models.anatomy import Anatomy
from microtome.models.load import Model
from microtome.models.quantized import dequantised, require
from microtome.train.finetune.updates import Norms, Update, frobenius

NAME = "default"


@dataclass(frozen=True)
class LoraShape:
    """The shape of adapters: ``dW = (alpha / rank) B A``. The defaults are the original's."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.1
    """Of the input of ``A``, while it is trained."""


def projections(anatomy: Anatomy) -> list[str]:
    """Return the paths of a model's attention and MLP projections, layer by layer.

    Raises:
        UserError: If the MLPs are cut into bands, which are no linear layers.
    """
    if anatomy.cut:
        raise UserError(
            f"Expected a model whose MLPs are linear layers for LoRA, got {anatomy.model_type}, whose are cut into "
            "bands. Use the method 'full'."
        )
    paths = [anatomy.points[kind].module for kind in ("q", "k", "v", "z")]
    paths += [*anatomy.mlp_in, anatomy.points["mlp_post"].module]
    return [path.format(layer) for layer in range(anatomy.layers) for path in dict.fromkeys(paths)]


class Lora(Update):
    """The update of a model's projections by adapters, which are added to it now and change nothing yet.

    ``A`` starts random, by torch's global generator, and ``B`` at 0; both are float32, or float64 in such a model.

    Raises:
        UserError: If peft is not installed, the model has adapters, or it has no linear layers to adapt.
    """

    def __init__(self, model: Model, shape: LoraShape) -> None:
        require("peft")
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer
        from transformers.pytorch_utils import Conv1D

        self._module = model.module
        if any(isinstance(module, LoraLayer) for module in self._module.modules()):
            raise UserError(
                "Expected a model without adapters, got one that has some. Restore the update that added them, or go "
                "on with it."
            )
        paths = projections(model.anatomy)
        config = LoraConfig(
            r=shape.rank,
            lora_alpha=shape.alpha,  # type: ignore[arg-type]
            lora_dropout=shape.dropout,
            target_modules=paths,
            fan_in_fan_out=isinstance(self._module.get_submodule(paths[0]), Conv1D),
        )
        inject_adapter_in_model(config, self._module, NAME)
        self._module.eval()
        self._layers: dict[str, Any] = {path: self._module.get_submodule(path) for path in paths}
        self.parameters = [p for layer in self._layers.values() for p in _factors(layer)]
        for parameter in self.parameters:
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))
        self.dropouts = [layer.lora_dropout[NAME] for layer in self._layers.values()]

    @property
    def names(self) -> list[str]:
        """The adapted weights."""
        return [f"{path}.weight" for path in self._layers]

    def delta(self, name: str) -> Tensor:
        """Return the effective ``dW = (alpha / rank) B A`` of an adapted weight."""
        layer = self._layers[name.removesuffix(".weight")]
        a, b = _factors(layer)
        product = layer.scaling[NAME] * (b @ a).detach()
        return product.T if layer.fan_in_fan_out else product

    def norms(self) -> Norms:
        """Return ``|dW|_F`` of each adapted weight, by ``|BA|^2 = tr(B'B AA')`` without forming it."""
        return {f"{path}.weight": _norm(layer) for path, layer in self._layers.items()}

    def sizes(self) -> Norms:
        """Return ``|W|_F`` of each adapted weight, of a quantised one as it is dequantised."""
        return {
            f"{path}.weight": frobenius(dequantised(layer.get_base_layer()))
            for path, layer in self._layers.items()
        }

    def restore(self) -> None:
        """Take the adapters away."""
        for path, layer in self._layers.items():
            self._module.set_submodule(path, layer.get_base_layer())
        self._module.__dict__.pop("peft_config", None)  # with it, adapters could not be added again

    @torch.no_grad()
    def _scale(self, norms: Mapping[str, float]) -> Norms:
        for path, layer in self._layers.items():
            if size := _norm(layer):
                _factors(layer)[1].mul_(norms[f"{path}.weight"] / size)
        return self.norms()

    @torch.no_grad()
    def _draw(self, norms: Mapping[str, float], generator: torch.Generator) -> Norms:
        for layer in self._layers.values():
            for factor in _factors(layer):
                factor.copy_(torch.randn(factor.shape, generator=generator))
        return self._scale(norms)


def _factors(layer: Any) -> tuple[nn.Parameter, nn.Parameter]:
    """Return ``A [rank, in]`` and ``B [out, rank]``."""
    return layer.lora_A[NAME].weight, layer.lora_B[NAME].weight


@torch.no_grad()
def _norm(layer: Any) -> float:
    a, b = (factor.double() for factor in _factors(layer))
    return layer.scaling[NAME] * float(((b.T @ b) * (a @ a.T)).sum().clamp(min=0).sqrt())
