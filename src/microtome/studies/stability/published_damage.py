"""Damage as the original measures it: five stock sentences, mostly padding, at the middle block.

Of the output of block ``layers // 2`` at all 640 positions, padding included and uncentred, the original takes the
entropy rank without small shares; of the same rows, centred, the ratio of the covariance's first two eigenvalues. Its
perplexity shifts labels twice: token ``t + 2`` is predicted from those up to ``t``. The sentences are microtome's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from microtome.base.errors import UserError
from microtome.capture.batches import batches
from microtome.capture.continuations import next_logprobs
from microtome.capture.passes import Stop, decode
from microtome.measure.rank import published_rank, spectral_gap
from microtome.studies.stability.damage import middle_block

if TYPE_CHECKING:
    from microtome.models import Model

SENTENCES = (
    "A small boat came back to the harbour before the storm.",
    "My neighbour grows beans and pumpkins behind the old garage.",
    "Nobody could say who had painted the door green overnight.",
    "The train to the coast leaves at nine and returns after dark.",
    "Water boils sooner on a mountain than it does by the sea.",
)
LENGTH = 128
"""Tokens that each sentence is padded or cut to."""
LONGEST = 512
"""Tokens that a sentence is cut to where its loss is computed, without padding."""
CLIP = 50.0
"""Nats per token at which a sentence's loss is cut off."""


def as_published(model: Model, sentences: Sequence[str] = SENTENCES) -> dict[str, Any]:
    """Return the original's numbers under its names.

    ``perplexity`` is ``exp`` of the mean of the sentences' losses, each cut off at 50 and weighted by its length; those
    that are not finite are left out. ``effective_rank`` and ``spectral_gap`` are as the module says;
    ``singular_values`` are those of the uncentred rows over their sum, the largest first. What is undefined is nan, and
    there are then no singular values.

    Raises:
        UserError: If there are no sentences.
    """
    if not sentences:
        raise UserError("Expected at least one sentence, got none.")
    tokens = model.tokenizer(
        list(sentences),
        padding="max_length",
        truncation=True,
        max_length=min(LENGTH, model.anatomy.context),
        return_tensors="pt",
    ).to(model.device)
    rows = _middle_rows(model, input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
    s, centred = _singular_values(rows), _singular_values(rows - rows.mean(0))
    return {
        "perplexity": _perplexity(model, sentences),
        "effective_rank": _rank(s),
        "spectral_gap": float(spectral_gap(centred)) if np.isfinite(centred).all() else np.nan,
        "singular_values": (s / s.sum()).tolist() if np.isfinite(s).all() and s.any() else [],
    }


def rank_on(model: Model, tokens: Tensor) -> float:
    """Return the original's effective rank on one input, such as the catalyst itself.

    Args:
        model: A loaded model.
        tokens: Ids ``[T]``, or embeddings ``[T, d]``, on any device.

    Returns:
        The rank of the middle block's output ``[T, d]``, uncentred, without small shares; nan if it is not finite.
    """
    name = "inputs_embeds" if tokens.is_floating_point() else "input_ids"
    return _rank(_singular_values(_middle_rows(model, **{name: tokens[None].to(model.device)})))


@torch.no_grad()
def _middle_rows(model: Model, **inputs: Tensor) -> Float[np.ndarray, "n d"]:
    """Return the middle block's output at every position of every row, padding included."""
    seen: list[Tensor] = []

    def see(values: Tensor) -> None:
        seen.append(values)
        raise Stop

    hook = model.anatomy.point(f"resid_post.{middle_block(model)}").attach(model.module, see)
    try:
        model.module.get_submodule(model.anatomy.decoder)(**inputs, use_cache=False)
    except Stop:
        pass
    finally:
        hook.remove()
    return seen[0].flatten(0, 1).double().cpu().numpy()


def _singular_values(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " r"]:
    if not np.isfinite(rows).all():
        return np.full(min(rows.shape), np.nan)
    return np.linalg.svd(rows, compute_uv=False)


def _rank(s: Float[np.ndarray, " r"]) -> float:
    return float(published_rank(s)) if np.isfinite(s).all() else np.nan


@torch.no_grad()
def _perplexity(model: Model, sentences: Sequence[str]) -> float:
    total, weights = 0.0, 0
    longest = min(LONGEST, model.anatomy.context)
    for ids in model.tokenizer(list(sentences), truncation=True, max_length=longest).input_ids:
        if len(ids) < 3:
            continue
        (batch,) = batches(model, [ids])
        hidden = decode(model, batch)
        assert hidden is not None
        assert batch.tokens is not None
        columns = torch.arange(batch.width - 2)
        found = next_logprobs(model, hidden, torch.zeros_like(columns), columns, batch.tokens[0, 2:].cpu())
        loss = -float(found.mean())
        if np.isfinite(loss):
            total += min(loss, CLIP) * (batch.width - 1)  # the original's weight, one more than it predicts
            weights += batch.width - 1
    return float(np.exp(total / weights)) if weights else np.nan
