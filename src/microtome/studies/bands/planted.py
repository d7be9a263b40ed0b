"""Synthetic data in which every claim is true, or none is, for the study's power and its false alarms."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from microtome.studies.bands.arms import evaluation_steps
from microtome.studies.bands.config import BandsConfig
from microtome.studies.bands.data import Data
from microtome.studies.bands.plan import seeds

LAYERS, NEURONS = 3, 20
"""Neurons of each band of each layer."""
NOISE = 0.006
"""Nats by which models of one arm differ."""


@dataclass(frozen=True)
class Truth:
    """What is planted."""

    loss: dict[str, float]
    """Of each arm, beside the baseline's, in nats per token."""
    universal: tuple[float, float, float]
    """Share of universal neurons: of the full model's slow bands, of its others, of all other arms."""
    overlap: tuple[float, float]
    """Chance that a neuron universal on text is so on random tokens: in the full model, elsewhere."""
    slope: float
    """Cycles per token from the first band's centroid to the last's."""
    late: float
    """Share of training after which the last band settles, the first settling at once."""
    grok: bool
    """Whether bands are worth as much on held-out text only late."""
    rough: float
    """Roughness of the training loss with a rate for each band, relative to one rate."""
    reference: tuple[float, float]
    """Share of neurons in the reference: full, baseline; band 0 of the full model has twice that."""


EFFECT = Truth(
    loss={"full": -0.12, "no-wormhole": -0.08, "bands-only": -0.04},
    universal=(0.5, 0.1, 0.05),
    overlap=(0.9, 0.3),
    slope=0.15,
    late=0.6,
    grok=True,
    rough=0.4,
    reference=(0.3, 0.1),
)
NULL = Truth(
    loss=dict.fromkeys(("full", "no-wormhole", "bands-only"), 0.02),
    universal=(0.2, 0.2, 0.2),
    overlap=(0.5, 0.5),
    slope=0.0,
    late=0.0,
    grok=False,
    rough=1.25,
    reference=(0.1, 0.1),
)
EFFECTS = {
    "loss": "-0.12 nats per token",
    "bands-loss": "-0.04 nats per token",
    "rates-loss": "-0.04 nats per token",
    "wormhole-loss": "-0.04 nats per token",
    "more-universal": "27 % of neurons against 5 %",
    "low-bands": "50 % of slow bands' neurons against 10 %",
    "overlap": "90 % of a band model's universal neurons on both inputs, 30 % of a baseline's",
    "order": "centroids rise by 0.15 cycles from the first band to the last",
    "early-low-bands": "the last band settles after 60 % of training, the first at once",
    "grokking": "every band settles on held-out text at three times its time on training text",
    "stability": "roughness 0.4 of that with one rate",
    "reference": "30 % of neurons against 10 %",
    "band-0": "twice the share in band 0",
}


def simulate(config: BandsConfig, rng: np.random.Generator, planted: bool) -> Data:
    """Return one run's synthetic data; half of a loss's noise is the seed's, which pairing removes."""
    truth = EFFECT if planted else NULL
    shared = {seed: NOISE * rng.standard_normal() for seed in seeds(config)}
    models = [
        (arm, seed, scale) for arm in config.arms for scale in config.lr_scales for seed in seeds(config)
    ]
    curves = [_curves(config, truth, rng, arm, scale, shared[seed]) for arm, seed, scale in models]
    features = [_features(config, truth, rng, arm) for arm, _, _ in models] if config.seeds > 1 else []
    compared = [model for model in models if model[0] in ("baseline", "full")]
    reference = (
        [_reference(config, truth, rng, arm) for arm, _, _ in compared] if config.reference_model else []
    )
    return Data(_joined(curves, models), _joined(features, models), _joined(reference, compared))


def _joined(frames: list[pl.DataFrame], models: list[tuple[str, int, float]]) -> pl.DataFrame:
    labelled = [
        frame.with_columns(
            pl.lit(arm).alias("arm"), pl.lit(seed).alias("seed"), pl.lit(float(scale)).alias("scale")
        )
        for frame, (arm, seed, scale) in zip(frames, models, strict=False)
    ]
    return pl.concat(labelled) if labelled else pl.DataFrame()


