"""Every anatomy against the model it describes: sites, weights and settings recompute what the model did."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.activations import ACT2FN

from microtome.base.errors import UserError
from microtome.models import Model, Rotary
from microtome.models.anatomies import ANATOMIES, anatomy_of
from tests.models.passes import loaded, read, tokens
from tests.tiny import EVERY

Folder = Callable[..., Path]


@pytest.fixture(params=EVERY)
def model(request: pytest.FixtureRequest, tiny_model: Folder) -> Model:
    return loaded(tiny_model(request.param))


def submodule(model: Model, path: str, layer: int = 0) -> Any:
    return model.module.get_submodule(path.format(layer))


def close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_every_model_type_has_a_tiny_model(tiny_model: Folder) -> None:
    tested = {loaded(tiny_model(family)).anatomy.model_type for family in EVERY}
    assert tested | {"gemma3"} == set(ANATOMIES)


def test_the_residual_stream_is_hugging_faces_bit_for_bit(model: Model) -> None:
    with torch.no_grad():
        states = model.module(tokens(model), output_hidden_states=True).hidden_states
    seen = read(model, model.anatomy.sites(["resid_pre", "resid_post"]))
    last = model.anatomy.layers - 1
    for layer in range(model.anatomy.layers):
        assert torch.equal(seen[f"resid_pre.{layer}"], states[layer])
        if layer < last:
            assert torch.equal(seen[f"resid_post.{layer}"], states[layer + 1])
    with torch.no_grad():
        normed = submodule(model, model.anatomy.final_norm)(seen[f"resid_post.{last}"])
    assert torch.equal(normed, states[-1])


def test_blocks_add_up_to_the_residual_stream(model: Model) -> None:
    kinds = ["resid_pre", "attn_out", "mlp_out", "resid_post"]
    kinds += [] if model.anatomy.parallel else ["resid_mid"]
    seen = read(model, model.anatomy.sites(kinds))
    for i in range(model.anatomy.layers):
        middle = seen[f"resid_pre.{i}"] + seen[f"attn_out.{i}"]
        after = middle + seen[f"mlp_out.{i}"]
        if model.anatomy.after_mlp:
            with torch.no_grad():
                after = after + submodule(model, model.anatomy.after_mlp, i)(after)
        close(after, seen[f"resid_post.{i}"])
        if not model.anatomy.parallel:
            close(middle, seen[f"resid_mid.{i}"])


def test_embed_is_what_enters_the_first_layer_but_for_learned_positions(model: Model) -> None:
    seen = read(model, ["embed", "resid_pre.0"])
    positions = 0
    if model.anatomy.rotary is None:
        path = "transformer.wpe" if model.anatomy.family == "gpt2" else "model.positions"
        positions = submodule(model, path).weight[: seen["embed"].shape[1]]
    close(seen["embed"] + positions, seen["resid_pre.0"])


def test_every_site_has_the_shape_that_the_anatomy_says(model: Model) -> None:
    ids = tokens(model).repeat(2, 1)
    for site, value in read(model, model.anatomy.sites(), ids).items():
        assert tuple(value.shape) == model.anatomy.shape(site, *ids.shape), site


@pytest.mark.parametrize("layer", [0, 2])
def test_attention_weights_recompute_q_k_v_and_attention_output(model: Model, layer: int) -> None:
    anatomy = model.anatomy
    weights = model.attention_weights(layer)
    seen = read(model, [f"{kind}.{layer}" for kind in ("resid_pre", "q", "k", "v", "z", "attn_out")])
    with torch.no_grad():
        x = submodule(model, anatomy.norms["attention"], layer)(seen[f"resid_pre.{layer}"])
    for kind in "qkv":
        bias = getattr(weights, f"{kind}_bias")
        expected = torch.einsum("bpm,hdm->bphd", x, getattr(weights, kind))
        close(seen[f"{kind}.{layer}"], expected if bias is None else expected + bias)
    out = torch.einsum("bphd,hmd->bpm", seen[f"z.{layer}"], weights.o)
    out = out if weights.o_bias is None else out + weights.o_bias
    if "attention_post" in anatomy.norms:
        out = submodule(model, anatomy.norms["attention_post"], layer)(out)
    close(seen[f"attn_out.{layer}"], out)


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Turn ``[b, p, h, d]`` by position, as complex numbers: an oracle that shares no code."""
    half = rotary.dimensions // 2
    angle = torch.arange(x.shape[1]).double()[:, None] * rotary.theta ** (-torch.arange(half).double() / half)
    turned = (
        torch.complex(x[..., :half], x[..., half : 2 * half])
        * torch.polar(torch.ones(()).double(), angle)[:, None]
    )
    return torch.cat([turned.real, turned.imag, x[..., 2 * half :]], dim=-1)


def head_norm(model: Model, name: str, layer: int, x: Tensor) -> Tensor:
    if name not in model.anatomy.norms:
        return x
    weight = submodule(model, model.anatomy.norms[name], layer).weight.double() + model.anatomy.norm_offset
    return x * (x.square().mean(-1, keepdim=True) + model.module.config.rms_norm_eps).rsqrt() * weight


