"""Effects of neurons: what a model loses when MLP neurons are ablated, or replaced by others of their layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from microtome.base.errors import UserError
from microtome.capture.batches import MAX_TOKENS, Batch, Inputs, tokenize
from microtome.capture.continuations import HEAD_NUMBERS, next_logits
from microtome.capture.interventions import intervening
from microtome.capture.passes import decode
from microtome.models.hookpoint import FIRST_ARGUMENT
from microtome.models.sites import Site

if TYPE_CHECKING:
    from microtome.models import Model


@dataclass(frozen=True)
class NeuronEdit:
    """Neurons of one layer set to constants, and what that removes handed to other neurons of the layer.

    With ``r_n = a_n - offset_n`` at every position: ``a'_n = offset_n`` for the edited neurons, and then
    ``a'_k += sum_n coefficients[n][k] r_n`` for the targets. Without targets this is ablation (by the mean,
    if the offsets are the neurons' means). A target may be an edited neuron: one that takes over from itself
    with coefficient 1 is as it was.
    """

    layer: int
    neurons: tuple[int, ...]
    """Edited jointly."""
    offsets: tuple[float, ...]
    """What each of them is set to."""
    targets: tuple[int, ...] = ()
    """Neurons that take over."""
    coefficients: tuple[float, ...] | tuple[tuple[float, ...], ...] = ()
    """``[neurons][targets]``, or ``[targets]`` for one neuron."""

    @property
    def matrix(self) -> tuple[tuple[float, ...], ...]:
        """The coefficients as ``[neurons][targets]``."""
        if not self.coefficients:
            return ((),) * len(self.neurons)
        nested = isinstance(self.coefficients[0], Sequence)
        return self.coefficients if nested else (self.coefficients,)  # type: ignore[return-value]


@dataclass(frozen=True)
class Effects:
    """What edits do to a model on inputs, on the CPU in float64."""

    nats: Float[Tensor, "edits inputs"]
    """Mean increase of the cross-entropy per scored token."""
    kl: Float[Tensor, "edits inputs"]
    """Mean ``KL(unedited || edited)`` of the next token's distribution per scored position."""
    base: Float[Tensor, " inputs"]
    """Mean cross-entropy of the unedited model per scored token."""


