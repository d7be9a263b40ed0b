"""Estimates and controls of a run."""

from collections.abc import Sequence

from microtome.lab.study import Analysis
from microtome.studies.bands.config import BandsConfig
from microtome.studies.bands.controls import control_results
from microtome.studies.bands.data import Data
from microtome.studies.bands.estimates import estimates


def analyse(config: BandsConfig, data: Data, levels: Sequence[float]) -> Analysis:
    """Return the estimates of all predictions, with intervals at each level, and the results of all controls."""
    return Analysis(estimates(config, data, levels), control_results(config, data))
