"""Loaded tiny models; weights can be changed on a copy."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from microtome.models import Model, load_model

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def loaded(tiny_model: Callable[..., Path]) -> Callable[..., Model]:
    """A function that returns a tiny model, loaded once a session: ``loaded("llama", "float64")``."""

    @cache
    def load(family: str, dtype: str = "float32") -> Model:
        return load_model(str(tiny_model(family)), device="cpu", dtype=dtype)

    return load


def copied(model: Model) -> Model:
    """A copy whose weights a test may change."""
    return replace(model, module=copy.deepcopy(model.module))


def embedding(model: Model) -> torch.Tensor:
    """The embeddings of tokens ``[V, d]``."""
    return model.module.get_submodule(model.anatomy.embedding).get_parameter("weight")
