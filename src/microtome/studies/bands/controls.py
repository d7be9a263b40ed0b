"""The controls of a run: causal models, equal sizes, and labels of bands that mean something."""

import numpy as np
import polars as pl

from microtome.lab.seeds import stream
from microtome.lab.verdict import ControlResult
from microtome.studies.bands.config import BandsConfig
from microtome.studies.bands.data import Data
from microtome.studies.bands.summaries import order

TOLERANCE = 0.005
"""Share by which models of matched parameters may differ."""
POSITIONS, NEURONS = 64, 140
RECOVERED, NOTHING = 0.8, 0.25
"""Order of planted bands that must be found, and of shuffled ones that must not."""


def control_results(config: BandsConfig, data: Data) -> dict[str, ControlResult]:
    """Return the result of every control, by name."""
    results = (_causal(data), _matched(config, data), _planted(config))
    return {result.name: result for result in results}


def _checks(data: Data, name: str) -> pl.DataFrame:
    return data.curves.filter((pl.col("table") == "check") & (pl.col("name") == name))


def _causal(data: Data) -> ControlResult:
    leaks = _checks(data, "leak")["value"]
    return ControlResult(
        name="causality",
        passed=bool(len(leaks) and (leaks == 0).all()),
        detail=f"largest gradient of a logit to a later token over {len(leaks)} models: {leaks.max() or 0:g}",
    )


def _matched(config: BandsConfig, data: Data) -> ControlResult:
    sizes = _checks(data, "parameters").group_by("arm").agg(pl.col("value").first())
    by_arm = dict(sizes.iter_rows())
    base = by_arm.get("baseline")
    if config.match != "parameters" or base is None:
        return ControlResult(
            name="matched sizes",
            passed=True,
            detail=f"match {config.match}: parameters are not meant to be equal",
        )
    furthest = max(by_arm, key=lambda arm: abs(by_arm[arm] - base))
    apart = by_arm[furthest] / base - 1
    return ControlResult(
        name="matched sizes",
        passed=abs(apart) <= TOLERANCE,
        detail=f"{furthest} has {apart:+.3%} of the baseline's {base:,.0f} parameters",
    )


def planted_bands(bands: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return neurons of planted frequencies, ``[n, T, neurons]``, faster the higher their band, and their bands."""
    band = np.sort(np.arange(NEURONS) % bands)
    frequency = (0.03 + 0.4 * (band + rng.random(len(band))) / bands)[None, None]
    phase = 2 * np.pi * rng.random((16, 1, len(band)))
    time = np.arange(POSITIONS)[None, :, None]
    return np.sin(2 * np.pi * frequency * time + phase) + rng.standard_normal(
        (16, POSITIONS, len(band))
    ), band


def _planted(config: BandsConfig) -> ControlResult:
    import torch

    from microtome.measure.frequency import power_spectrum, spectral_centroid

    rng = stream(config.seed, "planted bands")
    x, band = planted_bands(len(config.band_dims), rng)
    power = power_spectrum(torch.from_numpy(x), "hann", remove_mean=True)
    centroid = spectral_centroid(power, without_dc=True)
    found, shuffled = order(band, centroid), order(rng.permutation(band), centroid)
    return ControlResult(
        name="planted bands",
        passed=found >= RECOVERED and abs(shuffled) <= NOTHING,
        detail=f"order of planted bands {found:.2f}, of the same with shuffled labels {shuffled:.2f}",
    )
