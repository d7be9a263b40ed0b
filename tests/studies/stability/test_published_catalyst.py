import numpy as np
import pytest
import torch

from microtome.base.errors import UserError
from microtome.lab.seeds import stream
from microtome.models import Model, load_model
from microtome.studies.stability.published_catalyst import (
    published_catalyst,
    published_directions,
    snapped,
    twice_shifted,
    unit,
)
from tests.studies.stability.conftest import embedding


def slow(model: Model, seed: int, length: int, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The ascent in plain words, position by position."""
    table = embedding(model).double()
    tokens = torch.from_numpy(stream(seed, "published catalyst").integers(len(model.tokenizer), size=length))
    rows = table[tokens].clone()
    for _ in range(steps):
        rows.requires_grad_(True)
        logs = model.module(inputs_embeds=rows[None]).logits[0].log_softmax(-1)
        terms = [-logs[t, tokens[t + 2]] for t in range(length - 2)]
        (gradient,) = torch.autograd.grad(torch.stack(terms).mean(), rows)
        assert not gradient[-2:].any()
        rows = (rows + 0.01 * gradient).detach()
        rows /= rows.norm(dim=1, keepdim=True)
        tokens = torch.tensor([int(np.argmin([float((row - e).norm()) for e in table])) for row in rows])
    return tokens, rows


@pytest.mark.parametrize("family", ["gpt_neox", "gpt2", "llama"])
def test_the_ascent_is_the_procedure_in_slow_words(loaded, family):
    model = loaded(family, "float64")
    found = published_catalyst(model, 43, length=8, steps=3)
    tokens, rows = slow(model, 43, 8, 3)
    assert torch.equal(found.tokens, tokens)
    start = torch.from_numpy(stream(43, "published catalyst").integers(len(model.tokenizer), size=8))
    assert torch.equal(found.start, start)
    assert found.changed == pytest.approx(float((tokens != start).double().mean()))
    first = embedding(model)[start].double()
    cosine = torch.cosine_similarity(rows, first, dim=-1).mean()
    assert found.cosine == pytest.approx(float(cosine), rel=1e-4)


def test_without_steps_nothing_changes_and_a_seed_gives_one_start(loaded):
    model = loaded("gpt_neox")
    found = published_catalyst(model, 43, length=16, steps=0)
    assert torch.equal(found.tokens, found.start)
    assert (found.changed, found.cosine) == (0, pytest.approx(1))
    again, other = (published_catalyst(model, seed, length=16, steps=2) for seed in (43, 44))
    assert torch.equal(again.start, found.start)
    assert not torch.equal(other.start, found.start)
    assert torch.equal(again.tokens, published_catalyst(model, 43, length=16, steps=2).tokens)


def test_what_scaling_and_snapping_give_is_told_apart_from_ascent(loaded):
    model = loaded("gpt_neox")
    found = published_catalyst(model, 43, length=16, steps=5)
    alone = snapped(unit(embedding(model)[found.start]), embedding(model))
    assert found.inert == pytest.approx(float((found.tokens == alone).float().mean()))


def test_snapping_takes_the_nearest_row():
    rng = np.random.default_rng(0)
    rows, table = (torch.from_numpy(rng.standard_normal((n, 5))) for n in (20, 30))
    assert torch.equal(snapped(rows, table), torch.cdist(rows, table).argmin(-1))


def test_labels_are_shifted_twice(loaded):
    model = loaded("llama")
    tokens = torch.arange(20, 30)
    with torch.no_grad():
        loss = float(model.module(**twice_shifted(tokens)).loss)
        logs = model.module(tokens[None]).logits[0].log_softmax(-1)
    assert loss == pytest.approx(
        -float(torch.stack([logs[t, tokens[t + 2]] for t in range(8)]).mean()), rel=1e-5
    )


def test_directions_are_of_large_curvature_not_of_none(tiny_model):
    model = load_model(str(tiny_model("gpt_neox")), device="cpu", attention="eager")
    found = published_directions(model, 43, count=2, iterations=40)
    gram = (found.vectors @ found.vectors.T).double()
    torch.testing.assert_close(gram, torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-3)
    trivial = published_directions(model, 43, count=2, iterations=1)
    assert float(found.values[0].abs()) > 100 * 1e-6
    assert float(found.values[0].abs()) > float(trivial.values[0].abs())
    assert float(found.residuals[0]) < 0.5 * float(found.values[0].abs())
    again = published_directions(model, 43, count=1, iterations=40)
    assert torch.equal(again.vectors[0], found.vectors[0])


def test_a_direction_without_curvature_is_kept_where_it_is_found(tiny_model):
    model = load_model(str(tiny_model("gpt_neox")), device="cpu", attention="eager")
    found = published_directions(model, 43, count=1, threshold=1e9)
    assert float(found.vectors[0].norm()) == pytest.approx(1, rel=1e-5)
    assert float(found.values[0]) < float(
        published_directions(model, 43, count=1, iterations=40).values[0].abs()
    )


def test_another_attention_is_refused(loaded):
    with pytest.raises(UserError, match="attention='eager'"):
        published_directions(loaded("gpt_neox"), 43)