def _curves(
    config: BandsConfig, truth: Truth, rng: np.random.Generator, arm: str, scale: float, shared: float
) -> pl.DataFrame:
    steps, bands = evaluation_steps(config), len(config.band_dims)
    sweep = 0.05 * abs(np.log2(scale / config.lr_scales[len(config.lr_scales) // 2]))
    last = 4.0 + truth.loss.get(arm, 0.0) + sweep + shared + NOISE * rng.standard_normal()
    rows: list[tuple[Any, ...]] = [
        ("check", config.steps, None, "parameters", 1e6),
        ("check", config.steps, None, "leak", 0.0),
    ]
    for i, step in enumerate(steps):
        loss = last + 3 * np.exp(-4 * i / (len(steps) - 1)) - 3 * np.exp(-4)
        rows += [
            ("evaluations", step, None, "held_out", loss),
            ("evaluations", step, None, "train", loss - 0.02),
        ]
    rough = 0.05 * (truth.rough if arm in ("full", "no-wormhole") else 1.0)
    rows += [("metrics", i + 1, None, "loss", last + rough * rng.standard_normal()) for i in range(100)]
    for band in range(bands):
        settles = truth.late * band / (bands - 1) if truth.late else rng.random() * 0.6
        for side, slower in (("train", 1.0), ("held_out", 3.0 if truth.grok else 1.0)):
            for i, step in enumerate(steps):
                done = i / (len(steps) - 1) >= min(settles * slower if truth.grok else settles, 1.0)
                rows.append(("observations", step, band, f"rise {side}", 0.1 if done else 0.0))
    schema = {"table": pl.String, "step": pl.Int64, "band": pl.Int64, "name": pl.String, "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _bands(config: BandsConfig) -> np.ndarray:
    return np.tile(np.repeat(np.arange(len(config.band_dims)), NEURONS), LAYERS)


def _features(config: BandsConfig, truth: Truth, rng: np.random.Generator, arm: str) -> pl.DataFrame:
    from microtome.studies.bands.summaries import low_bands

    band = _bands(config)
    n, low = len(band), band < low_bands(len(config.band_dims))
    slow, fast, other = truth.universal
    share = np.where(low, slow, fast) if arm == "full" else np.full(n, other)
    on_text = rng.random(n) < share
    kept = truth.overlap[0] if arm == "full" else truth.overlap[1]
    on_random = on_text & (rng.random(n) < kept) | ~on_text & (
        rng.random(n) < (1 - kept) * share / (1 - share)
    )
    centroid = 0.2 + truth.slope * (arm == "full") * band / band.max() + 0.03 * rng.standard_normal(n)
    frames = []
    for condition, members in (("text", on_text), ("random", on_random)):
        excess = np.where(members, config.threshold_excess + 0.2, 0.0)
        frames.append(
            pl.DataFrame(
                {
                    "neuron": np.tile(np.arange(n // LAYERS), LAYERS),
                    "match": 0,
                    "r": excess,
                    "rotated": 0.0,
                    "excess": excess,
                    "aligned": np.where(members, config.aq_threshold + 0.2, 0.0),
                    "centroid": centroid,
                    "centroid_published": centroid,
                    "layer": np.repeat(np.arange(LAYERS), n // LAYERS),
                    "condition": condition,
                    "step": config.steps,
                    "final": True,
                    "band": band,
                }
            )
        )
    return pl.concat(frames)


def _reference(config: BandsConfig, truth: Truth, rng: np.random.Generator, arm: str) -> pl.DataFrame:
    band = _bands(config)
    share = np.full(len(band), truth.reference[0 if arm == "full" else 1])
    if arm == "full" and truth is EFFECT:
        share = np.where(band == 0, 2 * share, share)
    members = rng.random(len(band)) < share
    excess = np.where(members, config.threshold_excess + 0.2, 0.0)
    layer = np.repeat(np.arange(LAYERS), len(band) // LAYERS)
    return pl.DataFrame({"neuron": np.arange(len(band)), "excess": excess, "layer": layer, "band": band})
