from typing import Any

import numpy as np
import pytest
import torch
from tests.capture.conftest import hooked
from tests.tiny import EVERY
from torch.testing import assert_close

from microtome.base.errors import UserError
from microtome.capture import Add, capture, intervene

families = pytest.mark.parametrize("family", EVERY)


def hidden_states(model, inputs):
    """The oracle: Hugging Face's own hidden states of one batch, and its mask."""
    batch = model.tokenizer(inputs, return_tensors="pt", padding=True)
    mask = batch.attention_mask
    with torch.no_grad():
        out = model.module(
            input_ids=batch.input_ids, attention_mask=mask, output_hidden_states=True, use_cache=False
        )
    return out.hidden_states, mask


@families
def test_values_are_those_of_hidden_states_bit_for_bit(loaded, family, texts):
    model = loaded(family)
    ordered = sorted(texts, key=lambda text: -len(model.tokenizer(text).input_ids))
    states, mask = hidden_states(model, ordered)
    got = capture(model, ordered, ["resid_pre.0", "resid_post.0", "resid_post.1"], positions="all")
    for row, length in enumerate(mask.sum(1).tolist()):
        for site, index in (("resid_pre.0", 0), ("resid_post.0", 1), ("resid_post.1", 2)):
            assert torch.equal(got.split(site)[row], states[index][row, :length])
            assert got[site].dtype == torch.float32


@families
def test_every_site_agrees_with_one_input_at_a_time(loaded, family, texts):
    model = loaded(family, attention="eager")
    sites = [str(site) for site in model.anatomy.sites()]
    together = capture(model, texts, sites, positions="all")
    assert list(together) == sites
    for i, text in enumerate(texts):
        alone = capture(model, [text], sites, positions="all")
        for site in sites:
            expected = alone[site][0]
            got = together.split(site)[i]
            if site.startswith("attn_pattern"):
                assert not got[..., expected.shape[-1] :].any()
                got = got[..., : expected.shape[-1]]
            assert_close(got, expected, atol=2e-5, rtol=1e-4)


PROMPTS = [
    f"what do you mean by the sum of 3 and 4 ? {end}" for end in ("say", "the word for two", "a line of 3")
]


@families
@pytest.mark.parametrize("positions", ["last", -2, np.array([-1, -2, 20]), [[-1, 16], [-1], [-2, -1]]])
def test_a_shared_prefix_changes_values_by_rounding_alone(loaded, family, positions):
    model = loaded(family, attention="eager")
    sites = [str(site) for site in model.anatomy.sites() if site.layer != 2]
    plain = capture(model, PROMPTS, sites, positions=positions)
    shared = capture(model, PROMPTS, sites, positions=positions, share_prefix=True)
    for site in sites:
        alone = capture(model, PROMPTS, site, positions=positions, share_prefix=True)
        assert_close(shared.flat[site], plain.flat[site], atol=2e-5, rtol=1e-4)
        assert_close(alone.flat[site], plain.flat[site], atol=2e-5, rtol=1e-4)


def fed_tokens(model, **options) -> int:
    """Return how many tokens the embedding sees during a capture."""
    count = 0

    def see(_, args, __):
        nonlocal count
        count += args[0].numel()

    handle = model.module.get_submodule(model.anatomy.embedding).register_forward_hook(see)
    try:
        capture(model, PROMPTS, "resid_post.0", share_prefix=True, **options)
    finally:
        handle.remove()
    return count


def test_a_shared_prefix_is_fed_once_unless_something_in_it_is_wanted(loaded):
    model = loaded("llama")
    whole = sum(len(model.tokenizer(prompt).input_ids) for prompt in PROMPTS)
    assert fed_tokens(model) < whole / 1.5
    assert fed_tokens(model, positions="all") >= whole
    assert fed_tokens(model, positions=0) >= whole


def test_interventions_get_whole_passes(loaded):
    model = loaded("llama")
    with intervene(model, [Add("resid_post.0", torch.ones(model.anatomy.d_model), position=1)]):
        plain = capture(model, PROMPTS, "resid_post.2")
        shared = capture(model, PROMPTS, "resid_post.2", share_prefix=True)
    assert torch.equal(shared["resid_post.2"], plain["resid_post.2"])


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_shapes_of_sites(loaded, family):
    model = loaded(family, attention="eager")
    got = capture(model, torch.ones(2, 5, dtype=torch.long), model.anatomy.sites(), positions="all")
    for site in got:
        batch, positions, *rest = model.anatomy.shape(site, 2, 5)
        expected = (2, 5, 4, 5) if site.startswith("attn_pattern") else (batch, positions, *rest)
        assert got[site].shape == expected
        if site.startswith("attn_pattern"):
            assert_close(got[site].sum(-1), torch.ones(2, 5, 4))


