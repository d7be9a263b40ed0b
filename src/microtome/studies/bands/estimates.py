"""The estimates of all predictions: means over models of one number, or of its difference between two arms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from microtome.lab.estimate import Estimate
from microtome.lab.means import mean_estimate
from microtome.lab.seeds import stream
from microtome.studies.bands.config import BandsConfig
from microtome.studies.bands.data import Data
from microtome.studies.bands.summaries import by_seed

UNIT = "seeds"


@dataclass(frozen=True)
class Contrast:
    """A number of one arm, or of two arms' models of the same seed the first's less the second's."""

    name: str
    arm: str
    less: str | None = None
    log: bool = False
    """Whether logarithms are subtracted."""


CONTRASTS: Mapping[str, Contrast] = {
    "loss": Contrast("loss", "full", "baseline"),
    "bands-loss": Contrast("loss", "bands-only", "baseline"),
    "rates-loss": Contrast("loss", "no-wormhole", "bands-only"),
    "wormhole-loss": Contrast("loss", "full", "no-wormhole"),
    "more-universal": Contrast("universal", "full", "baseline"),
    "low-bands": Contrast("low", "full"),
    "overlap": Contrast("overlap", "full", "baseline"),
    "order": Contrast("order", "full"),
    "early-low-bands": Contrast("early", "full"),
    "grokking": Contrast("grokked", "full"),
    "stability": Contrast("roughness", "no-wormhole", "bands-only", log=True),
    "reference": Contrast("reference", "full", "baseline"),
    "band-0": Contrast("reference band 0", "full"),
}
"""What each prediction is about."""


def estimates(config: BandsConfig, data: Data, levels: Sequence[float]) -> dict[str, Estimate]:
    """Return the estimate of every prediction."""
    table = by_seed(config, data)
    return {name: estimate(config, table, contrast, levels) for name, contrast in CONTRASTS.items()}


def estimate(
    config: BandsConfig, table: pl.DataFrame, contrast: Contrast, levels: Sequence[float]
) -> Estimate:
    """Return the mean over seeds with Student's intervals; missing where a model of the comparison is."""
    method = "mean over seeds, Student's interval" + (", paired by seed" if contrast.less else "")
    values = values_of(table, contrast)
    if len(values) < config.seeds:
        return Estimate.missing(_why(config, contrast, len(values)), n=len(values), unit=UNIT, method=method)
    return mean_estimate(values, levels, UNIT, method)


def values_of(table: pl.DataFrame, contrast: Contrast) -> np.ndarray:
    """Return the number, or difference, of each seed that has it."""
    sides = [
        table.filter(
            (pl.col("name") == contrast.name) & (pl.col("arm") == arm) & pl.col("value").is_not_null()
        ).select("seed", "value")
        for arm in (contrast.arm, contrast.less)
        if arm is not None
    ]
    if len(sides) == 1:
        return sides[0].sort("seed")["value"].to_numpy()
    joined = sides[0].join(sides[1], on="seed", suffix=" less").sort("seed")
    first, second = (joined[name].to_numpy() for name in ("value", "value less"))
    return np.log(first) - np.log(second) if contrast.log else first - second


def _why(config: BandsConfig, contrast: Contrast, found: int) -> str:
    arms = " or ".join(arm for arm in (contrast.arm, contrast.less) if arm)
    if contrast.name.startswith("reference") and config.reference_model is None:
        return "no reference model was given (option reference_model)"
    if config.seeds < 2 and contrast.name in ("universal", "low", "overlap", "order"):
        return (
            "neurons are compared between models that differ in their seed, and there is one (option seeds)"
        )
    reasons = {
        "overlap": "no neuron is universal on either kind of input",
        "early": "too few bands are worth anything, or all settle at once",
        "grokked": "no band is worth anything on held-out text",
    }
    why = reasons.get(contrast.name, f"a model of {arms} diverged at every scale of the rates")
    return f"defined for {found} of {config.seeds} seeds: {why}"


def shuffled_orders(config: BandsConfig, band: np.ndarray, centroid: np.ndarray) -> np.ndarray:
    """Return the order of bands and centroids under ``resamples`` random labels."""
    from microtome.studies.bands.summaries import order

    rng = stream(config.seed, "shuffled bands")
    return np.array([order(rng.permutation(band), centroid) for _ in range(config.resamples)])
