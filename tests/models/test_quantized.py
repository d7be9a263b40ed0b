"""Quantised models: near the whole one in weights and products, with gradients, and refused in words."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from microtome.base.errors import UserError
from microtome.models import load_model
from microtome.models.embedded import EMBEDDED
from microtome.models.load import Model
from microtome.models.quantized import Quantisation, dequantised, load_in, load_quantized
from tests.models.passes import tokens
from tests.tiny import tiny_tokenizer

Folder = Callable[..., Path]
ERROR: dict[Quantisation, float] = {"int8": 0.01, "nf4": 0.11, "fp4": 0.14}
"""Of Gaussian weights: the Frobenius norm of what rounding changed, relative to theirs, at most."""
NAMES: tuple[Quantisation, ...] = ("int8", "nf4", "fp4")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose rows end with a block of 64."""
    folder, tokenizer = tmp_path_factory.mktemp("wide"), tiny_tokenizer()
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), initializer_range=0.2, **sizes)).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return str(folder)


def projections(model: Model) -> list[str]:
    return [name for name, layer in model.module.named_modules() if name.endswith(("_proj", "dense", "c_fc"))]


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("family", ["wide", "llama", "gpt_neox", "gpt2"])
def test_weights_are_rounded_and_products_are_theirs(
    tiny_model: Folder, wide: str, family: str, kind: Quantisation
) -> None:
    """The tiny families' rows of 32 and 48 do not end with a block of 64."""
    reference = wide if family == "wide" else str(tiny_model(family))
    model, whole = load_quantized(reference, kind, device="cpu"), load_model(reference, device="cpu")
    assert model.dtype == "float32"
    assert model.fingerprint == whole.fingerprint
    for name in projections(model):
        layer: Any = model.module.get_submodule(name)
        weight = whole.module.get_parameter(f"{name}.weight")
        weight = weight.T if whole.anatomy.transposed else weight
        assert layer.weight.dtype in (torch.int8, torch.uint8)
        rounded = dequantised(layer)
        assert 0 < relative(rounded, weight) < ERROR[kind]
        x = torch.randn(5, weight.shape[1], generator=torch.Generator().manual_seed(0))
        expected = x @ rounded.T + (0 if layer.bias is None else layer.bias)
        assert relative(layer(x[None])[0], expected) < (2e-2 if kind == "int8" else 1e-5)
        assert torch.equal(dequantised(layer), rounded), "a pass leaves the weights as they are"
    ours, theirs = (m.module(tokens(m)).logits for m in (model, whole))
    assert 0 < relative(ours, theirs) < 0.7


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("family", ["wide", "llama"])
def test_gradients_pass_through(tiny_model: Folder, wide: str, family: str, kind: Quantisation) -> None:
    model = load_quantized(wide if family == "wide" else str(tiny_model(family)), kind, device="cpu")
    model.module(tokens(model))  # what a pass without gradients does to the weights must not stay
    layer: Any = model.module.get_submodule("model.layers.0.mlp.up_proj")
    x = torch.randn(1, 5, layer.in_features, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    expected = dequantised(layer).sum(0).expand(1, 5, -1)
    torch.testing.assert_close(x.grad, expected, rtol=1e-2, atol=1e-2)


def test_what_is_not_a_projection_stays(wide: str) -> None:
    model, whole = load_quantized(wide, "nf4", device="cpu"), load_model(wide, device="cpu")
    for name in ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"):
        assert torch.equal(model.module.get_parameter(name), whole.module.get_parameter(name))
    assert not model.module.training
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


def test_the_embedded_model_is_quantised() -> None:
    model = load_quantized(EMBEDDED[0].reference, "nf4", device="cpu")
    layer: Any = model.module.get_submodule("model.layers.3.mlp.up_proj")
    assert layer.weight.numel() == 576 * 1536 / 2
    assert model.module(tokens(model)).logits.isfinite().all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8", "fp4"])
def test_a_precision_is_a_dtype_or_a_quantisation(wide: str, precision: str) -> None:
    weight = load_in(wide, precision, device="cpu").module.get_parameter("model.layers.0.mlp.up_proj.weight")
    stored = {"int8": torch.int8, "fp4": torch.uint8}
    assert weight.dtype == (stored[precision] if precision in stored else getattr(torch, precision))


def test_mistakes_are_said(wide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: Any = "nf3"
    with pytest.raises(UserError, match=r"of int8, nf4, fp4, got 'nf3'\. Did you mean 'nf4'\?"):
        load_quantized(wide, wrong)
    with pytest.raises(UserError, match=r"Expected a precision of float32, .*, fp4, got 'float23'"):
        load_in(wide, "float23")
    with pytest.raises(UserError, match="Expected a model's folder"):
        load_quantized(str(tmp_path / "none"), "nf4")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'bitsandbytes'.*pip install 'microtome\[quant\]'"):
        load_quantized(wide, "nf4")
