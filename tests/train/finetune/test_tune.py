"""The loop: its loss in closed form, healthy training under everything, what it records, and what it leaves."""

from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.finetune.conftest import RATES, Load, same, state

from microtome.base.errors import UserError
from microtome.models import load_model
from microtome.models.architectures import StandardTransformer
from microtome.train.finetune.lora import LoraShape
from microtome.train.finetune.optimizers import OPTIMIZERS
from microtome.train.finetune.tune import Batch, batch_loss, begin, tune

TUNINGS = [("full", p) for p in ("float32", "bfloat16", "float16")] + [
    ("lora", p) for p in ("float32", "bfloat16", "float16", "int8", "nf4", "fp4")
]


def test_the_loss_is_of_the_next_token(load: Load, batch: Batch) -> None:
    model = load()
    logprobs = model.module(batch["input_ids"]).logits.double().log_softmax(-1)[0]
    nats = [-float(logprobs[i, token]) for i, token in enumerate(batch["input_ids"][0, 1:])]
    assert float(batch_loss(model, batch)) == pytest.approx(sum(nats) / 23, rel=1e-5)
    labels = batch["labels"].clone()
    labels[0, :20] = -100  # labels 20 to 23 are left, predicted from the positions before them
    masked = batch_loss(model, {**batch, "labels": labels})
    assert float(masked) == pytest.approx(sum(nats[19:]) / 4, rel=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("method", "precision"), TUNINGS)
def test_healthy_training_lowers_the_loss_and_keeps_weights_finite(
    load: Load, batch: Batch, method: Any, precision: str, optimizer: str
) -> None:
    model = load(precision=precision)
    before = state(model)
    done = tune(
        model, repeat(batch), steps=5, method=method, optimizer=optimizer, learning_rate=RATES[optimizer]
    )
    assert done.losses.shape == (5,)
    assert done.last < done.first - 0.3
    assert float(batch_loss(model, batch)) < done.first - 0.3
    assert (done.nonfinite, done.overflows) == (0, 0)
    assert all(p.isfinite().all() for p in model.module.parameters() if p.is_floating_point())
    assert not any(p.requires_grad or p.grad is not None for p in model.module.parameters())
    assert not any(module.training for module in model.module.modules())
    done.restore()
    assert same(model, before)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("family", ["gpt_neox", "gpt2", "llama", "gemma3", "standard"])
def test_checkpoints_change_what_is_kept_and_nothing_else(
    load: Load, batch: Batch, family: str, method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StandardTransformer, "supports_gradient_checkpointing", True)

    def kept(checkpointing: bool) -> tuple[int, dict[str, torch.Tensor]]:
        model = load(family)
        seen: dict[int, int] = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: seen.update({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()}) or t,
            lambda t: t,
        ):
            tune(
                model,
                repeat(batch),
                steps=2,
                method=method,
                checkpointing=checkpointing,
                shape=LoraShape(dropout=0.2),
            )
        assert not any(module.training for module in model.module.modules())
        return sum(seen.values()), state(model)

    (whole, plain), (part, again) = kept(False), kept(True)
    assert part < whole
    assert all(torch.equal(plain[name], again[name]) for name in plain)


def test_a_model_that_cannot_be_checkpointed_says_so(load: Load, batch: Batch) -> None:
    model: Any = load()
    model.module.supports_gradient_checkpointing = False
    with pytest.raises(UserError, match=r"gpt_neox, which cannot\. Leave out checkpointing"):
        tune(model, repeat(batch), steps=1, checkpointing=True)


def test_the_models_own_dropout_stays_off(load: Load, batch: Batch) -> None:
    model = load("gpt2")
    assert model.module.config.resid_pdrop > 0
    done = tune(model, repeat(batch), steps=1)
    done.restore()
    assert done.first == float(batch_loss(model, batch))


def test_a_call_sees_each_step_and_may_stop(load: Load, batch: Batch) -> None:
    seen: list[tuple[int, float]] = []

    def on_step(step: int, loss: float) -> bool:
        seen.append((step, loss))
        return step == 2

    done = tune(load(), repeat(batch), steps=9, on_step=on_step)
    assert [step for step, _ in seen] == [0, 1, 2]
    assert [loss for _, loss in seen] == done.losses.tolist()
    none = tune(load(), [], steps=0)
    assert none.losses.tolist() == []
    assert none.first != none.first
    assert set(none.update.norms().values()) == {0.0}


def test_no_more_batches_are_taken_than_steps(load: Load, batch: Batch) -> None:
    batches = iter([batch] * 3)
    tune(load(), batches, steps=2)
    assert len(list(batches)) == 1
    with pytest.raises(ValueError, match="expected 3 batches, one for each step, got 2"):
        tune(load(), [batch] * 2, steps=3)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_loss_that_is_not_finite_is_counted_and_stops_nothing(
    load: Load, batch: Batch, precision: str
) -> None:
    model = load(precision=precision)
    model.module.get_parameter("gpt_neox.embed_in.weight").fill_(torch.inf)
    done = tune(model, repeat(batch), steps=3)
    assert (done.nonfinite, len(done.losses)) == (3, 3)
    assert (done.overflows > 0) == (precision == "float16")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_embeddings_train_all_but_the_embedding(load: Load, batch: Batch, precision: str) -> None:
    model = load(precision=precision)
    noise = 0.1 * torch.randn(1, 24, 32, generator=torch.Generator().manual_seed(0))
    done = tune(
        model, repeat({"inputs_embeds": noise, "labels": batch["labels"]}), steps=2, learning_rate=1e-2
    )
    norms = done.update.norms()
    assert norms.pop("gpt_neox.embed_in.weight") == 0
    assert min(norm for name, norm in norms.items() if name.endswith("weight")) > 0


@pytest.mark.parametrize("method", ["full", "lora"])
def test_an_update_can_be_gone_on_with(load: Load, batch: Batch, method: Any) -> None:
    model = load()
    before = state(model)
    done = tune(model, repeat(batch), steps=3, method=method, learning_rate=3e-3)
    more = tune(model, repeat(batch), steps=3, method=done.update, learning_rate=3e-3)
    assert more.update is done.update
    assert more.first < done.last
    more.restore()
    assert same(model, before)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_way_of_an_arm(tiny_model: Callable[..., Path], batch: Batch, method: Any) -> None:
    """Tune, measure, match to another arm's norms, measure, undo."""
    model = load_model(str(tiny_model("llama")), device="cpu")
    logits = model.module(batch["input_ids"]).logits
    main = tune(model, repeat(batch), steps=2, method=method, seed=3)
    norms = main.update.norms()
    main.restore()
    other = begin(model, method, seed=3)
    tune(model, repeat(batch), steps=2, method=other, optimizer="sgd", learning_rate=1e-2)
    other.rescale(norms)
    assert other.norms() == pytest.approx(norms, rel=1e-4)
    other.restore()
    assert torch.equal(model.module(batch["input_ids"]).logits, logits)


def test_wrong_names_are_refused(load: Load, batch: Batch) -> None:
    with pytest.raises(UserError, match="Expected an optimizer of adamw, sgd, adafactor, got 'adam'"):
        tune(load(), repeat(batch), steps=1, optimizer="adam")
    wrong: Any = "lorra"
    with pytest.raises(
        UserError, match=r"Expected a method of full, lora, got 'lorra'. Did you mean 'lora'\?"
    ):
        tune(load(), repeat(batch), steps=1, method=wrong)
