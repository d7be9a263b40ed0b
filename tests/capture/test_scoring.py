import math
from typing import Any

import pytest
import torch
from tests.capture.conftest import hooked
from tests.tiny import EVERY
from torch.testing import assert_close

from microtome.base.errors import UserError
from microtome.capture import (
    Ablate,
    Add,
    Patch,
    capture,
    intervene,
    logprobs,
    nats_per_token,
    steered_logprobs,
)
from microtome.capture.continuations import segments
from microtome.capture.prefix import common_prefix

families = pytest.mark.parametrize("family", EVERY)
PROMPT = list(range(40, 60))  # longer than the sliding window of 8
CONTINUATIONS = [[5], [6], [7, 8], [7, 9, 10], [7, 9, 11, 12], [5, 5]]


def oracle(model, prompt, continuation, site=None, vector=None):
    """One whole pass without a cache, with a hook that adds the vector at the prompt's last token."""

    def add(values):
        values = values.clone()
        values[:, len(prompt) - 1] += vector
        return values

    handle = None if site is None else model.anatomy.point(site).attach(model.module, add)
    try:
        with torch.no_grad():
            logits = model.module(input_ids=torch.tensor([[*prompt, *continuation]]), use_cache=False).logits[
                0
            ]
    finally:
        if handle is not None:
            handle.remove()
    logs = logits.double().log_softmax(-1)
    return sum(float(logs[len(prompt) - 1 + j, token]) for j, token in enumerate(continuation))


@families
@pytest.mark.parametrize("site", ["resid_post", "resid_pre"])
@pytest.mark.parametrize("prompt", [PROMPT, PROMPT[:1], PROMPT[:5]], ids=["long", "one token", "short"])
def test_steered_scores_are_those_of_whole_passes(loaded, family, site, prompt):
    model = loaded(family)
    layers = [2, 0, 1, 1, 0]
    vectors = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    vectors[3] = 0
    expected = torch.tensor(
        [
            [oracle(model, prompt, tokens, f"{site}.{layer}", vector) for tokens in CONTINUATIONS]
            for layer, vector in zip(layers, vectors, strict=True)
        ]
    )
    got = steered_logprobs(model, prompt, CONTINUATIONS, layers, vectors, site=site)
    assert got.dtype == torch.float32
    assert_close(got, expected, atol=2e-4, rtol=2e-5, check_dtype=False)
    small = steered_logprobs(model, prompt, CONTINUATIONS, layers, vectors, site=site, max_tokens=8)
    assert_close(small, expected, atol=2e-4, rtol=2e-5, check_dtype=False)


@families
def test_eager_attention_scores_alike(loaded, family):
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(3))
    scores = [
        steered_logprobs(loaded(family, attention=attention), PROMPT, CONTINUATIONS, [0, 1], vectors)
        for attention in ("sdpa", "eager")
    ]
    assert_close(*scores, atol=2e-4, rtol=2e-5)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "gemma3"])
def test_zero_vectors_score_exactly_as_the_unsteered_row(loaded, family):
    model = loaded(family)
    vectors = torch.randn(6, 32, generator=torch.Generator().manual_seed(1))
    vectors[[0, 2, 5]] = 0
    got = steered_logprobs(model, PROMPT, CONTINUATIONS, [0, 0, 1, 1, 2, 2], vectors)
    assert torch.equal(got[0], got[2])
    assert torch.equal(got[0], got[5])
    assert not torch.isclose(got[1], got[0], atol=1e-3).any()
    unsteered = torch.tensor([oracle(model, PROMPT, tokens) for tokens in CONTINUATIONS])
    assert_close(got[0], unsteered, atol=2e-4, rtol=2e-5, check_dtype=False)
    alone = steered_logprobs(model, PROMPT, CONTINUATIONS, 1, torch.zeros(3, 32))
    assert torch.equal(alone[0], alone[2])


@families
def test_plain_scores_are_those_of_whole_passes(loaded, family):
    model = loaded(family)
    prompts = [PROMPT, [*PROMPT[:12], 3, 4], PROMPT[:11], [*PROMPT[:12], 9]]
    expected = torch.tensor(
        [[oracle(model, prompt, tokens) for tokens in CONTINUATIONS] for prompt in prompts]
    )
    limits: dict[str, Any]
    for limits in ({}, {"max_tokens": 30}):
        got = logprobs(model, prompts, CONTINUATIONS, **limits)
        assert_close(got, expected, atol=2e-4, rtol=2e-5, check_dtype=False)
    apart = logprobs(model, [prompts[1], [30, 31]], [[[5], [6, 7]], [[8, 9, 9], [4]]])
    assert_close(apart[1, 0].item(), oracle(model, [30, 31], [8, 9, 9]), atol=2e-4, rtol=2e-5)
    assert_close(apart[0, 1].item(), oracle(model, prompts[1], [6, 7]), atol=2e-4, rtol=2e-5)


@pytest.mark.parametrize("family", ["gpt2", "gemma3"])
def test_probabilities_of_all_next_tokens_add_up_to_one(loaded, family):
    model = loaded(family)
    everything = [[token] for token in range(model.anatomy.vocabulary)]
    total = logprobs(model, [PROMPT, PROMPT[:3]], everything).double().logsumexp(1)
    assert_close(total, torch.zeros(2, dtype=torch.double), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "qwen2", "gemma3"])
