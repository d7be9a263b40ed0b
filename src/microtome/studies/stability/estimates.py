"""The estimates of all predictions: means over runs of a number of one arm, or of its difference between two."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from microtome.lab.claims import of
from microtome.lab.estimate import Estimate
from microtome.lab.means import mean_estimate
from microtome.studies.stability.arms import PLACEBO_TREATMENTS, QUANTISED, parts
from microtome.studies.stability.config import StabilityConfig
from microtome.studies.stability.data import Data

UNIT = "runs"


@dataclass(frozen=True)
class Cell:
    """An arm at a dose."""

    treatment: str
    optimizer: str
    tuning: str
    dose: str = "trained"


@dataclass(frozen=True)
class Contrast:
    """A number of one arm, or that less the mean of others' in the same run; an absent arm leaves it undefined."""

    cell: Cell | None
    less: tuple[Cell | None, ...] = field(default=())
    column: str = "effect"

    @property
    def absent(self) -> bool:
        """Whether the run has no such arm."""
        return self.cell is None or None in self.less


def contrasts(config: StabilityConfig) -> dict[str, Contrast]:
    """Return what each prediction but those of healing and scaling is about."""
    main = Cell("optimised", config.optimizers[0], config.tunings[0])
    start = replace(main, treatment="start")
    sgd = replace(main, optimizer="sgd") if "sgd" in config.optimizers[1:] else None
    unquantised = [name for name in config.tunings if parts(name)[1] not in QUANTISED]
    full = next((replace(main, tuning=name) for name in unquantised if parts(name)[0] == "full"), None)
    lora = next((replace(main, tuning=name) for name in unquantised if parts(name)[0] == "lora"), None)
    eight, four = (
        next((replace(main, tuning=name) for name in config.tunings if parts(name)[1] in kinds), None)
        for kinds in (("int8",), ("nf4", "fp4"))
    )
    placebos = tuple(replace(main, treatment=name) for name in PLACEBO_TREATMENTS)
    isotropic = replace(main, treatment="isotropic", dose="matched")
    found = {
        "collapse": Contrast(main),
        "harm": Contrast(main, (start,), "rise"),
        "than-start": Contrast(main, (start,)),
        "than-placebos": Contrast(main, placebos),
        "matched-start": Contrast(main, (replace(start, dose="matched"),)),
        "than-isotropic": Contrast(main, (isotropic,)),
        "adam": Contrast(main, (sgd,)),
        "sgd-immune": Contrast(sgd),
        "adam-matched": Contrast(main, (sgd and replace(sgd, dose="matched"),)),
        "lora": Contrast(lora, (full,)),
        "shield-8bit": Contrast(eight, (lora,)),
        "shield-4bit": Contrast(four, (lora,)),
        "immune-4bit": Contrast(four),
    }
    return {name: _of_run(config, contrast) for name, contrast in found.items()}


def _of_run(config: StabilityConfig, contrast: Contrast) -> Contrast:
    """Return a contrast without the arms whose treatment the run leaves out."""
    cell, *less = (
        one and (one if one.treatment in config.treatments else None)
        for one in (contrast.cell, *contrast.less)
    )
    return replace(contrast, cell=cell, less=tuple(less))


def values_of(arms: pl.DataFrame, contrast: Contrast) -> np.ndarray:
    """Return the contrast's value in each run of a subject that has all its arms, by run."""
    if contrast.absent or contrast.cell is None:
        return np.array([])
    sides = [_of_cell(arms, cell, contrast.column) for cell in (contrast.cell, *contrast.less) if cell]
    joined = sides[0]
    for i, side in enumerate(sides[1:]):
        joined = joined.join(side.rename({"value": f"less {i}"}), on="run")
    joined = joined.sort("run")
    value = joined["value"].to_numpy()
    if len(sides) == 1:
        return value
    return value - np.mean([joined[f"less {i}"].to_numpy() for i in range(len(sides) - 1)], axis=0)


