"""The metric's factors, beside the weights as each architecture stores them and beside its own attention."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from microtome.base.errors import UserError
from microtome.capture import capture
from microtome.models import Model, load_model
from microtome.studies.head_spectra.metric import Factors, MetricOptions, metric_factors
from tests.models.passes import loaded
from tests.tiny import FAMILIES

torch.set_num_threads(1)

Folder = Callable[..., Path]
LAYERS, HEADS, D = 3, 4, 32
EVERYTHING = {"norm_gains": True, "head_norm_gains": True, "biases": True}
LENGTH = 14
TOKENS = torch.randint(0, 60, (2, LENGTH), generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest, tiny_model: Folder) -> Model:
    return loaded(tiny_model(request.param))


def part(model: Model, path: str) -> Any:
    return model.module.get_submodule(path)


def metrics(factors: Factors) -> Tensor:
    """The dense metric of every head, ``[H, d, d]``, in float64."""
    groups = len(factors.q) // len(factors.k)
    return torch.stack([q.double().T @ factors.k[h // groups].double() for h, q in enumerate(factors.q)])


def normalised(norm: nn.Module, x: Tensor) -> Tensor:
    """``[z; 1]`` of the residual stream: what a norm makes of it, before its gain."""
    if isinstance(norm, nn.LayerNorm):
        z = nn.functional.layer_norm(x, (D,), eps=norm.eps)
    else:
        epsilon: Any = getattr(norm, "variance_epsilon", None) or norm.eps
        z = x / (x.square().mean(-1, keepdim=True) + epsilon).sqrt()
    return torch.cat([z, torch.ones_like(z[..., :1])], -1)


def root_mean_square(model: Model, role: str, values: Tensor) -> Tensor:
    """By what the norm of queries or keys ``[N, T, heads, d_head]`` divides; 1 where there is none."""
    if role not in model.anatomy.norms:
        return values.new_ones(values.shape[:-1])
    norm = part(model, model.anatomy.norms[role].format(0))
    epsilon = getattr(norm, "variance_epsilon", None) or norm.eps
    return (values.square().mean(-1) + epsilon).sqrt()


def predicted(model: Model, layer: int) -> Tensor:
    """The attention ``[N, H, T, T]`` that the metrics at every offset say of the captured residual stream."""
    anatomy = model.anatomy
    seen = capture(model, TOKENS, [f"{kind}.{layer}" for kind in ("resid_pre", "q", "k")], positions="all")
    z = normalised(part(model, anatomy.norms["attention"].format(layer)), seen[f"resid_pre.{layer}"]).double()
    scores = torch.zeros(len(TOKENS), HEADS, LENGTH, LENGTH, dtype=torch.float64)
    for offset in range(LENGTH):
        options = MetricOptions(**EVERYTHING, offset=offset if anatomy.rotary else 0)
        w = metrics(metric_factors(model, layer, options))
        scored = torch.einsum("nmd,hde,nme->nhm", z[:, offset:], w, z[:, : LENGTH - offset])
        scores.diagonal(-offset, 2, 3).copy_(scored)
    queries = root_mean_square(model, "q", seen[f"q.{layer}"])
    keys = root_mean_square(model, "k", seen[f"k.{layer}"]).repeat_interleave(HEADS // anatomy.kv_heads, 2)
    scores = scores / queries.transpose(1, 2)[..., None] / keys.transpose(1, 2)[..., None, :]
    scores = scores * anatomy.scales[layer]
    if anatomy.softcap:
        scores = anatomy.softcap * (scores / anatomy.softcap).tanh()
    distance = torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)
    visible = (distance >= 0) & (distance < (anatomy.windows[layer] or LENGTH))
    return scores.masked_fill(~visible, -torch.inf).softmax(-1)


@pytest.mark.parametrize("layer", range(LAYERS))
def test_metrics_with_everything_folded_in_are_the_models_own_attention(model: Model, layer: int) -> None:
    seen = capture(model, TOKENS, f"attn_pattern.{layer}", positions="all")[f"attn_pattern.{layer}"]
    actual, found = seen.transpose(1, 2).double(), predicted(model, layer)
    assert torch.equal(actual > 0, found > 0)
    visible = actual > 1e-6
    assert actual[visible].log().std() > 0.5, "attention depends on the tokens"
    torch.testing.assert_close(found[visible].log(), actual[visible].log(), atol=2e-4, rtol=0)


def stored(model: Model, layer: int) -> tuple[Tensor, Tensor]:
    """Queries' and keys' weights ``[heads, d_head, d]``, read as each architecture's own code splits them."""
    at = f"{model.anatomy.layer.format(layer)}."
    if model.anatomy.family == "gpt2":
        q, k, _ = part(model, at + "attn.c_attn").weight.split(D, dim=1)
        q, k = q.T, k.T
    elif model.anatomy.family == "gpt_neox":
        size = D // HEADS
        fused = part(model, at + "attention.query_key_value").weight
        rows = [fused[3 * size * h :][: 3 * size] for h in range(HEADS)]
        q, k = (torch.cat([row[i * size : (i + 1) * size] for row in rows]) for i in (0, 1))
    else:
        q, k = (part(model, f"{at}self_attn.{name}_proj").weight for name in "qk")
    d_head = model.anatomy.d_head
    return q.reshape(-1, d_head, D), k.reshape(-1, d_head, D)


