import numpy as np
import pytest
import torch

from microtome.base.errors import UserError
from microtome.corpora import PackedTokens
from microtome.studies.stability.arms import TREATMENTS
from microtome.studies.stability.treatments import Input, arrays, inputs, shuffled, stored
from tests.studies.stability.conftest import embedding

LENGTH, STEPS = 12, 5
FOUND = torch.arange(20, 20 + LENGTH)
START = FOUND.flip(0)
TEXT = PackedTokens(
    np.random.default_rng(3).integers(4, 200, (7, 16)).astype(np.int32),
    np.zeros((7, 16), np.int32),
    0,
    "packed",
)


def made(model, names=TREATMENTS, seed=0, **options) -> dict[str, Input]:
    given = {"found": FOUND, "start": START, "text": TEXT, "steps": STEPS} | options
    return inputs(names, model=model, rng=np.random.default_rng(seed), **given)


def test_all_are_of_one_length_and_repeated_but_for_the_healthy_one(loaded):
    found = made(loaded("llama"))
    assert list(found) == [name for name in TREATMENTS if name not in ("isotropic", "noop")]
    for name, one in found.items():
        batches = list(one.batches(STEPS))
        assert len(batches) == STEPS
        for batch in batches:
            assert batch["labels"].shape == (1, LENGTH)
            fed = batch["inputs_embeds" if name == "gaussian" else "input_ids"]
            assert fed.shape[:2] == (1, LENGTH)
        rows = {tuple(batch["labels"][0].tolist()) for batch in batches}
        assert len(rows) == (STEPS if name == "healthy" else 1)
        assert one.fed.shape == ((LENGTH, 32) if name == "gaussian" else (LENGTH,))


def test_what_each_one_is(loaded):
    model = loaded("llama")
    found = made(model)
    assert torch.equal(found["optimised"].fed, FOUND)
    assert torch.equal(found["start"].fed, START)
    assert not torch.equal(found["shuffled"].fed, FOUND)
    assert torch.equal(found["shuffled"].fed.sort().values, FOUND)
    texts = {tuple(row) for row in TEXT.tokens[:, :LENGTH].tolist()}
    for name in ("natural_text", "healthy"):
        assert {tuple(row) for row in found[name].tokens.tolist()} <= texts
    long = made(model, ["gaussian"], found=torch.arange(128) + 4, text=PackedTokens(
        np.zeros((5, 128), np.int32), np.zeros((5, 128), np.int32), 0, "packed"
    ))["gaussian"].fed  # fmt: skip
    assert float(long.std()) == pytest.approx(float(embedding(model).std()), rel=0.05)


def test_a_treatment_does_not_depend_on_which_others_are_asked_for(loaded):
    model = loaded("llama")
    every = made(model)
    for name, one in every.items():
        (alone,) = made(model, [name]).values()
        assert torch.equal(alone.tokens, one.tokens)
        assert torch.equal(alone.fed, one.fed)
    assert not torch.equal(made(model, seed=1)["random_tokens"].fed, every["random_tokens"].fed)


def test_stored_inputs_are_read_again(loaded):
    found = made(loaded("llama"))
    kept = arrays(found)
    assert kept["optimised.tokens"].dtype == np.int64
    assert kept["gaussian.embeddings"].dtype == np.float32
    for name, one in found.items():
        again = stored(kept, name)
        assert torch.equal(again.tokens, one.tokens)
        assert torch.equal(again.fed, one.fed)


def test_equal_tokens_have_no_other_order():
    rng = np.random.default_rng(0)
    assert shuffled(torch.tensor([1, 1, 2]), rng).tolist() in ([1, 2, 1], [2, 1, 1])
    with pytest.raises(ValueError, match="the same all over"):
        shuffled(torch.tensor([3, 3]), rng)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"names": ["healing"]}, "got healing"),
        ({"steps": 8}, "at least 8 blocks of 12 tokens"),
        ({"found": torch.arange(17) + 4}, "got 7 of 16"),
    ],
)
def test_mistakes_are_named(loaded, options, words):
    with pytest.raises(UserError, match=words):
        made(loaded("llama"), **options)
