"""Full updates: norms against sums in float64, matched sizes in every precision, undone bit for bit."""

from itertools import repeat

import numpy as np
import pytest
import torch
from tests.train.finetune.conftest import RATES, Load, same, state

from microtome.base.errors import UserError
from microtome.lab.seeds import stream
from microtome.models import Model
from microtome.train.finetune.tune import Batch, begin, tune
from microtome.train.finetune.updates import Update

PRECISIONS = ("float32", "bfloat16", "float16", "float64")
MATCH = {"float64": 1e-12, "float32": 1e-5, "float16": 5e-3, "bfloat16": 5e-2}
"""Mismatch of the smallest tensors, of 32 numbers; below, all together are held to 1e-3."""


def tuned(model: Model, batch: Batch) -> Update:
    return tune(model, repeat(batch), steps=3, learning_rate=RATES["adamw"]).update


def explicit(model: Model, before: dict[str, torch.Tensor]) -> dict[str, float]:
    return {
        name: float((p.double() - before[name].double()).square().sum().sqrt())
        for name, p in model.module.named_parameters()
    }


def total(norms: dict[str, float]) -> float:
    return float(np.linalg.norm(list(norms.values())))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", ["gpt_neox", "gpt2"])
def test_norms_are_sums_over_all_numbers(load: Load, batch: Batch, family: str, precision: str) -> None:
    model = load(family, precision)
    before = state(model)
    update = tuned(model, batch)
    expected = explicit(model, before)
    assert update.norms() == pytest.approx(expected, rel=1e-6)
    sizes = {name: float(before[name].double().norm()) for name in expected}
    assert update.sizes() == pytest.approx(sizes, rel=1e-6)
    assert update.relative() == pytest.approx({n: expected[n] / sizes[n] for n in sizes}, rel=1e-6)
    name = "transformer.wte.weight" if family == "gpt2" else "gpt_neox.embed_in.weight"
    parameter = dict(model.module.named_parameters())[name]
    torch.testing.assert_close(update.delta(name).double(), parameter.double() - before[name].double())


def test_a_ratio_to_nothing_is_undefined(load: Load) -> None:
    model = load()
    bias = model.module.get_parameter("gpt_neox.final_layer_norm.bias")
    bias.zero_()
    assert np.isnan(begin(model).relative()["gpt_neox.final_layer_norm.bias"])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_an_update_takes_the_size_it_is_given_and_keeps_its_direction(
    load: Load, batch: Batch, precision: str, factor: float
) -> None:
    model = load("llama", precision)
    before = state(model)
    update = tuned(model, batch)
    directions = {name: update.delta(name) for name in update.norms()}
    wanted = {name: factor * norm for name, norm in update.norms().items()}
    mismatches = update.rescale(wanted)
    got = explicit(model, before)
    assert mismatches == pytest.approx({n: abs(got[n] / wanted[n] - 1) for n in wanted}, abs=1e-6)
    assert max(mismatches.values()) < MATCH[precision]
    assert total(got) == pytest.approx(total(wanted), rel=1e-3)
    for name, direction in directions.items():
        if direction.ndim == 2:
            cosine = torch.cosine_similarity(update.delta(name).flatten(), direction.flatten(), dim=0)
            assert cosine > (0.9 if precision == "bfloat16" else 0.999)


@pytest.mark.parametrize(("precision", "bits"), [("bfloat16", torch.int16), ("float32", torch.int32)])
def test_updates_of_one_unit_in_the_last_place_can_be_halved(
    load: Load, precision: str, bits: torch.dtype
) -> None:
    """Plain rounding would keep all of them or none."""
    model = load(precision=precision)
    update = begin(model)
    name = "gpt_neox.embed_in.weight"
    weight = model.module.get_parameter(name)
    weight.copy_((weight.view(bits) + 1).view(weight.dtype))
    norms = update.norms()
    assert update.rescale(norms | {name: norms[name] / 2})[name] < 1e-3
    assert 0.1 < float((update.delta(name) != 0).double().mean()) < 0.5


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_random_update_has_given_norms_and_no_other_structure(load: Load, precision: str) -> None:
    model = load(precision=precision)
    update = begin(model)
    wanted = {name: 0.05 * size for name, size in update.sizes().items()}
    mismatches = update.isotropic(wanted, stream(1, "isotropic"))
    assert max(mismatches.values()) < MATCH[precision]
    first = {name: update.delta(name) for name in wanted}
    weight = first["gpt_neox.embed_in.weight"].flatten()
    noise = weight.double()
    assert abs(float(noise.mean() / noise.std())) < 4 / len(noise) ** 0.5
    if precision in ("float32", "float64"):
        assert float((noise / noise.std()).pow(4).mean()) == pytest.approx(3, abs=0.3)
    update.isotropic(wanted, stream(1, "isotropic"))
    assert all(torch.equal(update.delta(name), first[name]) for name in wanted)
    update.isotropic(wanted, stream(2, "isotropic"))
    assert not torch.equal(update.delta("gpt_neox.embed_in.weight").flatten(), weight)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", ["gpt_neox", "gemma3"])
def test_an_update_is_undone_bit_for_bit(load: Load, batch: Batch, family: str, precision: str) -> None:
    model = load(family, precision)
    before = state(model)
    update = tuned(model, batch)
    assert not same(model, before)
    update.rescale({name: 2 * norm for name, norm in update.norms().items()})
    update.restore()
    assert same(model, before)
    assert set(update.norms().values()) == {0.0}


def test_nothing_is_scaled_to_nothing_and_not_to_more(load: Load, batch: Batch) -> None:
    model = load()
    before, update = state(model), begin(model)
    assert set(update.rescale(dict.fromkeys(update.norms(), 1.0)).values()) == {1.0}
    assert same(model, before)
    update = tuned(model, batch)
    assert set(update.rescale(dict.fromkeys(update.norms(), 0.0)).values()) == {0.0}
    assert same(model, before)


def test_norms_must_be_complete_and_positive(load: Load) -> None:
    update = begin(load())
    norms = update.norms()
    with pytest.raises(ValueError, match=r"none of gpt_neox\.embed_in\.weight"):
        update.rescale({n: v for n, v in norms.items() if n != "gpt_neox.embed_in.weight"})
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"of at least 0, got .* of gpt_neox\.embed_in\.weight"):
            update.isotropic(norms | {"gpt_neox.embed_in.weight": wrong}, stream(0, "noise"))


def test_quantised_weights_have_no_full_update(load: Load) -> None:
    with pytest.raises(UserError, match="Expected weights in floating point"):
        begin(load(precision="nf4"))
