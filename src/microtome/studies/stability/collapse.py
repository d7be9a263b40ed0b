"""A collapse that must be found: every matrix of every block moved a fifth of the way to its best rank-1 form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from microtome.models import Model

SHARE = 0.2


@torch.no_grad()
def plant_collapse(model: Model, share: float = SHARE) -> None:
    """Replace each matrix W of the blocks by ``(1 - share) W + share s u v'``, of its largest singular triple.

    The triple is that of a few steps of a randomised singular value decomposition, which for the planted change is
    exact enough. The model is changed in place.
    """
    for layer in range(model.anatomy.layers):
        block = model.module.get_submodule(model.anatomy.layer.format(layer))
        for weight in block.parameters():
            if weight.ndim == 2:
                wide = weight.float()
                with torch.random.fork_rng(devices=[]):
                    torch.default_generator.manual_seed(0)
                    u, s, v = torch.svd_lowrank(wide, q=min(4, *wide.shape), niter=4)
                best = s[0] * torch.outer(u[:, 0], v[:, 0])
                weight.copy_(torch.lerp(wide, best, share))
