"""The controls of a run: does the method see copies where there are some, and none where nothing was learned?"""

from collections.abc import Iterator

import numpy as np

from microtome.lab.verdict import ControlResult, Outcome
from microtome.studies.head_spectra.config import HeadSpectraConfig
from microtome.studies.head_spectra.data import Subject
from microtome.studies.head_spectra.estimates import estimates_of, outcomes
from microtome.studies.head_spectra.protocol import COPIES, MIN_LAYERS, PREDICTIONS

LARGEST_ERROR = 1e-6
"""Of a singular value, relative to the head's largest."""


def control_results(config: HeadSpectraConfig, subject: Subject, alpha: float) -> Iterator[ControlResult]:
    """Yield the controls' results; the twin is judged as strictly as one model's first claim, the copies alone."""
    for name, role, wanted, level in (
        ("untrained twin", "untrained", (), alpha / len(PREDICTIONS)),
        ("planted copies", "planted", COPIES, alpha),
    ):
        if role not in subject.roles:
            yield ControlResult(name=name, passed=True, detail="a file has none")
        elif len(subject.roles[role].spectra) <= MIN_LAYERS:
            yield ControlResult(name=name, passed=True, detail="too few layers to decide anything")
        else:
            found = outcomes(estimates_of(config, subject, role, [level]), level)
            supported = tuple(claim for claim in COPIES if found[claim] == Outcome.SUPPORTED)
            detail = f"supports {', '.join(supported) or 'nothing'}"
            yield ControlResult(name=name, passed=supported == wanted, detail=detail)
    bound = subject.roles["model"].error_bound
    largest = 0.0 if bound is None else float(np.max(bound))
    yield ControlResult(
        name="certified values",
        passed=largest < LARGEST_ERROR,
        detail="a file's values are taken as they are" if bound is None else f"largest bound {largest:.1e}",
    )
