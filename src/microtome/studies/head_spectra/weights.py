"""Every head's metric in each role: the model's own, its untrained twin's, and planted copies of the anchor."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtome.lab.seeds import stream
from microtome.models import Model
from microtome.studies.head_spectra.metric import Factors, MetricOptions, metric_factors
from microtome.studies.head_spectra.plan import METRIC

NOISE = 0.02
"""Norm of the noise on planted queries, relative to theirs."""
COLDEST, HOTTEST = 0.5, 2.0
"""Smallest and largest planted temperature."""


def options(spec: Mapping[str, Any]) -> MetricOptions:
    """Return the metric's options as a unit's spec gives them."""
    return MetricOptions(**{name: spec[name] for name in METRIC})


def factors(model: Model, spec: Mapping[str, Any], layer: int, anchor: int | None = None) -> Factors:
    """Return the factors of a layer's heads in the role of the spec.

    Planted copies keep the anchor's keys; their queries are the anchor's times T, plus noise. T runs evenly, on a
    logarithmic scale, from .5 to 2 over the layers.
    """
    if spec["role"] != "planted":
        return metric_factors(model, layer, options(spec))
    assert anchor is not None, "planted copies are copies of an anchor"
    of_anchor = metric_factors(model, anchor, options(spec))
    layers = model.anatomy.layers
    temperature = COLDEST * (HOTTEST / COLDEST) ** (layer / (layers - 1))
    if layer == anchor:
        return of_anchor
    noise = _noise(of_anchor.q, stream(spec["seed"], "planted", layer))
    return Factors(temperature * (of_anchor.q + noise), of_anchor.k)


def _noise(q: Tensor, rng: np.random.Generator) -> Tensor:
    drawn = torch.from_numpy(rng.standard_normal(q.shape)).to(q)
    norms = torch.linalg.matrix_norm(q, keepdim=True) / torch.linalg.matrix_norm(drawn, keepdim=True)
    return NOISE * norms * drawn


def for_each_head(one: Factors) -> tuple[Tensor, Tensor]:
    """Return queries and keys ``[heads, d_head, d]``, the keys repeated for the heads that share them."""
    return one.q, one.k.repeat_interleave(len(one.q) // len(one.k), 0)
