"""What an input's gradient is made of: the top curvature directions of ordinary text, and what lies outside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from microtome.base.errors import UserError
from microtome.measure.curvature import Hessian, NullSpace, flat, lanczos, random_signs

if TYPE_CHECKING:
    from microtome.models import Model

CERTAIN = 0.05
"""Residual, in the eigenvalue's own size, up to which a direction counts as certified."""


def top_directions(
    model: Model,
    text: Int[Tensor, "B T"],
    k: int,
    steps: int,
    rng: np.random.Generator,
    blocks: int | None = None,
    basis_dtype: torch.dtype = torch.float32,
) -> NullSpace:
    """Return the certified ones among the ``k`` top curvature directions of the loss on ordinary text.

    They are Ritz vectors of ``steps`` Lanczos steps with the Hessian of the mean next-token cross-entropy of the whole
    batch, from random signs. Certified is ``|Hu - value u| <= 0.05 |value|``; there may be fewer than ``k``, or none.

    Args:
        model: Loaded with attention ``eager``: fused kernels have no second derivative.
        text: Sequences of equal length; the graph of their gradient is held, so memory grows with ``B T``.
        k: How many to look for.
        steps: Products; the basis holds ``steps x P`` numbers.
        rng: Draws the start.
        blocks: How many middle blocks' parameters to look at; all parameters of the model when not given.
        basis_dtype: In which directions are stored: ``bfloat16`` halves them.

    Raises:
        UserError: If the model has another attention, or fewer blocks.
    """
    check(model)
    text = text.to(model.device)
    chosen = parameters(model, blocks)
    with (
        differentiable(chosen),
        Hessian(lambda: model.module(input_ids=text, labels=text).loss, chosen) as hessian,
    ):
        found = lanczos(hessian, random_signs(hessian, rng), steps, k, basis_dtype)
    return NullSpace(found.vectors, found.values, found.residuals).certified(CERTAIN)


def share(
    model: Model,
    null_space: NullSpace,
    inputs: Int[Tensor, " T"] | Float[Tensor, "T d"],
    labels: Int[Tensor, " T"] | None = None,
    blocks: int | None = None,
) -> tuple[float, float]:
    """Return the share of the squared gradient outside the top directions, and the loss.

    ``|g - U'U g|^2 / |g|^2``, of the gradient ``g`` of the input's mean next-token cross-entropy by the parameters
    that the directions are of; nan where the gradient is 0 or not finite.

    Args:
        model: The model of the directions.
        null_space: From :func:`top_directions`.
        inputs: Token ids, or embeddings.
        labels: Of embeddings; those of ids are the ids.
        blocks: As of the directions.
    """
    chosen = parameters(model, blocks)
    name = "inputs_embeds" if inputs.is_floating_point() else "input_ids"
    labels = inputs if labels is None else labels
    with differentiable(chosen):
        loss = model.module(
            **{name: inputs[None].to(model.device)}, labels=labels[None].to(model.device)
        ).loss
        g = flat(torch.autograd.grad(loss, chosen, materialize_grads=True))
    return null_space.share(g), loss.item()


def decades(share: float) -> float:
    """Return ``-log10(1 - share)``: each decade is a tenth of what was left in the top directions; inf for 1."""
    with np.errstate(divide="ignore"):
        return float(-np.log10(1 - np.float64(share)))


def parameters(model: Model, blocks: int | None = None) -> list[nn.Parameter]:
    """Return the parameters of some middle blocks, or all of the model's; tied ones once.

    Raises:
        UserError: If the model has fewer blocks.
    """
    if blocks is None:
        return list(model.module.parameters())
    layers = model.anatomy.layers
    if blocks > layers:
        raise UserError(
            f"Expected at most {layers} blocks, the model's, got {blocks}. Use fewer, or leave it out."
        )
    first = (layers - blocks) // 2
    paths = [model.anatomy.layer.format(layer) for layer in range(first, first + blocks)]
    return [one for path in paths for one in model.module.get_submodule(path).parameters()]


def check(model: Model) -> None:
    """Refuse a model whose attention has no second derivative."""
    if model.attention != "eager":
        raise UserError(
            f"Expected a model with attention 'eager', which can be differentiated twice, got '{model.attention}'. "
            "Load it with load_model(..., attention='eager')."
        )


@contextmanager
def differentiable(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Let parameters of a frozen model have gradients within."""
    before = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter, was in zip(parameters, before, strict=True):
            parameter.requires_grad_(was)