@torch.no_grad()
def edit_effects(
    model: Model,
    inputs: Inputs,
    edits: Sequence[NeuronEdit],
    *,
    scored: Sequence[Sequence[int]] | None = None,
    max_tokens: int = MAX_TOKENS,
    advance: Callable[[float], None] | None = None,
) -> Effects:
    """Return the loss in nats and the KL divergence that each edit causes on each input.

    Each pass holds one input: the unedited row, and for each edit a row that joins where its layer begins
    (below it is the unedited row), so that the layers below are not run again. Rows of a pass have the same
    tokens and nothing is padded. An edit that changes no activation of an input scores 0 and 0 there, exactly.

    Args:
        model: A loaded model.
        inputs: Texts, token sequences, or tokens ``[N, T]`` without padding.
        edits: Each acts alone, at every position of ``mlp_post`` of its layer.
        scored: For each input the positions whose next token is scored; ``None``: all but the last.
        max_tokens: Tokens of one pass.
        advance: Is called after each pass with the share of an input that it did (``base.progress`` yields one).

    Returns:
        The effects, with the same unedited row behind the differences of one pass.

    Raises:
        UserError: If an edit does not fit the model, positions do not fit the inputs, or interventions are in
            force.
    """
    if intervening():
        raise UserError("Expected no interventions in force, got some: rows of edits share layers.")
    if not edits:
        raise UserError("Expected at least one edit, got none.")
    for edit in edits:
        _check(model, edit)
    sequences = tokenize(model, inputs)
    places = _places(sequences, scored)
    order = sorted(range(len(edits)), key=lambda e: edits[e].layer)
    nats = torch.zeros(len(edits), len(sequences), dtype=torch.float64)
    kl, base = nats.clone(), nats[0].clone()
    for i, (tokens, at) in enumerate(zip(sequences, places, strict=True)):
        fed = tokens[: max(at) + 1]  # nothing after the last scored position matters
        following = torch.tensor([tokens[position + 1] for position in at])
        step = max(1, max_tokens // len(fed) - 1)
        for first in range(0, len(order), step):
            rows = order[first : first + step]
            hidden, changed = _pass(model, fed, [edits[e] for e in rows])
            losses, divergences = _read(model, hidden, torch.tensor(at), following)
            nats[rows, i] = (losses[1:] - losses[0]).where(changed, 0.0)
            kl[rows, i] = divergences[1:].where(changed, 0.0)
            base[i] = losses[0]
            if advance is not None:
                advance(len(rows) / len(edits))
    return Effects(nats, kl, base)


def _check(model: Model, edit: NeuronEdit) -> None:
    model.anatomy.check(Site("mlp_post", edit.layer))
    width = model.anatomy.d_mlp
    for what, neurons in (("neurons", edit.neurons), ("targets", edit.targets)):
        if any(not 0 <= n < width for n in neurons) or len(set(neurons)) != len(neurons):
            raise UserError(f"Expected different {what} from 0 to {width - 1}, got {list(neurons)}.")
    if not edit.neurons or len(edit.offsets) != len(edit.neurons):
        raise UserError(
            f"Expected at least one neuron and an offset for each, got {len(edit.neurons)} neurons and "
            f"{len(edit.offsets)} offsets."
        )
    shape, widths = (len(edit.neurons), len(edit.targets)), [len(row) for row in edit.matrix]
    if widths != [shape[1]] * shape[0]:
        raise UserError(
            f"Expected coefficients [neurons][targets] of shape {list(shape)}, got rows of lengths {widths}."
        )
    if not all(map(isfinite, [*edit.offsets, *(c for row in edit.matrix for c in row)])):
        raise UserError(
            f"Expected finite offsets and coefficients, got {list(edit.offsets)} and "
            f"{[list(row) for row in edit.matrix]}."
        )


def _places(
    sequences: Sequence[Sequence[int]], scored: Sequence[Sequence[int]] | None
) -> Sequence[Sequence[int]]:
    if scored is None:
        scored = [range(len(tokens) - 1) for tokens in sequences]
    if len(scored) != len(sequences):
        raise UserError(
            f"Expected scored positions for each of the {len(sequences)} inputs, got {len(scored)}."
        )
    for i, (tokens, at) in enumerate(zip(sequences, scored, strict=True)):
        if not len(at) or min(at) < 0 or max(at) > len(tokens) - 2:
            raise UserError(
                f"Expected at least one scored position with a next token in input {i} of {len(tokens)} "
                f"tokens (0 to {len(tokens) - 2}), got {list(at)}."
            )
    return scored


def _pass(model: Model, tokens: Sequence[int], edits: Sequence[NeuronEdit]) -> tuple[Tensor, Tensor]:
    """Return the decoder's output ``[1 + E, T, d]`` of the unedited row and the edits', and which changed."""
    width = len(tokens)
    fed = torch.tensor([tokens], device=model.device)
    batch = Batch(torch.zeros(1).long(), torch.tensor([width]), width, 1, fed)
    changed: list[bool] = []
    with ExitStack() as hooks:
        for layer, group in groupby(edits, key=lambda edit: edit.layer):
            own = list(group)
            hooks.enter_context(_joined(model, layer, len(own)))
            act = partial(_edit, own, changed)
            point = model.anatomy.point(Site("mlp_post", layer))
            hooks.callback(point.attach(model.module, act).remove)
        hidden = decode(model, batch)
    assert hidden is not None
    return hidden, torch.tensor(changed)


@contextmanager
def _joined(model: Model, layer: int, count: int) -> Iterator[None]:
    """Let copies of row 0 join the residual stream that enters a layer."""

    def grow(stream: Tensor) -> Tensor:
        return torch.cat([stream, stream[:1].expand(count, -1, -1)])

    def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (grow(args[0]), *args[1:]), kwargs
        return args, {**kwargs, FIRST_ARGUMENT: grow(kwargs[FIRST_ARGUMENT])}

    point = model.anatomy.point(Site("resid_pre", layer))
    handle = point.find(model.module).register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _edit(edits: Sequence[NeuronEdit], changed: list[bool], values: Tensor) -> Tensor:
    """Edit the last rows of ``values [B, T, d_mlp]``, which have just joined, each by its edit."""
    new = values.clone()
    for edit, old, row in zip(edits, values[-len(edits) :], new[-len(edits) :], strict=True):
        # In float64 what is taken and given back to a neuron leaves it as it was, to the last bit.
        exact, neurons = old.double(), list(edit.neurons)
        offsets = exact.new_tensor(edit.offsets)
        removed = exact[:, neurons] - offsets
        exact[:, neurons] = offsets
        if edit.targets:
            exact[:, list(edit.targets)] += removed @ exact.new_tensor(edit.matrix)
        row.copy_(exact)
        changed.append(not torch.equal(row, old))
    return new


def _read(model: Model, hidden: Tensor, at: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's mean cross-entropy and mean divergence from row 0 over the places: ``[B]``, ``[B]``."""
    losses = torch.zeros(len(hidden), dtype=torch.float64)
    divergences = losses.clone()
    step = max(1, HEAD_NUMBERS // model.anatomy.vocabulary)
    for places, tokens in zip(at.split(step), following.split(step), strict=True):
        places, tokens = places.to(hidden.device), tokens.to(hidden.device)[None, :, None]
        unedited = _logs(model, hidden[0, places])
        p = unedited.exp()
        negentropy = (p * unedited).sum(-1)
        for rows in torch.arange(len(hidden)).split(max(1, step // len(places))):
            logs = _logs(model, hidden[rows[:, None].to(hidden.device), places])  # [rows, places, vocabulary]
            losses[rows] -= logs.gather(-1, tokens.expand(len(rows), -1, -1)).sum((1, 2)).cpu()
            divergences[rows] += (negentropy - (p * logs).sum(-1)).clamp(min=0).sum(1).cpu()
    return losses / len(at), divergences / len(at)


def _logs(model: Model, hidden: Tensor) -> Tensor:
    """Return the log-probabilities of all next tokens, in float64: effects of one neuron are small."""
    return next_logits(model, hidden).log_softmax(-1, dtype=torch.float64)