def test_plain_scores_under_interventions(loaded, family):
    """Both ways to steer agree; ``last`` and -1 mean the end of the prompt."""
    model = loaded(family)
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(2))
    prompts = [PROMPT, PROMPT[:9]]
    expected = torch.cat(
        [
            steered_logprobs(model, prompt, CONTINUATIONS, 1, vector[None])
            for prompt, vector in zip(prompts, vectors, strict=True)
        ]
    )
    for position in ("last", -1, [19, 8]):
        got = logprobs(model, prompts, CONTINUATIONS, interventions=[Add("resid_post.1", vectors, position)])
        assert_close(got, expected, atol=2e-4, rtol=2e-5)
    with intervene(model, [Add("resid_post.1", vectors, "last")]):
        assert torch.equal(logprobs(model, prompts, CONTINUATIONS), got)


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_patching_a_prompt_with_its_own_activations_scores_exactly_alike(loaded, family):
    model, site = loaded(family), "mlp_out.1"
    same_shape = [Add("embed", torch.zeros(32))]
    before = logprobs(model, [PROMPT], CONTINUATIONS, interventions=same_shape)
    batch = [[*PROMPT, *CONTINUATIONS[4][:3]]] * 3
    own = capture(model, batch, site, positions=len(PROMPT) - 1)[site][0]
    for intervention in (Patch(site, own, "last"), Ablate(site, own, "last")):
        got = logprobs(model, [PROMPT], CONTINUATIONS, interventions=[intervention])
        assert_close(got, before, atol=1e-5, rtol=1e-6)
    assert torch.equal(
        logprobs(model, [PROMPT], CONTINUATIONS, interventions=[Add("z.1", torch.zeros(4, 8))]), before
    )


@families
def test_nats_per_token_is_the_cross_entropy(loaded, family, texts):
    model = loaded(family)
    texts = [text for text in texts if len(model.tokenizer(text).input_ids) > 1]
    limits: dict[str, Any]
    for limits in ({}, {"max_tokens": 20}):
        got = nats_per_token(model, texts, **limits)
        for i, text in enumerate(texts):
            ids = model.tokenizer(text, return_tensors="pt").input_ids
            with torch.no_grad():
                expected = model.module(input_ids=ids, labels=ids).loss
            assert_close(got[i], expected, atol=1e-4, rtol=1e-5)


def test_steering_everywhere_costs_nats_and_zero_costs_none(loaded):
    model = loaded("llama")
    tokens = torch.arange(5, 45).reshape(2, 20)
    plain = nats_per_token(model, tokens)
    assert torch.equal(
        nats_per_token(model, tokens, interventions=[Add("resid_post.1", torch.zeros(32))]), plain
    )
    moved = nats_per_token(model, tokens, interventions=[Add("resid_post.1", torch.ones(32))])
    assert not torch.isclose(moved, plain, atol=1e-3).any()
    uniform = nats_per_token(
        model, tokens, interventions=[Patch("resid_post.2", torch.zeros(32))]
    )  # norm(0) = 0: equal logits
    assert_close(uniform, torch.full((2,), math.log(model.anatomy.vocabulary)))


def test_segments_read_every_token_of_every_continuation_once():
    found = segments(CONTINUATIONS)
    assert sorted(segment.fed for segment in found) == [(5,), (7, 9, 11)]
    read = sorted((c, j, token) for segment in found for j, token, c in segment.reads)
    assert read == sorted((c, j, t) for c, tokens in enumerate(CONTINUATIONS) for j, t in enumerate(tokens))


@pytest.mark.parametrize(
    ("sequences", "length"), [([[1, 2], [1, 3]], 1), ([[1, 2], [1, 2, 3]], 2), ([[1], [2]], 0), ([[4, 5]], 2)]
)
def test_common_prefix(sequences, length):
    assert common_prefix(sequences) == length


V = torch.ones(2, 32)
MISTAKES = {
    "a narrow vector": (([5], [[6]], 1, V[:, :31]), "Expected vectors of shape [V, 32], got [2, 31]."),
    "too few layers": (([5], [[6]], [1], V), "Expected a layer for each of the 2 vectors, got 1."),
    "a far layer": (([5], [[6]], [0, 3], V), "Expected a layer from 0 to 2 in 'resid_post.3', got 3"),
    "no continuation": (([5], [], 1, V), "Expected at least one continuation, each of at least one token"),
    "an empty one": (
        ([5], [[6], []], 1, V),
        "Expected at least one continuation, each of at least one token",
    ),
    "a foreign token": (([5], [[-6]], 1, V), "Expected continuations of tokens from 0 to"),
    "too long": (([5] * 127, [[6] * 3], 1, V), "Expected prompt and continuation within 128 tokens"),
    "no prompt": (([], [[6]], 1, V), "Expected at least one token in every input, got none in input 0."),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(loaded, name):
    arguments, message = MISTAKES[name]
    with pytest.raises(UserError) as error:
        steered_logprobs(loaded("llama"), *arguments)
    assert message in str(error.value)
    assert hooked(loaded("llama")) == []


@pytest.mark.usefixtures("unchecked")
def test_more_mistakes_are_explained(loaded):
    model = loaded("llama")
    with pytest.raises(UserError, match="Expected steering at 'resid_pre' or 'resid_post', got 'mlp_out'"):
        steered_logprobs(model, [5], [[6]], 1, V, site="mlp_out")  # type: ignore[arg-type]
    with (
        pytest.raises(UserError, match="Expected no interventions in force"),
        intervene(model, [Add("embed", D := V[0])]),
    ):
        steered_logprobs(model, [5], [[6]], 1, D[None])
    with pytest.raises(UserError, match=r"as many continuations for each of the 2 prompts, got \[1, 2\]"):
        logprobs(model, [[5], [6]], [[[1]], [[1], [2]]])
    with pytest.raises(UserError, match="Expected at least two tokens in every input, got 1"):
        nats_per_token(model, [[5, 6], [7]])
