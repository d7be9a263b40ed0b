"""The loop of fine-tuning: batches in, a changed model and what changed it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.base.errors import UserError, did_you_mean
from microtome.models.load import Model
from microtome.train.finetune.full import Full
from microtome.train.finetune.lora import Lora, LoraShape
from microtome.train.finetune.optimizers import optimizer_named
from microtome.train.finetune.stepping import InBackward
from microtome.train.finetune.updates import Update

Method = Literal["full", "lora"]
IGNORED = -100
"""The label of a position that is not predicted."""
Batch = Mapping[str, Tensor]
"""``input_ids [B, T]`` or ``inputs_embeds [B, T, d]``, ``labels [B, T]`` that are not shifted, and what else the model
takes."""


@dataclass(frozen=True, eq=False)
class Tuned:
    """What fine-tuning did. The model keeps it until :meth:`restore`."""

    update: Update
    losses: np.ndarray
    """``[steps]``, mean nats per token of each batch before its step."""
    overflows: int
    """Gradients that were not followed because they were not finite, of a float16 model."""

    @property
    def first(self) -> float:
        """The first loss; nan without a step."""
        return float(self.losses[0]) if len(self.losses) else np.nan

    @property
    def last(self) -> float:
        """The last loss; nan without a step."""
        return float(self.losses[-1]) if len(self.losses) else np.nan

    @property
    def nonfinite(self) -> int:
        """Steps whose loss was not finite."""
        return int((~np.isfinite(self.losses)).sum())

    def restore(self) -> None:
        """Give the model the weights that it had before."""
        self.update.restore()


def begin(model: Model, method: Method = "full", *, shape: LoraShape | None = None, seed: int = 0) -> Update:
    """Return the update of a model's weights since now, which is none yet.

    Args:
        model: Changed in place later; ``lora`` adds adapters at once, which change nothing yet.
        method: ``full``, all weights; ``lora``, adapters of all attention and MLP projections.
        shape: Of the adapters; ``None``: the original's.
        seed: Of the adapters' start.

    Raises:
        UserError: If the method is unknown, or does not fit the model.
    """
    methods = get_args(Method)
    if method not in methods:
        raise UserError(
            f"Expected a method of {', '.join(methods)}, got '{method}'.{did_you_mean(method, methods)}"
        )
    if method == "full":
        return Full(model)
    with _seeded(model, seed):
        return Lora(model, shape or LoraShape())


def tune(
    model: Model,
    batches: Iterable[Batch],
    *,
    steps: int,
    method: Method | Update = "full",
    shape: LoraShape | None = None,
    optimizer: str = "adamw",
    learning_rate: float = 1e-4,
    checkpointing: bool = False,
    seed: int = 0,
    on_step: Callable[[int, float], bool | None] | None = None,
) -> Tuned:
    """Fine-tune a model in place, in the precision in which it was loaded, one step for each batch.

    The loss is the cross-entropy of the next token in float32, one shift, the mean over positions whose label is not
    -100. The model's own dropout stays off. Nothing is clipped, and a loss that is not finite stops nothing. See
    :class:`InBackward` for how half precision is stepped.

    Args:
        model: A loaded model.
        batches: At least as many as steps; ``itertools.repeat(batch)`` for one that is repeated.
        steps: How many.
        method: ``full`` or ``lora``, see :func:`begin`; or the update of an earlier tuning, to go on with.
        shape: Of adapters that begin now; ``None``: the original's.
        optimizer: ``adamw``, ``sgd`` or ``adafactor``; its state begins anew.
        learning_rate: The same at all steps.
        checkpointing: Whether layers' activations are computed again in the backward pass, not kept.
        seed: Of the adapters' start and dropout.
        on_step: Called after each step with its number, from 0, and the loss before it; true stops.

    Raises:
        UserError: If the optimiser is unknown, or the model cannot be tuned by the method, or not checkpointed.
        ValueError: If there are fewer batches than steps.
    """
    make = optimizer_named(optimizer)
    update = method if isinstance(method, Update) else begin(model, method, shape=shape, seed=seed)
    stepper = InBackward(update.parameters, make, learning_rate, scaled=model.dtype == "float16")
    losses: list[float] = []
    supply = iter(batches)
    with _seeded(model, seed), _training(model, update, checkpointing), stepper, torch.enable_grad():
        for step in range(steps):
            if (batch := next(supply, None)) is None:
                raise ValueError(f"expected {steps} batches, one for each step, got {step}")
            loss = batch_loss(model, batch)
            losses.append(float(loss.detach()))
            stepper.backward(loss)
            del loss
            if on_step is not None and on_step(step, losses[-1]):
                break
    return Tuned(update, np.array(losses), stepper.overflows)


def batch_loss(model: Model, batch: Batch) -> Tensor:
    """Return the mean cross-entropy, in nats, of each next token whose label is not -100, in float32."""
    inputs = {name: value.to(model.device) for name, value in batch.items()}
    labels = inputs.pop("labels")
    if "inputs_embeds" in inputs:
        inputs["inputs_embeds"] = inputs["inputs_embeds"].to(getattr(torch, model.dtype))
    logits = model.module(**inputs, use_cache=False).logits[:, :-1]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)


@contextmanager
def _training(model: Model, update: Update, checkpointing: bool) -> Iterator[None]:
    """Switch on the adapters' dropout and the layers' checkpoints, and nothing else that training mode would."""
    module: Any = model.module
    switched = list(update.dropouts)
    if checkpointing:
        if not module.supports_gradient_checkpointing:
            raise UserError(
                f"Expected a model that recomputes its activations, got {model.anatomy.model_type}, which cannot. "
                "Leave out checkpointing."
            )
        module.activation_checkpointing_enable()
        switched += [module.get_submodule(model.anatomy.layer.format(i)) for i in range(model.anatomy.layers)]
    for part in switched:
        part.training = True  # part.train() would switch on the dropout inside a layer
    try:
        yield
    finally:
        for part in switched:
            part.training = False
        if checkpointing:
            module.activation_checkpointing_disable()


@contextmanager
def _seeded(model: Model, seed: int) -> Iterator[None]:
    """Give peft and dropout, which know only torch's global generators, a seed; then leave these as they were."""
    devices = [torch.device(model.device)] if model.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
