"""The band transformer: the MLP of each layer is cut into bands, with cross-band attention after it if asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Cache, initialization

from microtome.models.architectures.configs import BandConfig
from microtome.models.architectures.filter_bank import filters
from microtome.models.architectures.partition import Partition
from microtome.models.architectures.standard import Layer, Slices, StandardTransformer, remember
from microtome.models.architectures.wormhole import TEMPERATURE, Wormhole

Start = Literal["ones", "zeros", "normal", "into stream"]
"""What parameters are before training."""


class Block(NamedTuple):
    """One band's projections; ``down_bias`` is ``None`` where the bands share one."""

    up: Tensor
    up_bias: Tensor
    down: Tensor
    down_bias: Tensor | None


class Parts(nn.ParameterList):
    """One parameter for each band."""

    def __init__(self, shapes: Iterable[tuple[int, ...]], start: Start) -> None:
        super().__init__(torch.empty(shape) for shape in shapes)
        self.start = start


class BandNorm(nn.Module):
    """A layer norm of each band apart."""

    def __init__(self, widths: Sequence[int], eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weights = Parts(((width,) for width in widths), "ones")
        self.biases = Parts(((width,) for width in widths), "zeros")

    def forward(self, bands: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the normed bands."""
        norms = zip(bands, self.weights, self.biases, strict=True)
        return tuple(F.layer_norm(x, w.shape, w, b, self.eps) for x, w, b in norms)


class BandLinear(nn.Module):
    """A linear map of each band apart: one with a block-diagonal matrix, of which only the blocks exist."""

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], kernel: str) -> None:
        super().__init__()
        self.inputs, self.outputs, self.kernel = list(inputs), list(outputs), kernel
        self.weights = Parts(zip(outputs, inputs, strict=True), "normal")
        self.biases = Parts(((o,) for o in outputs), "zeros")

    def forward(self, bands: Sequence[Tensor]) -> Tensor:
        """Map the bands, each ``[B, T, inputs[i]]``; the results ``[B, T, sum(outputs)]`` stand side by side."""
        if self.kernel == "batched":
            return self._batched(bands)
        maps = zip(bands, self.weights, self.biases, strict=True)
        return torch.cat([F.linear(x, w, b) for x, w, b in maps], -1)

    def _batched(self, bands: Sequence[Tensor]) -> Tensor:
        """Pad all bands to the widest and multiply them in one batch."""
        i, o = max(self.inputs), max(self.outputs)
        x = torch.stack([F.pad(x.flatten(0, -2), (0, i - x.shape[-1])) for x in bands])
        w = torch.stack([F.pad(w, (0, i - w.shape[1], 0, o - w.shape[0])) for w in self.weights])
        b = torch.stack([F.pad(b, (0, o - len(b))) for b in self.biases])
        y = torch.baddbmm(b[:, None], x, w.mT)
        parts = [part[:, :width] for part, width in zip(y, self.outputs, strict=True)]
        return torch.cat(parts, -1).unflatten(0, bands[0].shape[:-1])


class BandDown(BandLinear):
    """The map from the bands' neurons, side by side, into the residual stream."""

    def __init__(self, inputs: Sequence[int], partition: Partition, kernel: str) -> None:
        super().__init__(inputs, partition.widths, kernel)
        self.weights.start = "into stream"
        self.partition = partition

    def forward(self, neurons: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Map ``[B, T, sum(inputs)]`` to ``[B, T, d]``."""
        return self.partition.join(super().forward(neurons.split(self.inputs, -1)))


class BandMLP(nn.Module):
    """``down_i(gelu(up_i(norm_i(x_i))))`` for each band ``x_i`` of the residual stream."""

    def __init__(self, config: BandConfig) -> None:
        super().__init__()
        hidden = list(config.band_hidden or ())
        self.dropout = config.dropout
        self.norm = BandNorm(config.band_widths, config.layer_norm_eps)
        self.up = BandLinear(config.band_widths, hidden, config.kernel)
        self.down = BandDown(hidden, Partition(config.band_widths, config.partition), config.kernel)

    def forward(self, x_BTD: Tensor, past: Cache | None = None) -> Tensor:
        """Return what the bands' MLPs add to the residual stream."""
        neurons = F.gelu(self.up(self.norm(self.down.partition.split(x_BTD))))
        return F.dropout(self.down(neurons), self.dropout, self.training)

    def blocks(self) -> list[Block]:
        """Return each band's projections."""
        parts = zip(self.up.weights, self.up.biases, self.down.weights, self.down.biases, strict=True)
        return [Block(*part) for part in parts]

    def whole(self) -> Block:
        """Return the projections as from and into the whole residual stream: block-diagonal, and made anew."""
        join = self.down.partition.join
        return Block(
            up=join(torch.block_diag(*self.up.weights)),
            up_bias=torch.cat(list(self.up.biases)),
            down=join(torch.block_diag(*self.down.weights).T).T,
            down_bias=join(torch.cat(list(self.down.biases))),
        )


class FilterBankMLP(nn.Module):
    """One MLP whose hidden neurons are cut into bands, each of which reads a range of frequencies along the tokens.

    Band ``i``'s neurons are ``gelu(up_i (filter_i * norm(x)) + b_i)``. As both are linear, the filter acts on
    ``up_i norm(x)``, which is as wide as the band has neurons.
    """

    filters: Tensor

    def __init__(self, config: BandConfig, index: int) -> None:
        super().__init__()
        self.index = index
        d, hidden = config.hidden_size, list(config.band_hidden or ())
        self.dropout = config.dropout
        self.norm = nn.LayerNorm(d, config.layer_norm_eps)
        self.up = BandLinear([d] * len(hidden), hidden, "loop")
        self.down = ColumnBands(hidden, d)
        self.register_buffer("filters", filters(len(hidden), config.max_position_embeddings).float())

    def forward(self, x_BTD: Tensor, past: Cache | None = None) -> Tensor:
        """Return what the MLP adds to the residual stream."""
        normed, T = self.norm(x_BTD), x_BTD.shape[1]
        unfiltered = torch.cat([F.linear(normed, weight) for weight in self.up.weights], -1)
        if past is not None:
            kept = unfiltered[:, None]
            unfiltered = remember(past, kept, kept[..., :0], self.index)[0].squeeze(1)  # [B, S, d_mlp]
        S = unfiltered.shape[1]
        bank = self.filters[:, S - T : S, :S].to(x_BTD.dtype)
        parts = zip(bank, unfiltered.split(self.up.outputs, -1), self.up.biases, strict=True)
        neurons = F.gelu(torch.cat([each @ part + b for each, part, b in parts], -1))
        return F.dropout(self.down(neurons), self.dropout, self.training)

    def blocks(self) -> list[Block]:
        """Return each band's projections."""
        parts = zip(self.up.weights, self.up.biases, self.down.weights, strict=True)
        return [Block(*part, None) for part in parts]

    def whole(self) -> Block:
        """Return the projections as from and into the whole residual stream, made anew."""
        weights = torch.cat(list(self.up.weights)), torch.cat(list(self.up.biases))
        return Block(*weights, torch.cat(list(self.down.weights), 1), self.down.biases[0])


class ColumnBands(nn.Module):
    """A linear map with its columns in bands, so that each band's can learn at a rate of its own."""

    def __init__(self, inputs: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.weights = Parts(((outputs, i) for i in inputs), "into stream")
        self.biases = Parts([(outputs,)], "zeros")

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, T, sum(inputs)]`` to ``[B, T, outputs]``."""
        return F.linear(x, torch.cat(list(self.weights), 1), self.biases[0])


class BandLayer(Layer):
    """Attention, the bands' MLPs, and cross-band attention if asked for, each added to the residual stream."""

    def __init__(self, config: BandConfig, index: int) -> None:
        super().__init__(config, index)
        # In a cache of keys and values these come after the layers' attention.
        n = config.num_hidden_layers
        self.mlp = FilterBankMLP(config, 2 * n + index) if config.filter_bank else BandMLP(config)
        self.wormhole = None if config.wormhole == "none" else Wormhole(config, n + index)

    def forward(self, x_BTD: Tensor, past: Cache | None = None) -> Tensor:
        """Return the residual stream after the layer."""
        x_BTD = super().forward(x_BTD, past)
        return x_BTD if self.wormhole is None else x_BTD + self.wormhole(x_BTD, past)


class BandTransformer(StandardTransformer):
    """A causal language model whose MLPs are cut into bands; the rest is the standard transformer's."""

    config: BandConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    config_class = BandConfig
    layer_class = BandLayer

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Draw the bands' weights like all others; norms start at one and biases at zero."""
        super()._init_weights(module)
        if isinstance(module, Parts):
            for parameter in module:
                self._start(parameter, module.start)
        if isinstance(module, Wormhole) and module.complementary:
            initialization.constant_(module.log_temperature, math.log(TEMPERATURE))

    def _start(self, parameter: Tensor, how: str) -> None:
        if how in ("ones", "zeros"):
            initialization.constant_(parameter, float(how == "ones"))
        else:
            initialization.normal_(parameter, mean=0.0, std=self._std(how == "into stream"))

    def band_slices(self, widths: Sequence[int]) -> Slices:
        """Return the parameters of each band's MLPs, whole; ``widths`` must be the model's own.

        Raises:
            ValueError: If they are not.
        """
        if list(widths) != list(self.config.band_widths):
            raise ValueError(f"expected the model's own bands {self.config.band_widths}, got {list(widths)}")
        found: Slices = [[] for _ in widths]
        for name, parameter in self.named_parameters():
            shared = ".down.biases" in name and self.config.filter_bank
            if ".mlp." in name and (last := name.rpartition(".")[2]).isdecimal() and not shared:
                found[int(last)].append((parameter, ()))
        return found
