"""Options small enough for tiny models, and synthetic activations in place of models."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from microtome.lab.study import Measurement
from microtome.studies.universality import matches
from microtome.studies.universality.plan import Comparison, Side
from microtome.studies.universality.scoring import score
from microtome.studies.universality.selection import rotation, select
from tests.tiny import WORDS

SHORT: dict[str, Any] = {
    "documents": 20,
    "rows": 16,
    "shifts": 9,
    "layers": (0, 1),
    "num_samples": 20,
    "sequence": 16,
    "rotations": 2,
    "control_layers": 2,
    "neurons": 4,
    "atoms": 2,
    "effect_documents": 4,
    "examples": 3,
    "permutations": 199,
    "resamples": 200,
}
Activations = tuple[Tensor, Tensor]
"""``[documents, rows, neurons]`` of two models."""


@pytest.fixture(scope="session")
def prose(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A corpus of 120 documents of 40 short words."""
    rng = np.random.default_rng(0)
    file = tmp_path_factory.mktemp("prose") / "prose.txt"
    file.write_text("\n\n".join(" ".join(rng.choice(WORDS, 40)) for _ in range(120)))
    return f"file:{file}"


class Experiment:
    """Two models' activations, selected on even documents and scored on odd ones as a run does."""

    def __init__(self, activations: Activations, layers: int = 1, rotations: int = 2) -> None:
        self.activations = activations
        self.layers = layers
        self.documents, self.rows, _ = activations[0].shape
        widths = [side.shape[2] // layers for side in activations]
        sides = [Side("model", tuple(range(layers)), layers, width) for width in widths]
        self.comparison = Comparison("pair", sides[0], sides[1], "text", self.documents, "")
        self.spec: dict[str, Any] = {
            "a": {"layers": list(range(layers)), "neurons": widths[0]},
            "b": {"layers": list(range(layers)), "neurons": widths[1]},
            "pairs": "all",
            "precision": "float32",
            "rotations": rotations,
            "seed": 0,
        }

    def blocks(
        self, spec: Mapping[str, Any], documents: Sequence[int]
    ) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        x, y = (list(side[list(documents)].flatten(0, 1).chunk(self.layers, 1)) for side in self.activations)
        yield x, [y[layer] for layer in spec["b"]["layers"]]

    def select(self, at_once: int = 99) -> matches.Selected:
        """Select with so many of B's layers in a pass."""
        stripes = []
        for first in range(0, self.layers, at_once):
            stripe = range(first, min(first + at_once, self.layers))
            cut = {**self.spec, "b": {**self.spec["b"], "layers": list(stripe)}}
            unit = f"test-{id(self)}-{first}"
            stripes.append(select(self.comparison, stripe, self.blocks, cut, self.comparison.halves[0], unit))
        return matches.selected(stripes)

    def score(self, selected: matches.Selected, shifts: int = 19) -> matches.Scores:
        """Score the other half; every fifth row holds the same word."""
        documents = list(self.comparison.halves[1])
        x, y = next(self.blocks(self.spec, documents))
        words = torch.arange(len(x[0])) % 5
        rotations = [rotation(0, draw, self.spec["b"]["neurons"]) for draw in range(self.spec["rotations"])]
        group = max(1, len(documents) // 10)
        arrays = score(x, y, selected, len(documents), group, shifts, words, rotations)
        return matches.scores([Measurement(pl.DataFrame(), arrays)])

    def run(self, shifts: int = 19) -> tuple[matches.Selected, matches.Scores, pl.DataFrame]:
        """Select and score, and return what both find and the table of neurons."""
        selected = self.select()
        scores = self.score(selected, shifts)
        return selected, scores, matches.table(selected, scores, self.spec, 0.5, 0.05)


@pytest.fixture(scope="session")
def pair_options(tiny_model: Callable[..., Path], prose: str) -> dict[str, Any]:
    """Options for a run on two tiny models of different widths."""
    return {**SHORT, "model_a": str(tiny_model("llama")), "model_b": str(tiny_model("gpt2")), "corpus": prose}


@pytest.fixture(scope="session")
def other_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2 whose tokenizer splits words into bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("other-words")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: i for i, piece in enumerate(["<end>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    config = GPT2Config(
        vocab_size=len(vocabulary), n_positions=256, n_embd=32, n_layer=3, n_head=4, eos_token_id=0
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        GPT2LMHeadModel(config).save_pretrained(folder)
    return folder
