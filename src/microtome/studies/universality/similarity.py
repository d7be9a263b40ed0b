"""Debiased CKA between all layers of two models, with a null of exchanged documents and pseudo-values for intervals."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from microtome.lab.seeds import stream
from microtome.lab.study import Measurement
from microtome.measure.cka import debiased_cka_of_grams, gram, permuted_cka, standardised

ROWS = 1024
"""Rows, as many of each document, on which Gram matrices are taken."""
GROUPS = 10
"""Groups of documents, each of which is left out once."""
SCALES = ("raw", "standardised")


def similarity(
    blocks: Iterable[tuple[list[Tensor], list[Tensor]]], documents: int, rows: int, spec: Mapping[str, Any]
) -> Measurement:
    """Return CKA by pair of layers, of neurons as they are and scaled to variance 1.

    One neuron may carry half of a layer's variance and decide the raw value; the scaled one counts all alike. The null
    exchanges whole documents of B, alike in all layers, and keeps the largest value over pairs of layers (Groeger et
    al. 2026, arXiv 2602.14486). Pseudo-values are the jackknife's, leaving out a group of documents at a time: nearly
    independent estimates.
    """
    per_document = max(2, min(rows, ROWS // documents))
    rng = stream(spec["seed"], "similarity")
    chosen = np.sort(rng.permuted(np.tile(np.arange(rows), (documents, 1)), axis=1)[:, :per_document], axis=1)
    kept = _rows(blocks, chosen, rows)
    groups = np.repeat(np.arange(documents), per_document)
    parts = groups * GROUPS // documents
    arrays: dict[str, np.ndarray] = {}
    frames = []
    for scale in SCALES:
        a, b = (_grams(side, scale) for side in kept)
        whole = debiased_cka_of_grams(a, b).numpy()
        without = [_without(a, b, torch.from_numpy(parts != group)) for group in range(GROUPS)]
        arrays[f"{scale}_pseudo"] = np.stack([GROUPS * whole - (GROUPS - 1) * one for one in without])
        if scale == "standardised":
            null = permuted_cka(
                a, b, groups, stream(spec["seed"], "exchanged documents"), spec["permutations"]
            )
            arrays["null"] = null.max((1, 2))
        frames.append(whole.ravel())
    i, j = np.indices((len(spec["a"]["layers"]), len(spec["b"]["layers"])))
    layers = {
        f"layer_{side}": np.array(spec[side]["layers"])[places.ravel()]
        for side, places in (("a", i), ("b", j))
    }
    return Measurement(pl.DataFrame(layers | dict(zip(SCALES, frames, strict=True))).fill_nan(None), arrays)


def _rows(
    blocks: Iterable[tuple[list[Tensor], list[Tensor]]], chosen: np.ndarray, rows: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the chosen rows of every document, for each layer of both models."""
    parts: tuple[list[list[Tensor]], ...] = ([], [])
    first = 0
    for block in blocks:
        count = len(block[0][0]) // rows
        places = (np.arange(count)[:, None] * rows + chosen[first : first + count]).ravel()
        for part, side in zip(parts, block, strict=True):
            part.append([layer[torch.from_numpy(places)] for layer in side])
        first += count
    a, b = ([torch.cat(layers) for layers in zip(*part, strict=True)] for part in parts)
    return a, b


def _grams(layers: list[Tensor], scale: str) -> Tensor:
    return torch.stack([gram(standardised(layer) if scale == "standardised" else layer) for layer in layers])


def _without(a: Tensor, b: Tensor, kept: Tensor) -> np.ndarray:
    a, b = (side[:, kept][:, :, kept] for side in (a, b))
    return debiased_cka_of_grams(a, b).numpy()
