"""Cross-band attention, which the original calls wormhole: a band attends to what other bands hold at earlier tokens.

For a target band ``i`` and a source band ``j``, ``q_i`` and ``k_j`` have 16 dimensions and ``v_j`` 32; what band ``i``
gets from ``j`` is ``o_ij = W_o,i attention(q_i, k_j, v_j)``, times a gate. The sources' mean is added to the band.

``published``: all ordered pairs of bands, and a gate ``g = sigmoid(W_i [b_i ; o_ij])`` for each dimension, which is 0
(and passes no gradient) where it is below one half.

``complementary``: band ``i`` with band ``n - 1 - i``, and the middle band, if there is one, with every other; queries
and keys of length one, a temperature for each band, and a gate ``sigmoid(10 (1/2 - H / H_max))`` on the entropy ``H``
of the attention, which opens where attention is sharp. At the first position, where ``H_max = 0``, attention is as
sharp as it can be, and ``H / H_max`` counts as 0.
"""

import math
from collections.abc import Sequence
from operator import itemgetter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Cache

from microtome.models.architectures.configs import BandConfig
from microtome.models.architectures.partition import Partition
from microtome.models.architectures.standard import (
    IntoStream,
    causal_attention,
    causal_probabilities,
    remember,
)

KEY, VALUE = 16, 32
OPEN = 0.5
SHARPNESS = 10.0
TEMPERATURE = 0.1
"""At the start; scores are cosines, which without it would leave attention all but uniform."""


def pairs(bands: int, form: str) -> list[tuple[int, int]]:
    """Return the ordered pairs (target, source) of a form of cross-band attention, by target."""
    every = [(i, j) for i in range(bands) for j in range(bands) if i != j]
    if form == "published":
        return every
    middle = {bands // 2} if bands % 2 else set()
    return [(i, j) for i, j in every if i + j == bands - 1 or {i, j} & middle]


class Wormhole(nn.Module):
    """Cross-band attention after the MLPs of a layer."""

    def __init__(self, config: BandConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.partition = Partition(config.band_widths, config.partition)
        self.widths = self.partition.widths
        self.complementary = config.wormhole == "complementary"
        found = pairs(len(self.widths), config.wormhole)
        self.targets, self.sources = [i for i, _ in found], [j for _, j in found]
        self.q = nn.ModuleList(nn.Linear(width, KEY) for width in self.widths)
        self.k = nn.ModuleList(nn.Linear(width, KEY) for width in self.widths)
        self.v = nn.ModuleList(nn.Linear(width, VALUE) for width in self.widths)
        self.out = nn.ModuleList(IntoStream(VALUE, width) for width in self.widths)
        if self.complementary:
            self.log_temperature = nn.Parameter(torch.full((len(self.widths),), math.log(TEMPERATURE)))
        else:
            self.gate = nn.ModuleList(nn.Linear(2 * width, width) for width in self.widths)

    def forward(self, x_BTD: Tensor, past: Cache | None = None) -> Tensor:
        """Return what each band gets from the others, to be added to the residual stream."""
        bands = self.partition.split(x_BTD)
        q, k, v = (
            _of_bands(projections, bands) for projections in (self.q, self.k, self.v)
        )  # [B, bands, T, .]
        if past is not None:
            k, v = remember(past, k, v, self.index)  # [B, bands, S, .]
        z, gate = self._sharp(q, k, v) if self.complementary else (self._plain(q, k, v), None)
        shares = [self.targets.count(i) for i in range(len(bands))]  # pairs are in the order of their targets
        gates = [None] * len(bands) if gate is None else gate.split(shares, 1)
        received = map(self._received, range(len(bands)), bands, z.split(shares, 1), gates)
        return self.partition.join(torch.cat(list(received), -1))

    def _plain(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # Zeros beside queries and keys leave scores as they are; with one width for all, the fast kernels apply.
        q, k = (F.pad(each, (0, VALUE - KEY)) for each in (q, k))
        return causal_attention(*self._paired(q, k, v), scale=KEY**-0.5)

    def _sharp(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is attended to ``[B, pairs, T, VALUE]``, and the gate ``[B, pairs, T, 1]``."""
        # Queries, much smaller than scores, are divided by the temperature.
        q = F.normalize(q, dim=-1) / self.log_temperature.exp()[:, None, None]
        q, k, v = self._paired(q, F.normalize(k, dim=-1), v)
        pattern = causal_probabilities(q @ k.mT)
        # The derivative of -p log p is infinite at 0; 1 has no entropy either.
        entropy = torch.special.entr(torch.where(pattern > 0, pattern, 1.0)).sum(-1)  # [B, pairs, T]
        T, S = pattern.shape[-2:]
        seen = torch.arange(S - T + 1, S + 1, device=entropy.device, dtype=entropy.dtype)
        share = entropy / seen.clamp_min(2).log()  # of one position the entropy is 0
        return pattern @ v, torch.sigmoid(SHARPNESS * (OPEN - share))[..., None]

    def _paired(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the queries of the pairs' targets, and the keys and values of their sources, ``[B, pairs, T, .]``."""
        chosen = ((q, self.targets), (k, self.sources), (v, self.sources))
        # Unlike indexing, this needs no gradient filled with zeros.
        q, k, v = (torch.stack(itemgetter(*which)(each.unbind(1)), 1) for each, which in chosen)
        return q, k, v

    def _received(self, i: int, band: Tensor, z: Tensor, gate: Tensor | None) -> Tensor:
        """Return the mean over band ``i``'s sources of what it gets from each, ``[B, T, width]``."""
        got = self.out[i](z)  # [B, sources, T, width]
        if gate is None:
            gate = torch.sigmoid(self._gate_scores(i, band, got))
            gate = torch.where(gate >= OPEN, gate, 0.0)
        return (gate * got).mean(1)

    def _gate_scores(self, i: int, band: Tensor, got: Tensor) -> Tensor:
        """Return ``W_i [b_i ; o_ij]``; the part of ``b_i`` is the same for all sources, and computed once."""
        linear = self.gate[i]
        assert isinstance(linear, nn.Linear)
        of_band, of_got = linear.weight.split(self.widths[i], 1)
        return F.linear(band, of_band, linear.bias)[:, None] + F.linear(got, of_got)


def _of_bands(projections: nn.ModuleList, bands: Sequence[Tensor]) -> Tensor:
    """Return each band's projection, ``[B, bands, T, d]``."""
    return torch.stack([projection(band) for projection, band in zip(projections, bands, strict=True)], 1)
