"""The catalyst as the original makes it: gradient ascent of the loss on embeddings of unit length, snapped to tokens.

The gradient is hardly felt: rows stay where they were scaled to, and what changes tokens is that the nearest
embedding of a row that was made longer or shorter may be another token's. :class:`Catalyst` says how much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from microtome.lab.seeds import stream
from microtome.measure.curvature import Hessian, NullSpace
from microtome.measure.curvature.vectors import dot, norm
from microtome.studies.stability.catalyst import check, differentiable

if TYPE_CHECKING:
    from microtome.models import Model

RATE = 1e-2
"""Step of the ascent."""
LARGE = 10**9
"""Parameters above which the original looks for fewer directions, and trains at a higher rate."""


@dataclass(frozen=True, eq=False)
class Catalyst:
    """The catalyst, and how far it is from its random start."""

    tokens: Int[Tensor, " T"]
    start: Int[Tensor, " T"]
    changed: float
    """Share of the tokens that differ from the start's."""
    inert: float
    """Share of the tokens that scaling and snapping the start gives as well, without any ascent."""
    cosine: float
    """Mean cosine of a row's final embedding with its first one."""


def twice_shifted(tokens: Int[Tensor, " T"]) -> dict[str, Tensor]:
    """Return the original's batch of one input: the model shifts shifted labels again, to token ``t + 2``."""
    return {"input_ids": tokens[None, :-1], "labels": tokens[None, 1:]}


def published_catalyst(model: Model, seed: int, length: int = 64, steps: int = 50) -> Catalyst:
    """Return what the original's ascent makes of random tokens.

    Each step takes ``E <- E + 0.01 dCE/dE``, scales every row of ``E [T, d]`` to length 1, and takes the nearest token
    (Euclidean) of each row as the labels of the next step. The cross-entropy is that of token ``t + 2`` after those up
    to ``t``, for the original shifts labels twice, so the last two rows have no gradient. The model is in evaluation
    mode; the original's is in training mode, which is the same for its models: they have no dropout.

    Args:
        model: A loaded model.
        seed: Of the start: one vocabulary and one seed give one start.
        length: Tokens, at least 3.
        steps: Of the ascent.
    """
    embedding: Any = model.module.get_input_embeddings()
    drawn = stream(seed, "published catalyst").integers(len(model.tokenizer), size=length)
    start = torch.from_numpy(drawn).to(model.device)
    table = embedding.weight.detach().float()
    first = embedding(start).detach()
    rows, tokens = first, start
    for _ in range(steps):
        rows = unit(rows + RATE * slope(model, rows, tokens))
        tokens = snapped(rows, table)
    return Catalyst(
        tokens.cpu(),
        start.cpu(),
        changed=_share(tokens != start),
        inert=_share(tokens == snapped(unit(first), table)),
        cosine=float(torch.cosine_similarity(rows.double(), first.double(), dim=-1).mean()),
    )


def slope(model: Model, rows: Float[Tensor, "T d"], labels: Int[Tensor, " T"]) -> Float[Tensor, "T d"]:
    """Return the gradient of the twice shifted cross-entropy by the embeddings of an input."""
    rows = rows.detach().requires_grad_()
    loss = model.module(inputs_embeds=rows[None, :-1], labels=labels[None, 1:]).loss
    return torch.autograd.grad(loss, rows)[0]


def unit(rows: Float[Tensor, "T d"]) -> Float[Tensor, "T d"]:
    """Return rows scaled to length 1, as the original does: a row of zeros stays one."""
    return rows / (rows.norm(dim=-1, keepdim=True) + 1e-8)


def snapped(rows: Float[Tensor, "T d"], table: Float[Tensor, "V d"]) -> Int[Tensor, " T"]:
    """Return the token whose embedding is nearest to each row."""
    return (table.square().sum(-1) / 2 - rows.to(table.dtype) @ table.T).argmin(-1)


def published_directions(
    model: Model, seed: int, count: int = 10, iterations: int = 50, threshold: float = 1e-6
) -> NullSpace:
    """Return the directions that the original calls a null space, computes for every catalyst, and never uses.

    Power iteration, ``v <- Hv / |Hv|``, from Gaussian starts, each made orthogonal to the directions before it after
    every product; it stops at ``iterations``, or when ``|Hv|`` is below the threshold, the only case that finds a null
    direction. It otherwise goes to the eigenvectors of the *largest* magnitude. H is the Hessian of the twice shifted
    loss on 64 random tokens. Values are ``v'Hv`` and residuals ``|Hv - (v'Hv) v|``, not computed there.

    Args:
        model: Loaded with attention ``eager``.
        seed: Of the tokens and the starts.
        count: How many; models of more than a billion parameters get 3 at most.
        iterations: Products for each at most.
        threshold: Length of a product below which its vector counts as null.

    Raises:
        UserError: If the model has another attention.
    """
    check(model)
    rng = stream(seed, "published directions")
    tokens = torch.from_numpy(rng.integers(len(model.tokenizer), size=64)).to(model.device)
    parameters = list(model.module.parameters())
    size = sum(parameter.numel() for parameter in parameters)
    count = min(count, 3) if size > LARGE else count
    vectors, values, residuals = (
        torch.empty(count, size, device="cpu"),
        torch.empty(count),
        torch.empty(count),
    )
    with (
        differentiable(parameters),
        Hessian(lambda: model.module(**twice_shifted(tokens)).loss, parameters) as hessian,
    ):
        for k in range(count):
            v = torch.from_numpy(rng.standard_normal(size)).to(hessian.device, hessian.dtype)
            v /= norm(v)
            for _ in range(iterations):
                product = hessian(v)
                if norm(product) < threshold:
                    break
                v = product / norm(product)
                for before in vectors[:k]:
                    before = before.to(v)
                    v -= dot(before, v) * before
                v /= norm(v)
            product = hessian(v)
            values[k] = dot(v, product)
            residuals[k] = norm(product - float(values[k]) * v)
            vectors[k] = v
    return NullSpace(vectors, values, residuals)


def _share(mask: Tensor) -> float:
    return float(mask.float().mean())
