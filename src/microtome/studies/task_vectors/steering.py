"""Steering one operand pair: every answered task toward every other, with controls and doses."""

from collections.abc import Mapping, Sequence
from itertools import groupby, permutations
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

from microtome.capture import (
    Add,
    Patch,
    SharedPrefix,
    capture,
    intervene,
    logprobs,
    shared_prefix,
    steered_logprobs,
)
from microtome.lab.seeds import stream
from microtome.lab.study import Measurement
from microtome.studies.task_vectors.directions import Directions
from microtome.studies.task_vectors.prompts import split_answers

if TYPE_CHECKING:
    from microtome.models import Model

KINDS = ("task", "wrong task", "random")
"""Vectors that are added: target less source; toward another task; of random direction. All of one norm."""

STEERED = {
    "seed": pl.Int64,
    "a": pl.Int64,
    "b": pl.Int64,
    "source": pl.String,
    "target": pl.String,
    "layer": pl.Int64,
    "kind": pl.String,
    "alpha": pl.Float64,
    "steered": pl.Float64,
    "steered_elsewhere": pl.Float64,
    "base": pl.Float64,
    "base_elsewhere": pl.Float64,
    "swapped": pl.Float64,
    "swapped_elsewhere": pl.Float64,
    "identity_error": pl.Float64,
}
"""Columns of steered rows. From ``steered`` on they are log-probability differences in nats, target's answer less
source's: under steering, without it, and with the target task really asked; *elsewhere* with another pair's answers.
``identity_error`` is the largest change that a zero vector and the site's own value make (it must be 0)."""


class Vector(NamedTuple):
    """A vector to add, and what it is."""

    kind: str
    layer: int
    alpha: float
    values: np.ndarray


