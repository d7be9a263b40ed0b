import math
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from tests.capture.conftest import hooked
from torch.testing import assert_close

from microtome.base.errors import UserError
from microtome.capture import (
    Add,
    Effects,
    NeuronEdit,
    Patch,
    capture,
    edit_effects,
    intervene,
    nats_per_token,
)

families = pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "gemma2", "gemma3"])
INPUTS = [
    list(range(40, 60)),
    [7, 8, 9],
    [9, 30, 31, 90, 60, 61, 62, 63, 8, 9, 10],
]  # longer than the window of 8
SCORED = [[3, 17], [1], [9, 2, 5]]
EDITS = [
    NeuronEdit(2, (5,), (2.0,)),
    NeuronEdit(0, (47,), (0.0,), (3, 0), (1.5, -0.5)),
    NeuronEdit(1, (4, 9), (1.0, -2.0)),
    NeuronEdit(0, (4, 9), (0.1, -2.0), (9, 11, 12), ((0.5, 1.0, 2.0), (-1.0, 0.0, 3.0))),
    NeuronEdit(1, (0,), (1.5,), (0, 2), (0.5, -1.0)),
]


def logs(model, tokens, interventions=()):
    with torch.no_grad(), intervene(model, interventions):
        return model.module(torch.tensor([tokens]), use_cache=False).logits[0].double().log_softmax(-1)


def oracle(model, tokens, scored, edit):
    """One whole pass under a patch of the whole site, and all logits."""
    site = f"mlp_post.{edit.layer}"
    own = capture(model, [tokens], site, positions="all")[site][0].double()
    value = own.clone()
    value[:, list(edit.neurons)] = torch.tensor(edit.offsets).double()
    matrix = edit.coefficients if len(edit.neurons) > 1 else (edit.coefficients,)
    for n, offset, row in zip(edit.neurons, edit.offsets, matrix, strict=False):
        for k, coefficient in zip(edit.targets, row, strict=True):
            value[:, k] += coefficient * (own[:, n] - offset)
    before, after = logs(model, tokens), logs(model, tokens, [Patch(site, value.float()[None])])
    losses = [-sum(float(table[p, tokens[p + 1]]) for p in scored) / len(scored) for table in (before, after)]
    kl = (before.exp() * (before - after)).sum(-1)[scored].mean()
    return losses[1] - losses[0], float(kl), losses[0]


@families
@pytest.mark.parametrize("scored", [None, SCORED], ids=["all", "some"])
def test_effects_are_those_of_whole_passes(loaded, family, scored):
    model = loaded(family)
    places = scored or [list(range(len(tokens) - 1)) for tokens in INPUTS]
    expected = torch.tensor(
        [
            [oracle(model, tokens, at, edit) for tokens, at in zip(INPUTS, places, strict=True)]
            for edit in EDITS
        ],
        dtype=torch.float64,
    )
    assert expected[..., 1].amax(1).min() > 1e-3  # no edit is without effect
    for max_tokens in (4096, 45, 1):
        got = edit_effects(model, INPUTS, EDITS, scored=scored, max_tokens=max_tokens)
        assert_close(got.nats, expected[..., 0], atol=1e-5, rtol=1e-5)
        assert_close(got.kl, expected[..., 1], atol=1e-5, rtol=1e-5)
        assert_close(got.base, expected[0, :, 2], atol=1e-5, rtol=1e-5)


def test_the_head_is_applied_in_pieces(loaded, monkeypatch):
    model = loaded("gemma3")
    whole = edit_effects(model, INPUTS, EDITS)
    for places in (1, 5, 40):
        monkeypatch.setattr("microtome.capture.neurons.HEAD_NUMBERS", places * model.anatomy.vocabulary)
        pieces = edit_effects(model, INPUTS, EDITS)
        for name in ("nats", "kl", "base"):
            assert_close(getattr(pieces, name), getattr(whole, name), atol=1e-6, rtol=1e-6)


