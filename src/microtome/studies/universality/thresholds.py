"""The original's rules for which neurons are Action Quanta."""

import numpy as np
import polars as pl
from jaxtyping import Bool

from microtome.studies.universality.config import UniversalityConfig

KINDS = ("statistical", "percentile", "fixed")


def action_quanta(config: UniversalityConfig, neurons: pl.DataFrame, kind: str) -> Bool[np.ndarray, "n"]:
    """Return which indices are Action Quanta of the aligned version, by a rule applied in each layer.

    statistical: correlation after Procrustes above mean + 2 standard deviations; percentile: above the percentile;
    fixed: above the threshold. (The first fixes the answer near 2 %, the second near 5 %, whatever the data.)
    """
    found = np.zeros(len(neurons), bool)
    r = neurons["aligned"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    layers = neurons["layer"].to_numpy()
    for layer in np.unique(layers):
        own = layers == layer
        with np.errstate(invalid="ignore"):
            found[own] = r[own] > limit(config, r[own], kind)
    return found


def limit(config: UniversalityConfig, r: np.ndarray, kind: str) -> float:
    """Return the correlation above which a rule counts a neuron of one layer."""
    known = r[~np.isnan(r)]
    if kind == "fixed":
        return config.fixed
    if not len(known):
        return float("nan")
    if kind == "percentile":
        return float(np.percentile(known, config.percentile))
    return float(known.mean() + 2 * known.std())


def basic_quanta(config: UniversalityConfig, neurons: pl.DataFrame) -> Bool[np.ndarray, "n"]:
    """Return which indices are Action Quanta of the basic version: an excess above AQ_THRESHOLD."""
    return (neurons["excess"] > config.aq_threshold).fill_null(value=False).to_numpy()
