"""Adapters: where they sit, what they add up to, and that nothing of them is left."""

import importlib.util
from itertools import repeat
from typing import Any

import numpy as np
import pytest
import torch
from tests.train.finetune.conftest import RATES, Load, same, state

from microtome.base.errors import UserError
from microtome.lab.seeds import stream
from microtome.models import Model
from microtome.models.load import load_model
from microtome.train.finetune.lora import Lora, LoraShape, projections
from microtome.train.finetune.tune import Batch, begin, tune
from microtome.train.finetune.updates import Update

PLAIN = LoraShape(dropout=0.0)
NAMES = {
    "gpt_neox": ["attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"],
    "gpt2": ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"],
    "llama": [f"self_attn.{n}_proj" for n in "qkvo"] + [f"mlp.{n}_proj" for n in ("gate", "up", "down")],
}
NAMES["gemma3"] = NAMES["llama"]
PRECISIONS = ("float32", "bfloat16", "float16", "int8", "nf4", "fp4")


def tuned(model: Model, batch: Batch, **options: Any) -> Update:
    options = {"learning_rate": RATES["adamw"], "method": "lora", "shape": PLAIN, **options}
    return tune(model, repeat(batch), steps=3, **options).update


@pytest.mark.parametrize("family", NAMES)
def test_every_projection_of_attention_and_mlp_is_adapted(load: Load, family: str) -> None:
    model = load(family)
    layer = model.anatomy.layer
    expected = [f"{layer.format(i)}.{name}" for i in range(3) for name in NAMES[family]]
    assert projections(model.anatomy) == expected
    update = begin(model, "lora")
    assert list(update.norms()) == [f"{path}.weight" for path in expected]
    trainable = {id(p) for p in model.module.parameters() if p.requires_grad}
    assert trainable == {id(p) for p in update.parameters}
    assert len(trainable) == 2 * len(expected)


def test_defaults_are_the_published_ones(load: Load) -> None:
    model = load()
    begin(model, "lora")
    layer: Any = model.module.get_submodule("gpt_neox.layers.0.attention.dense")
    assert (layer.r, layer.lora_alpha, layer.scaling) == (
        {"default": 16},
        {"default": 32.0},
        {"default": 2.0},
    )
    assert layer.lora_dropout["default"].p == 0.1


@pytest.mark.parametrize("family", NAMES)
def test_adapters_do_what_their_update_of_the_weights_would(load: Load, batch: Batch, family: str) -> None:
    model, merged = load(family, "float64"), load(family, "float64")
    update = tuned(model, batch)
    for name, norm in update.norms().items():
        delta = update.delta(name)
        assert float(delta.norm()) == pytest.approx(norm, rel=1e-12)
        merged.module.get_parameter(name).add_(delta)
    logits = [m.module(batch["input_ids"]).logits for m in (model, merged)]
    torch.testing.assert_close(*logits, rtol=1e-6, atol=1e-6)  # transformers' norms compute in float32
    assert not torch.allclose(logits[0], load(family, "float64").module(batch["input_ids"]).logits, atol=0.1)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", ["gpt_neox", "gpt2", "llama"])
def test_adapters_change_nothing_before_a_step_and_leave_nothing(
    load: Load, batch: Batch, family: str, precision: str
) -> None:
    model = load(family, precision)
    logits, before = model.module(batch["input_ids"]).logits, state(model)
    update = begin(model, "lora")
    assert torch.equal(model.module(batch["input_ids"]).logits, logits)
    assert set(update.norms().values()) == {0.0}
    assert {p.dtype for p in update.parameters} == {torch.float32}
    tuned(model, batch, method=update)
    assert min(update.norms().values()) > 0
    assert not torch.equal(model.module(batch["input_ids"]).logits, logits)
    update.restore()
    assert same(model, before)
    assert torch.equal(model.module(batch["input_ids"]).logits, logits)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_updates_are_relative_to_the_weights_as_they_are_used(load: Load, precision: str) -> None:
    model, whole = load("llama", precision), load("llama")
    sizes = begin(model, "lora").sizes()
    expected = {name: float(whole.module.get_parameter(name).norm()) for name in sizes}
    rounding = {"int8": 1e-2, "nf4": 2e-2, "fp4": 4e-2}.get(precision, 1e-3)
    assert sizes == pytest.approx(expected, rel=rounding)
    packed = precision in ("int8", "nf4", "fp4")
    assert (sizes != pytest.approx(expected, rel=1e-6)) == (precision != "float32")
    assert packed or sizes == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_sizes_are_matched_in_every_precision(load: Load, batch: Batch, precision: str) -> None:
    model = load("llama", precision)
    update = tuned(model, batch)
    wanted = {name: 0.1 * (i + 1) for i, name in enumerate(update.norms())}
    directions = {name: update.delta(name) for name in wanted}
    assert max(update.rescale(wanted).values()) < 1e-6
    assert update.norms() == pytest.approx(wanted, rel=1e-6)
    for name, direction in directions.items():
        torch.testing.assert_close(
            update.delta(name) / wanted[name], direction / direction.norm(), rtol=1e-3, atol=1e-6
        )
    assert max(update.isotropic(wanted, stream(0, "isotropic")).values()) < 1e-6
    for name, direction in directions.items():
        random = update.delta(name)
        assert float(random.norm()) == pytest.approx(wanted[name], rel=1e-5)
        assert abs(float(torch.cosine_similarity(random.flatten(), direction.flatten(), dim=0))) < 0.3


def test_an_adapter_that_did_nothing_cannot_be_scaled(load: Load) -> None:
    update = begin(load(), "lora")
    assert set(update.rescale(dict.fromkeys(update.norms(), 1.0)).values()) == {1.0}
    assert set(update.relative().values()) == {0.0}


def test_start_and_dropout_have_a_seed_and_leave_the_generator(load: Load, batch: Batch) -> None:
    def norms(**options: Any) -> list[float]:
        return list(tuned(load(), batch, shape=LoraShape(dropout=0.5), **options).norms().values())

    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = norms(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert norms(seed=1) == first
    assert not np.allclose(norms(seed=2), first, rtol=1e-3)
    plain = [list(tuned(load(), batch, seed=1, shape=PLAIN).norms().values()) for _ in range(2)]
    assert plain[0] == plain[1] != first


def test_adapters_do_not_stack(load: Load) -> None:
    model = load()
    update = begin(model, "lora")
    with pytest.raises(UserError, match="Expected a model without adapters"):
        begin(model, "lora")
    update.restore()
    assert isinstance(begin(model, "lora"), Lora)


def test_bands_are_refused(tiny_model: Any) -> None:
    with pytest.raises(UserError, match=r"whose are cut into bands\. Use the method 'full'"):
        begin(load_model(str(tiny_model("band"))), "lora")


def test_a_missing_peft_names_the_extra(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'peft', which is not installed.*pip install 'microtome\[quant\]'"):
        begin(model, "lora")
