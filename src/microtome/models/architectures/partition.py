"""Which dimensions of the residual stream each band takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Partition(nn.Module):
    """Cuts the residual stream into bands, and lays bands back into its order."""

    def __init__(self, widths: Sequence[int], order: Sequence[int] | None = None) -> None:
        super().__init__()
        self.widths = list(widths)
        self.in_order = order is None
        if order is not None:
            taken = torch.tensor(list(order))
            self.register_buffer("order", taken)
            self.register_buffer("back", taken.argsort())

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the bands of ``[..., d]``."""
        order: Any = None if self.in_order else self.order
        return (x if order is None else x[..., order]).split(self.widths, -1)

    def join(self, bands: Tensor) -> Tensor:
        """Lay bands that stand side by side, ``[..., d]``, back into the stream's order."""
        back: Any = None if self.in_order else self.back
        return bands if back is None else bands[..., back]
