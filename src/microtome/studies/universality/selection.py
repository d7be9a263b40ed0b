"""Best matches on one half of the documents: one pass over the text for a few of B's layers, all of A's at once."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from microtome.base.files import atomic, cache_folder
from microtome.lab.seeds import stream
from microtome.lab.study import Measurement
from microtome.measure.cross_moments import CrossMoments
from microtome.measure.matching import one_to_one
from microtome.measure.rotations import random_rotation, rotation_maxima
from microtome.studies.universality.matches import TOP
from microtome.studies.universality.plan import Comparison

Blocks = Callable[[Mapping[str, Any], Sequence[int]], Iterator[tuple[list[Tensor], list[Tensor]]]]
CHECKPOINT_SECONDS = 120.0
"""The most that a killed pass loses."""
DOCUMENTS_A_STEP = 32


def select(
    comparison: Comparison,
    stripe: range,
    blocks: Blocks,
    spec: Mapping[str, Any],
    documents: range,
    unit: str,
) -> Measurement:
    """Stream the text through both models, then read the best matches from the moments.

    Args:
        comparison: The models and their layers.
        stripe: Places of B's layers that this pass takes.
        blocks: Gives both models' activations on some documents.
        spec: The unit's, with B's layers cut to the stripe.
        documents: Those that select.
        unit: The unit's id; its checkpoint is kept in the cache under it.
    """
    matched = spec["pairs"] == "matched"
    pairs = [_within(partners, stripe) for partners in comparison.partners(matched)]
    moments = CrossMoments(
        [comparison.a.neurons] * len(comparison.a.layers),
        [comparison.b.neurons] * len(stripe),
        pairs,
        spec["precision"],
    )
    _accumulate(moments, blocks, spec, documents, unit)
    return _Best(comparison, stripe, moments, spec).measurement()


@lru_cache(maxsize=16)
def rotation(seed: int, draw: int, neurons: int) -> Tensor:
    """Return one of the run's rotations, which all of B's layers share; it is kept, since it takes long to draw."""
    return random_rotation(neurons, stream(seed, "rotation", draw), torch.float32)


def _within(partners: range, stripe: range) -> range:
    """Return the places of the partners in the stripe, none as an empty range."""
    first, last = max(partners.start, stripe.start), min(partners.stop, stripe.stop)
    return range(first - stripe.start, last - stripe.start) if first < last else range(0)


def _accumulate(
    moments: CrossMoments, blocks: Blocks, spec: Mapping[str, Any], documents: range, unit: str
) -> None:
    """Add all documents, going on from a checkpoint where a killed pass left one."""
    checkpoint = cache_folder("universality") / f"{unit}.safetensors"
    done, saved = _restore(moments, checkpoint), time.monotonic()
    for first in range(done, len(documents), DOCUMENTS_A_STEP):
        step = documents[first : first + DOCUMENTS_A_STEP]
        for x, y in blocks(spec, step):
            moments.update(x, y)
        if time.monotonic() - saved > CHECKPOINT_SECONDS and step[-1] != documents[-1]:
            _save(moments, first + len(step), checkpoint)
            saved = time.monotonic()
    checkpoint.unlink(missing_ok=True)


def _save(moments: CrossMoments, done: int, path: Path) -> None:
    from safetensors.torch import save_file

    with atomic(path) as temporary:
        save_file(moments.state() | {"documents": torch.tensor(done)}, temporary)


def _restore(moments: CrossMoments, path: Path) -> int:
    """Take over a checkpoint and return how many documents are in it; one that is damaged counts as none."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with suppress(FileNotFoundError, SafetensorError, KeyError):
        state = load_file(path)
        done = int(state.pop("documents"))
        moments.restore(state)
        return done
    return 0


