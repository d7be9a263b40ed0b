"""Rotary frequencies: those by which the module really turns, whatever the scaling."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from microtome.base.errors import UserError
from microtome.models import Model
from microtome.models.anatomies import anatomy_of
from microtome.models.rotary import rotary_frequencies
from tests.models.passes import loaded
from tests.tiny import FAMILIES

Folder = Callable[..., Path]
SCALINGS = [
    {"rope_type": "linear", "factor": 4.0},
    {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
]


@pytest.fixture(params=[family for family in FAMILIES if family != "gpt2"])
def model(request: pytest.FixtureRequest, tiny_model: Folder) -> Model:
    return loaded(tiny_model(request.param))


def scaled(family: str, scaling: dict[str, Any]) -> Any:
    from transformers import AutoModelForCausalLM

    config = FAMILIES[family](50)
    config.rope_parameters = {**config.rope_parameters, **scaling}
    return AutoModelForCausalLM.from_config(config)


def turned(decoder: Any, *kind: str) -> torch.Tensor:
    """The angles by which the module turns at position 1, from its own cosines and sines."""
    cos, sin = decoder.rotary_emb(torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.long), *kind)
    return torch.atan2(sin, cos)[0, 0, : cos.shape[-1] // 2]


def test_frequencies_are_those_of_the_formula(model: Model) -> None:
    rotary = model.anatomy.rotary
    assert rotary is not None
    for layer, settings in enumerate(rotary):
        i = torch.arange(0, settings.dimensions, 2).double()
        frequencies = model.rotary_frequencies(layer)
        assert frequencies is not None
        torch.testing.assert_close(
            frequencies.double(), settings.theta ** (-i / settings.dimensions), rtol=1e-6, atol=0
        )


def test_gemma_3_turns_local_and_global_layers_at_different_speeds(tiny_model: Folder) -> None:
    model = loaded(tiny_model("gemma3"))
    decoder: Any = model.module.get_submodule(model.anatomy.decoder)
    kinds = decoder.config.layer_types
    found = [model.rotary_frequencies(layer) for layer in range(3)]
    for frequencies, kind in zip(found, kinds, strict=True):
        torch.testing.assert_close(frequencies, turned(decoder, kind))
    assert not torch.equal(found[0], found[1])  # type: ignore[arg-type]


@pytest.mark.parametrize("scaling", SCALINGS, ids=lambda scaling: scaling["rope_type"])
def test_scaling_is_included(scaling: dict[str, Any]) -> None:
    module = scaled("llama", scaling)
    anatomy = anatomy_of(module.config)
    assert anatomy.rotary is not None
    found = rotary_frequencies(module, anatomy, 1)
    torch.testing.assert_close(found, turned(module.model))
    plain = scaled("llama", {})
    assert not torch.allclose(found, turned(plain.model))  # type: ignore[arg-type]


def test_learned_positions_have_none(tiny_model: Folder) -> None:
    assert loaded(tiny_model("gpt2")).rotary_frequencies(0) is None


def test_what_cannot_be_read_is_an_error(tiny_model: Folder) -> None:
    module = scaled("llama", {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 128})
    with pytest.raises(UserError, match=r"the same for every text, got the scaling 'dynamic' in layer 1"):
        rotary_frequencies(module, anatomy_of(module.config), 1)
    model = loaded(tiny_model("llama"))
    with pytest.raises(UserError, match=r"Expected a layer from 0 to 2 .* got 3"):
        model.rotary_frequencies(3)
    module = scaled("llama", {})
    del module.model.rotary_emb
    with pytest.raises(UserError, match=r"of layer 0 at 'model.rotary_emb' under inv_freq.*, found none"):
        rotary_frequencies(module, anatomy_of(module.config), 0)
