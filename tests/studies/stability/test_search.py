import numpy as np
import pytest
import torch
from torch.func import functional_call

from microtome.base.errors import UserError
from microtome.models import Model, load_model
from microtome.studies.stability import search as module
from microtome.studies.stability.catalyst import parameters, share, top_directions
from microtome.studies.stability.search import search, slope

LENGTH = 10
rng = np.random.default_rng(0)
TEXT = torch.from_numpy(rng.integers(4, 200, (2, LENGTH)))
START = torch.from_numpy(rng.integers(4, 200, LENGTH))


@pytest.fixture(scope="module")
def model(tiny_model) -> Model:
    return load_model(str(tiny_model("gpt_neox")), device="cpu", dtype="float64", attention="eager")


@pytest.fixture(scope="module")
def outside(model):
    return top_directions(model, TEXT, 4, 30, np.random.default_rng(0), blocks=1)


def slow_share(model, outside, x, y, blocks) -> torch.Tensor:
    """The share as a function of one-hot rows, from one gradient of all of the model's parameters."""
    named = dict(model.module.named_parameters())
    chosen = {id(one) for one in parameters(model, blocks)}
    names = [name for name, one in named.items() if id(one) in chosen]
    leaves = {name: one.detach().clone().requires_grad_() for name, one in named.items()}
    embeds = x @ leaves["gpt_neox.embed_in.weight"]
    logits = functional_call(model.module, leaves, kwargs={"inputs_embeds": embeds[None]}).logits[0]
    loss = -(y[1:] * logits[:-1].log_softmax(-1)).sum() / (len(x) - 1)
    g = torch.cat([one.flatten() for one in torch.autograd.grad(loss, [leaves[name] for name in names])])
    u = outside.vectors.to(g)
    return 1 - ((u @ g) @ torch.linalg.inv(u @ u.T) @ (u @ g)) / (g @ g)


@pytest.mark.parametrize("blocks", [1, None])
def test_slopes_are_differences_of_shares_along_one_hot_rows(model, outside, blocks):
    if blocks is None:
        outside = top_directions(model, TEXT, 4, 30, np.random.default_rng(0))
    found = slope(model, outside, START, blocks)
    hot = torch.nn.functional.one_hot(START, model.anatomy.vocabulary).double()
    assert float(slow_share(model, outside, hot, hot, blocks)) == pytest.approx(
        share(model, outside, START, blocks=blocks)[0], rel=1e-5
    )
    step = 1e-4
    for position, token in ((0, 7), (4, 90), (9, 12)):
        toward = torch.zeros_like(hot)
        toward[position, token], toward[position, START[position]] = 1, -1
        sides = [
            [
                slow_share(model, outside, hot + s * a * toward, hot + s * b * toward, blocks)
                for s in (step, -step)
            ]
            for a, b in ((1, 0), (0, 1))
        ]
        by_input, by_label = (float(ahead - behind) / (2 * step) for ahead, behind in sides)
        expected = module.REACH * by_input + by_label
        assert float(found[position, token]) == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert not found.gather(1, START[:, None]).any()


def test_the_share_rises_and_is_that_of_the_tokens(model, outside):
    found = search(model, outside, START, 60, np.random.default_rng(1), blocks=1)
    assert found.start_share == share(model, outside, START, blocks=1)[0]
    assert found.share == share(model, outside, found.tokens, blocks=1)[0]
    assert found.share > found.start_share
    assert 0 < found.changed <= 1
    assert found.swaps >= found.changed * LENGTH
    assert found.checks <= 60


def test_more_checks_never_end_lower(model, outside):
    shares = [
        search(model, outside, START, checks, np.random.default_rng(1), blocks=1).share
        for checks in (0, 3, 4, 10, 20, 40)
    ]
    assert shares == sorted(shares)
    assert shares[0] == share(model, outside, START, blocks=1)[0] < shares[-1]


def test_without_checks_the_start_is_what_is_found(model, outside):
    found = search(model, outside, START, 0, np.random.default_rng(1), blocks=1)
    assert torch.equal(found.tokens, START)
    assert (found.changed, found.swaps, found.checks) == (0, 0, 0)


def test_a_generator_gives_one_search(model, outside):
    one, same, other = (
        search(model, outside, START, 20, np.random.default_rng(seed), blocks=1) for seed in (1, 1, 2)
    )
    assert torch.equal(one.tokens, same.tokens)
    assert one.share == same.share
    assert not torch.equal(one.tokens, other.tokens)
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


def test_another_attention_is_refused(loaded, outside):
    with pytest.raises(UserError, match="attention='eager'"):
        search(loaded("gpt_neox"), outside, START, 5, np.random.default_rng(0))