@pytest.mark.parametrize("family", ["gpt2", "gemma3"])
@pytest.mark.parametrize("limits", [{}, {"batch_size": 1}, {"batch_size": 2}, {"max_tokens": 20}])
def test_order_is_restored_whatever_the_batches(loaded, family, texts, limits):
    model = loaded(family)
    got = capture(model, texts, "resid_post.1", **limits)["resid_post.1"]
    for i, text in enumerate(texts):
        ids = model.tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            state = model.module(input_ids=ids, output_hidden_states=True).hidden_states[2]
        assert_close(got[i], state[0, -1], atol=1e-5, rtol=1e-4)


POSITIONS = {
    "last": ("last", [[-1]] * 3),
    "first": (0, [[0]] * 3),
    "from the end": (-2, [[-2]] * 3),
    "one for each input": ([2, 0, -1], [[2], [0], [-1]]),
    "numpy": (np.array([2, 0, -1]), [[2], [0], [-1]]),
    "tensor": (torch.tensor([2, 0, -1]), [[2], [0], [-1]]),
    "two for each": ([[0, 1], [1, 0], [-1, -2]], [[0, 1], [1, 0], [-1, -2]]),
    "ragged": ([[0], [0, 1], [2, 2, 0]], [[0], [0, 1], [2, 2, 0]]),
    "none of one": ([[], [0, 1], [1]], [[], [0, 1], [1]]),
}


@pytest.mark.parametrize("name", POSITIONS)
def test_positions(loaded, name):
    model, (positions, expected) = loaded("llama"), POSITIONS[name]
    inputs = [[5, 6, 7], [8, 9], [10, 11, 12, 13]]
    everything = capture(model, inputs, "mlp_out.1", positions="all").split("mlp_out.1")
    got = capture(model, inputs, "mlp_out.1", positions=positions)
    for i, wanted in enumerate(expected):
        assert torch.equal(got.split("mlp_out.1")[i], everything[i][wanted])
    one_each = all(len(wanted) == 1 for wanted in expected)
    assert got["mlp_out.1"].shape[:-1] == ((3,) if one_each else (3, max(map(len, expected))))


def test_past_the_end_is_nan(loaded):
    got = capture(loaded("llama"), [[5, 6, 7], [8, 9]], "embed", positions="all")
    assert got["embed"].isnan().nonzero()[:, :2].unique(dim=0).tolist() == [[1, 2]]


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_mean_is_over_real_positions_only(loaded, family, texts):
    model = loaded(family)
    sites = ["resid_post.0", "z.1"]
    everything = capture(model, texts, sites, positions="all")
    limits: dict[str, Any]
    for limits in ({}, {"batch_size": 2}):
        means = capture(model, texts, sites, positions="all", reduce="mean", **limits)
        for site in sites:
            expected = torch.stack([values.double().mean(0) for values in everything.split(site)])
            assert_close(means[site], expected.float(), atol=1e-5, rtol=1e-4)


class Moments:
    def __init__(self):
        self.n, self.sum, self.squares = 0, 0.0, 0.0

    def update(self, values):
        self.n += len(values)
        self.sum = self.sum + values.double().sum(0)
        self.squares = self.squares + values.double().square().sum(0)


def test_accumulators_see_every_chosen_value_once(loaded, texts):
    model, sites = loaded("gpt_neox"), ["mlp_post.0", "resid_post.1"]
    moments = {site: Moments() for site in sites}
    got = capture(model, texts, sites, positions="all", reduce=moments, batch_size=2)
    everything = capture(model, texts, sites, positions="all")
    for site in sites:
        assert moments[site].n == sum(got.lengths)
        expected = everything.flat[site].double()
        assert_close(moments[site].sum, expected.sum(0), atol=1e-4, rtol=1e-4)
        assert_close(moments[site].squares, expected.square().sum(0), atol=1e-3, rtol=1e-4)
    with pytest.raises(KeyError, match="went into the accumulator"):
        got["mlp_post.0"]