@families
def test_the_base_is_the_cross_entropy(loaded, family, texts):
    texts = [text for text in texts if len(loaded(family).tokenizer(text).input_ids) > 1]
    got = edit_effects(loaded(family), texts, EDITS[:1])
    assert_close(got.base.float(), nats_per_token(loaded(family), texts), atol=1e-5, rtol=1e-5)


@families
def test_an_edit_that_changes_nothing_scores_zero_exactly(loaded, family):
    model = loaded(family)
    edits = [
        NeuronEdit(1, (6,), (0.7,), (6,), (1.0,)),
        NeuronEdit(0, (6, 8), (0.1, -0.3), (8, 6, 1), ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0))),
        EDITS[0],
        NeuronEdit(2, (6,), (1e-3,), (6, 0), (1.0, 0.0)),
    ]
    got = edit_effects(model, INPUTS, edits)
    for e in (0, 1, 3):
        assert not got.nats[e].any()
        assert not got.kl[e].any()
    assert got.kl[2].min() > 0


@contextmanager
def changed(*weights):
    """Weights are as they were after the block."""
    kept = [weight.detach().clone() for weight in weights]
    try:
        with torch.no_grad():
            yield
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_constant_neuron_set_to_its_constant_scores_zero_exactly(loaded, family):
    model = loaded(family)
    weights = model.mlp_weights(1).in_
    with changed(*weights):
        for weight in weights:
            weight[3] = 0
        constant = float(capture(model, INPUTS[1:2], "mlp_post.1")["mlp_post.1"][0, 3])
        edits = [NeuronEdit(1, (3,), (constant,), (4,), (9.0,)), NeuronEdit(1, (3,), (constant + 1,))]
        got = edit_effects(model, INPUTS, edits)
    assert not got.nats[0].any()
    assert not got.kl[0].any()
    assert got.kl[1].min() > 0


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "gemma3"])
def test_a_neuron_is_replaced_by_those_that_write_the_same(loaded, family):
    """Output columns: 1 is -2 times 0, and 4 is 2 and 3 combined."""
    model = loaded(family)
    out = model.mlp_weights(1).out  # a view [d_model, d_mlp] of the parameter
    edits = [
        NeuronEdit(1, (0,), (0.4,), (1,), (-0.5,)),
        NeuronEdit(1, (4,), (0.4,), (2, 3), (0.5, -3.0)),
        NeuronEdit(1, (0, 4), (0.4, -1.0), (1, 2, 3), ((-0.5, 0.0, 0.0), (0.0, 0.5, -3.0))),
    ]
    wrong = [replace(edits[0], coefficients=(0.5,)), NeuronEdit(1, (0,), (0.4,))]
    with changed(out):
        out[:, 1] = -2 * out[:, 0]
        out[:, 4] = 0.5 * out[:, 2] - 3 * out[:, 3]
        got = edit_effects(model, INPUTS, edits + wrong)
    # The removed part is handed over whole, so that not even the mean of the layer's output moves.
    assert float(got.nats[:3].abs().max()) < 1e-5
    assert float(got.kl[:3].max()) < 1e-8
    assert float(got.kl[3:].min()) > 1e-4


def test_progress_adds_up_to_the_inputs(loaded):
    steps: list[float] = []
    edit_effects(loaded("llama"), INPUTS, EDITS, max_tokens=60, advance=steps.append)
    assert len(steps) > len(INPUTS)
    assert math.isclose(sum(steps), len(INPUTS))


def test_effects_have_an_entry_for_each_edit_and_input(loaded):
    got = edit_effects(loaded("gpt2"), torch.arange(5, 21).reshape(2, 8), EDITS)
    assert isinstance(got, Effects)
    assert got.nats.shape == got.kl.shape == (len(EDITS), 2)
    assert got.base.shape == (2,)
    assert {got.nats.dtype, got.kl.dtype, got.base.dtype} == {torch.float64}


