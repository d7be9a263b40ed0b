"""Permuted copies: the same neurons in another order, as planted partners that whatever matches neurons must find."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from microtome.base.files import digest

if TYPE_CHECKING:
    from torch import Tensor

    from microtome.models.anatomy import MLPWeights
    from microtome.models.load import Model


def permuted_copy(model: Model, seed: int, noise: float = 0.0) -> tuple[Model, np.ndarray]:
    """Return a copy of a model whose MLP neurons stand in a random order in each layer, and that order.

    In an MLP of bands, neurons stay in their band.

    Rows of the input projections, their biases and columns of the output projection move together, so without
    noise the copy computes what the model does, up to rounding. Noise is then added to the input projections:
    ``W[i, j] += noise * rms(W[i]) * N(0, 1)``, where ``rms(W[i])`` is the root mean square of the neuron's own row.
    Biases get none. Each layer draws from a stream of its own, on the CPU: its order first, so that noise does
    not change the order, and the same numbers on every device and in every dtype.

    Args:
        model: Is left as it was; the copy has weights of its own.
        seed: Of the orders and the noise.
        noise: Standard deviation of the noise as a share of each row's root mean square.

    Returns:
        A frozen model in evaluation mode, whose reference and fingerprint are its own, and integers
        ``permutation`` ``[layers, d_mlp]``: neuron ``permutation[l, i]`` of the copy is neuron ``i`` of the model,
        so ``copy_mlp_post[..., permutation[l]]`` is the model's ``mlp_post`` of layer ``l``.

    Raises:
        ValueError: If ``noise`` is negative or not finite.
    """
    if not 0 <= noise < math.inf:
        raise ValueError(f"Expected noise of 0 or more, as a share of each neuron's weights, got {noise}.")
    module = copy.deepcopy(model.module).requires_grad_(False).eval()
    streams = np.random.SeedSequence(seed).spawn(model.anatomy.layers)
    permutation = [
        _permute(model.anatomy.mlp_blocks(module, layer), np.random.default_rng(stream), noise)
        for layer, stream in enumerate(streams)
    ]
    twin = replace(
        model,
        reference=f"{model.reference} (neurons permuted, noise {100 * noise:g} %, seed {seed})",
        module=module,
        fingerprint=digest({"permuted": model.fingerprint, "noise": float(noise), "seed": seed}),
    )
    return twin, np.stack(permutation)


def _permute(blocks: Sequence[MLPWeights], generator: np.random.Generator, noise: float) -> np.ndarray:
    """Move a layer's neurons in place, each within its block, add noise, and return where neuron ``i`` went."""
    moved = [_move(block, generator) for block in blocks]
    for block in blocks if noise else ():
        for rows in block.in_:
            _add_noise(rows, generator, noise)
    starts = np.cumsum([0, *map(len, moved[:-1])])
    return np.concatenate([start + places for start, places in zip(starts, moved, strict=True)])


def _move(weights: MLPWeights, generator: np.random.Generator) -> np.ndarray:
    """Move a block's neurons in place, neuron ``i`` to ``places[i]``, and return ``places``."""
    places = generator.permutation(weights.out.shape[1])
    for rows in (*weights.in_, *weights.in_biases, weights.out.T):
        if rows is not None:
            rows[places] = rows.clone()
    return places


def _add_noise(rows: Tensor, generator: np.random.Generator, noise: float) -> None:
    import torch

    normal = torch.from_numpy(generator.standard_normal(tuple(rows.shape), dtype=np.float32))
    rms = torch.linalg.vector_norm(rows, dim=1, keepdim=True) / math.sqrt(rows.shape[1])
    rows.addcmul_(normal.to(rows), rms, value=noise)
