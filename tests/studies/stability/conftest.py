"""Loaded tiny models; weights can be changed on a copy."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from microtome.models import Model, load_model
from tests.tiny import WORDS

torch.set_num_threads(1)

SHORT: dict[str, Any] = {
    "runs": 2,
    "tunings": ("full/float32", "lora/float32", "lora/nf4"),
    "steps": 2,
    "length": 8,
    "directions": 2,
    "lanczos_steps": 8,
    "curvature_blocks": 1,
    "checks": 6,
    "healing_steps": 2,
    "healing_every": 1,
    "published": ("eigen_prion/adamw/fp16", "gaussian_noise/adamw/fp16"),
    "published_steps": 2,
    "evaluation_tokens": 512,
    "block": 16,
    "draws": 20,
}
"""Options of a run on a tiny model, beside its model and corpus."""


@pytest.fixture(scope="session")
def prose(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference of a corpus of many short documents in the tiny tokenizer's words."""
    file = tmp_path_factory.mktemp("prose") / "words.txt"
    rng = np.random.default_rng(0)
    file.write_text("\n\n".join(" ".join(rng.choice(WORDS, 40)) for _ in range(120)))
    return f"file:{file}"


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
