"""Replacing a site: its own value changes nothing, another is exactly what the model goes on with."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from microtome.base.errors import UserError
from microtome.models import Model, load_model
from tests.models.passes import loaded, tokens
from tests.tiny import EVERY

Folder = Callable[..., Path]
WRITABLE = (
    "embed",
    "resid_pre",
    "resid_mid",
    "resid_post",
    "attn_out",
    "mlp_out",
    "mlp_post",
    "q",
    "k",
    "v",
    "z",
)


@pytest.fixture(params=EVERY)
def model(request: pytest.FixtureRequest, tiny_model: Folder) -> Model:
    return loaded(tiny_model(request.param))


def logits(model: Model, *hooks: tuple[str, Callable[[Tensor], Tensor | None]]) -> Tensor:
    handles = [model.anatomy.point(site).attach(model.module, function) for site, function in hooks]
    try:
        with torch.no_grad():
            return model.module(tokens(model)).logits
    finally:
        for handle in handles:
            handle.remove()


def named(model: Model, kind: str) -> str | None:
    if kind not in model.anatomy.kinds:
        return None
    return kind if kind == "embed" else f"{kind}.1"


@pytest.mark.parametrize("kind", WRITABLE)
def test_its_own_value_changes_nothing(model: Model, kind: str) -> None:
    if (site := named(model, kind)) is None:
        assert model.anatomy.parallel
        return
    plain = logits(model)
    assert torch.equal(logits(model, (site, lambda value: value)), plain)
    assert torch.equal(logits(model, (site, lambda value: value.clone())), plain)


@pytest.mark.parametrize("kind", WRITABLE)
def test_another_value_is_what_the_model_goes_on_with(model: Model, kind: str) -> None:
    if (site := named(model, kind)) is None:
        assert model.anatomy.parallel
        return
    generator = torch.Generator().manual_seed(3)
    seen: list[Tensor] = []
    given: list[Tensor] = []

    def replace(value: Tensor) -> Tensor:
        given.append(torch.randn(value.shape, generator=generator))
        return given[0]

    changed = logits(model, (site, replace), (site, lambda value: seen.append(value.clone())))
    assert torch.equal(seen[0], given[0])
    assert (changed - logits(model)).abs().max() > 1e-3


def test_the_residual_stream_that_is_replaced_in_the_middle_goes_on_to_the_end(tiny_model: Folder) -> None:
    for family in ("gpt2", "gpt_neox_sequential", "llama", "gemma2", "gemma3"):
        model = loaded(tiny_model(family))
        seen: dict[str, Tensor] = {}

        def keep(name: str, seen: dict[str, Tensor] = seen) -> Callable[[Tensor], None]:
            return lambda value: seen.update({name: value.clone()})

        logits(
            model,
            ("resid_mid.1", lambda value: torch.full_like(value, 0.5)),
            ("mlp_out.1", keep("mlp_out")),
            ("resid_post.1", keep("resid_post")),
        )
        torch.testing.assert_close(seen["resid_post"], 0.5 + seen["mlp_out"])


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])
def test_one_part_of_a_fused_projection_leaves_the_others(tiny_model: Folder, family: str) -> None:
    model = loaded(tiny_model(family))
    plain: dict[str, Tensor] = {}
    changed: dict[str, Tensor] = {}
    for seen, extra in ((plain, []), (changed, [("k.1", torch.zeros_like)])):
        keep = [(f"{n}.1", lambda value, n=n, seen=seen: seen.update({n: value.clone()})) for n in "qkv"]
        logits(model, *extra, *keep)
    assert torch.equal(changed["q"], plain["q"])
    assert torch.equal(changed["v"], plain["v"])
    assert not changed["k"].any()
    assert plain["k"].any()


def test_a_replacement_of_another_shape_is_refused(tiny_model: Folder) -> None:
    model = loaded(tiny_model("llama"))
    with pytest.raises(
        UserError, match=r"Expected a replacement of shape \(1, \d+, 32\) at 'model.layers.1', got"
    ):
        logits(model, ("resid_post.1", lambda value: value[:, :1]))


def test_the_attention_pattern_cannot_be_replaced(tiny_model: Folder) -> None:
    model = loaded(tiny_model("llama"))
    with pytest.raises(UserError, match=r"got 'attn_pattern': the model has already used .* Replace 'z'"):
        logits(model, ("attn_pattern.1", lambda value: value))


def test_the_attention_pattern_needs_eager_attention(tiny_model: Folder) -> None:
    model = load_model(str(tiny_model("llama")), attention="sdpa")
    with pytest.raises(UserError, match="Load the model with attention='eager'"):
        logits(model, ("attn_pattern.1", lambda value: None))


def test_gradients_flow_through_every_replacement(tiny_model: Folder) -> None:
    model = loaded(tiny_model("gpt2"))
    for kind in WRITABLE:
        shift = torch.zeros((), requires_grad=True)
        site = kind if kind == "embed" else f"{kind}.1"
        handle = model.anatomy.point(site).attach(
            model.module, lambda value, shift=shift: value * (1 + shift)
        )
        try:
            model.module(tokens(model)).logits.square().sum().backward()
        finally:
            handle.remove()
        assert shift.grad is not None, kind
        assert shift.grad.abs() > 0, kind


def test_what_was_read_stays_when_the_site_is_replaced_later(tiny_model: Folder) -> None:
    model = loaded(tiny_model("llama"))
    for kind in WRITABLE:
        site = kind if kind == "embed" else f"{kind}.1"
        kept: list[Tensor] = []
        plain: list[Tensor] = []
        logits(model, (site, lambda value, kept=kept: kept.append(value)), (site, torch.zeros_like))
        logits(model, (site, lambda value, plain=plain: plain.append(value.clone())))
        assert torch.equal(kept[0], plain[0]), kind
