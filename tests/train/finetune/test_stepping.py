"""Steps inside the backward pass against ordinary ones, and half precision against a float32 oracle."""

from collections.abc import Callable

import pytest
import torch
from tests.train.finetune.conftest import RATES, Load, same, state
from torch import nn

from microtome.models import Model
from microtome.train.finetune.optimizers import OPTIMIZERS
from microtome.train.finetune.stepping import SCALE, InBackward
from microtome.train.finetune.tune import Batch, batch_loss

FAMILIES = ("gpt_neox", "gpt2", "gemma3")  # the last two tie the head to the embedding


def stepped(model: Model, batch: Batch, optimizer: str, steps: int = 3) -> InBackward:
    parameters = list(model.module.parameters())
    stepper = InBackward(parameters, OPTIMIZERS[optimizer], RATES[optimizer], scaled=model.dtype == "float16")
    with stepper:
        for _ in range(steps):
            stepper.backward(batch_loss(model, batch))
    return stepper


def plainly(model: Model, batch: Batch, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> None:
    """Train with all gradients at once."""
    parameters = list(model.module.requires_grad_(True).parameters())
    optimizer = make(parameters)
    for _ in range(3):
        optimizer.zero_grad()
        batch_loss(model, batch).backward()
        optimizer.step()


def oracle(name: str) -> Callable[[list[nn.Parameter]], torch.optim.Optimizer]:
    from transformers.optimization import Adafactor

    fixed = {"relative_step": False, "scale_parameter": False, "warmup_init": False}
    return {
        "adamw": lambda its: torch.optim.AdamW(its, lr=RATES["adamw"], weight_decay=0),
        "sgd": lambda its: torch.optim.SGD(its, lr=RATES["sgd"]),
        "adafactor": lambda its: Adafactor(its, lr=RATES["adafactor"], **fixed),
    }[name]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_steps_are_those_of_a_whole_backward_pass(
    load: Load, batch: Batch, family: str, optimizer: str
) -> None:
    ours, theirs = load(family), load(family)
    stepped(ours, batch, optimizer)
    plainly(theirs, batch, oracle(optimizer))
    assert same(ours, state(theirs))


def test_gradient_descent_is_nothing_else(load: Load, batch: Batch) -> None:
    model, before = load(), load()
    parameters = list(before.module.requires_grad_(True).parameters())
    gradients = torch.autograd.grad(batch_loss(before, batch), parameters)
    stepped(model, batch, "sgd", steps=1)
    for now, old, gradient in zip(model.module.parameters(), parameters, gradients, strict=True):
        assert torch.equal(now, torch.add(old, gradient, alpha=-RATES["sgd"]))


@pytest.mark.parametrize("family", FAMILIES)
def test_one_gradient_is_alive_at_a_time(load: Load, batch: Batch, family: str) -> None:
    model = load(family)
    parameters = list(model.module.parameters())
    alive: list[int] = []
    for parameter in parameters:
        parameter.requires_grad_(True).register_post_accumulate_grad_hook(
            lambda _: alive.append(sum(p.grad is not None for p in parameters))
        )
    stepped(model, batch, "adamw", steps=1)
    assert alive == [1] * len(parameters)
    assert all(p.grad is None and not p.requires_grad for p in parameters)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_half_precision_is_stepped_in_float32(
    load: Load, batch: Batch, precision: str, optimizer: str
) -> None:
    ours, theirs = load(precision=precision), load(precision=precision)
    assert stepped(ours, batch, optimizer).overflows == 0
    parameters = list(theirs.module.requires_grad_(True).parameters())
    wide = [nn.Parameter(p.detach().float()) for p in parameters]
    steps, scale = oracle(optimizer)(wide), SCALE if precision == "float16" else 1.0
    for _ in range(3):
        gradients = torch.autograd.grad(batch_loss(theirs, batch) * scale, parameters)
        for p, master, gradient in zip(parameters, wide, gradients, strict=True):
            master.grad = gradient.float() / scale
            if precision == "bfloat16":  # which has no master: what was rounded off is lost
                master.data = p.detach().float()
        steps.step()
        for p, master in zip(parameters, wide, strict=True):
            p.data = master.detach().to(p.dtype)
    assert same(ours, state(theirs))


def test_plain_adamw_breaks_a_float16_model_and_this_one_does_not(load: Load, batch: Batch) -> None:
    """Its eps of 1e-8 is 0 in float16, and the square of a gradient below 2e-4 is too."""
    plain = load(precision="float16")
    plainly(plain, batch, lambda its: torch.optim.AdamW(its, lr=1e-4, weight_decay=0))
    assert not all(p.isfinite().all() for p in plain.module.parameters())
    ours = load(precision="float16")
    before = float(batch_loss(ours, batch))
    stepped(ours, batch, "adamw")
    assert all(p.isfinite().all() for p in ours.module.parameters())
    assert float(batch_loss(ours, batch)) < before


def test_a_gradient_that_overflows_is_not_followed(load: Load, batch: Batch) -> None:
    model = load(precision="float16")
    before = state(model)
    stepper = InBackward(list(model.module.parameters()), OPTIMIZERS["sgd"], 0.1, scaled=True)
    stepper.scale = 2.0**40
    with stepper:
        stepper.backward(batch_loss(model, batch))
        assert same(model, before)
        assert stepper.overflows == len(list(model.module.parameters()))
        assert stepper.scale == 2.0**39
        stepper.scale = SCALE
        stepper.backward(batch_loss(model, batch))
    assert not same(model, before)
