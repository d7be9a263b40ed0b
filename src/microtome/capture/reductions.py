"""What becomes of a site's values inside the hook, so that nothing else of the pass is kept."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from microtome.capture.positions import Selection


@runtime_checkable
class Accumulator(Protocol):
    """Anything that values can be streamed into: a running mean, a covariance, a histogram."""

    def update(self, values: Tensor, /) -> None:
        """Take the next values ``[n, ...]``, on the model's device; copy what is to be kept."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Where one site's values go."""

    def add(self, values: Tensor, chosen: Selection) -> None:
        """Take a site's values ``[B, T, ...]`` of one pass."""
        ...


class Keep:
    """Keeps every chosen value, in the order of the inputs."""

    def __init__(self, counts: list[int], keys: int | None = None) -> None:
        self.starts = torch.tensor([0, *counts]).cumsum(0)
        self.keys = keys
        self.values: Tensor | None = None

    def add(self, values: Tensor, chosen: Selection) -> None:
        """Copy the chosen values to their place."""
        picked = chosen.pick(values).cpu()
        if self.values is None:
            self.values = self._room(picked)
        place = self.starts[chosen.inputs] + chosen.slots
        kept = self.values if self.keys is None else self.values[..., : picked.shape[-1]]
        kept.index_copy_(0, place, picked)

    def _room(self, picked: Tensor) -> Tensor:
        rows = int(self.starts[-1])
        if self.keys is None:
            return picked.new_empty(rows, *picked.shape[1:])
        # Attention to keys that an input does not have is 0, not undefined.
        return picked.new_zeros(rows, *picked.shape[1:-1], self.keys)


class Mean:
    """Keeps each input's mean over its chosen positions, summed in at least float32."""

    def __init__(self, counts: list[int]) -> None:
        self.counts = torch.tensor(counts)
        self.values: Tensor | None = None

    def add(self, values: Tensor, chosen: Selection) -> None:
        """Add up the chosen values of each row and divide by their number."""
        picked = chosen.pick(values)
        picked = picked.to(torch.promote_types(picked.dtype, torch.float32))
        if self.values is None:
            self.values = torch.full((len(self.counts), *picked.shape[1:]), torch.nan, dtype=picked.dtype)
        sums = picked.new_zeros(len(values), *picked.shape[1:])
        sums.index_add_(0, chosen.rows.to(picked.device), picked)
        inputs, rows = torch.unique(torch.stack([chosen.inputs, chosen.rows]), dim=1)
        counts = self.counts[inputs].reshape(-1, *[1] * (picked.ndim - 1))
        self.values.index_copy_(0, inputs, sums.cpu()[rows] / counts)


class Stream:
    """Hands the chosen values to the caller's accumulator and keeps nothing."""

    def __init__(self, accumulator: Accumulator) -> None:
        self.accumulator = accumulator

    def add(self, values: Tensor, chosen: Selection) -> None:
        """Pass the chosen values on."""
        self.accumulator.update(chosen.pick(values))
