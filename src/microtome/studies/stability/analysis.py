"""From a run's data, or simulated ones, to estimates and controls."""

from collections.abc import Sequence

from microtome.lab.study import Analysis
from microtome.studies.stability.config import StabilityConfig
from microtome.studies.stability.controls import control_results
from microtome.studies.stability.data import Data
from microtome.studies.stability.estimates import estimates


def analyse(config: StabilityConfig, data: Data, levels: Sequence[float]) -> Analysis:
    """Return the estimates with intervals at each error level, and the controls."""
    return Analysis(estimates(config, data, levels), control_results(config, data))
