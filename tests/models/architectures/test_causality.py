"""No logits hang on a later token; and the test sees it where, as in published variants, they do."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.models.architectures.variants import SIZES, VARIANTS, built, drawn, ids


def reach(model: Any, tokens: Tensor) -> Tensor:
    """Return ``[T, T]``: the largest gradient of the logits at ``t`` to the embedding of the token at ``t'``."""
    embedded: list[Tensor] = []
    handle = model.model.tokens.register_forward_hook(lambda _module, _inputs, out: embedded.append(out))
    logits = model(tokens).logits[0]
    handle.remove()
    direction = torch.randn(logits.shape[-1], generator=torch.Generator().manual_seed(3), dtype=logits.dtype)
    gradients = [torch.autograd.grad(row @ direction, embedded[0], retain_graph=True)[0][0] for row in logits]
    return torch.stack(gradients).abs().amax(-1)


def assert_causal(model: Any) -> None:
    found = reach(model, ids())
    assert found.isfinite().all()
    assert (found.tril(-1)[1:].amax(1) > 0).all(), "earlier tokens matter"
    assert (found.diagonal() > 0).all()
    assert (found.triu(1) == 0).all(), "a later token matters"


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", VARIANTS)
def test_logits_hang_on_no_later_token(name: str, attention: str) -> None:
    assert_causal(built(name, attention))


class Spectral(nn.Module):
    """Mixes tokens by their Fourier transform, without a mask."""

    def forward(self, x: Tensor, past: None = None) -> Tensor:
        return torch.fft.fft(x, dim=1).real


class Convolution(nn.Module):
    """A convolution along the tokens that is padded on both sides."""

    def __init__(self) -> None:
        super().__init__()
        d = SIZES["hidden_size"]
        self.convolution = nn.Conv1d(d, d, kernel_size=7, padding=3)

    def forward(self, x: Tensor, past: None = None) -> Tensor:
        return self.convolution(x.mT).mT


class Unmasked(nn.Module):
    """One half of the dimensions attends to what the other holds at all positions."""

    def forward(self, x: Tensor, past: None = None) -> Tensor:
        target, source = x.chunk(2, -1)
        return torch.cat([F.scaled_dot_product_attention(target, source, source), source], -1)


@pytest.mark.parametrize("mixing", [Spectral, Convolution, Unmasked])
@pytest.mark.parametrize("layer", [0, 1])
def test_mixing_with_later_tokens_is_caught(mixing: type[nn.Module], layer: int) -> None:
    model = built("standard")
    model.model.layers[layer].mlp = drawn(mixing().double())
    with pytest.raises(AssertionError, match="a later token matters"):
        assert_causal(model)


def test_a_symmetric_convolution_sees_as_far_ahead_as_it_is_padded() -> None:
    model = built("standard")
    model.model.layers[1].mlp = drawn(Convolution().double())
    later = reach(model, ids()).triu(1) > 0
    distance = torch.arange(10) - torch.arange(10)[:, None]
    assert torch.equal(later, (distance > 0) & (distance <= 3))
