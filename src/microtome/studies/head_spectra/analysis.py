"""From a run's data, or simulated ones, to estimates and controls, for each of its models."""

from collections.abc import Sequence

from microtome.lab.claims import of
from microtome.lab.estimate import Estimate
from microtome.lab.study import Analysis
from microtome.lab.verdict import ControlResult
from microtome.studies.head_spectra.config import HeadSpectraConfig
from microtome.studies.head_spectra.controls import control_results
from microtome.studies.head_spectra.data import Data
from microtome.studies.head_spectra.estimates import estimates_of


def analyse(config: HeadSpectraConfig, data: Data, levels: Sequence[float]) -> Analysis:
    """Return the estimates with intervals at each error level, and the controls."""
    estimates: dict[str, Estimate] = {}
    controls: dict[str, ControlResult] = {}
    for subject in data:

        def name(claim: str, label: str = subject.label) -> str:
            return of(claim, label) if len(data) > 1 else claim

        estimates |= {name(claim): it for claim, it in estimates_of(config, subject, "model", levels).items()}
        for result in control_results(config, subject, max(levels)):
            controls[name(result.name)] = result.model_copy(update={"name": name(result.name)})
    return Analysis(estimates, controls)
