"""What a band is worth, against an oracle that edits biases; leaks are found, and are exactly 0 in causal models."""

import copy
from itertools import accumulate
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.models.architectures.configs import BandConfig
from microtome.models.architectures.standard import shares
from microtome.studies.bands.observe import leak, neurons_of, observer, rises
from microtome.train.data import Text
from tests.models.architectures.variants import VARIANTS, built, ids

TOKENS = ids(rows=3, length=11)
KINDS = ("standard", "band", "partition", "published", "filter bank")


def spans(module: Any) -> list[tuple[int, int]]:
    if not isinstance(module.config, BandConfig):
        return shares(module.config.intermediate_size, (7, 5, 4))
    ends = list(accumulate(module.config.band_hidden or ()))
    return list(zip([0, *ends[:-1]], ends, strict=True))


@torch.no_grad()
def loss(module: Any) -> float:
    logits = module(input_ids=TOKENS[:, :-1]).logits
    return float(F.cross_entropy(logits.flatten(0, 1), TOKENS[:, 1:].flatten()))


def layer_neurons(module: Any) -> list[Tensor]:
    """Return the neurons ``[N, d_mlp]``, from what goes into each layer's ``down``."""
    found: list[Tensor] = []
    hooks = [
        layer.mlp.down.register_forward_hook(lambda _, args, __: found.append(args[0].flatten(0, 1)))
        for layer in module.model.layers
    ]
    module(input_ids=TOKENS[:, :-1])
    for hook in hooks:
        hook.remove()
    return found


@torch.no_grad()
def slow_rise(module: Any, band: int) -> float:
    """Cut the band's neurons off, and add what their means give to the bias."""
    edited = copy.deepcopy(module)
    start, stop = spans(module)[band]
    for layer, neurons in zip(edited.model.layers, layer_neurons(module), strict=True):
        down: Any = layer.mlp.down
        mean = neurons[:, start:stop].mean(0)
        if isinstance(down, torch.nn.Linear):
            down.bias.add_(down.weight[:, start:stop] @ mean)
            down.weight[:, start:stop] = 0
        else:
            down.biases[0 if module.config.filter_bank else band] += down.weights[band] @ mean
            down.weights[band].zero_()
    return loss(edited) - loss(module)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bands_worth_is_the_rise_in_loss_with_its_output_at_its_mean(kind: str) -> None:
    module = built(kind)
    found = rises(module, TOKENS, spans(module))
    expected = [slow_rise(module, band) for band in range(3)]
    assert found == pytest.approx(expected, abs=1e-6)  # losses are float32
    assert max(map(abs, expected)) > 1e-4


def test_the_model_is_left_as_it_was() -> None:
    module = built("published").train()
    before, mode = loss(module), module.training
    rises(module, TOKENS, spans(module))
    assert (loss(module), module.training) == (before, mode)


def test_a_band_that_says_nothing_is_worth_exactly_nothing() -> None:
    module = built("band")
    with torch.no_grad():
        for layer in module.model.layers:
            layer.mlp.down.weights[1].zero_()
    assert rises(module, TOKENS, spans(module))[1] == 0


def test_both_sides_of_the_text_are_observed() -> None:
    module = built("band")
    text: Any = type("Text", (), {"held_out": TOKENS, "train": TOKENS.flip(0)})
    checked: Text = text
    rows = observer(spans(module), 2)(0, module, checked)
    assert [(row["side"], row["band"]) for row in rows] == [
        (side, band) for side in ("held_out", "train") for band in range(3)
    ]
    assert [row["rise"] for row in rows[:3]] == rises(module, TOKENS[:2], spans(module))
    assert [row["rise"] for row in rows[3:]] == rises(module, TOKENS.flip(0)[:2], spans(module))


@pytest.mark.parametrize("kind", VARIANTS)
def test_neurons_are_what_the_mlp_writes_from(kind: str) -> None:
    module = built(kind)
    found = neurons_of(module, TOKENS[:, :-1])
    assert len(found) == module.config.num_hidden_layers
    for neurons, expected in zip(found, layer_neurons(module), strict=True):
        assert neurons.shape == (3, 10, spans(module)[-1][1])
        torch.testing.assert_close(neurons.flatten(0, 1), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", VARIANTS)
@pytest.mark.parametrize("at", [0, 4, 8])
def test_no_architecture_leaks(kind: str, at: int) -> None:
    assert leak(built(kind), ids(), at) == 0


@pytest.mark.parametrize("kind", ["standard", "published"])
def test_a_leak_is_found(kind: str) -> None:
    module = built(kind)
    handle = module.model.layers[1].register_forward_hook(lambda _, __, x: x + 1e-3 * x.roll(-2, 1))
    assert leak(module, ids(), 4) > 0
    handle.remove()
    assert leak(module, ids(), 4) == 0
