"""From a run's data, or simulated ones, to estimates and controls."""

from collections.abc import Sequence

from microtome.lab.study import Analysis
from microtome.studies.universality.config import UniversalityConfig
from microtome.studies.universality.controls import control_results
from microtome.studies.universality.data import Data
from microtome.studies.universality.estimates import estimates_of


def analyse(config: UniversalityConfig, data: Data, levels: Sequence[float]) -> Analysis:
    """Return the estimates with intervals at each error level, and the controls."""
    return Analysis(estimates_of(config, data, levels), control_results(config, data))
