"""Reading sites in the plainest way, for tests."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from microtome.models import Model, Site, load_model

TEXT = "the sum of 12 and 7 is a number, and the answer to that question"


@cache
def loaded(folder: Path) -> Model:
    """Load a model with eager attention, once for all tests that only read it."""
    return load_model(str(folder), attention="eager")


def tokens(model: Model, text: str = TEXT) -> Tensor:
    return model.tokenizer(text, return_tensors="pt").input_ids


def read(model: Model, sites: Iterable[Site | str], ids: Tensor | None = None) -> dict[str, Tensor]:
    """Return copies of what sites show in one pass."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> None:
        seen[name] = value.clone()

    handles = [
        model.anatomy.point(site).attach(model.module, lambda value, name=str(site): keep(name, value))
        for site in sites
    ]
    try:
        with torch.no_grad():
            model.module(tokens(model) if ids is None else ids)
    finally:
        for handle in handles:
            handle.remove()
    return seen
