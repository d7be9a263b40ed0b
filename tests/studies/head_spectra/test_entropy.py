"""Attention entropies gathered layer by layer, beside those of whole attention maps in float64."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.meters import peak_bytes
from torch import Tensor

from microtome.base.errors import UserError
from microtome.models import Model, load_model
from microtome.studies.head_spectra.entropy import AttentionEntropy, attention_entropy
from tests.models.passes import loaded
from tests.tiny import FAMILIES

torch.set_num_threads(1)

Folder = Callable[..., Path]
LAYERS, HEADS = 3, 4
MAPS = ("mean", "normalised", "first_token")
TOKENS = torch.randint(0, 60, (5, 20), generator=torch.Generator().manual_seed(0))
"""Five blocks, longer than the windows of 8."""


@cache
def exact(folder: Path) -> Model:
    return load_model(str(folder), dtype="float64", device="cpu", attention="eager")


def slow(model: Model, tokens: Tensor) -> dict[str, np.ndarray]:
    """The same by loops over whole maps; a key is visible where it gets any attention."""
    with torch.no_grad():
        maps = model.module(tokens, output_attentions=True).attentions
    entropy: dict[str, np.ndarray] = {name: np.zeros((LAYERS, HEADS)) for name in MAPS}
    for layer, head in np.ndindex(LAYERS, HEADS):
        values: dict[str, list[float]] = {name: [] for name in MAPS}
        for block in range(len(tokens)):
            for m in range(tokens.shape[1]):
                p = maps[layer][block, head, m].double().numpy()
                seen = p[p > 0]
                values["mean"].append(float(-(seen * np.log(seen)).sum()))
                if len(seen) > 1:
                    values["normalised"].append(values["mean"][-1] / np.log(len(seen)))
                if m > 0 and p[0] > 0:
                    values["first_token"].append(p[0])
        for name in MAPS:
            entropy[name][layer, head] = np.mean(values[name])
    return entropy


def close(found: AttentionEntropy, wanted: Any, tolerance: float) -> None:
    for name in MAPS:
        one, other = getattr(found, name), wanted[name] if isinstance(wanted, dict) else getattr(wanted, name)
        np.testing.assert_allclose(one, other, atol=tolerance, rtol=0, err_msg=name, strict=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_entropies_are_those_of_whole_maps(family: str, tiny_model: Folder) -> None:
    model = exact(tiny_model(family))
    found = attention_entropy(model, TOKENS, batch_size=2)
    assert found.positions == TOKENS.numel()
    wanted = slow(model, TOKENS)
    assert np.ptp(wanted["normalised"]) > 0.05, "heads differ"
    close(found, wanted, 1e-12)
    close(attention_entropy(loaded(tiny_model(family)), TOKENS, batch_size=2), wanted, 1e-5)


@pytest.mark.parametrize("length", [2, 3, 7, 8, 9, 20])
def test_windows_bound_what_is_visible(length: int, tiny_model: Folder) -> None:
    """Mistral's windows of 8 in every layer, with blocks shorter, as long and longer."""
    model = exact(tiny_model("mistral"))
    assert model.anatomy.windows == (8,) * LAYERS
    close(attention_entropy(model, TOKENS[:, :length], batch_size=3), slow(model, TOKENS[:, :length]), 1e-12)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batches_change_nothing_but_rounding(batch_size: int, tiny_model: Folder) -> None:
    model = exact(tiny_model("gemma3"))
    done: list[float] = []
    found = attention_entropy(model, TOKENS, batch_size=batch_size, advance=done.append)
    close(found, attention_entropy(model, TOKENS, batch_size=3), 1e-12)
    assert sum(done) == len(TOKENS)
    assert max(done) == min(batch_size, len(TOKENS))


def test_uniform_attention_has_the_greatest_entropy(tiny_model: Folder) -> None:
    model = load_model(str(tiny_model("mistral")), device="cpu", attention="eager")
    for layer in range(LAYERS):
        model.attention_weights(layer).q.zero_()
    found = attention_entropy(model, TOKENS, batch_size=5)
    visible = np.minimum(np.arange(1, 21), 8)
    np.testing.assert_allclose(found.mean, np.log(visible).mean(), rtol=1e-6)
    np.testing.assert_allclose(found.normalised, 1, rtol=1e-6)
    np.testing.assert_allclose(found.first_token, (1 / np.arange(2, 9)).mean(), rtol=1e-6)


def test_half_precision_is_widened_before_logarithms(tiny_model: Folder) -> None:
    model = load_model(str(tiny_model("llama")), dtype="bfloat16", device="cpu", attention="eager")
    found = attention_entropy(model, TOKENS, batch_size=2)
    close(found, slow(model, TOKENS), 1e-5)
    assert all(getattr(found, name).dtype == np.float64 for name in MAPS)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_all_layers_need_the_memory_of_one(family: str, tiny_model: Folder) -> None:
    """One layer's attention takes three maps while it is made and read; those of two earlier layers would be five."""
    model, tokens = loaded(tiny_model(family)), TOKENS.repeat(1, 6)
    one_map = 4 * HEADS * tokens.shape[1] ** 2
    assert 2 * one_map < peak_bytes(lambda: attention_entropy(model, tokens, batch_size=1)) < 4 * one_map


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (TOKENS[:, :1], "Expected blocks of at least 2 tokens, got 1: one token sees only itself."),
        (TOKENS[:, :0], "Expected blocks of at least 2 tokens, got 0: one token sees only itself."),
        (TOKENS[:0], "Expected at least one input, got none."),
        (TOKENS.repeat(1, 7), "Expected at most 128 tokens, the model's context, got 140 in input 0."),
        (TOKENS + 10_000, "Expected tokens from 0 to"),
    ],
    ids=["one token", "no token", "no block", "too long", "unknown"],
)
def test_blocks_that_cannot_be_measured_are_an_error(
    tokens: Tensor, message: str, tiny_model: Folder
) -> None:
    with pytest.raises(UserError) as caught:
        attention_entropy(loaded(tiny_model("llama")), tokens, batch_size=1)
    assert str(caught.value).startswith(message)


def test_attention_must_be_eager(tiny_model: Folder) -> None:
    model = load_model(str(tiny_model("llama")), device="cpu")
    with pytest.raises(
        UserError, match=r"^Expected a model with eager attention for 'attn_pattern\.0', got 'sdpa'"
    ):
        attention_entropy(model, TOKENS, batch_size=1)
