"""The metric of every head of a layer, ``W_Q' W_K``, as its two factors: no d x d matrix is formed.

With ``x_m`` what the layer's projections read at position ``m``, a head's score between a query at ``m`` and a key at
``n`` is, before the softmax's scale, ``s_mn = (W_Q x_m + b_Q)' R_m' R_n (W_K x_n + b_K)``, where the rotary embedding
``R_p`` turns each pair of dimensions ``(i, i + dimensions / 2)`` by ``p * frequencies[i]``. Rotations of the same pairs
add up, so that ``R_m' R_n = R_(n - m)``: the score is a bilinear form that knows only the offset ``m - n``.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from microtome.base.errors import UserError
from microtome.models import Model


@dataclass(frozen=True)
class MetricOptions:
    """What is folded into the metric; nothing, as published, unless it is asked for.

    With all gains and biases the scores are exact: ``s_mn = [z_m; 1]' q' k [z_n; 1]``, where ``z`` is the residual
    stream centred (for LayerNorm) and normalised, but not yet multiplied. Where the architecture normalises queries and
    keys, that holds but for the division by their two root mean squares, which is not bilinear. YaRN's attention factor
    is left out, as the softmax's scale is.
    """

    norm_gains: bool = False
    """Multiply the columns by the gain of the norm before attention: ``W diag(g)``; its bias joins the projection's,
    ``W beta + b``."""
    head_norm_gains: bool = False
    """Multiply the rows by the gain of the query or key norm; no effect where there is none."""
    biases: bool = False
    """Add the projection's bias as the last column, which is zero where there is no bias: ``d`` becomes ``d + 1``."""
    offset: int = 0
    """How many positions the key lies before the query: ``W_Q' R_(-offset) W_K``."""


class Factors(NamedTuple):
    """Head ``h``'s metric is ``q[h].T @ k[h // (H // G)]``."""

    q: Tensor
    """``[H, d_head, d]``"""
    k: Tensor
    """``[G, d_head, d]``"""


def metric_factors(model: Model, layer: int, options: MetricOptions | None = None) -> Factors:
    """Return the factors of the metrics of a layer's heads.

    They are views of the model's weights where nothing is folded in, else of at least float32.

    Args:
        model: A loaded model.
        layer: The layer, counted from 0.
        options: What is folded in; nothing without them.

    Raises:
        UserError: If the layer is out of range, or the offset is negative, or not 0 where the architecture has no
            rotary embedding or one whose frequencies cannot be read.
    """
    options = options or MetricOptions()
    weights = model.attention_weights(layer)
    q = _folded(model, layer, "q", weights.q, weights.q_bias, options)
    k = _folded(model, layer, "k", weights.k, weights.k_bias, options)
    return Factors(q, k if options.offset == 0 else _turned(model, layer, k, options.offset))


def _folded(
    model: Model,
    layer: int,
    name: Literal["q", "k"],
    weight: Tensor,
    bias: Tensor | None,
    options: MetricOptions,
) -> Tensor:
    """Return one projection ``[heads, d_head, d]`` with what acts before and after it."""
    before = _norm(model, "attention", layer)
    factor = weight
    if options.norm_gains:
        factor = factor * _gain(model, before)
    if options.biases:
        column = _wide(weight.new_zeros(weight.shape[:2]) if bias is None else bias)
        if options.norm_gains and getattr(before, "bias", None) is not None:
            column = column + _wide(weight) @ _wide(before.bias)
        factor = torch.cat([_wide(factor), column[..., None]], -1)
    if options.head_norm_gains and name in model.anatomy.norms:
        factor = factor * _gain(model, _norm(model, name, layer))[:, None]
    return factor


def _turned(model: Model, layer: int, keys: Tensor, offset: int) -> Tensor:
    """Return ``R_(-offset) keys`` for ``keys [heads, d_head, d]``."""
    if offset < 0:
        raise UserError(
            f"Expected an offset of at least 0, got {offset}: a query sees no key after it. "
            "Give how many positions the key lies before the query."
        )
    frequencies = model.rotary_frequencies(layer)
    if frequencies is None:
        raise UserError(
            f"Expected an architecture with rotary embeddings for offset {offset}, got "
            f"{model.anatomy.model_type}, whose metric is the same at every offset. Use offset 0."
        )
    keys = _wide(keys)
    angles = -offset * frequencies.double()[:, None]
    cos, sin = angles.cos().to(keys), angles.sin().to(keys)
    pairs = len(frequencies)
    first, second, rest = keys.split([pairs, pairs, keys.shape[1] - 2 * pairs], dim=1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=1)


def _norm(model: Model, role: str, layer: int) -> Any:
    return model.module.get_submodule(model.anatomy.norms[role].format(layer))


def _gain(model: Model, norm: Any) -> Tensor:
    return _wide(norm.weight) + model.anatomy.norm_offset


def _wide(values: Tensor) -> Tensor:
    """Return the values in at least float32: products of half precision lose what is measured."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
