"""Fifty models that learned nothing, beside the embedded one: no more have universal neurons than declared."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import microtome
from microtome.corpora import align, load_corpus
from microtome.models import Model, untrained_twin
from tests.studies.universality.conftest import Experiment

DRAWS, DOCUMENTS, ROWS, NEURONS, LAYER = 50, 40, 16, 256, 2


@pytest.fixture(scope="module")
def trained() -> Model:
    return microtome.load_model("embedded:smollm2-135m")


def activations(model: Model, text: Any, layer: int) -> torch.Tensor:
    tokens = [ids.tolist() for ids in text.tokens[0]]
    site = f"mlp_post.{layer}"
    found = microtome.capture(model, tokens, site, positions=text.positions[0].tolist())
    return found.flat[site][:, :NEURONS].unflatten(0, (DOCUMENTS, ROWS))


def shallow_twins(model: Model) -> Iterator[Model]:
    """Yield untrained models of the same architecture cut after the layer that is read."""
    config: Any = copy.deepcopy(model.module.config)
    config.num_hidden_layers = LAYER + 1
    config.vocab_size = model.module.config.vocab_size
    stub: Any = type("Stub", (), {"config": config})()
    anatomy = replace(model.anatomy, layers=LAYER + 1)
    for seed in range(DRAWS):
        yield untrained_twin(replace(model, module=stub, anatomy=anatomy), seed)


def test_at_most_the_declared_rate_of_untrained_models_is_found_universal(trained: Model) -> None:
    text = align(load_corpus("docstrings"), [trained.tokenizer], DOCUMENTS, ROWS, unit="token")
    own = activations(trained, text, 15)
    found = 0
    for twin in shallow_twins(trained):
        _, _, frame = Experiment((own, activations(twin, text, LAYER)), rotations=1).run()
        found += bool(frame["universal"].any())
    assert found <= 6, "5 % of 50, and three standard deviations more"


def test_the_same_settings_find_a_copy(trained: Model) -> None:
    text = align(load_corpus("docstrings"), [trained.tokenizer], DOCUMENTS, ROWS, unit="token")
    own = activations(trained, text, 15)
    noise = 0.05 * own.std((0, 1)) * torch.randn(own.shape, generator=torch.Generator().manual_seed(0))
    order = np.random.default_rng(0).permutation(NEURONS)
    _, _, frame = Experiment((own, (own + noise)[..., order.copy()]), rotations=1).run()
    assert (frame["neuron_b"].to_numpy() == np.argsort(order)).mean() >= 0.99
    assert frame["universal"].mean() > 0.9  # type: ignore[operator]
