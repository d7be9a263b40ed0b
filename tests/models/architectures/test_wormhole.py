"""Cross-band attention against loops over positions and pairs of bands, in both forms, with gradients."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.models.architectures.wormhole import Wormhole, pairs
from tests.models.architectures.variants import ORDER, VARIANTS, drawn, own_dimensions, stream

COMPLEMENTS = {
    7: [{6, 3}, {5, 3}, {4, 3}, {0, 1, 2, 4, 5, 6}, {2, 3}, {1, 3}, {0, 3}],
    6: [{5}, {4}, {3}, {2}, {1}, {0}],
    3: [{2, 1}, {0, 2}, {0, 1}],
}


def sources(bands: int, form: str, target: int) -> list[int]:
    if form == "published":
        return [band for band in range(bands) if band != target]
    return sorted(COMPLEMENTS[bands][target])


@pytest.mark.parametrize("bands", [7, 6, 3])
@pytest.mark.parametrize("form", ["published", "complementary"])
def test_pairs_are_each_bands_sources(bands: int, form: str) -> None:
    expected = [(i, j) for i in range(bands) for j in sources(bands, form, i)]
    assert pairs(bands, form) == expected


def received(wormhole: Any, config: Any, x: Tensor) -> Tensor:
    """Return what cross-band attention adds to a stream ``[T, d]``, position by position."""
    bands = [x[:, own] for own in own_dimensions(config)]
    rows = []
    for t in range(len(x)):
        row = [torch.zeros(())] * x.shape[1]
        for i, own in enumerate(own_dimensions(config)):
            got = []
            for j in sources(len(bands), config.wormhole, i):
                q = wormhole.q[i](bands[i][t])
                keys = [wormhole.k[j](bands[j][s]) for s in range(t + 1)]
                if config.wormhole == "complementary":
                    temperature = wormhole.log_temperature[i].exp()
                    scores = [F.cosine_similarity(q, k, dim=0) / temperature for k in keys]
                else:
                    scores = [q @ k / 4 for k in keys]
                pattern = torch.stack(scores).softmax(0)
                o = wormhole.out[i](sum(pattern[s] * wormhole.v[j](bands[j][s]) for s in range(t + 1)))
                if config.wormhole == "complementary":
                    share = -(pattern * pattern.log()).sum() / math.log(t + 1) if t else torch.zeros(())
                    gate = torch.sigmoid(10 * (0.5 - share))
                else:
                    gate = torch.sigmoid(wormhole.gate[i](torch.cat([bands[i][t], o])))
                    gate = torch.stack([g if g >= 0.5 else torch.zeros_like(g) for g in gate])
                got.append(gate * o)
            for dimension, value in zip(own, torch.stack(got).mean(0), strict=True):
                row[dimension] = value
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("partition", [None, ORDER], ids=["in order", "mixed"])
@pytest.mark.parametrize("form", ["published", "complementary"])
def test_it_equals_loops_over_positions_and_pairs(form: str, partition: list[int] | None) -> None:
    config: Any = VARIANTS[form](partition=partition)
    wormhole = drawn(Wormhole(config, 0).double())
    x = stream(1, 6).requires_grad_()
    inputs = [x, *wormhole.parameters()]
    got, expected = wormhole(x)[0], received(wormhole, config, x[0])
    torch.testing.assert_close(got, expected)
    weights = stream(1, 6).flip(1)[0]
    slopes, expected_slopes = (torch.autograd.grad((out * weights).sum(), inputs) for out in (got, expected))
    for slope, expected_slope in zip(slopes, expected_slopes, strict=True):
        torch.testing.assert_close(slope, expected_slope)


def test_a_closed_gate_gives_nothing_and_passes_no_gradient() -> None:
    wormhole: Any = drawn(Wormhole(VARIANTS["published"](), 0).double())  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        for gate in wormhole.gate:
            gate.weight.zero_()
            gate.bias.fill_(1.0)
            gate.bias[0] = -1e-9
    out = wormhole(stream())
    first = [0, 7, 12]  # of each band of 7, 5 and 4
    others = [d for d in range(16) if d not in first]
    assert (out[..., first] == 0).all()
    assert (out[..., others] != 0).all()
    out.square().sum().backward()
    for linear in [*wormhole.out, *wormhole.gate]:
        assert (linear.weight.grad[0] == 0).all()
        assert (linear.bias.grad[0] == 0).all()
        assert (linear.bias.grad[1:] != 0).all()


@pytest.mark.parametrize("temperature", [1e-3, 1.0])
def test_sharp_attention_has_finite_gradients(temperature: float) -> None:
    """The entropy's derivative is infinite at a probability of 0."""
    wormhole: Any = drawn(Wormhole(VARIANTS["complementary"](), 0))  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        wormhole.log_temperature.fill_(math.log(temperature))
    inputs = [stream().float().requires_grad_(), *wormhole.parameters()]
    slopes = torch.autograd.grad(wormhole(inputs[0]).square().sum(), inputs)
    assert all(slope.isfinite().all() for slope in slopes)