class Steering:
    """What stays the same for all items of a pair: the model, where, how much, and with which directions."""

    def __init__(
        self,
        model: "Model",
        directions: Directions,
        *,
        site: str,
        position: int,
        layers: Mapping[int, int],
        alphas: Sequence[float],
        kinds: Sequence[str],
    ) -> None:
        self.model = model
        self.directions = directions
        self.site = site
        self.position = position
        self.layers = layers
        """Index of each steered layer in the directions."""
        self.alphas = alphas
        self.kinds = kinds

    def pair(self, spec: Mapping[str, Any], own: Measurement) -> pl.DataFrame:
        """Return the steered rows of one pair, whose prompts were read in ``own``."""
        names: list[str] = spec["tasks"]
        a, b = spec["pair"]
        prompts = own.rows["prompt"].to_list()
        rows: list[dict[str, Any]] = []
        items = self.items(own.rows)
        error = self.identity_error(prompts[0]) if items else 0.0
        for source, of_source in groupby(items, key=itemgetter(0)):
            prefix = self.prefix(prompts[source])
            for _, target in of_source:
                rng = stream(spec["seed"], "steering", a, b, names[source], names[target])
                vectors = self.vectors(source, target, rng)
                asked = [spec["answers"][i] for i in _columns(source, target, len(names))]
                scores = self.scores(prompts[source], asked, vectors, prefix)
                fixed = {
                    "seed": spec["seed"],
                    "a": a,
                    "b": b,
                    "source": names[source],
                    "target": names[target],
                }
                fixed |= _unsteered(own.arrays["answer_logp"], source, target)
                fixed |= {"identity_error": error}
                for vector, score in zip(vectors, scores.double().tolist(), strict=True):
                    moved = {"steered": score[0] - score[1], "steered_elsewhere": score[2] - score[3]}
                    rows.append(fixed | vector._asdict() | moved)
        return pl.DataFrame([{name: row[name] for name in STEERED} for row in rows], schema=STEERED)

    def items(self, rows: pl.DataFrame) -> list[tuple[int, int]]:
        """Return the items to steer; over many layers each source has one target, the next answered task."""
        items = answered_items(rows) if self.layers else []
        if len(self.layers) < 2:
            return items
        nearest: dict[int, tuple[int, int]] = {}
        for source, target in sorted(items, key=lambda item: (item[0], (item[1] - item[0]) % len(rows))):
            nearest.setdefault(source, (source, target))
        return list(nearest.values())

    def vectors(self, source: int, target: int, rng: np.random.Generator) -> list[Vector]:
        """Return the vectors of every layer, kind and dose; without a third task there is no wrong one."""
        vectors = []
        for layer, index in self.layers.items():
            made = {"task": self.directions.task(source, target, index)}
            if "wrong task" in self.kinds and self.directions.means.shape[1] > 2:
                made["wrong task"] = self.directions.wrong(source, target, index, rng)
            if "random" in self.kinds:
                made["random"] = self.directions.random(source, target, index, rng)
            vectors += [
                Vector(kind, layer, alpha, alpha * v) for kind, v in made.items() for alpha in self.alphas
            ]
        return vectors

    def prefix(self, prompt: str) -> SharedPrefix | None:
        """Return the keys and values of the prompt before its last token, which all vectors share."""
        tokens, _ = split_answers(self.model.tokenizer, prompt, ())
        return shared_prefix(self.model, tokens[:-1])

    def scores(
        self, prompt: str, numbers: Sequence[int], vectors: Sequence[Vector], prefix: SharedPrefix | None
    ) -> Tensor:
        """Return the log-probabilities ``[vectors, numbers]`` after the prompt, each under one vector."""
        tokens, options = split_answers(self.model.tokenizer, prompt, numbers)
        values = torch.tensor(np.stack([vector.values for vector in vectors]), dtype=torch.float32)
        at = [vector.layer for vector in vectors]
        if self.position == -1 and self.site in ("resid_pre", "resid_post"):
            return steered_logprobs(
                self.model,
                tokens,
                options,
                at,
                values.to(self.model.device),
                site=self.site,
                prefix=prefix,
            )
        found = [
            logprobs(self.model, [tokens], options, interventions=[Add(self._at(layer), one, self.position)])
            for layer, one in zip(at, values, strict=True)
        ]
        return torch.cat(found)

    def identity_error(self, prompt: str) -> float:
        """Return how much adding zero, and patching a site with its own value, change the last layer."""
        layer = next(iter(self.layers))
        final = f"resid_post.{self.model.anatomy.layers - 1}"
        site = self._at(layer)
        tokens, _ = split_answers(self.model.tokenizer, prompt, ())
        plain = capture(self.model, [tokens], [final, site], positions="all")
        idle = [
            Add(site, torch.zeros(self.model.anatomy.d_model), self.position),
            Patch(site, plain[site], "all"),
        ]
        with intervene(self.model, idle):
            again = capture(self.model, [tokens], [final], positions="all")
        return float((again[final] - plain[final]).abs().max())

    def _at(self, layer: int) -> str:
        return f"{self.site}.{layer}"


def answered_items(rows: pl.DataFrame) -> list[tuple[int, int]]:
    """Return the (source, target) tasks that the model both answers, and whose answers differ."""
    right, numbers = rows["right"].to_list(), rows["answer"].to_list()
    return [
        (s, t)
        for s, t in permutations(range(len(right)), 2)
        if right[s] == right[t] == 1 and numbers[s] != numbers[t]
    ]


def _columns(source: int, target: int, tasks: int) -> tuple[int, int, int, int]:
    """Return where the answers of target and source are, of this pair and of its partner."""
    return target, source, tasks + target, tasks + source


def _unsteered(logp: np.ndarray, source: int, target: int) -> dict[str, float]:
    """Return the log-probability differences when the source, or really the target, is asked."""
    t, s, other_t, other_s = _columns(source, target, len(logp))
    return {
        "base": logp[source, t] - logp[source, s],
        "base_elsewhere": logp[source, other_t] - logp[source, other_s],
        "swapped": logp[target, t] - logp[target, s],
        "swapped_elsewhere": logp[target, other_t] - logp[target, other_s],
    }
