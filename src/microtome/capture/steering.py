"""Steered scores: what many steering vectors, each at its layer, do to continuations of one prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from microtome.base.errors import UserError
from microtome.capture.batches import MAX_TOKENS, Batch, tokenize
from microtome.capture.continuations import Segment, check_tokens, next_logprobs, segments
from microtome.capture.interventions import intervening
from microtome.capture.passes import decode
from microtome.capture.prefix import SharedPrefix, shared_prefix
from microtome.models.sites import Site

if TYPE_CHECKING:
    from microtome.models import HookPoint, Model


@torch.no_grad()
def steered_logprobs(
    model: Model,
    prompt: str | Sequence[int],
    continuations: Sequence[Sequence[int]],
    layers: int | Sequence[int],
    vectors: Float[Tensor, "V d"],
    *,
    site: Literal["resid_pre", "resid_post"] = "resid_post",
    max_tokens: int = MAX_TOKENS,
    prefix: SharedPrefix | None = None,
) -> Float[Tensor, "V C"]:
    """Return ``log p(continuation | prompt)`` in nats with a vector added at the prompt's last token.

    Row ``v`` adds ``vectors[v]`` to ``site.layers[v]`` at the last position of the prompt and nowhere else.
    Three things are computed once and not for every row: the prompt before its last token (its keys and
    values are shared), the layers below the vector (a row joins the pass where its vector acts, since below
    it is the unsteered row), and the beginnings that continuations share. A zero vector is the unsteered row
    itself, so all rows with one are equal, exactly.

    Args:
        model: A loaded model.
        prompt: A text or its tokens.
        continuations: Tokens of each continuation.
        layers: The layer of each vector, or one for all.
        vectors: What is added.
        site: Where in the layer.
        max_tokens: Tokens of one pass.
        prefix: ``shared_prefix(model, tokens of the prompt but the last)``, for calls that share a prompt.

    Returns:
        Sums of log-probabilities over each continuation's tokens, on the CPU in float32.

    Raises:
        UserError: If a layer, a vector's width, the prompt or a continuation does not fit the model.
    """
    if intervening():
        raise UserError(
            "Expected no interventions in force, got some: rows share layers here. Use "
            "logprobs(..., interventions=[Add(...)]) for steering beside other interventions."
        )
    (tokens,) = tokenize(model, [prompt])  # type: ignore[list-item]
    check_tokens(model, continuations, len(tokens))
    layer_of = _layers(model, layers, vectors, site)
    prefix = prefix or shared_prefix(model, tokens[:-1])
    parts = segments(continuations)
    step = max(1, max_tokens // (1 + max(len(segment.fed) for segment in parts)))
    steered = vectors.ne(0).any(1).nonzero()[:, 0].cpu()
    order = steered[layer_of[steered].argsort(stable=True)]
    scores = torch.zeros(len(vectors), len(continuations))
    unsteered: Tensor | None = None
    for rows in order.split(step):
        joining = {
            int(layer): vectors[rows[layer_of[rows] == layer]] for layer in layer_of[rows].unique().tolist()
        }
        found = torch.zeros(1 + len(rows), len(continuations))
        for segment in parts:
            hidden = _pass(model, tokens, segment, prefix, {Site(site, n): v for n, v in joining.items()})
            _read(model, segment, hidden, found)
        scores[rows] = found[1:]
        unsteered = found[0] if unsteered is None else unsteered
    assert unsteered is not None
    scores[vectors.eq(0).all(1).cpu()] = unsteered
    return scores


def _layers(model: Model, layers: int | Sequence[int], vectors: Tensor, site: str) -> Tensor:
    if site not in ("resid_pre", "resid_post"):
        raise UserError(
            f"Expected steering at 'resid_pre' or 'resid_post', got '{site}'. For other sites use "
            "logprobs(..., interventions=[Add(...)])."
        )
    width = model.anatomy.d_model
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise UserError(f"Expected vectors of shape [V, {width}], got {list(vectors.shape)}.")
    of = torch.tensor([layers] * len(vectors) if isinstance(layers, int) else [int(n) for n in layers])
    if len(of) != len(vectors):
        raise UserError(f"Expected a layer for each of the {len(vectors)} vectors, got {len(of)}.")
    for layer in of.unique().tolist():
        model.anatomy.check(Site(site, layer))
    return of


def _pass(
    model: Model,
    prompt: Sequence[int],
    segment: Segment,
    prefix: SharedPrefix | None,
    joining: Mapping[Site, Tensor],
) -> Tensor:
    """Return the decoder's output ``[1 + V, T, d]``: the unsteered row, then those that joined, in order."""
    fed = torch.tensor([[prompt[-1], *segment.fed]], device=model.device)
    start, width = len(prompt) - 1, fed.shape[1]
    batch = Batch(torch.zeros(1).long(), torch.tensor([start + width]), width, 1, fed, start=start)
    with ExitStack() as hooks:
        for site, vectors in joining.items():
            hooks.enter_context(_joined(model.module, model.anatomy.point(site), vectors))
        hidden = decode(model, batch, prefix)
    assert hidden is not None
    return hidden


def _read(model: Model, segment: Segment, hidden: Tensor, scores: Tensor) -> None:
    """Add to ``scores [1 + V, C]`` what a segment gives."""
    positions, tokens, continuations = torch.tensor(segment.reads).unbind(1)
    rows = torch.arange(len(hidden)).repeat_interleave(len(tokens))
    columns, targets = positions.repeat(len(hidden)), tokens.repeat(len(hidden))
    found = next_logprobs(model, hidden, rows, columns, targets)
    scores.index_add_(1, continuations, found.reshape(len(hidden), -1))


@contextmanager
def _joined(module: nn.Module, point: HookPoint, vectors: Tensor) -> Iterator[None]:
    """Let rows join the residual stream at a point: copies of row 0 with a vector added at position 0."""

    def grow(stream: Tensor) -> Tensor:
        rows = stream[:1].repeat(len(vectors), 1, 1)
        rows[:, 0] += vectors.to(rows)
        return torch.cat([stream, rows])

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (grow(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": grow(kwargs["hidden_states"])}

    def after(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return grow(output)

    target = point.find(module)
    if point.io == "input":
        handle = target.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = target.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()
