from typing import Any, cast

import numpy as np
import pytest
import torch
from tests.capture.conftest import hooked
from tests.tiny import EVERY
from torch.testing import assert_close

from microtome.base.errors import UserError
from microtome.capture import Ablate, Add, Patch, capture, intervene

families = pytest.mark.parametrize("family", EVERY)
TOKENS = torch.arange(5, 29).reshape(3, 8)


def logits(model, tokens=TOKENS, mask=None):
    with torch.no_grad():
        return model.module(input_ids=tokens, attention_mask=mask, use_cache=False).logits


def random(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def writable(model):
    return [str(site) for site in model.anatomy.sites() if site.kind != "attn_pattern"]


@families
def test_a_zero_vector_changes_nothing_exactly(loaded, family):
    model = loaded(family)
    before = logits(model)
    for site in writable(model):
        zero = torch.zeros(model.anatomy.shape(site, 1, 1)[2:])
        for position in ("all", [[0, 1], [], [5, -1]]):
            with intervene(model, [Add(site, zero, position)]):
                assert torch.equal(logits(model), before), site


@families
def test_own_activations_change_nothing_exactly(loaded, family):
    model = loaded(family)
    before = logits(model)
    own = capture(model, TOKENS, writable(model), positions="all")
    for site in own:
        for intervention in (Patch(site, own[site]), Ablate(site, own[site])):
            with intervene(model, [intervention]):
                assert torch.equal(logits(model), before), site
    with intervene(model, [Patch(site, own[site][:, 2], 2) for site in own]):
        assert torch.equal(logits(model), before)


@families
def test_every_site_has_an_effect_from_its_position_on(loaded, family):
    model = loaded(family)
    before = logits(model)
    for site in writable(model):
        with intervene(model, [Add(site, random(model.anatomy.shape(site, 1, 1)[2:]), 4)]):
            after = logits(model)
        assert torch.equal(after[:, :4], before[:, :4]), site
        assert not torch.allclose(after[:, 4:], before[:, 4:], atol=1e-3), site


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "gemma3"])
def test_a_patched_layer_is_that_layer_of_the_other_run(loaded, family):
    """Oracle: replacing the whole residual stream makes the rest of the run the other input's run."""
    model = loaded(family)
    other = TOKENS + 30
    site = "resid_post.1"
    with intervene(model, [Patch(site, capture(model, other, site, positions="all")[site])]):
        assert torch.equal(logits(model), logits(model, other))


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_capture_sees_what_the_model_goes_on_with(loaded, family, texts):
    model = loaded(family)
    sites = ["resid_pre.1", "resid_mid.1", "resid_post.1"]
    vectors = torch.randn(len(texts), model.anatomy.d_model, generator=torch.Generator().manual_seed(1))
    plain = capture(model, texts, sites)
    limits: dict[str, Any]
    for limits in ({}, {"batch_size": 2}):
        with intervene(model, [Add("resid_post.0", vectors, "last", scale=2.0)]):
            steered = capture(model, texts, sites, **limits)
        assert_close(steered["resid_pre.1"], plain["resid_pre.1"] + 2 * vectors, atol=1e-5, rtol=1e-4)
        with intervene(model, [Patch("resid_post.1", vectors, "last")]):
            assert torch.equal(capture(model, texts, sites, **limits)["resid_post.1"], vectors)


def test_positions_are_of_each_row_and_padding_is_not_touched(loaded, texts):
    model, site = loaded("llama"), "mlp_post.1"
    zero = torch.zeros(model.anatomy.d_mlp)
    positions = [[0], [], [1, -1], [0], [3]]
    before = capture(model, texts, site, positions="all").split(site)
    with intervene(model, [Patch(site, zero, positions)]):
        after = capture(model, texts, site, positions="all", batch_size=3).split(site)
    for old, new, wanted in zip(before, after, positions, strict=True):
        expected = old.clone()
        expected[wanted] = 0
        assert_close(new, expected, atol=1e-5, rtol=1e-4)


