"""Loaded tiny models, and the prompts on which captures are compared."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from microtome.models import Model, load_model

torch.set_num_threads(1)

MODELS: list[Model] = []


@pytest.fixture(scope="session")
def loaded(tiny_model: Callable[..., Path]) -> Callable[..., Model]:
    """A function that returns a tiny model, loaded once a session: ``loaded("llama", attention="eager")``."""

    @cache
    def load(family: str, attention: str = "sdpa") -> Model:
        if family == "gemma2":  # transformers has no sdpa for it
            attention = "eager"
        MODELS.append(load_model(str(tiny_model(family)), device="cpu", attention=attention))  # type: ignore[arg-type]
        return MODELS[-1]

    return load


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Texts of different lengths, not in the order of length."""
    return [
        "the word for two is say",
        "a line",
        "what do you mean by the sum of 3 and 4 ?",
        "home",
        "they were there when the ship moved , and the sea was like a picture .",
    ]


def hooked(model: Model) -> list[str]:
    """The submodules that carry a hook of microtome; transformers leaves hooks of its own behind."""

    def ours(hooks) -> bool:
        return any(hook.__module__.startswith("microtome") for hook in hooks.values())

    parts = model.module.named_modules()
    return [name for name, part in parts if ours(part._forward_hooks) or ours(part._forward_pre_hooks)]


@pytest.fixture(autouse=True)
def no_hook_remains() -> Iterator[None]:
    """After every test, passed or failed, no model carries a hook."""
    yield
    assert [hooked(model) for model in MODELS if hooked(model)] == []