@pytest.mark.parametrize("layer", [0, 1])
def test_settings_recompute_the_attention_pattern(model: Model, layer: int) -> None:
    anatomy = model.anatomy
    seen = read(model, [f"{kind}.{layer}" for kind in ("q", "k", "v", "z", "attn_pattern")])
    q, k = (head_norm(model, name, layer, seen[f"{name}.{layer}"].double()) for name in "qk")
    if anatomy.rotary is not None:
        q, k = (rotate(x, anatomy.rotary[layer]) for x in (q, k))
    group = anatomy.heads // anatomy.kv_heads
    scores = torch.einsum("bphd,bshd->bhps", q, k.repeat_interleave(group, dim=2)) * anatomy.scales[layer]
    if anatomy.softcap is not None:
        scores = anatomy.softcap * torch.tanh(scores / anatomy.softcap)
    back = torch.arange(scores.shape[-1])[:, None] - torch.arange(scores.shape[-1])
    reach = anatomy.windows[layer] or len(back)
    scores = scores.masked_fill((back < 0) | (back >= reach), -torch.inf)
    pattern = scores.softmax(-1)
    close(seen[f"attn_pattern.{layer}"].double(), pattern)
    values = seen[f"v.{layer}"].double().repeat_interleave(group, dim=2)
    close(seen[f"z.{layer}"].double(), torch.einsum("bhps,bshd->bphd", pattern, values))


@torch.no_grad()
def mlp_input(model: Model, layer: int, stream: Tensor) -> Tensor:
    """Return the normed residual stream; bands have norms of their own, and an order."""
    if "mlp" in model.anatomy.norms:
        return submodule(model, model.anatomy.norms["mlp"], layer)(stream)
    mlp: Any = model.anatomy.point(f"mlp_out.{layer}").find(model.module)
    partition = mlp.down.partition
    return partition.join(torch.cat(mlp.norm(partition.split(stream)), -1))


def filtered(model: Model, layer: int, before: Tensor) -> Tensor:
    """Return what the neurons' filters along the tokens let through, where the MLP has a filter bank."""
    mlp: Any = model.anatomy.point(f"mlp_out.{layer}").find(model.module)
    if not hasattr(mlp, "filters"):
        return before
    T = before.shape[1]
    bands = zip(mlp.filters[:, :T, :T], before.split(mlp.up.outputs, -1), strict=True)
    return torch.cat([each @ part for each, part in bands], -1)


@pytest.mark.parametrize("layer", [0, 2])
def test_mlp_weights_recompute_neurons_and_mlp_output(model: Model, layer: int) -> None:
    anatomy = model.anatomy
    weights = model.mlp_weights(layer)
    before = f"resid_pre.{layer}" if anatomy.parallel else f"resid_mid.{layer}"
    seen = read(model, [before, f"mlp_post.{layer}", f"mlp_out.{layer}"])
    x = mlp_input(model, layer, seen[before])
    h = [
        filtered(model, layer, torch.einsum("bpm,nm->bpn", x, matrix)) + (0 if bias is None else bias)
        for matrix, bias in zip(weights.in_, weights.in_biases, strict=True)
    ]
    h[0] = ACT2FN[anatomy.activation](h[0])
    neurons = h[0] * h[1] if anatomy.gated else h[0]
    close(neurons, seen[f"mlp_post.{layer}"])
    out = torch.einsum("bpn,mn->bpm", neurons, weights.out)
    out = out if weights.out_bias is None else out + weights.out_bias
    if "mlp_post" in anatomy.norms:
        out = submodule(model, anatomy.norms["mlp_post"], layer)(out)
    close(seen[f"mlp_out.{layer}"], out)


def test_neurons_recompute_the_mlp(model: Model) -> None:
    seen = read(model, ["mlp_post.1", "mlp_out.1"])
    out = model.anatomy.point("mlp_post.1").find(model.module)
    with torch.no_grad():
        expected = out(seen["mlp_post.1"])
        if "mlp_post" in model.anatomy.norms:
            expected = submodule(model, model.anatomy.norms["mlp_post"], 1)(expected)
    close(seen["mlp_out.1"], expected)


def test_a_window_that_is_shorter_than_the_text_is_tested(tiny_model: Folder) -> None:
    model = loaded(tiny_model("gemma2"))
    assert model.anatomy.windows == (8, None, 8)
    assert tokens(model).shape[1] > 8


def test_parallel_blocks_lack_the_middle(tiny_model: Folder) -> None:
    anatomy = loaded(tiny_model("gpt_neox")).anatomy
    assert "resid_mid" not in anatomy.kinds
    with pytest.raises(
        UserError, match=r"got 'resid_mid.0': attention and MLP run in parallel .* It offers: embed"
    ):
        anatomy.point("resid_mid.0")


def test_a_layer_out_of_range_names_the_last(tiny_model: Folder) -> None:
    anatomy = loaded(tiny_model("llama")).anatomy
    with pytest.raises(
        UserError, match=r"layer from 0 to 2 in 'resid_post.3', got 3.* The last one is 'resid_post.2'"
    ):
        anatomy.check("resid_post.3")


def test_an_unknown_architecture_lists_the_known() -> None:
    from transformers import OPTConfig

    with pytest.raises(
        UserError, match=r"got 'opt'.* Known are: gpt2, gpt_neox, llama, mistral, qwen2, qwen3, gemma2"
    ):
        anatomy_of(OPTConfig())


def test_gemma3_inside_the_image_model_has_its_paths_there() -> None:
    from transformers import AutoModelForCausalLM, Gemma3Config

    text = EVERY["gemma3"](50).to_dict()
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(text_config=text, vision_config={**vision, "image_size": 16, "patch_size": 8})
    anatomy = anatomy_of(config)
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config)
    for site in anatomy.sites():
        anatomy.point(site).find(module)
    assert anatomy.model_type == "gemma3"
    assert anatomy.attention_weights(module, 1).o.shape == (4, 32, 16)
    assert anatomy.mlp_weights(module, 1).out.shape == (32, 48)
