"""Tiny models of every precision, a batch to train on, and one thread, on which tiny models are fastest."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from microtome.models import Model
from microtome.models.quantized import load_in
from microtome.train.finetune.tune import Batch

Load = Callable[..., Model]
RATES = {"adamw": 3e-3, "sgd": 1e-1, "adafactor": 3e-3}
"""Of each optimiser: one under which a tiny model learns a sequence in a few steps."""


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def load(tiny_model: Callable[..., Path]) -> Load:
    """A function that loads a new tiny model: ``load("gpt_neox", "bfloat16")``."""

    def loaded(family: str = "gpt_neox", precision: str = "float32") -> Model:
        return load_in(str(tiny_model(family)), precision, device="cpu")

    return loaded


@pytest.fixture
def batch() -> Batch:
    """One sequence of 24 random tokens, each of which is to be predicted."""
    tokens = torch.randint(5, 200, (1, 24), generator=torch.Generator().manual_seed(0))
    return {"input_ids": tokens, "labels": tokens}


def state(model: Model) -> dict[str, torch.Tensor]:
    """Copies of all that a model stores."""
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def same(model: Model, before: dict[str, torch.Tensor]) -> bool:
    """Whether a model stores exactly this."""
    now = model.module.state_dict()
    return set(now) == set(before) and all(torch.equal(now[name], before[name]) for name in before)
