"""Training that goes on with less when memory runs out."""

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def within_memory(train: Callable[[bool], T]) -> tuple[T, bool]:
    """Return what ``train(checkpointing)`` does, and whether it took a second try, with layers recomputed.

    ``train`` leaves the model as it was when it fails.
    """
    try:
        return train(False), False
    except (torch.OutOfMemoryError, MemoryError):
        pass  # the failed pass is freed when its traceback is
    return train(True), True