def _of_cell(arms: pl.DataFrame, cell: Cell, column: str) -> pl.DataFrame:
    rows = arms.filter(
        treatment=cell.treatment, optimizer=cell.optimizer, tuning=cell.tuning, dose=cell.dose
    ).drop_nulls(column)
    return rows.select("run", pl.col(column).alias("value"))


def healed(healing: pl.DataFrame) -> np.ndarray:
    """Return, for each run of a subject, the last effect along healing less the first."""
    known = healing.drop_nulls("effect").sort("run", "step")
    by_run = known.group_by("run", maintain_order=True).agg(
        (pl.col("effect").last() - pl.col("effect").first()).alias("value"), pl.len().alias("n")
    )
    return by_run.filter(pl.col("n") > 1)["value"].to_numpy()


def by_size(config: StabilityConfig, data: Data) -> pl.DataFrame:
    """Return ``subject``, ``family``, ``parameters`` and mean ``effect`` of the main arm of each model that has one."""
    main = contrasts(config)["collapse"]
    rows = []
    for subject in config.labels:
        values = values_of(data.arms.filter(subject=subject), main)
        sizes = data.baselines.filter(subject=subject).drop_nulls("parameters")
        if len(values) and len(sizes):
            rows.append((subject, sizes["family"][0], sizes["parameters"][0], float(values.mean())))
    schema = {"subject": pl.String, "family": pl.String, "parameters": pl.Int64, "effect": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def estimates(config: StabilityConfig, data: Data, levels: Sequence[float]) -> dict[str, Estimate]:
    """Return the estimate of every prediction, of each subject apart."""
    found: dict[str, Estimate] = {}
    several = len(config.labels) > 1
    for subject in config.labels:
        arms = data.arms.filter(subject=subject)
        values = {name: values_of(arms, contrast) for name, contrast in contrasts(config).items()}
        values["healing"] = healed(data.healing.filter(subject=subject))
        for name, its in values.items():
            found[of(name, subject) if several else name] = _mean(its, levels, _why(config, name))
    return found | {"scaling": slope(by_size(config, data), levels)}


def _mean(values: np.ndarray, levels: Sequence[float], why: str) -> Estimate:
    method = "mean over runs, Student's interval"
    if not len(values):
        return Estimate.missing(why, n=0, unit=UNIT, method=method)
    return mean_estimate(values, levels, UNIT, method)


def _why(config: StabilityConfig, name: str) -> str:
    if name == "healing":
        return "nothing was healed (option healing_steps)"
    if contrasts(config)[name].absent:
        return "the run has no such arm (options treatments, optimizers, tunings)"
    return "no run has a defined rank in all arms of the comparison"


def slope(sizes: pl.DataFrame, levels: Sequence[float]) -> Estimate:
    """Return the slope of the mean effect on log10 of the parameters, with Student's interval.

    Every model has the same runs. In such a balanced design the mixed model ``y = b0 + b1 log10 N + run + model`` has
    the slope and standard error of least squares on the models' means, with ``models - 2`` degrees of freedom.
    """
    from scipy import stats

    method, unit = "least squares on the models' means, Student's interval", "models"
    x, y = np.log10(sizes["parameters"].to_numpy()), sizes["effect"].to_numpy()
    n = len(x)
    if n < 3 or np.ptp(x) == 0 or sizes["family"].n_unique() < 2:
        why = "a claim about size takes models of several sizes and two families (option models)"
        return Estimate.missing(why, n=n, unit=unit, method=method)
    fit = stats.linregress(x, y)

    def interval(level: float) -> tuple[float, float]:
        reach = stats.t.ppf((1 + level) / 2, n - 2) * fit.stderr  # pyright: ignore[reportAttributeAccessIssue]
        return fit.slope - reach, fit.slope + reach  # pyright: ignore[reportAttributeAccessIssue]

    value = float(fit.slope)  # pyright: ignore[reportAttributeAccessIssue]
    return Estimate.with_intervals(value, interval, levels, n=n, unit=unit, method=method)
