"""Untrained twins: the same architecture, weights as transformers draws them, nothing else disturbed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from microtome.models import Model, load_model, untrained_twin
from microtome.models.embedded import EMBEDDED
from tests.models.passes import loaded, tokens
from tests.tiny import EVERY

Folder = Callable[..., Path]


@pytest.fixture(params=EVERY)
def model(request: pytest.FixtureRequest, tiny_model: Folder) -> Model:
    return loaded(tiny_model(request.param))


def weights(model: Model) -> torch.Tensor:
    return torch.cat([parameter.flatten() for parameter in model.module.parameters()])


def test_a_twin_is_a_model_of_the_same_architecture(model: Model) -> None:
    before = weights(model)
    twin = untrained_twin(model, 3)
    state = {name: value.shape for name, value in model.module.state_dict().items()}
    assert {name: value.shape for name, value in twin.module.state_dict().items()} == state
    assert twin.parameters == model.parameters, "weights are tied as the model's are"
    assert twin.module.config._attn_implementation == "eager"
    assert not twin.module.training
    assert not any(parameter.requires_grad for parameter in twin.module.parameters())
    for layer in range(model.anatomy.layers):
        frequencies = model.rotary_frequencies(layer)
        if frequencies is not None:
            assert torch.equal(frequencies, twin.rotary_frequencies(layer))  # type: ignore[arg-type]
    assert twin.module(tokens(twin)).logits.isfinite().all()
    assert torch.equal(before, weights(model))


def test_weights_depend_on_the_seed_alone(model: Model) -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = untrained_twin(model, 3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    again, other = untrained_twin(model, 3), untrained_twin(model, 4)
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))
    assert first.fingerprint == again.fingerprint
    assert len({model.fingerprint, first.fingerprint, other.fingerprint}) == 3
    assert first.reference == f"{model.reference} (untrained, seed 3)"


def test_weights_are_those_that_transformers_draws(model: Model) -> None:
    spread = getattr(model.module.config, "initializer_range", 0.02)
    twin = untrained_twin(model, 0)
    embedding: Any = twin.module.get_submodule(twin.anatomy.embedding)
    assert float(embedding.weight.std()) == pytest.approx(spread, rel=0.05)
    norm: Any = twin.module.get_submodule(twin.anatomy.final_norm)
    assert (norm.weight + twin.anatomy.norm_offset == 1).all()


def test_a_dtype_rounds_the_same_weights_and_leaves_the_frequencies(tiny_model: Folder) -> None:
    folder = str(tiny_model("llama"))
    half = load_model(folder, dtype="bfloat16", attention="eager")
    twin, whole = untrained_twin(half, 5), untrained_twin(load_model(folder, attention="eager"), 5)
    assert twin.module.dtype == torch.bfloat16
    assert torch.equal(weights(twin), weights(whole).bfloat16())
    assert twin.fingerprint == whole.fingerprint
    assert half.module.config.dtype == torch.bfloat16
    frequencies = whole.rotary_frequencies(0)
    assert frequencies is not None
    for model in (half, twin):
        assert torch.equal(frequencies, model.rotary_frequencies(0))  # type: ignore[arg-type]


def test_the_embedded_model_has_a_twin() -> None:
    model = load_model(EMBEDDED[0].reference)
    twin = untrained_twin(model, 0)
    assert twin.parameters == model.parameters
    head = twin.module.get_submodule(twin.anatomy.head).weight
    assert head is twin.module.get_input_embeddings().weight
    assert twin.module(tokens(twin)).logits.isfinite().all()
