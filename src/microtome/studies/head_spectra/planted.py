"""Synthetic data in which every claim is true, or none is, for the study's power and its false alarms.

Spectra are those of Gaussian products, or multiples of one of them with noise; what the operators' fits would give is
drawn around its expected value. They go through the same analysis as real data.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from microtome.lab.seeds import stream
from microtome.measure.gaussian import gaussian_products
from microtome.measure.rescale import Anchor, Spectra, anchor_layer, fit_to_layer
from microtome.studies.head_spectra.config import HeadSpectraConfig
from microtome.studies.head_spectra.data import Data, Gaussian, Role, Subject
from microtome.studies.head_spectra.measure import by_head, without

LAYERS, HEADS, GROUPS, D_HEAD, D = 24, 6, 2, 8, 96
SPREAD = 0.1
"""Standard deviation of a head's residual or rank, relative to its expected value."""


@dataclass(frozen=True)
class Truth:
    """What is planted."""

    copies: bool
    """Whether the spectra are multiples of one layer's, or each those of Gaussian products."""
    residual: float
    """Of the operators' fit; that of random bases is .95."""
    aligned: float
    """The same after rotation; that of random bases is .4."""
    rank: float
    """Of the correction needed; without the anchor it is 6."""
    sharpness: float
    """Share of the variance of entropy that log T explains."""


RANDOM_RESIDUAL, RANDOM_ALIGNED, OWN_RANK = 0.95, 0.4, 6.0
EFFECT = Truth(copies=True, residual=0.05, aligned=0.05, rank=1.0, sharpness=0.6)
NULL = Truth(copies=False, residual=RANDOM_RESIDUAL, aligned=RANDOM_ALIGNED, rank=OWN_RANK, sharpness=0.0)
NOISE = 0.002
"""Of planted copies' singular values, relative to each."""
SCALES = (0.5, 1.0)
"""Standard deviations of log T, and of the log of a head's own scale, which its operator norm has and T has not."""

EFFECTS = {
    "spectral-copy": "multiples of the anchor's spectra with 0.2 % noise: far below the residual of Gaussian products",
    "shared-shape": "the same: residual of the anchor a fraction of the common shape's",
    "operator-copy": f"residual {EFFECT.residual:g}",
    "aligned-copy": f"residual {EFFECT.aligned:g} after rotation, {RANDOM_ALIGNED:g} in random bases",
    "low-rank": f"rank {EFFECT.rank:g} of {OWN_RANK:g}",
    "temperature": f"T explains {EFFECT.sharpness:.0%} of the variance of entropy",
    "beyond-norm": f"entropy follows T; heads have scales of their own, {SCALES[1]:g} log units apart",
}


def simulate(config: HeadSpectraConfig, rng: np.random.Generator, planted: bool) -> Data:
    """Return one run's synthetic data; every model of the config is 24 layers of 6 small heads."""
    truth = EFFECT if planted else NULL
    gaussian = _gaussian(config.anchor, config.draws, config.seed)
    return tuple(
        Subject(
            label,
            {
                "model": _role(config, truth, rng),
                "untrained": _role(config, NULL, rng),
                "planted": _role(config, EFFECT, rng),
            },
            gaussian,
        )
        for label in config.labels
    )


@cache
def _gaussian(anchor: Anchor, draws: int, seed: int) -> Gaussian:
    """Return the null of the small models; all simulated runs share it, as they would share their sizes."""
    rng = stream(seed, "Gaussian products of simulations")
    drawn = gaussian_products(HEADS, GROUPS, D_HEAD, D, draws * LAYERS, rng).numpy()
    models = drawn.reshape(draws, LAYERS, HEADS, D_HEAD)
    residuals = []
    for spectra in models:
        at = anchor_layer(spectra, anchor)
        residuals.append(without(fit_to_layer(spectra, at).residual, at).mean())
    shape = (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).mean((0, 1))
    return Gaussian(np.array(residuals), shape, models[0])


def _role(config: HeadSpectraConfig, truth: Truth, rng: np.random.Generator) -> Role:
    log_t = SCALES[0] * rng.standard_normal((LAYERS, HEADS))
    spectra = _spectra(truth, rng) * np.exp(log_t + SCALES[1] * rng.standard_normal(HEADS))[..., None]
    unrelated = rng.standard_normal(log_t.shape)
    entropy = -np.sqrt(truth.sharpness) * log_t / SCALES[0] + np.sqrt(1 - truth.sharpness) * unrelated

    def around(expected: float) -> np.ndarray:
        return (expected * (1 + SPREAD * rng.standard_normal(log_t.size))).clip(
            0, 1 if expected < 1 else None
        )

    columns = {
        "residual_same": around(truth.residual),
        "residual": around(truth.residual),
        "random_residual": around(RANDOM_RESIDUAL),
        "aligned_residual": around(truth.aligned),
        "random_aligned_residual": around(RANDOM_ALIGNED),
        "rank": around(truth.rank),
        "own_rank": around(OWN_RANK),
    }
    return Role(
        spectra=spectra,
        anchor=anchor_layer(spectra, config.anchor),
        attention={"normalised": entropy, "entropy": entropy},
        error_bound=np.zeros(log_t.shape),
        operators=by_head(log_t.shape).with_columns(match=pl.col("head"), **columns),
    )


def _spectra(truth: Truth, rng: np.random.Generator) -> Spectra:
    drawn = gaussian_products(HEADS, GROUPS, D_HEAD, D, LAYERS, rng).numpy()
    if not truth.copies:
        return drawn
    copies = drawn[0] * (1 + NOISE * rng.standard_normal(drawn.shape))
    return -np.sort(-copies, axis=-1)
