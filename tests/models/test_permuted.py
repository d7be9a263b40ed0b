"""Permuted copies: the same function, neurons elsewhere, and exactly where the permutation says."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from microtome.capture import capture
from microtome.models import Model, load_model, permuted_copy
from tests.models.passes import loaded, tokens
from tests.tiny import EVERY

Folder = Callable[..., Path]


@pytest.fixture(params=EVERY)
def folder(request: pytest.FixtureRequest, tiny_model: Folder) -> Path:
    return tiny_model(request.param)


def weights(model: Model) -> Tensor:
    return torch.cat([parameter.flatten() for parameter in model.module.parameters()])


def neurons(model: Model, layer: int) -> Tensor:
    """Return ``[tokens, d_mlp]`` on many random tokens."""
    ids = torch.randint(4, model.anatomy.vocabulary, (8, 64), generator=torch.Generator().manual_seed(0))
    return capture(model, ids, f"mlp_post.{layer}", positions="all").flat[f"mlp_post.{layer}"]


def correlations(x: Tensor, y: Tensor) -> Tensor:
    """Return ``[columns of x, columns of y]``."""
    x, y = ((z - z.mean(0)) / z.std(0, correction=0) for z in (x.double(), y.double()))
    return x.T @ y / len(x)


def relative(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-4), ("float64", 1e-10)])
def test_without_noise_the_function_is_the_same(folder: Path, dtype: str, bound: float) -> None:
    model = load_model(str(folder), dtype=dtype, attention="eager")
    twin, _ = permuted_copy(model, 3)
    ids = tokens(model)
    assert relative(twin.module(ids).logits, model.module(ids).logits) < bound
    assert relative(weights(twin), weights(model)) > 0.1, "the neurons did move"


def test_the_permutation_leads_from_the_models_neurons_to_the_copys(folder: Path) -> None:
    model = loaded(folder)
    twin, permutation = permuted_copy(model, 3)
    assert permutation.shape == (model.anatomy.layers, model.anatomy.d_mlp)
    assert permutation.dtype == np.int64
    for layer, places in enumerate(permutation):
        assert sorted(places) == list(range(model.anatomy.d_mlp))
        old, new = model.mlp_weights(layer), twin.mlp_weights(layer)
        for i in (0, 1, 47):
            assert all(torch.equal(b[places[i]], a[i]) for a, b in zip(old.in_, new.in_, strict=True))
            assert torch.equal(new.out[:, places[i]], old.out[:, i])
        seen, moved = neurons(model, layer), neurons(twin, layer)
        assert relative(moved[:, places], seen) < 1e-4
        assert relative(moved[:, np.argsort(places)], seen) > 0.1, "the inverse is another permutation"
    assert not np.array_equal(permutation[0], permutation[1]), "each layer has an order of its own"


def test_noise_lowers_the_correlation_of_partners_a_little(folder: Path) -> None:
    model = loaded(folder)
    twin, permutation = permuted_copy(model, 3, noise=0.05)
    r = correlations(neurons(model, 0), neurons(twin, 0))
    partners = r[torch.arange(len(r)), permutation[0]]
    assert (r.argmax(1).numpy() == permutation[0]).all()
    assert partners.median() > 0.95
    assert (partners < 1 - 1e-6).all()


def test_noise_has_the_size_asked_for_and_leaves_all_but_the_input_weights(folder: Path) -> None:
    model = loaded(folder)
    (clean, order), (noisy, same) = (permuted_copy(model, 3, noise=noise) for noise in (0, 0.05))
    assert np.array_equal(order, same), "noise does not change the order"
    inputs = set()
    for layer in range(model.anatomy.layers):
        a, b = (each.anatomy.mlp_blocks(each.module, layer) for each in (clean, noisy))
        rows = ([matrix for block in blocks for matrix in block.in_] for blocks in (a, b))
        for before, after in zip(*rows, strict=True):
            inputs.add(before.data_ptr())
            share = (after - before).square().mean(1).sqrt() / before.square().mean(1).sqrt()
            torch.testing.assert_close(share.square().mean().sqrt(), torch.tensor(0.05), rtol=0.1, atol=0)
            assert share.std() < 1.5 * 0.05 / math.sqrt(2 * before.shape[1]), (
                "each row has noise in proportion"
            )
    others = zip(clean.module.parameters(), noisy.module.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in others if a.data_ptr() not in inputs)


def test_the_seed_decides_and_the_original_stays(folder: Path) -> None:
    model = loaded(folder)
    before = weights(model)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, order = permuted_copy(model, 3, noise=0.05)
    assert torch.equal(torch.get_rng_state(), state)
    (again, same), (other, another) = (permuted_copy(model, seed, noise=0.05) for seed in (3, 4))
    assert torch.equal(weights(model), before)
    assert np.array_equal(order, same)
    assert torch.equal(weights(first), weights(again))
    assert not np.array_equal(order, another)
    assert not torch.equal(weights(first), weights(other))
    assert first.fingerprint == again.fingerprint
    clean, _ = permuted_copy(model, 3)
    assert len({one.fingerprint for one in (model, first, other, clean)}) == 4


def test_a_copy_is_a_frozen_model_of_its_own(folder: Path) -> None:
    model = loaded(folder)
    twin, _ = permuted_copy(model, 3, noise=0.05)
    assert twin.reference == f"{model.reference} (neurons permuted, noise 5 %, seed 3)"
    assert twin.parameters == model.parameters, "weights are tied as the model's are"
    assert not twin.module.training
    assert not any(parameter.requires_grad for parameter in twin.module.parameters())
    theirs = {parameter.data_ptr() for parameter in model.module.parameters()}
    assert theirs.isdisjoint(parameter.data_ptr() for parameter in twin.module.parameters())


def test_biases_of_a_gated_mlp_move_along(tiny_model: Folder) -> None:
    from transformers import AutoModelForCausalLM

    model = loaded(tiny_model("llama"))
    config = EVERY["llama"](len(model.tokenizer))
    config.mlp_bias = True
    module = AutoModelForCausalLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    model = replace(model, module=module)
    assert all(bias is not None for bias in (*model.mlp_weights(0).in_biases, model.mlp_weights(0).out_bias))
    twin, _ = permuted_copy(model, 3)
    ids = tokens(model)
    with torch.no_grad():
        assert relative(twin.module(ids).logits, model.module(ids).logits) < 1e-4
    assert not any(parameter.requires_grad for parameter in twin.module.parameters())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_half_precision_holds_the_same_copy_rounded(tiny_model: Folder) -> None:
    folder = str(tiny_model("llama"))
    (whole, order), (half, same) = (
        permuted_copy(load_model(folder, dtype=dtype), 3, noise=0.05) for dtype in ("float32", "bfloat16")
    )
    assert half.module.dtype == torch.bfloat16
    assert np.array_equal(order, same)
    torch.testing.assert_close(weights(half).float(), weights(whole), rtol=0.02, atol=2e-3)


@pytest.mark.parametrize("noise", [-0.1, np.nan, np.inf])
def test_noise_must_be_a_share(tiny_model: Folder, noise: float) -> None:
    with pytest.raises(ValueError, match=f"Expected noise of 0 or more, .*, got {noise}"):
        permuted_copy(loaded(tiny_model("llama")), 3, noise)
