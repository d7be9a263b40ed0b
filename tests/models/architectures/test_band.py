"""Band MLPs: a block-diagonal dense MLP by whichever kernel; and which parameters a band owns."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.models.architectures import BandConfig
from microtome.models.architectures.band import BandMLP
from tests.models.architectures.variants import (
    ORDER,
    VARIANTS,
    built,
    ids,
    own_dimensions,
    plain,
    stream,
)

MLPS = [name for name in VARIANTS if name != "standard" and "filter bank" not in name]


def dense(mlp: BandMLP, config: BandConfig, x: Tensor) -> Tensor:
    """Return what an MLP with block-diagonal weights adds to a stream ``[B, T, d]``."""
    d, h = config.hidden_size, sum(config.band_hidden or ())
    normed = torch.zeros_like(x)
    up, down = torch.zeros(h, d, dtype=x.dtype), torch.zeros(d, h, dtype=x.dtype)
    down_bias, start = torch.zeros(d, dtype=x.dtype), 0
    norms = zip(own_dimensions(config), mlp.norm.weights, mlp.norm.biases, mlp.blocks(), strict=True)
    for own, weight, bias, block in norms:
        assert block.down_bias is not None
        rows = range(start, start := start + len(block.up))
        centred = x[..., own] - x[..., own].mean(-1, keepdim=True)
        normed[..., own] = centred * (centred.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * weight + bias
        for row, neuron in enumerate(rows):
            up[neuron, own] = block.up[row]
            down[own, neuron] = block.down[:, row]
        down_bias[own] = block.down_bias
    up_bias = torch.cat([block.up_bias for block in mlp.blocks()])
    for mine, whole in zip((up, up_bias, down, down_bias), mlp.whole(), strict=True):
        assert whole is not None
        assert torch.equal(mine, whole)
    return F.linear(F.gelu(F.linear(normed, up, up_bias)), down, down_bias)


@pytest.mark.parametrize("name", ["band", "batched", "partition"])
def test_bands_are_an_mlp_with_block_diagonal_weights(name: str) -> None:
    model = built(name)
    mlp = model.model.layers[0].mlp
    with torch.no_grad():
        torch.testing.assert_close(mlp(stream()), dense(mlp, model.config, stream()))


@pytest.mark.parametrize("partition", [None, ORDER], ids=["in order", "mixed"])
def test_kernels_agree_with_their_gradients(partition: list[int] | None) -> None:
    loop, batched = (
        built(name, partition=partition).float().model.layers[0].mlp for name in ("band", "batched")
    )
    outs, slopes = [], []
    for mlp in (loop, batched):
        x = stream().float().requires_grad_()
        outs.append(mlp(x))
        slopes.append(torch.autograd.grad(outs[-1].square().sum(), [x, *mlp.parameters()]))
    torch.testing.assert_close(outs[0], outs[1], rtol=1e-6, atol=1e-6)
    for one, other in zip(*slopes, strict=True):
        assert (one - other).norm() <= 1e-6 * one.norm()


def test_the_filter_banks_whole_is_its_blocks_side_by_side() -> None:
    mlp: Any = built("filter bank").model.layers[0].mlp
    whole, blocks = mlp.whole(), mlp.blocks()
    assert torch.equal(whole.up, torch.cat([block.up for block in blocks]))
    assert torch.equal(whole.down, torch.cat([block.down for block in blocks], 1))
    x = torch.randn(5, sum(mlp.up.outputs), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    torch.testing.assert_close(mlp.down(x), F.linear(x, whole.down, whole.down_bias))


@pytest.mark.parametrize("name", MLPS)
def test_bands_own_all_that_is_in_their_mlps_once(name: str) -> None:
    model: Any = plain(VARIANTS[name]())
    owned = [parameter for band in model.band_slices((7, 5, 4)) for parameter, part in band if part == ()]
    expected = [parameter for name, parameter in model.named_parameters() if ".mlp." in name]
    assert sorted(map(id, owned)) == sorted(map(id, expected))


@pytest.mark.parametrize("name", ["filter bank", "filter bank, published, partition"])
def test_a_filter_banks_bands_own_their_neurons(name: str) -> None:
    model: Any = plain(VARIANTS[name]())
    bands = model.band_slices((7, 5, 4))
    for found, hidden in zip(bands, (9, 12, 6), strict=True):
        shapes = [tuple(parameter.shape) for parameter, _ in found]
        assert sorted(shapes) == sorted([(hidden, 16), (hidden,), (16, hidden)] * 2)
    owned = [id(parameter) for band in bands for parameter, _ in band]
    assert len(set(owned)) == len(owned)


def test_a_bands_gradients_are_those_of_its_dimensions() -> None:
    """A loss on one band's part of what the MLP adds reaches that band's parameters alone."""
    model: Any = built("partition")
    mlp, own = model.model.layers[0].mlp, own_dimensions(model.config)[1]
    mlp(stream())[..., own].square().sum().backward()
    for band, found in enumerate(model.band_slices((7, 5, 4))):
        reached = [parameter.grad is not None and bool(parameter.grad.any()) for parameter, _ in found[:6]]
        assert all(reached) if band == 1 else not any(reached)


def test_other_widths_than_the_models_are_refused() -> None:
    model: Any = plain(VARIANTS["band"]())
    with pytest.raises(ValueError, match=r"expected the model's own bands \[7, 5, 4\], got \[8, 4, 4\]"):
        model.band_slices([8, 4, 4])


def test_the_whole_model_is_the_same_by_either_kernel() -> None:
    loop, batched = built("band"), built("batched")
    with torch.no_grad():
        torch.testing.assert_close(loop(ids()).logits, batched(ids()).logits, rtol=0, atol=1e-12)
