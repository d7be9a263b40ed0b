"""Products in half precision, with weights and sums in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def cast(precision: str, device: torch.device) -> AbstractContextManager:
    """Return the context in which forward passes run."""
    return torch.autocast(device.type, DTYPES[precision]) if precision in DTYPES else nullcontext()


def scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Return what scales the loss, so that gradients in fp16 do not vanish; elsewhere it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