def test_the_pass_stops_after_the_last_site_and_skips_the_head(loaded, texts):
    model = loaded("llama")
    calls = []
    handles = [
        model.module.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: calls.append(name))
        for name in ("model.layers.1", "model.layers.2", "lm_head")
    ]
    try:
        capture(model, texts, ["resid_post.0", "resid_mid.1"])
        assert calls == ["model.layers.1"]
        calls.clear()
        capture(model, texts, "resid_post.2")
        assert calls == ["model.layers.1", "model.layers.2"]
    finally:
        for handle in handles:
            handle.remove()


def test_nothing_but_the_slice_is_kept(loaded):
    values = capture(loaded("llama"), torch.ones(2, 60, dtype=torch.long), "resid_post.1").flat[
        "resid_post.1"
    ]
    assert values.untyped_storage().nbytes() == values.numel() * 4
    assert not values.requires_grad


def test_hooks_are_removed_after_an_error(loaded, texts):
    class Broken:
        def update(self, values):
            raise ValueError("full")

    model = loaded("qwen2")
    with pytest.raises(ValueError, match="full"):
        capture(model, texts, "resid_post.1", reduce={"resid_post.1": Broken()})
    assert hooked(model) == []


def test_progress_counts_inputs(loaded, texts):
    done = []
    capture(loaded("gpt2"), texts, "embed", batch_size=2, advance=done.append)
    assert done == [2, 2, 1]


def test_what_was_captured_shows_itself(loaded):
    got = capture(loaded("gpt2"), [[5, 6, 7], [8, 9]], ["resid_post.1", "z.0"], positions="all")
    assert repr(got) == (
        "Captured: 2 inputs of 2 to 3 tokens\n"
        "  resid_post.1  [2, 3, 32] float32 (NaN past the end)\n"
        "  z.0  [2, 3, 4, 8] float32 (NaN past the end)"
    )
    with pytest.raises(KeyError, match=r"'resid_post.2' was not captured. Did you mean 'resid_post.1'\?"):
        got["resid_post.2"]


MISTAKES = {
    "no input": ([], "embed", {}, "Expected at least one input, got none."),
    "one text": ("home", "embed", {}, "Expected a list of texts, got one text. Write [text]."),
    "an empty input": ([[5], []], "embed", {}, "Expected at least one token in every input, got none in"),
    "both kinds": (["home", [5]], "embed", {}, "Expected texts or token sequences, got both."),
    "floats": (torch.ones(1, 3), "embed", {}, "Expected tokens as integers [N, T], got torch.float32"),
    "a foreign token": ([[5, 99999]], "embed", {}, "got 5 to 99999 in input 0. Were they made by another"),
    "too long": ([[5] * 129], "embed", {}, "Expected at most 128 tokens, the model's context, got 129"),
    "no site": ([[5]], [], {}, "Expected at least one site, got none."),
    "an unknown site": ([[5]], "resid_pots.1", {}, "Did you mean 'resid_post'?"),
    "a far layer": ([[5]], "resid_post.3", {}, "Expected a layer from 0 to 2 in 'resid_post.3', got 3"),
    "patterns": ([[5]], "attn_pattern.0", {}, 'Load it with load_model(..., attention="eager").'),
    "outside": ([[5, 6], [5]], "embed", {"positions": 1}, "Expected a position from -1 to 0 in input 1, got"),
    "too few": ([[5], [6]], "embed", {"positions": [0]}, "Expected positions for each of the 2 inputs, got"),
    "a word": ([[5]], "embed", {"positions": "frist"}, "Expected positions 'last', 'all' or whole numbers"),
    "no room": ([[5]], "embed", {"batch_size": 0}, "Expected batch_size of at least 1, got 0."),
    "a reduction": ([[5]], "embed", {"reduce": "sum"}, "Expected reduce 'mean', accumulators by site or"),
    "no accumulator": ([[5]], "embed", {"reduce": {}}, "Expected an accumulator for each of embed, got"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(loaded, name):
    inputs, sites, options, message = MISTAKES[name]
    with pytest.raises(UserError) as error:
        capture(loaded("llama"), inputs, sites, **options)
    assert message in str(error.value)
    assert hooked(loaded("llama")) == []