class _Best:
    """The best matches of all of A's neurons in the stripe, one of B's layers after the other."""

    def __init__(
        self, comparison: Comparison, stripe: range, moments: CrossMoments, spec: Mapping[str, Any]
    ) -> None:
        self.comparison = comparison
        self.stripe = stripe
        self.moments = moments
        self.spec = spec
        self.width = comparison.a.neurons
        n = self.width * len(comparison.a.layers)
        self.r = torch.full((n, TOP), -torch.inf)
        self.index = torch.full((n, TOP), -1)
        self.rotated = torch.full((spec["rotations"], n), -torch.inf)
        self.turned = torch.full(self.rotated.shape, -1)
        self.turned_sd = torch.full(self.rotated.shape, torch.nan)
        self.assigned = np.full(n, -1)
        self.back: list[np.ndarray] = []
        self.tiles: list[dict[str, Any]] = []

    def measurement(self) -> Measurement:
        for place in range(len(self.stripe)):
            self.layer(place)
        a, b = self.moments.a, self.moments.b
        layers_a, layers_b = range(len(self.comparison.a.layers)), range(len(self.stripe))
        arrays = {
            "top_r": self.r.numpy(),
            "top_index": self.index.int().numpy(),
            "rotated": self.rotated.numpy(),
            "turned": self.turned.int().numpy(),
            "turned_sd": self.turned_sd.numpy(),
            "assigned": self.assigned,
            "back_index": np.concatenate(self.back),
            "mean_a": torch.cat([a.mean(i) for i in layers_a]).numpy(),
            "sd_a": torch.cat([a.sd(i) for i in layers_a]).numpy(),
            "mean_b": torch.cat([b.mean(i) for i in layers_b]).numpy(),
            "sd_b": torch.cat([b.sd(i) for i in layers_b]).numpy(),
        }
        schema = {"layer_a": pl.Int64, "layer_b": pl.Int64, "best": pl.Float64, "rotated": pl.Float64}
        return Measurement(pl.DataFrame(self.tiles, schema=schema), arrays)

    def layer(self, place: int) -> None:
        """Take the matches in one of B's layers."""
        compared = [i for i, layers in enumerate(self.moments.pairs) if place in layers]
        if not compared:
            self.back.append(np.full(self.comparison.b.neurons, -1))
            return
        covariance = torch.cat([self.moments.covariance(i, place) for i in compared]).float()
        sd = torch.cat([self.moments.a.sd(i) for i in compared]).float()
        rows = torch.cat([torch.arange(i * self.width, (i + 1) * self.width) for i in compared])
        r = covariance / torch.outer(sd, self.moments.b.sd(place).float())
        known = r.nan_to_num(-torch.inf)
        first = (self.stripe.start + place) * self.comparison.b.neurons
        self._merge(rows, known, first)
        back = known.max(0)
        self.back.append(torch.where(back.values > -torch.inf, rows[back.indices], -1).numpy())
        turned = rotation_maxima(
            covariance, sd, self.moments.covariance_within(place).float(), self._rotations()
        )
        better = turned.r.nan_to_num(-torch.inf) > self.rotated[:, rows]
        for kept, new in (
            (self.rotated, turned.r),
            (self.turned, turned.index + first),
            (self.turned_sd, turned.sd),
        ):
            kept[:, rows] = torch.where(better, new, kept[:, rows])
        for i, tile, rotated in zip(
            compared, known.split(self.width), turned.r.split(self.width, 1), strict=True
        ):
            self._tile(i, place, tile.amax(1), rotated)
            if self.comparison.matched(i) == range(self.stripe[place], self.stripe[place] + 1):
                partner = one_to_one(tile.masked_fill(tile == -torch.inf, torch.nan).double().numpy())
                own = slice(i * self.width, (i + 1) * self.width)
                self.assigned[own] = np.where(partner >= 0, first + partner, -1)

    def _merge(self, rows: Tensor, r: Float[Tensor, "m k"], first: int) -> None:
        """Keep the best of those so far and of these."""
        top = r.topk(min(TOP, r.shape[1]), dim=1)
        values = torch.cat([self.r[rows], top.values], 1)
        index = torch.cat(
            [self.index[rows], torch.where(top.values > -torch.inf, top.indices + first, -1)], 1
        )
        best = values.topk(TOP, dim=1)
        self.r[rows], self.index[rows] = best.values, index.gather(1, best.indices)

    def _rotations(self) -> Iterator[Tensor]:
        spec = self.spec
        return (rotation(spec["seed"], draw, self.comparison.b.neurons) for draw in range(spec["rotations"]))

    def _tile(self, i: int, place: int, best: Tensor, rotated: Tensor) -> None:
        defined = best[best > -torch.inf]
        self.tiles.append(
            {
                "layer_a": self.comparison.a.layers[i],
                "layer_b": self.comparison.b.layers[self.stripe[place]],
                "best": float(defined.mean()) if len(defined) else None,
                "rotated": float(rotated.nanmean()) if len(defined) else None,
            }
        )
