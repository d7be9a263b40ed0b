"""How large a model is, whatever its weights are packed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from microtome.models import Model


def parameters_of(model: Model) -> int:
    """Return the model's parameters, those of packed weights by what they stand for."""
    return sum(
        int(np.prod(state.shape)) if (state := getattr(one, "quant_state", None)) is not None else one.numel()
        for one in model.module.parameters()
    )
