"""How the effect grows with the model's size: y = b0 + b1 log10 N + seed + model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from microtome.lab.estimate import Estimate
from microtome.measure.effects import Difference
from microtome.studies.stability.protocol import SIZES

METHOD = (
    "mixed model with random seed and model, balanced: least squares on the models' means, Student's interval"
)
FAMILIES = 2
"""Families of models that a claim about size takes."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """The slope of the effect on the decades of parameters, over models that all have the same seeds."""

    models: tuple[str, ...]
    families: tuple[str, ...]
    decades: Float[np.ndarray, " models"]
    """log10 of the parameters."""
    values: Float[np.ndarray, "models seeds"]
    """y of each model under each seed."""

    @property
    def slope(self) -> Difference:
        """Return b1, the change of y per decade of parameters.

        With every model under every seed, the mixed model's slope and its standard error are those of least squares on
        the models' means: a seed's effect is the same in all means, and what is left is model and noise. That leaves
        ``models - 2`` degrees of freedom, however many runs there are. nan where the sizes do not differ or no seed is
        shared; two models give a slope without an error.
        """
        x, n = self.decades, len(self.decades)
        if n < 2 or np.ptp(x) == 0 or not self.values.shape[1]:
            return Difference(np.nan, np.nan, np.nan)
        y, centred = self.values.mean(1), x - x.mean()
        slope = float(centred @ y / (centred @ centred))
        if n == 2:
            return Difference(slope, np.nan, np.nan)
        left = y - y.mean() - slope * centred
        return Difference(slope, float(np.sqrt(left @ left / (n - 2) / (centred @ centred))), float(n - 2))

    @property
    def missing(self) -> tuple[str, ...]:
        """Say what a claim about size still takes."""
        sizes, families = len(np.unique(self.decades)), len(set(self.families))
        said = []
        if sizes < SIZES:
            said.append(f"{SIZES} sizes, where there are {sizes}")
        if families < FAMILIES:
            said.append(f"{FAMILIES} families of models, where there is {families or 'none'}")
        if not self.values.shape[1]:
            said.append("seeds that all models share")
        return tuple(said)

    def estimate(self, levels: Sequence[float]) -> Estimate:
        """Return the slope with its intervals; no value where a claim takes more models, or nothing varies."""
        slope, n = self.slope, len(self.models)
        if self.missing or not slope.error > 0:
            takes = f"a claim about size takes {' and '.join(self.missing)}"
            why = takes if self.missing else "the models' means do not vary about the line"
            return Estimate.missing(why, n=n, unit="models", method=METHOD)
        return Estimate.with_intervals(slope.value, slope.interval, levels, n=n, unit="models", method=METHOD)
