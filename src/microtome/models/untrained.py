"""Untrained twins: what a model was before it learned, as a null for whatever is measured in its weights."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from microtome.base.files import digest
from microtome.models.quiet import quiet

if TYPE_CHECKING:
    from microtome.models.load import Model


def untrained_twin(model: Model, seed: int) -> Model:
    """Return a model of the same architecture with weights as transformers initialises them.

    Dtype, device, attention and tokenizer are the model's. Weights are drawn in float32 on the CPU and cast, so that
    like the model's own they are the same on every device and, but for rounding, in every dtype; another release of
    torch or transformers may draw others. The caller's random generators are left as they were.

    Args:
        model: Only its configuration matters, not its weights.
        seed: Of the weights.

    Returns:
        A frozen model in evaluation mode, whose reference and fingerprint are its own.
    """
    import torch
    from transformers import AutoModelForCausalLM

    # transformers writes the dtype into the configuration it is given.
    config = copy.deepcopy(model.module.config)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the accelerators too
        module = AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, attn_implementation=model.attention
        )
    for parameter in module.parameters():  # module.to(dtype) would round the rotary frequencies as well
        parameter.data = parameter.data.to(getattr(torch, model.dtype))
    return replace(
        model,
        reference=f"{model.reference} (untrained, seed {seed})",
        module=module.requires_grad_(False).eval().to(model.device),
        fingerprint=digest({"untrained": model.fingerprint, "seed": seed}),
    )
