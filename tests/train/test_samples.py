"""Sampling: what is drawn, against a model whose next token is known."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from microtome.corpora.bpe import END, train_bpe
from microtome.corpora.corpus import Corpus
from microtome.train.samples import sample

POSITIONS = 6


class Chain(nn.Module):
    """A language model of one step's memory: the next token depends on the last alone."""

    def __init__(self, probabilities: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(probabilities.log())  # [V, V]
        self.config, self.device = SimpleNamespace(max_position_embeddings=POSITIONS), torch.device("cpu")
        self.seen: list[list[int]] = []

    def forward(self, input_ids: torch.Tensor) -> Any:
        assert not self.training
        assert input_ids.shape[1] <= POSITIONS
        self.seen.append(input_ids[0].tolist())
        return SimpleNamespace(logits=self.table[input_ids])


@pytest.fixture
def tokenizer(own_cache: object) -> Any:
    return train_bpe(Corpus("letters", ("abc",)), 257)


def cycle(tokenizer: Any, text: str) -> Chain:
    """The chain that writes ``text`` over and over."""
    ids = tokenizer.encode(text)
    table = torch.zeros(len(tokenizer), len(tokenizer))
    for now, following in zip(ids, [*ids[1:], ids[0]], strict=True):
        table[now, following] = 1
    return Chain(table)


def draw(model: Any, tokenizer: Any, prompts: list[str], tokens: int, root: int = 0) -> list[str]:
    return sample(model, tokenizer, prompts, tokens, np.random.default_rng(root))


def test_each_prompt_is_continued_also_past_the_positions(tokenizer: Any) -> None:
    model = cycle(tokenizer, "abc")
    assert draw(model, tokenizer, ["ab", "c"], 10) == ["abcabcabcabc", "cabcabcabca"]
    assert model.seen[9] == tokenizer.encode("cabcab")  # the last six of eleven


def test_a_prompt_of_nothing_begins_a_document_and_the_end_ends_one(tokenizer: Any) -> None:
    model = cycle(tokenizer, f"{END}abc")
    assert draw(model, tokenizer, ["", "b"], 10) == ["abc", "bc"]


def test_tokens_are_drawn_as_often_as_the_model_says(tokenizer: Any) -> None:
    a, b, c = tokenizer.encode("abc")
    table = torch.zeros(len(tokenizer), len(tokenizer))
    table[:, a], table[:, b], table[:, c] = 0.6, 0.3, 0.1
    (text,) = draw(Chain(table), tokenizer, ["a"], 4000)
    counts = Counter(text[1:])
    for letter, share in {"a": 0.6, "b": 0.3, "c": 0.1}.items():  # four standard errors
        assert counts[letter] / 4000 == pytest.approx(share, abs=4 * (share * (1 - share) / 4000) ** 0.5)


def test_draws_are_the_generators_and_the_mode_is_left(tokenizer: Any) -> None:
    model = Chain(torch.full((len(tokenizer), len(tokenizer)), 1 / len(tokenizer))).train()
    first, again = (draw(model, tokenizer, ["a"], 20, root=1) for _ in range(2))
    assert first == again != draw(model, tokenizer, ["a"], 20, root=2)
    assert model.training
    assert model.table.grad_fn is None
