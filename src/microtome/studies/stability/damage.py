"""Damage: effective ranks of every layer's activations, and the loss, in one pass over held-out text.

Beside the forward pass it costs a product of ``2 n d^2`` operations for each layer, which itself takes ten or twelve
times as many. Spectra come after it, ``O(d^3)`` each and on the CPU: six of a layer, and one of each draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from microtome.base.errors import UserError
from microtome.capture.batches import Batch, batches, tokenize
from microtome.capture.continuations import next_logprobs
from microtome.capture.passes import decode, running
from microtome.studies.stability.ranks import MEASURES, drawn, summaries
from microtome.studies.stability.selections import LayerRows

if TYPE_CHECKING:
    from microtome.corpora import PackedTokens
    from microtome.models import Model

GROUPS = 20
"""Groups of documents that the bootstrap draws from, at most."""


@dataclass(frozen=True, eq=False)
class Damage:
    """The ranks of a model's activations on a text, and its loss.

    A layer is counted in blocks passed: 0 is the output of the embedding, 1 that of the first block, ``resid_post.0``.
    """

    rows: list[dict[str, Any]]
    """For each layer, selection, centring and measure: ``value``, ``n`` rows, whether these are ``few``, and a ``note``
    that says why a value is nan."""
    arrays: dict[str, np.ndarray]
    """``spectrum.SELECTION.centred|uncentred [d]`` of the middle block; ``draws.MEASURE [B]``, ln of the measure of its
    kept rows, centred, and ``draws.nats [B]``; ``groups.nats``, ``groups.tokens`` and ``groups.nonfinite [G]``."""
    limits: dict[int, float]
    """Of each layer: the norm up to which rows are kept."""
    nats: float
    """Mean cross-entropy of the tokens at which it is finite, in nats; nan if there are none."""
    nonfinite: int
    """Predicted tokens at which it is not."""
    tokens: int
    """Predicted tokens."""
    middle: int
    """The layer of the middle block."""

    def value(self, measure: str, layer: int, selection: str = "kept", centred: bool = True) -> float:
        """Return one value of ``rows``."""
        wanted = {"layer": layer, "selection": selection, "centred": centred, "measure": measure}
        return next(row["value"] for row in self.rows if wanted.items() <= row.items())

    @property
    def massive(self) -> int:
        """Rows of the middle block beyond its limit, first tokens apart."""
        n = {row["selection"]: row["n"] for row in self.rows if row["layer"] == self.middle}
        return n["without first"] - n["kept"]


def middle_block(model: Model) -> int:
    """Return the block, from 0, whose output the original measures: half of their number."""
    return model.anatomy.layers // 2


def document_groups(text: PackedTokens, groups: int = GROUPS) -> Int[np.ndarray, " n"]:
    """Return the group of each block of text, from 0: up to ``groups`` runs of blocks that are about equally long.

    Blocks that open with the same document are in one group, so only the end of a document that lies in its first
    block, behind the end of another, is ever in the group before.
    """
    _, opens, document = np.unique(text.documents[:, 0], return_index=True, return_inverse=True)
    return np.unique(opens[document] * groups // len(text), return_inverse=True)[1]


def damage(
    model: Model,
    text: PackedTokens,
    *,
    rng: np.random.Generator,
    limits: Mapping[int, float] | None = None,
    draws: int = 100,
    layers: Sequence[int] | None = None,
    measures: Sequence[str] = MEASURES,
) -> Damage:
    """Measure ranks at all layers and the loss on held-out text in one pass.

    The bootstrap draws groups of documents, as many as there are, with replacement. It asks ``rng`` for nothing else,
    so two models that are measured on one text with streams of one name have the same draws: their differences are
    paired. A draw holds fewer different rows than the text, so only differences of draws are to be read.

    Args:
        model: A loaded model.
        text: Held-out blocks of at least two tokens.
        rng: Of the bootstrap.
        limits: Those of the healthy model, so that a damaged one's rows are kept by the same rule. ``None``: ten times
            the median norm of the rows of the first pass (up to 4,096 tokens), first tokens apart.
        draws: Of the bootstrap, B.
        layers: Which, counted in blocks passed; the middle block's is always among them. ``None``: all.
        measures: Names of functions in ``measure.rank``.

    Raises:
        UserError: If the text does not fit the model or is too short, or a layer does not exist.
        ValueError: If a layer lacks a limit.
    """
    sequences = tokenize(model, text.tokens.tolist())
    if text.tokens.shape[1] < 2:
        raise UserError(
            "Expected blocks of at least two tokens, got one: nothing to predict. Use longer blocks."
        )
    return measured(model, sequences, document_groups(text), rng, limits, draws, layers, measures)


@torch.no_grad()
def measured(
    model: Model,
    sequences: Sequence[Sequence[int]],
    groups: Int[np.ndarray, " n"],
    rng: np.random.Generator,
    limits: Mapping[int, float] | None = None,
    draws: int = 100,
    layers: Sequence[int] | None = None,
    measures: Sequence[str] = MEASURES,
) -> Damage:
    """Measure damage on token sequences of any lengths, each of a group of text; see :func:`damage`."""
    middle, count = middle_block(model) + 1, int(groups.max()) + 1
    chosen = _layers(model, layers, middle)
    if limits is not None and (absent := [layer for layer in chosen if layer not in limits]):
        raise ValueError(f"expected a limit of every layer, got none of {', '.join(map(str, absent))}")
    streams = {
        layer: LayerRows(
            model.anatomy.d_model, count if layer == middle else 1, None if limits is None else limits[layer]
        )
        for layer in chosen
    }
    group = torch.from_numpy(groups)
    losses = np.zeros((3, count))  # of each group: sum of finite nats, tokens, tokens that are not finite
    with ExitStack() as hooks:
        for layer, rows in streams.items():
            point = model.anatomy.point(_site(layer))
            hooks.callback(point.attach(model.module, partial(_see, rows, group)).remove)
        for batch in batches(model, sequences):
            hidden = decode(model, batch)
            assert hidden is not None
            _add_losses(losses, model, batch, hidden, group)
    sums, tokens, nonfinite = losses
    finite = tokens - nonfinite
    weights = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    arrays = {
        "groups.nats": _ratio(sums, finite),
        "groups.tokens": tokens.astype(np.int64),
        "groups.nonfinite": nonfinite.astype(np.int64),
        "draws.nats": _ratio(weights @ sums, weights @ finite * (count > 1)),  # one group has no spread
        **drawn(streams[middle].by_group(), weights),
    }
    found: list[dict[str, Any]] = []
    for layer, rows in streams.items():
        for selection, moment in rows.moments().items():
            for centred in (True, False):
                s = moment.spectrum(centred)
                if layer == middle:
                    arrays[f"spectrum.{selection}.{'centred' if centred else 'uncentred'}"] = s
                key = {"layer": layer, "selection": selection, "centred": centred}
                found += [key | row for row in summaries(s, int(moment.n), measures)]
    return Damage(
        rows=found,
        arrays=arrays,
        limits={
            layer: float(np.nan if rows.limit is None else rows.limit) for layer, rows in streams.items()
        },
        nats=float(_ratio(sums.sum(), finite.sum())),
        nonfinite=int(nonfinite.sum()),
        tokens=int(tokens.sum()),
        middle=middle,
    )


def _layers(model: Model, layers: Sequence[int] | None, middle: int) -> list[int]:
    last = model.anatomy.layers
    wanted = range(last + 1) if layers is None else layers
    if wrong := [layer for layer in wanted if not 0 <= layer <= last]:
        raise UserError(
            f"Expected layers from 0, the embedding's output, to {last}, the last block's, got {wrong[0]}. "
            "Layers are counted in blocks passed."
        )
    return sorted({*wanted, middle})


def _site(layer: int) -> str:
    return f"resid_post.{layer - 1}" if layer else "resid_pre.0"


def _see(rows: LayerRows, group: Int[Tensor, " n"], values: Float[Tensor, "B T d"]) -> None:
    batch = running()
    assert batch is not None
    row, column = (torch.arange(batch.width) < batch.lengths[:, None]).nonzero(as_tuple=True)
    flat = values.flatten(0, 1)
    if batch.mask is not None:
        flat = flat[(row * batch.width + column).to(flat.device)]
    rows.update(flat, column == 0, group[batch.rows[row]])


def _add_losses(losses: np.ndarray, model: Model, batch: Batch, hidden: Tensor, group: Tensor) -> None:
    """Add each token's cross-entropy, predicted from the one before it, to its group's."""
    assert batch.tokens is not None
    row, column = (torch.arange(1, batch.width) < batch.lengths[:, None]).nonzero(as_tuple=True)
    if not len(row):
        return
    targets = batch.tokens.cpu()[row, column + 1]
    nats = -next_logprobs(model, hidden, row, column, targets).double().numpy()
    its, broken = group[batch.rows[row]].numpy(), ~np.isfinite(nats)
    for total, values in zip(losses, (np.where(broken, 0, nats), np.ones(len(nats)), broken), strict=True):
        total += np.bincount(its, values, len(total))


def _ratio(sums: Any, counts: Any) -> np.ndarray:
    """Return sums over counts; nan where nothing was counted."""
    sums = np.asarray(sums, np.float64)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=np.asarray(counts) > 0)
