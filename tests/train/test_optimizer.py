"""The optimizer against AdamW with a tensor for each band, and norms against their formulas."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.train.conftest import BANDS, Tiny
from torch import Tensor

from microtome.train.build import new_model
from microtome.train.config import TrainConfig
from microtome.train.optimizer import Optimizer

CPU = torch.device("cpu")


def optimizer(config: TrainConfig) -> Optimizer:
    return Optimizer(config, new_model(config, 40, CPU).double())


def draw_gradients(which: Optimizer, generator: torch.Generator) -> None:
    for parameter in which.model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def step(which: Optimizer, share: float = 1.0) -> None:
    which.set_share(share)
    held = which.held()
    which.adam.step()
    which.after(held)


def groups(which: Optimizer) -> dict[str, tuple[float, float]]:
    """The rate and the weight decay of each parameter."""
    names = {id(parameter): name for name, parameter in which.model.named_parameters()}
    return {
        names[id(parameter)]: (rate, group["weight_decay"])
        for group, rate in zip(which.adam.param_groups, which.rates, strict=True)
        for parameter in group["params"]
    }


def test_matrices_decay_and_norms_and_biases_do_not(tiny: Tiny) -> None:
    for model in ("standard", "band"):
        which = optimizer(tiny(model, weight_decay=0.3, wormhole="published"))
        found, parameters = groups(which), dict(which.model.named_parameters())
        assert set(found) == set(parameters)
        assert {name: decay for name, (_, decay) in found.items()} == {
            name: 0.3 if parameter.ndim >= 2 else 0.0 for name, parameter in parameters.items()
        }


def test_each_band_of_a_band_model_has_its_rate_and_all_else_the_base_rate(tiny: Tiny) -> None:
    config = tiny("band", learning_rate=5e-4, lr_scale=2.0)
    which = optimizer(config)
    found = groups(which)
    names = {id(parameter): name for name, parameter in which.model.named_parameters()}
    expected = dict.fromkeys(found, 1e-3)
    for rate, band in zip(config.band_lrs or (), which.bands, strict=True):
        expected |= {names[id(parameter)]: 2 * rate for parameter, _ in band}
    assert {name: rate for name, (rate, _) in found.items()} == pytest.approx(expected)
    assert set(expected.values()) == {1e-3, 2e-3, 6e-3, 2e-2}
    assert which.scaled == []


@pytest.mark.parametrize("band_lrs", [(1e-3, 3e-3, 1e-2), (1e-2, 5e-3, 1e-4)])
def test_slices_move_as_tensors_of_their_own_would(tiny: Tiny, band_lrs: tuple[float, ...]) -> None:
    config = tiny(**{**BANDS, "band_lrs": band_lrs}, learning_rate=3e-3, weight_decay=0.1)
    which = optimizer(config)
    parts: list[tuple[Tensor, Any, Tensor]] = []  # a parameter, a slice of it, and that slice on its own
    options: list[dict[str, Any]] = []
    sliced = {id(parameter) for band in which.bands for parameter, _ in band}
    pieces = [(p, (), config.learning_rate) for p in which.model.parameters() if id(p) not in sliced]
    for rate, band in zip(band_lrs, which.bands, strict=True):
        pieces += [(parameter, index, rate) for parameter, index in band]
    for parameter, index, rate in pieces:
        alone = parameter.detach()[index].clone().requires_grad_()
        parts.append((parameter, index, alone))
        decay = 0.1 if parameter.ndim >= 2 else 0.0
        options.append({"params": [alone], "lr": rate, "weight_decay": decay})
    oracle = torch.optim.AdamW(options, betas=(config.beta1, config.beta2))
    full = [group["lr"] for group in oracle.param_groups]
    generator = torch.Generator().manual_seed(0)
    for share in (0.5, 1.0, 0.7, 0.1):
        draw_gradients(which, generator)
        for parameter, index, alone in parts:
            assert parameter.grad is not None
            alone.grad = parameter.grad[index].clone()
        for group, rate in zip(oracle.param_groups, full, strict=True):
            group["lr"] = rate * share
        oracle.step()
        step(which, share)
        for parameter, index, alone in parts:
            torch.testing.assert_close(parameter[index], alone, rtol=1e-12, atol=1e-14)


def test_equal_rates_of_slices_are_one_rate(tiny: Tiny) -> None:
    """Bit for bit: slices that have the base rate are not touched again."""
    equal, plain = optimizer(tiny(**{**BANDS, "band_lrs": (3e-3,) * 3})), optimizer(tiny())
    for which in (equal, plain):
        draw_gradients(which, torch.Generator().manual_seed(0))
        step(which)
    assert equal.scaled == []
    for ours, theirs in zip(equal.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_share_sets_all_rates_and_does_not_add_up(tiny: Tiny) -> None:
    which = optimizer(tiny("band"))
    for share in (0.5, 0.1, 1.0):
        which.set_share(share)
        rates = [group["lr"] for group in which.adam.param_groups]
        assert rates == pytest.approx([rate * share for rate in which.rates])


@pytest.mark.parametrize("model", ["standard", "band"])
def test_norms_of_bands_are_those_of_all_their_numbers(tiny: Tiny, model: str) -> None:
    which = optimizer(tiny(model, **BANDS))
    draw_gradients(which, torch.Generator().manual_seed(0))
    before = which.parts()
    norms = [size([p.grad[i] for p, i in band if p.grad is not None]) for band in which.bands]
    assert which.gradients() == pytest.approx(norms, rel=1e-6)
    step(which)
    ratios = []
    for band, old in zip(which.bands, before, strict=True):
        ratios.append(size([p[i] - was for (p, i), was in zip(band, old, strict=True)]) / size(old))
    assert which.moved(before) == pytest.approx(ratios, rel=1e-5)
    assert which.moved(which.parts()) == [0.0, 0.0, 0.0]


def size(parts: Sequence[Tensor]) -> float:
    return math.sqrt(sum((part**2).sum().item() for part in parts))


def test_how_far_weights_of_size_zero_moved_is_undefined(tiny: Tiny) -> None:
    which = optimizer(tiny("band"))
    nothing = [[torch.zeros_like(part) for part in band] for band in which.parts()]
    assert all(map(math.isnan, which.moved(nothing)))


def test_every_number_of_the_mlps_is_in_one_band(tiny: Tiny) -> None:
    """But the biases of a standard model's outputs, which all bands share."""
    for model in ("standard", "band"):
        which = optimizer(tiny(model, **BANDS))
        mlps = {n: p for n, p in which.model.named_parameters() if ".mlp." in n}
        counted = {id(p): torch.zeros_like(p) for p in mlps.values()}
        for band in which.bands:
            for parameter, index in band:
                counted[id(parameter)][index] += 1
        apart = {name for name, parameter in mlps.items() if not counted[id(parameter)].all()}
        assert max(float(count.max()) for count in counted.values()) == 1
        assert all(name.endswith("down.bias") or ".norm." in name for name in apart)
        assert bool(apart) == (model == "standard")


@pytest.mark.parametrize("model", ["standard", "band"])
def test_a_state_goes_on_where_it_was_taken(tiny: Tiny, model: str) -> None:
    config = tiny(model, **BANDS)
    one, other = optimizer(config), optimizer(config)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        draw_gradients(one, generator)
        step(one)
    other.model.load_state_dict(one.model.state_dict())
    other.load({name: value.clone() for name, value in one.tensors().items()})
    for which in (one, other):
        draw_gradients(which, torch.Generator().manual_seed(1))
        step(which)
    for ours, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
