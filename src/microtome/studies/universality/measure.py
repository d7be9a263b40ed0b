"""Measuring: published procedures, selection, scores, similarity and the rest, one unit at a time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from microtome.base.errors import UserError
from microtome.capture import capture
from microtome.corpora import AlignedText
from microtome.lab.seeds import stream
from microtome.lab.study import Bench, Measurement, Unit
from microtome.measure.linear_maps import held_out_procrustes, in_sample_procrustes
from microtome.models import Model, fingerprint, load_model, permuted_copy, untrained_twin
from microtome.studies.universality import matches, published
from microtome.studies.universality.config import UniversalityConfig
from microtome.studies.universality.effects import effects
from microtome.studies.universality.examples import examples
from microtome.studies.universality.inputs import SITE, text
from microtome.studies.universality.plan import Comparison
from microtome.studies.universality.readings import Reading, aligned_reading, published_reading
from microtome.studies.universality.scoring import GROUPS, codes, score
from microtome.studies.universality.selection import rotation, select
from microtome.studies.universality.similarity import similarity

ROWS_A_BLOCK = 4096
"""Rows of activations that are held at a time, of all of a model's layers."""


class UniversalityBench(Bench):
    """Two models, loaded when a unit asks for them and kept until others are asked for."""

    def __init__(self, config: UniversalityConfig) -> None:
        self.config = config
        references = (config.model_a, *([config.model_b] if config.model_b else ()))
        self.references = {fingerprint(reference): reference for reference in references}
        self.loaded: dict[tuple[Any, ...], tuple[Model, np.ndarray | None]] = {}

    def measure(self, unit: Unit, needed: Mapping[str, Measurement]) -> Measurement:
        """Measure one unit of any kind."""
        spec = unit.spec
        kinds = {kind: [one for name, one in needed.items() if name.startswith(f"{kind}-")] for kind in KINDS}
        match unit.kind:
            case "published":
                return self.published(spec)
            case "select":
                return self.select(spec, unit.id)
            case "score":
                return self.score(spec, matches.selected(kinds["select"]))
            case "similarity":
                return self.similarity(spec)
            case "noise":
                return noise(spec)
        found = matches.table(
            matches.selected(kinds["select"]),
            matches.scores(kinds["score"]),
            spec,
            spec["threshold_excess"],
            spec["fdr"],
        )
        if unit.kind == "effects":
            model = self.model(spec, "a")
            return effects(model, found, spec, self.effect_texts(spec))
        assert unit.kind == "examples", unit.kind
        return examples(self, found, spec)

    def model(self, spec: Mapping[str, Any], side: str) -> Model:
        """Return one of the two models of a comparison."""
        return self._loaded(spec, side)[0]

    def planted(self, spec: Mapping[str, Any]) -> np.ndarray | None:
        """Return for each of A's neurons the number of its copy, if B has copies."""
        permutation = self._loaded(spec, "b")[1]
        if permutation is None:
            return None
        width = spec["b"]["neurons"]
        return np.concatenate(
            [place * width + permutation[layer] for place, layer in enumerate(spec["b"]["layers"])]
        )

    def _loaded(self, spec: Mapping[str, Any], side: str) -> tuple[Model, np.ndarray | None]:
        made = side == "b" and spec["role"] != "pair"
        key = (spec[side]["model"], *((spec["role"], spec["seed"], spec.get("noise")) if made else ()))
        if key not in self.loaded:
            keep = list(self.loaded)[-1:]  # so that three models are never in memory
            self.loaded = {name: self.loaded[name] for name in keep}
            model = load_model(self.references[spec[side]["model"]], device=self.config.device)
            self.loaded[key] = self._made(model, spec) if made else (model, None)
        return self.loaded[key]

    def _made(self, model: Model, spec: Mapping[str, Any]) -> tuple[Model, np.ndarray | None]:
        if spec["role"] == "untrained":
            return untrained_twin(model, spec["seed"]), None
        return permuted_copy(model, spec["seed"], spec["noise"])

    def activations(
        self, spec: Mapping[str, Any], side: str, reading: Reading, layers: Sequence[int]
    ) -> list[Tensor]:
        """Return each layer's activations on a reading, ``[rows of all documents, neurons]`` in float32."""
        model, which = self.model(spec, side), "ab".index(side)
        sites = [f"{SITE}.{layer}" for layer in layers]
        tokens = [ids.tolist() for ids in reading.tokens[which]]
        positions = reading.positions[which].tolist()
        captured = capture(model, tokens, sites, positions=positions, batch_size=self.config.batch_size)
        found = [captured.flat[site].float() for site in sites]
        for site, values in zip(sites, found, strict=True):
            if not torch.stack(torch.aminmax(values)).isfinite().all():
                raise UserError(
                    f"expected finite activations; got NaN or infinity at '{site}' of '{model.reference}': the weights "
                    "are damaged, or overflow in this dtype"
                )
        return found

    def text(self, spec: Mapping[str, Any]) -> AlignedText:
        """Return the text of a comparison."""
        return text(self.config, spec["role"])

    def blocks(
        self, spec: Mapping[str, Any], documents: Sequence[int]
    ) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        """Yield both models' activations in all layers that are compared, some documents at a time."""
        reading = aligned_reading(self.text(spec))
        count = max(1, ROWS_A_BLOCK // reading.rows)
        for first in range(0, len(documents), count):
            part = reading.of(documents[first : first + count])
            yield tuple(self.activations(spec, side, part, spec[side]["layers"]) for side in "ab")  # type: ignore[misc]

    def published(self, spec: Mapping[str, Any]) -> Measurement:
        """Return the original's numbers for each layer, and its tables of neurons."""
        reading = published_reading(self.config, spec["role"], spec["condition"])
        sides = [self.activations(spec, side, reading, spec["layers"]) for side in "ab"]
        numbers, neurons = {}, []
        for layer, *pair in zip(spec["layers"], *sides, strict=True):
            x, y = (values.unflatten(0, (len(reading), -1)) for values in pair)
            numbers[layer], aligned = published.numbers_of(x, y, held_out=spec["condition"] == "text")
            neurons.append(published.neurons_of(x, y, aligned, spec["rotations"], spec["seed"], layer))
        return Measurement(pl.concat(neurons), published.as_arrays(numbers))

    def select(self, spec: Mapping[str, Any], unit: str) -> Measurement:
        """Return the best matches of A's neurons in a stripe of B's layers."""
        comparison = Comparison.of(spec)
        stripe = range(*spec["stripe"])
        cut = {**spec, "b": {**spec["b"], "layers": [spec["b"]["layers"][place] for place in stripe]}}
        measurement = select(comparison, stripe, self.blocks, cut, comparison.halves[0], unit)
        planted = self.planted(spec)
        if planted is None:
            return measurement
        return Measurement(measurement.rows, {**measurement.arrays, "planted": planted})

    def score(self, spec: Mapping[str, Any], selected: matches.Selected) -> Measurement:
        """Return the sums of a block of documents for the selected matches."""
        comparison = Comparison.of(spec)
        half = comparison.halves[1]
        documents = list(half)[slice(*spec["block"])]
        parts = list(self.blocks(spec, documents))
        x, y = (
            [torch.cat(layers) for layers in zip(*side, strict=True)] for side in zip(*parts, strict=True)
        )
        shifts = min(spec["shifts"], len(documents) - 1)
        group = max(1, round(len(half) / GROUPS))
        words = codes(list(self.words(spec, documents)))
        rotations = [rotation(spec["seed"], draw, spec["b"]["neurons"]) for draw in range(spec["rotations"])]
        arrays = score(x, y, selected, len(documents), group, shifts, words, rotations)
        rows = pl.DataFrame({"documents": [len(documents)], "rows": [len(words)]})
        return Measurement(rows, arrays)

    def words(self, spec: Mapping[str, Any], documents: Sequence[int]) -> Iterator[str]:
        """Yield the word of each row, in lower case, or the token's number where rows are tokens."""
        text = self.text(spec)
        by_token = spec["role"] == "planted" or not any(text.texts)
        for document in documents:
            for row, (begin, end) in enumerate(text.spans[document]):
                if by_token or begin < 0:
                    yield str(text.tokens[0][document][text.positions[0][document][row]])
                else:
                    yield text.texts[document][begin:end].lower()

    def similarity(self, spec: Mapping[str, Any]) -> Measurement:
        """Return debiased CKA between all layers."""
        documents = range(spec["most"])[: Comparison.of(spec).documents]
        text = self.text(spec)
        return similarity(self.blocks(spec, documents), len(documents), text.rows, spec)

    def effect_texts(self, spec: Mapping[str, Any]) -> list[np.ndarray]:
        """Return the tokens of the documents that were kept for ablations, in A's tokens."""
        return list(self.text(spec).tokens[0])[spec["documents"] :][: spec["effect_documents"]]


KINDS = ("select", "score")


def noise(spec: Mapping[str, Any]) -> Measurement:
    """Return what Procrustes makes of two matrices of independent noise, in sample as published and held out."""
    n = spec["num_samples"] * spec["sequence"]
    rng = stream(spec["seed"], "noise")
    x, y = (
        rng.standard_normal((n, spec[f"neurons_{side}"]), dtype=np.float32).astype(np.float64)
        for side in "ab"
    )
    inside = in_sample_procrustes(x, y, False)
    held_out = held_out_procrustes(x[: n // 2], y[: n // 2], x[n // 2 :], y[n // 2 :])
    row = {
        "rows": n,
        "neurons": min(x.shape[1], y.shape[1]),
        "in_sample": float(np.nanmean(inside.correlations)),
        "held_out": float(np.nanmean(held_out.correlations)),
        "held_out_r2": held_out.r2,
    }
    return Measurement(pl.DataFrame([row]))
