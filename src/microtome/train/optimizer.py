"""AdamW with a rate for each band, and no weight decay on norms and biases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from microtome.train.config import TrainConfig

if TYPE_CHECKING:
    from microtome.models.architectures import StandardTransformer
    from microtome.models.architectures.standard import Slices


class Optimizer:
    """AdamW over groups of parameters, each with a rate that is its own times the schedule's share.

    Bands of a band model are parameters of their own, and groups. In a standard model with ``band_lrs``, bands are
    slices of parameters: AdamW's update, weight decay included, is linear in the rate, so after a step with the base
    rate each slice is moved by its rate's share of the update, which is what AdamW with that rate would have done.
    """

    def __init__(self, config: TrainConfig, model: StandardTransformer) -> None:
        self.model = model
        self.bands: Slices = (
            model.band_slices(config.band_dims) if config.model == "band" or _fits(config) else []
        )
        base = config.learning_rate * config.lr_scale
        rates = [rate * config.lr_scale for rate in config.band_lrs or ()]
        whole = config.model == "band"
        own = (
            {id(p): rate for rate, band in zip(rates, self.bands, strict=True) for p, _ in band}
            if rates
            else {}
        )
        self.scaled = [
            (parameter, index, rate / base)
            for rate, band in zip(rates, self.bands, strict=True)
            for parameter, index in band
            if not whole and rate != base
        ] if rates else []  # fmt: skip
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for parameter in model.parameters():
            rate = own.get(id(parameter), base) if whole else base
            decay = config.weight_decay if parameter.ndim >= 2 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
        self.rates = [rate for rate, _ in groups]
        self.fused = next(model.parameters()).device.type in ("cpu", "cuda")
        self.adam = torch.optim.AdamW(
            [{"params": its, "weight_decay": decay} for (_, decay), its in groups.items()],
            lr=base,
            betas=(config.beta1, config.beta2),
            fused=self.fused,
        )

    def set_share(self, share: float) -> None:
        """Set all rates to a share of their full value."""
        for group, rate in zip(self.adam.param_groups, self.rates, strict=True):
            group["lr"] = rate * share

    @torch.no_grad()
    def after(self, before: Sequence[Tensor]) -> None:
        """Move the slices with rates of their own by these; ``before`` is what ``held`` gave before the step."""
        for (parameter, index, ratio), old in zip(self.scaled, before, strict=True):
            part = parameter[index]
            part.copy_(old + ratio * (part - old))

    @torch.no_grad()
    def held(self) -> list[Tensor]:
        """Return copies of the slices that ``after`` will move."""
        return [parameter[index].clone() for parameter, index, _ in self.scaled]

    def tensors(self) -> dict[str, Tensor]:
        """Return AdamW's state by the names of parameters, for a checkpoint."""
        return {
            f"{name}/{key}": value
            for name, parameter in self.model.named_parameters()
            for key, value in self.adam.state[parameter].items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state that ``tensors`` gave."""
        parameters = dict(self.model.named_parameters())
        for path, value in tensors.items():
            name, _, key = path.rpartition("/")
            state: Any = self.adam.state[parameters[name]]
            counts = key == "step" and not self.fused  # which the plain AdamW keeps on the CPU
            state[key] = value if counts else value.to(parameters[name].device)

    @torch.no_grad()
    def gradients(self) -> list[float]:
        """Return the norm of each band's gradient."""
        return [_norm([p.grad[i] for p, i in band if p.grad is not None]) for band in self.bands]

    @torch.no_grad()
    def parts(self) -> list[list[Tensor]]:
        """Return copies of each band's weights."""
        return [[parameter[index].clone() for parameter, index in band] for band in self.bands]

    @torch.no_grad()
    def moved(self, before: Sequence[Sequence[Tensor]]) -> list[float]:
        """Return, for each band, ``|dw| / |w|`` since ``before``, which ``parts`` gave."""
        ratios = []
        for band, old in zip(self.bands, before, strict=True):
            change = _norm([p[i] - was for (p, i), was in zip(band, old, strict=True)])
            ratios.append(change / size if (size := _norm(old)) else float("nan"))
        return ratios


def _fits(config: TrainConfig) -> bool:
    return sum(config.band_dims) == config.hidden_dim


def _norm(parts: Sequence[Tensor]) -> float:
    return float(torch.stack([part.detach().float().square().sum() for part in parts]).sum().sqrt())