@pytest.mark.parametrize("layer", range(LAYERS))
def test_nothing_is_folded_in_unless_it_is_asked_for(model: Model, layer: int) -> None:
    factors = metric_factors(model, layer)
    for own, wanted in zip(factors, stored(model, layer), strict=True):
        assert torch.equal(own, wanted)
    whole = {parameter.untyped_storage().data_ptr() for parameter in model.module.parameters()}
    assert all(factor.untyped_storage().data_ptr() in whole for factor in factors), "views, no copies"


def test_gains_scale_columns_and_those_of_queries_and_keys_scale_rows(model: Model) -> None:
    q, k = stored(model, 1)
    offset = 1.0 if model.anatomy.family == "gemma" else 0.0
    gain = part(model, model.anatomy.norms["attention"].format(1)).weight + offset
    found = metric_factors(model, 1, MetricOptions(norm_gains=True))
    torch.testing.assert_close(metrics(found), metrics(Factors(q * gain, k * gain)))
    found = metric_factors(model, 1, MetricOptions(head_norm_gains=True))
    if "q" in model.anatomy.norms:
        at = model.anatomy.layer.format(1)
        gains = (part(model, f"{at}.self_attn.{name}_norm").weight + offset for name in "qk")
        q, k = (one * gain[:, None] for one, gain in zip((q, k), gains, strict=True))
        assert not torch.allclose(found.q, stored(model, 1)[0])
    torch.testing.assert_close(metrics(found), metrics(Factors(q, k)))


def test_biases_are_one_more_column(model: Model) -> None:
    q, k = stored(model, 2)
    found = metric_factors(model, 2, MetricOptions(biases=True))
    for factor, weight in zip(found, (q, k), strict=True):
        assert torch.equal(factor[..., :D], weight)
        assert factor.shape == (*weight.shape[:2], D + 1)
    weights = model.attention_weights(2)
    for factor, bias in zip(found, (weights.q_bias, weights.k_bias), strict=True):
        wanted = torch.zeros(factor.shape[:2]) if bias is None else bias
        assert torch.equal(factor[..., D], wanted)
    assert (weights.q_bias is None) == (
        model.anatomy.model_type in {"mistral", "qwen3", "gemma2", "gemma3_text"}
    )


def test_a_layer_norms_bias_passes_through_the_projection(tiny_model: Folder) -> None:
    model = loaded(tiny_model("gpt2"))
    norm = part(model, model.anatomy.norms["attention"].format(0))
    found = metric_factors(model, 0, MetricOptions(norm_gains=True, biases=True))
    weights = model.attention_weights(0)
    assert weights.q_bias is not None
    torch.testing.assert_close(found.q[..., D], weights.q @ norm.bias + weights.q_bias)


@pytest.mark.parametrize("offset", [0, 1, 100])
def test_offsets_turn_the_keys_and_lose_nothing(tiny_model: Folder, offset: int) -> None:
    model = loaded(tiny_model("gpt_neox"))
    plain, turned = (metric_factors(model, 0, MetricOptions(offset=at)) for at in (0, offset))
    assert torch.equal(plain.q, turned.q)
    torch.testing.assert_close(turned.k.norm(dim=1), plain.k.norm(dim=1))
    turning = 2 * len(model.rotary_frequencies(0))  # type: ignore[arg-type]
    assert turning < model.anatomy.d_head, "the rest stays as it is"
    assert torch.equal(turned.k[:, turning:], plain.k[:, turning:])
    assert (turned.k[:, :turning] == plain.k[:, :turning]).all() == (offset == 0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_products_are_at_least_float32(tiny_model: Folder, dtype: str) -> None:
    model = load_model(str(tiny_model("gemma3")), dtype=dtype, device="cpu")
    assert metric_factors(model, 0).q.dtype == getattr(torch, dtype)
    options = MetricOptions(**EVERYTHING, offset=3)
    found = metric_factors(model, 0, options)
    wide = torch.float64 if dtype == "float64" else torch.float32
    assert {factor.dtype for factor in found} == {wide}
    for parameter in model.module.parameters():
        parameter.data = parameter.data.double()
    for own, exact in zip(found, metric_factors(model, 0, options), strict=True):
        torch.testing.assert_close(own.double(), exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "layer", "offset", "message"),
    [
        (
            "llama",
            0,
            -1,
            r"^Expected an offset of at least 0, got -1: a query sees no key after it\. Give how ",
        ),
        ("gpt2", 0, -1, r"^Expected an offset of at least 0, got -1"),
        (
            "gpt2",
            0,
            2,
            r"^Expected an architecture with rotary embeddings for offset 2, got gpt2, whose metric is the same "
            r"at every offset\. Use offset 0\.$",
        ),
        ("llama", 3, 0, r"^Expected a layer from 0 to 2 in 'q\.3', got 3"),
        ("gemma3", -1, 1, r"^Expected a layer counted from 0, got -1"),
    ],
)
def test_what_cannot_be_measured_is_an_error(
    family: str, layer: int, offset: int, message: str, tiny_model: Folder
) -> None:
    with pytest.raises(UserError, match=message):
        metric_factors(loaded(tiny_model(family)), layer, MetricOptions(offset=offset))