MISTAKES = {
    "a far layer": (NeuronEdit(3, (0,), (0.0,)), "Expected a layer from 0 to 2 in 'mlp_post.3', got 3"),
    "a negative layer": (NeuronEdit(-1, (0,), (0.0,)), "Expected a layer counted from 0, got -1"),
    "a far neuron": (NeuronEdit(0, (48,), (0.0,)), "Expected different neurons from 0 to 47, got [48]."),
    "a negative neuron": (NeuronEdit(0, (-1,), (0.0,)), "Expected different neurons from 0 to 47, got [-1]."),
    "a neuron twice": (NeuronEdit(0, (1, 1), (0.0, 0.0)), "Expected different neurons from 0 to 47"),
    "a far target": (
        NeuronEdit(0, (1,), (0.0,), (50,), (1.0,)),
        "Expected different targets from 0 to 47, got [50].",
    ),
    "a target twice": (NeuronEdit(0, (1,), (0.0,), (5, 5), (1.0, 1.0)), "Expected different targets"),
    "no neuron": (
        NeuronEdit(0, (), ()),
        "Expected at least one neuron and an offset for each, got 0 neurons",
    ),
    "an offset too few": (NeuronEdit(0, (1, 2), (0.0,)), "got 2 neurons and 1 offsets."),
    "a coefficient too few": (
        NeuronEdit(0, (1,), (0.0,), (5, 6), (1.0,)),
        "Expected coefficients [neurons][targets] of shape [1, 2], got rows of lengths [1].",
    ),
    "no coefficients": (NeuronEdit(0, (1,), (0.0,), (5,)), "of shape [1, 1], got rows of lengths [0]."),
    "no targets": (NeuronEdit(0, (1,), (0.0,), (), (2.0,)), "of shape [1, 0], got rows of lengths [1]."),
    "one row for two": (
        NeuronEdit(0, (1, 2), (0.0, 0.0), (5,), (1.0,)),
        "of shape [2, 1], got rows of lengths [1].",
    ),
    "ragged rows": (
        NeuronEdit(0, (1, 2), (0.0, 0.0), (5,), ((1.0,), ())),
        "of shape [2, 1], got rows of lengths [1, 0].",
    ),
    "an infinite offset": (
        NeuronEdit(0, (1,), (math.inf,)),
        "Expected finite offsets and coefficients, got [inf]",
    ),
    "an undefined coefficient": (
        NeuronEdit(0, (1,), (0.0,), (2,), (math.nan,)),
        "Expected finite offsets and coefficients, got [0.0] and [[nan]].",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_edits_that_do_not_fit_are_explained(loaded, name):
    edit, message = MISTAKES[name]
    with pytest.raises(UserError) as error:
        edit_effects(loaded("llama"), INPUTS, [EDITS[0], edit])
    assert message in str(error.value)
    assert hooked(loaded("llama")) == []


@pytest.mark.parametrize("places", [[], [-1], [2], [0, 5]])
def test_scored_positions_have_a_next_token(loaded, places):
    with pytest.raises(UserError, match=r"with a next token in input 1 of 3 tokens \(0 to 1\), got \["):
        edit_effects(loaded("llama"), INPUTS, EDITS, scored=[[0], places, [0]])


def test_more_mistakes_are_explained(loaded):
    model = loaded("llama")
    with pytest.raises(UserError, match="scored positions for each of the 3 inputs, got 2"):
        edit_effects(model, INPUTS, EDITS, scored=[[0], [0]])
    with pytest.raises(UserError, match="with a next token in input 1 of 1 tokens"):
        edit_effects(model, [[5, 6], [7]], EDITS)
    with pytest.raises(UserError, match="at least one edit, got none"):
        edit_effects(model, INPUTS, [])
    with (
        pytest.raises(UserError, match="Expected no interventions in force"),
        intervene(model, [Add("embed", torch.zeros(32))]),
    ):
        edit_effects(model, INPUTS, EDITS)
