"""Quantised models: weights of the linear layers in 8 or 4 bits, by bitsandbytes; the rest as it was."""

from __future__ import annotations

import importlib.util
import logging
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from microtome.base.errors import UserError, did_you_mean
from microtome.models.fingerprints import fingerprint
from microtome.models.load import (
    DTYPES,
    Attention,
    Model,
    device_of,
    load_anatomy,
    load_model,
    load_tokenizer,
)
from microtome.models.quiet import quiet
from microtome.models.reference import resolve

if TYPE_CHECKING:
    import torch

Quantisation = Literal["int8", "nf4", "fp4"]
"""Rows scaled to 8-bit integers, or blocks of 64 to the levels of a normal distribution, or of a 4-bit float."""


def load_quantized(
    reference: str, kind: Quantisation, *, device: str = "auto", attention: Attention = "sdpa"
) -> Model:
    """Load a causal language model with the weights of its linear layers quantised.

    Embeddings, norms and the head keep the precision of the computation, which the model's ``dtype`` names: float32 on
    the CPU, bfloat16 elsewhere. In int8 products, inputs are rounded to float16 and then, row by row, to 8 bits.
    Quantised weights are packed: they count by their storage in ``parameters``, and the anatomy's views of weights do
    not understand them.

    Args:
        reference: What :func:`load_model` takes.
        kind: ``int8``, ``nf4`` or ``fp4``.
        device: A torch device; ``auto`` takes the first CUDA device if there is one, else the CPU.
        attention: ``sdpa`` or ``eager``.

    Raises:
        UserError: If bitsandbytes is not installed, the kind is unknown, or the model cannot be found or read.
    """
    import torch
    from transformers import AutoModelForCausalLM

    kinds = get_args(Quantisation)
    if kind not in kinds:
        raise UserError(
            f"Expected a quantisation of {', '.join(kinds)}, got '{kind}'.{did_you_mean(kind, kinds)}"
        )
    require("bitsandbytes")
    place = device_of(device)
    dtype = torch.float32 if place.type == "cpu" else torch.bfloat16
    anatomy, tokenizer = load_anatomy(reference), load_tokenizer(reference)
    reader: Any = AutoModelForCausalLM
    try:
        with quiet():
            module = reader.from_pretrained(
                resolve(reference).folder(),
                quantization_config=_config(kind, dtype),
                dtype=dtype,
                device_map={"": place},
                attn_implementation=attention,
                local_files_only=True,
                use_safetensors=True,
            )
    except Exception as error:
        raise UserError(
            f"Expected to quantise the weights of '{reference}' to {kind}, but: {str(error).splitlines()[0]}. "
            "See whether load_model reads it, or update bitsandbytes."
        ) from error
    for layer in module.modules():
        if place.type == "cpu" and hasattr(getattr(layer, "weight", None), "quant_state"):
            # On some processors, the first pass would repack 4-bit weights for good, round their scales to bfloat16
            # and use a product that has no gradient.
            layer.support_avx512bf16_for_cpu = False
            if layer.in_features % layer.weight.quant_state.blocksize:
                layer.forward = partial(_product, layer)
    module.requires_grad_(False).eval()
    name = str(dtype).removeprefix("torch.")
    return Model(reference, module, tokenizer, anatomy, fingerprint(reference), name, str(place), attention)


def load_in(reference: str, precision: str, *, device: str = "auto", attention: Attention = "sdpa") -> Model:
    """Load a model in a dtype of :func:`load_model`, or quantised as :func:`load_quantized` does.

    Raises:
        UserError: As these do.
    """
    if precision in DTYPES:
        return load_model(reference, dtype=precision, device=device, attention=attention)
    kinds = get_args(Quantisation)
    if precision not in kinds:
        known = (*DTYPES, *kinds)
        raise UserError(
            f"Expected a precision of {', '.join(known)}, got '{precision}'.{did_you_mean(precision, known)}"
        )
    return load_quantized(reference, cast(Quantisation, precision), device=device, attention=attention)


def require(package: str) -> None:
    """Check that a package of the extra ``quant`` is installed, and have bitsandbytes say no more than errors.

    It would say at every product of an int8 layer that inputs are rounded, and when peft imports it, which kernels it
    did not find.

    Raises:
        UserError: If it is not.
    """
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"Expected the package '{package}', which is not installed. "
            "Install with `pip install 'microtome[quant]'`."
        )
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def dequantised(layer: Any) -> torch.Tensor:
    """Return the weights that a layer computes with, ``[out, in]``, whether they are quantised or not."""
    import torch

    weight = layer.weight
    if getattr(weight, "quant_state", None) is not None:
        from bitsandbytes.functional import dequantize_4bit

        # As one row: the CPU's kernel is wrong on rows that do not end with a block (bitsandbytes 0.50).
        state = copy(weight.quant_state)
        shape, state.shape = state.shape, torch.Size([state.shape.numel()])
        return dequantize_4bit(weight.data, state).view(shape)
    if weight.dtype == torch.int8:
        scales = weight.SCB if layer.state.SCB is None else layer.state.SCB
        return weight.data * (scales[:, None] / 127)
    return weight.detach()


def _product(layer: Any, x: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import linear

    return linear(x, dequantised(layer).to(x.dtype), layer.bias)


def _config(kind: Quantisation, dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_compute_dtype=dtype)
