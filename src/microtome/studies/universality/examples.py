"""Matched neurons with the words that activate them most, in both models, as people look at them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from microtome.corpora import AlignedText
from microtome.lab.study import Measurement
from microtome.studies.universality.readings import aligned_reading

if TYPE_CHECKING:
    from microtome.studies.universality.measure import UniversalityBench

CONTEXTS = 4
"""Words shown of each neuron, from different documents."""
AROUND = 40
"""Characters shown before and after a word."""
A_LAYER = 2
"""Pairs of one layer of A at most, so that the examples are not all of one kind."""

SCHEMA = {"example": pl.Int64, "side": pl.String, "layer": pl.Int64, "neuron": pl.Int64, "r": pl.Float64}
SCHEMA |= {"excess": pl.Float64, "rank": pl.Int64, "z": pl.Float64, "before": pl.String, "word": pl.String}
SCHEMA |= {"after": pl.String}


def examples(bench: "UniversalityBench", found: pl.DataFrame, spec: Mapping[str, Any]) -> Measurement:
    """Return the contexts of the pairs with the largest held-out excess.

    A neuron's strong side is where its activations have their long tail; both neurons of a pair, whose correlation is
    positive, are shown on A's.
    """
    pairs = (
        found.filter("matched")
        .sort("excess", descending=True, nulls_last=True)
        .group_by("layer", maintain_order=True)
        .head(A_LAYER)
        .sort("excess", descending=True, nulls_last=True)
        .head(spec["examples"])
        .to_dicts()
    )
    if not pairs:
        return Measurement(pl.DataFrame(schema=SCHEMA))
    documents = range(1, spec["documents"], 2)
    values = {side: _columns(bench, spec, side, pairs, documents) for side in "ab"}
    text, rows = bench.text(spec), []
    for i, pair in enumerate(pairs):
        standard = {side: _standard(values[side][..., i]) for side in "ab"}
        sign = 1.0 if (standard["a"] ** 3).mean() >= 0 else -1.0
        for side, suffix in (("a", ""), ("b", "_b")):
            its = {
                "example": i,
                "side": side,
                "layer": pair[f"layer{suffix}"],
                "neuron": pair[f"neuron{suffix}"],
            }
            its |= {"r": pair["r"], "excess": pair["excess"]}
            for rank, (document, row) in enumerate(_strongest(sign * standard[side])):
                z = float(standard[side][document, row])
                rows.append(
                    its | {"rank": rank, "z": z} | _context(bench, spec, text, documents[document], row)
                )
    return Measurement(pl.DataFrame(rows, schema=SCHEMA))


def _columns(
    bench: "UniversalityBench",
    spec: Mapping[str, Any],
    side: str,
    pairs: Sequence[Mapping],
    documents: Sequence[int],
) -> np.ndarray:
    """Return the activations ``[documents, rows, pairs]`` of the pairs' neurons in one model."""
    suffix = "_b" if side == "b" else ""
    layers = sorted({pair[f"layer{suffix}"] for pair in pairs})
    reading = aligned_reading(bench.text(spec))
    parts = []
    for first in range(0, len(documents), 32):
        part = reading.of(documents[first : first + 32])
        found = dict(zip(layers, bench.activations(spec, side, part, layers), strict=True))
        chosen = [found[pair[f"layer{suffix}"]][:, pair[f"neuron{suffix}"]].numpy() for pair in pairs]
        parts.append(np.stack(chosen, -1).reshape(len(part), part.rows, -1))
    return np.concatenate(parts)


def _standard(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / max(float(x.std()), 1e-30)


def _strongest(z: np.ndarray) -> list[tuple[int, int]]:
    """Return document and row of the largest values, one a document."""
    rows = z.argmax(1)
    order = np.argsort(-z.max(1), kind="stable")[:CONTEXTS]
    return [(int(document), int(rows[document])) for document in order]


def _context(
    bench: "UniversalityBench", spec: Mapping[str, Any], text: AlignedText, document: int, row: int
) -> dict[str, str]:
    begin, end = text.spans[document, row]
    if begin < 0:  # drawn tokens have no text
        token = int(text.tokens[0][document][text.positions[0][document, row]])
        return {"before": "", "word": str(bench.model(spec, "a").tokenizer.decode([token])), "after": ""}
    whole = text.texts[document]
    before, after = whole[max(0, begin - AROUND) : begin], whole[end : end + AROUND]
    return {"before": _flat(before), "word": _flat(whole[begin:end]), "after": _flat(after)}


def _flat(text: str) -> str:
    """Return a text on one line, its spaces at either end kept."""
    return text.replace("\n", " ⏎ ").replace("\t", " ")