def test_last_of_the_callers_own_pass_comes_from_its_mask(loaded, texts):
    model = loaded("qwen3")
    batch = model.tokenizer(texts, return_tensors="pt", padding=True)
    seen = []
    handle = model.anatomy.point("resid_post.0").attach(
        model.module, lambda values: seen.append(values.clone())
    )
    try:
        for interventions in ([], [Add("attn_out.0", torch.ones(32), "last")]):
            with intervene(model, interventions):
                logits(model, batch.input_ids, batch.attention_mask)
    finally:
        handle.remove()
    changed = (seen[0] != seen[1]).any(-1)
    ends = batch.attention_mask.sum(1) - 1
    assert changed.nonzero().tolist() == [[row, end] for row, end in enumerate(ends.tolist())]


def test_means_and_resampling(loaded, texts):
    model, site = loaded("gpt_neox"), "z.1"
    reference = capture(model, TOKENS, site, positions="all").flat[site]
    with intervene(model, [Ablate(site, "mean", "last", reference)]):
        got = capture(model, texts, site)[site]
    assert_close(got, reference.mean(0).expand_as(got))

    def resampled(**limits: Any):
        interventions = [Ablate(site, "resample", "all", reference, np.random.default_rng(5))]
        with intervene(model, interventions):
            return capture(model, texts, site, positions="all", **limits).flat[site]

    drawn = resampled()
    which = (drawn[:, None] == reference).flatten(2).all(-1)
    assert which.any(1).all()
    assert len(which.int().argmax(1).unique()) > 10
    assert torch.equal(drawn, resampled(batch_size=1))


def test_interventions_act_in_order_and_nest(loaded):
    model, site = loaded("llama"), "resid_post.0"
    ones = torch.ones(32)
    with intervene(model, [Patch(site, ones), Add(site, ones)]), intervene(model, [Add(site, ones)]):
        assert_close(capture(model, TOKENS, site)[site], torch.full((3, 32), 3.0))


def test_hooks_are_removed_after_an_error(loaded):
    model = loaded("mistral")
    before = logits(model)

    def fail():
        with intervene(model, [Add("resid_post.1", torch.ones(32))]):
            assert hooked(model)
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        fail()
    assert hooked(model) == []
    assert torch.equal(logits(model), before)


D = torch.ones(32)
MISTAKES = {
    "an unknown site": (lambda: Add("resid_past.1", D), "Did you mean 'resid_post'?"),
    "a far layer": (lambda: Add("resid_post.9", D), "Expected a layer from 0 to 2 in 'resid_post.9', got 9"),
    "a narrow vector": (
        lambda: Add("resid_post.1", D[:31]),
        "[32], [N, 32] or [N, P, 32] at 'resid_post.1', got [31]",
    ),
    "a flat head": (
        lambda: Patch("z.1", D),
        "Expected a value of shape [4, 8], [N, 4, 8] or [N, P, 4, 8] at 'z.1'",
    ),
    "a pattern": (lambda: Patch("attn_pattern.1", D), "Replace 'z' of the same layer instead."),
    "a position": (
        lambda: Add("embed", D, 8),
        "Expected a position from -8 to 7 in input 0, got 8: the input has 8 tokens",
    ),
    "too few positions": (
        lambda: Add("embed", D, [1, 2]),
        "Expected positions for each of the 3 inputs, got 2 entries.",
    ),
    "too few rows": (
        lambda: Add("embed", torch.ones(2, 32)),
        "Expected values for at least 3 inputs, got 2.",
    ),
    "too few slots": (
        lambda: Add("embed", torch.ones(3, 2, 32)),
        "Expected values for at least 8 positions, got 2.",
    ),
    "no reference": (
        lambda: Ablate("embed"),
        "Expected a reference for ablation by 'mean' at 'embed', got none.",
    ),
    "no generator": (
        lambda: Ablate("embed", "resample", reference=D[None]),
        "Expected a numpy random Generator",
    ),
    "an unknown way": (
        lambda: Ablate("embed", cast(Any, "zero")),
        "Expected ablation by 'mean', 'resample' or a tensor, got 'zero'.",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(loaded, name):
    model, (make, message) = loaded("llama"), MISTAKES[name]
    with pytest.raises(UserError) as error, intervene(model, [make()]):
        logits(model)
    assert message in str(error.value)
    assert hooked(model) == []


def test_left_padding_is_refused(loaded):
    model = loaded("llama")
    mask = torch.ones_like(TOKENS)
    mask[0, 0] = 0
    with pytest.raises(UserError, match="padded on the right"), intervene(model, [Add("embed", D)]):
        logits(model, TOKENS, mask)
