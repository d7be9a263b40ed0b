"""Neurons of two models on the same tokens: which of one model's have a counterpart in the other, beyond chance.

``controlled``: the best match is chosen on one half of the sequences and scored on the other, and so is the best match
with randomly rotated neurons, whose correlation is subtracted. ``published``: Procrustes' rotation fitted and scored on
the same tokens, as the original's Experiment 000 does.
"""

import numpy as np
import polars as pl
from torch import Tensor

from microtome.lab.seeds import stream
from microtome.measure.frequency import power_spectrum, spectral_centroid
from microtome.measure.linear_maps import in_sample_procrustes
from microtome.measure.pearson import paired_pearson, pearson
from microtome.measure.rotations import random_rotation


def layer_features(
    x: Tensor, y: Tensor, rotations: int, seed: int, *, published: bool = True, spectra: bool = True
) -> pl.DataFrame:
    """Return a row for each neuron of ``x`` in one layer.

    Columns: ``neuron``; ``match`` (neuron of ``y``), ``r`` (held out), ``rotated`` (held out, mean over rotations),
    ``excess`` their difference; ``aligned`` (published, in sample); ``centroid`` of the controlled spectrum (without
    DC) and ``centroid_published``, in cycles per token.

    Args:
        x: ``[n, T, m]``.
        y: ``[n, T, k]``, on the same tokens (or words).
        rotations: How many.
        seed: Of the rotations.
        published: Whether to fit Procrustes' rotation; else ``aligned`` is missing.
        spectra: Whether neighbouring positions are neighbouring tokens; else centroids are missing.
    """
    half = len(x) // 2
    select, score = (
        [side.flatten(0, 1).double().numpy() for side in (x[at], y[at])]
        for at in (slice(None, half), slice(half, None))
    )
    match, r = _best(select, score)
    rotated = [
        _best([select[0], select[1] @ q], [score[0], score[1] @ q])[1]
        for q in (random_rotation(y.shape[-1], stream(seed, "rotation", i)).numpy() for i in range(rotations))
    ]
    baseline = np.mean(rotated, 0)
    columns: dict[str, np.ndarray] = {
        "neuron": np.arange(x.shape[-1]),
        "match": match,
        "r": r,
        "rotated": baseline,
        "excess": r - baseline,
    }
    missing = np.full(x.shape[-1], np.nan)
    columns["aligned"] = _aligned(x, y) if published else missing
    columns["centroid"] = (
        spectral_centroid(power_spectrum(x.double(), "hann", remove_mean=True), without_dc=True)
        if spectra
        else missing
    )
    columns["centroid_published"] = (
        spectral_centroid(power_spectrum(x.double()), without_dc=False) if spectra else missing
    )
    return pl.DataFrame(columns).with_columns(pl.col(pl.Float64).fill_nan(None))


def _best(select: list[np.ndarray], score: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return each neuron's best match on ``select`` and their correlation on ``score``; -1 and nan where undefined."""
    r = np.nan_to_num(pearson(*select), nan=-2.0)
    match = r.argmax(1)
    held_out = paired_pearson(score[0], score[1][:, match])
    known = r[np.arange(len(r)), match] > -2
    return np.where(known, match, -1), np.where(known, held_out, np.nan)


def _aligned(x: Tensor, y: Tensor) -> np.ndarray:
    rows = [side.flatten(0, 1).double().numpy() for side in (x, y)]
    found = np.full(x.shape[-1], np.nan)
    same = min(x.shape[-1], y.shape[-1])
    found[:same] = in_sample_procrustes(rows[0], rows[1], standardise=False).correlations[:same]
    return found
