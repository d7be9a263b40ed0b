"""What each band is worth while its model trains: the rise in loss when the band's neurons are held at their means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from microtome.train.data import Text
from microtome.train.evaluate import nats_per_token

Bands = Sequence[tuple[int, int]]


def observer(bands: Bands, blocks: int) -> Callable[[int, Any, Text], list[dict[str, Any]]]:
    """Return what the trainer calls at each evaluation: the rise in loss of each band, on both sides of the text.

    A band's neurons, in all layers at once, are replaced by their means over the same sequences. As a band's output is
    linear in its neurons, this is to replace its output by its mean.
    """

    def observe(step: int, module: Any, text: Text) -> list[dict[str, Any]]:
        rows = []
        for side, tokens in (("held_out", text.held_out[:blocks]), ("train", text.train[:blocks])):
            for band, rise in enumerate(rises(module, tokens, bands)):
                rows.append({"band": band, "side": side, "rise": rise})
        return rows

    return observe


@torch.no_grad()
def rises(module: Any, tokens: Tensor, bands: Bands) -> list[float]:
    """Return, for each band, the loss with its neurons at their means less the loss, in nats per token.

    Args:
        module: A standard or a band transformer.
        tokens: ``[n, T + 1]``.
        bands: Where each band's neurons start and stop in a layer.
    """
    device = next(module.parameters()).device
    tokens = tokens.to(device)

    def loss() -> float:
        return nats_per_token(module, tokens, len(tokens), device, nullcontext())

    means: list[Tensor] = []
    with _hooked(module, lambda layer, neurons: means.append(neurons.mean((0, 1)))):
        whole = loss()
    found = []
    for start, stop in bands:
        with _hooked(module, lambda layer, neurons, at=slice(start, stop): _held(neurons, means[layer], at)):
            found.append(loss() - whole)
    return found


def _held(neurons: Tensor, mean: Tensor, at: slice) -> Tensor:
    neurons = neurons.clone()
    neurons[..., at] = mean[at]
    return neurons


@contextmanager
def _hooked(module: Any, function: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
    """Let a function see each layer's neurons ``[n, T, d_mlp]``, and replace them by what it returns."""
    with ExitStack() as hooks:
        for number, layer in enumerate(module.model.layers):

            def before(_: Any, args: tuple[Any, ...], number: int = number) -> Any:
                replaced = function(number, args[0])
                return replaced if isinstance(replaced, Tensor) else None

            hooks.callback(layer.mlp.down.register_forward_pre_hook(before).remove)
        yield


@torch.no_grad()
def neurons_of(module: Any, tokens: Tensor) -> list[Tensor]:
    """Return every layer's neurons after the activation, ``[n, T, d_mlp]`` each, on the CPU."""
    found: list[Tensor] = []
    device = next(module.parameters()).device
    with _hooked(module, lambda layer, neurons: found.append(neurons.cpu())):
        module.model(input_ids=tokens.to(device))
    return found


def leak(module: Any, tokens: Tensor, at: int) -> float:
    """Return the largest gradient of the logits at a position with respect to the embeddings of later ones.

    Exactly 0 in a causal model.

    Args:
        module: A language model of this package.
        tokens: ``[1, T]``.
        at: The position.
    """
    kept: list[Tensor] = []
    handle = module.model.tokens.register_forward_hook(
        lambda _, __, output: kept.append(output.detach().requires_grad_()) or kept[0]
    )
    try:
        with torch.enable_grad():
            logits = module(input_ids=tokens.to(next(module.parameters()).device)).logits
            (gradient,) = torch.autograd.grad(logits[0, at].square().sum(), kept[0])
    finally:
        handle.remove()
    return float(gradient[0, at + 1 :].abs().max())
