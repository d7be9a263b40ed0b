import numpy as np
import pytest
import torch

from microtome.base.errors import UserError
from microtome.studies.stability.published_damage import SENTENCES, as_published, rank_on
from tests.studies.stability.conftest import copied, embedding

FAMILIES = ["llama", "gpt2", "gpt_neox"]


def slow_rank(rows: np.ndarray) -> float:
    s = np.linalg.svd(rows, compute_uv=False)
    return float(np.exp(-sum(p * np.log(p) for p in s / s.sum() if p > 0.01)))


def hidden(model, **inputs) -> np.ndarray:
    """The output of block 1 of 3 by transformers' own words: the third of four hidden states."""
    with torch.no_grad():
        states = model.module(**inputs, output_hidden_states=True).hidden_states
    return states[2].flatten(0, 1).double().numpy()


def slow(model, sentences) -> dict:
    tokens = model.tokenizer(list(sentences), padding="max_length", max_length=128, return_tensors="pt")
    rows = hidden(model, input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
    assert rows.shape == (128 * len(sentences), 32)
    eigenvalues = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    s = np.linalg.svd(rows, compute_uv=False)
    losses, weights = [], []
    for sentence in sentences:
        ids = torch.tensor(model.tokenizer(sentence).input_ids)
        with torch.no_grad():
            logs = model.module(ids[None, :-1]).logits[0].log_softmax(-1)
        losses.append(min(50, -np.mean([float(logs[t, ids[t + 2]]) for t in range(len(ids) - 2)])))
        weights.append(len(ids) - 1)
    return {
        "perplexity": np.exp(np.average(losses, weights=weights)),
        "effective_rank": slow_rank(rows),
        "spectral_gap": eigenvalues[0] / eigenvalues[1],
        "singular_values": s / s.sum(),
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_are_those_of_the_procedure_in_slow_words(loaded, family):
    model = loaded(family)
    found, expected = as_published(model), slow(model, SENTENCES)
    assert list(found) == list(expected)
    for name in ("perplexity", "effective_rank", "spectral_gap"):
        assert found[name] == pytest.approx(expected[name], rel=1e-4), name
    np.testing.assert_allclose(found["singular_values"], expected["singular_values"], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_rank_on_an_input_is_that_of_ids_or_of_their_embeddings(loaded, family):
    model = loaded(family)
    ids = torch.randint(4, 200, (64,), generator=torch.Generator().manual_seed(0))
    expected = slow_rank(hidden(model, input_ids=ids[None]))
    assert rank_on(model, ids) == pytest.approx(expected, rel=1e-4)
    assert rank_on(model, model.module.get_input_embeddings()(ids)) == pytest.approx(expected, rel=1e-4)


def test_losses_are_cut_off_at_50(loaded):
    model = copied(loaded("llama"))
    with torch.no_grad():
        model.module.get_parameter("lm_head.weight").mul_(1e4)
    assert as_published(model)["perplexity"] == pytest.approx(np.exp(50))


def test_a_sentence_without_a_loss_is_left_out(loaded):
    model = loaded("llama")
    expected = as_published(model, SENTENCES[:1])["perplexity"]
    assert as_published(model, (SENTENCES[0], "a"))["perplexity"] == pytest.approx(expected)


def test_a_broken_model_has_no_numbers(loaded):
    model = copied(loaded("llama"))
    with torch.no_grad():
        embedding(model).fill_(torch.nan)
    found = as_published(model)
    assert found.pop("singular_values") == []
    assert np.isnan(list(found.values())).all()
    assert np.isnan(rank_on(model, torch.arange(4, 20)))


def test_no_sentences_are_refused(loaded):
    with pytest.raises(UserError, match="at least one sentence"):
        as_published(loaded("llama"), ())
