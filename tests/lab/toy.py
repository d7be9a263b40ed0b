"""A study that is cheap and has everything: stages with needs, arrays, seeds, controls, and ways to fail."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from microtome.base.errors import UserError
from microtome.lab.claims import Control, PublishedRule, Reading, Tables
from microtome.lab.estimate import Estimate, Null
from microtome.lab.prediction import Prediction, above, below
from microtome.lab.seeds import stream
from microtome.lab.study import Analysis, Bench, Figure, Measurement, Original, Study, StudyConfig, Unit
from microtome.lab.verdict import ControlResult

ASIDE: Any = {"identity": False}


class ToyConfig(StudyConfig):
    seeds: tuple[int, ...] = Field(default=(0, 1, 2, 3), description="Root seeds, one unit each.")
    size: int = Field(default=12, ge=2, description="Draws for each seed.")
    shift: float = Field(default=1.0, description="The true effect.")
    pause: float = Field(
        default=0, description="Seconds that a unit takes.", json_schema_extra={"identity": False}
    )
    trouble: str = Field(default="", description="How a unit fails.", json_schema_extra={"identity": False})
    troubled: int = Field(default=2, description="Seed of that unit.", json_schema_extra={"identity": False})
    diary: str = Field(
        default="", description="File that notes what is measured.", json_schema_extra={"identity": False}
    )


class ToyBench(Bench):
    def __init__(self, config: ToyConfig) -> None:
        self.config = config

    def measure(self, unit: Unit, needed: Mapping[str, Measurement]) -> Measurement:
        config, seed = self.config, unit.spec["seed"]
        time.sleep(config.pause)
        if config.diary:
            with Path(config.diary).open("a") as diary:
                diary.write(f"{unit.id} {os.getpid()}\n")
        if unit.kind == "draw" and seed == config.troubled:
            self._make_trouble(config.trouble)
        if unit.kind == "draw":
            draws = stream(seed, "toy", "draw").normal(unit.spec["shift"], 1, unit.spec["size"])
            rows = pl.DataFrame({"seed": seed, "index": np.arange(len(draws)), "draw": draws})
            return Measurement(rows, {"draws": draws, "total": np.asarray(draws.sum())})
        (source,) = needed.values()
        mean = float(source.arrays["draws"].mean())
        # A matrix product, so that thread counts could show.
        gram = source.arrays["draws"][:, None] @ source.arrays["draws"][None, :]
        return Measurement(pl.DataFrame({"seed": [seed], "mean": [mean], "gram": [float(gram.sum())]}))

    def _make_trouble(self, kind: str) -> None:
        match kind:
            case "exception":
                raise ZeroDivisionError("the toy broke")
            case "mistake":
                raise UserError("the toy expected a ball, got a brick; give it a ball")
            case "death":
                os._exit(3)
            case "warning":
                import warnings

                warnings.warn("the toy is worn", RuntimeWarning, stacklevel=1)


PREDICTIONS = (
    Prediction(
        id="shifted",
        claim="The toy's draws lie above <zero>.",
        estimand="Mean of the draws over seeds.",
        scale="units",
        supported_if=above(0.5),
        falsified_if=below(0.5),
        controls=("finite",),
        min_units=3,
        source="added",
    ),
    Prediction(
        id="large",
        claim="The toy's draws lie above three.",
        estimand="Mean of the draws over seeds.",
        scale="units",
        supported_if=above(3),
        falsified_if=below(3),
        controls=("finite",),
        min_units=3,
        source="added",
    ),
)


def read_mean(tables: Tables) -> Reading:
    mean = tables["means"]["mean"].mean()
    assert isinstance(mean, float)
    return Reading(
        outcome="above" if mean > 0 else "below",
        claims=mean > 0,
        numbers={"mean": mean, "lost": float("nan")},
    )


def mean_interval(means: np.ndarray) -> Any:
    from scipy import stats

    def interval(level: float) -> tuple[float, float]:
        error = means.std(ddof=1) / np.sqrt(len(means))
        low, high = stats.t.interval(level, len(means) - 1, means.mean(), error)
        return float(low), float(high)

    return interval


class Toy(Study):
    name = "toy"
    version = 1
    title = "A toy"
    question = "Do the draws lie above zero?"
    original = Original(title="Toy", project="Toys", summary="None.")
    config = ToyConfig
    demo: Mapping[str, Any] = {"seeds": (0, 1, 2)}
    predictions = PREDICTIONS
    published = (PublishedRule("mean-above", "shifted", "the mean is above 0", read_mean),)
    controls = (Control(name="finite", description="All draws are finite."),)

    def fingerprints(self, config: ToyConfig) -> dict[str, str]:
        return {"draws": "numpy"}

    def units(self, config: ToyConfig, fingerprints: Mapping[str, str]) -> Sequence[Unit]:
        def unit(kind: str, seed: int, **more: Any) -> Unit:
            spec = {"seed": seed, "size": config.size, "shift": config.shift}
            return Unit(
                study=self.name, version=self.version, kind=kind, label=f"{kind} {seed}", spec=spec, **more
            )

        drawn = [unit("draw", seed, cost=3) for seed in config.seeds]
        return (*drawn, *(unit("mean", draw.spec["seed"], needs=(draw.id,)) for draw in drawn))

    def open(self, config: ToyConfig) -> Bench:
        if config.trouble == "no bench":
            raise RuntimeError("no bench today")
        if config.trouble == "death at the door":
            os._exit(4)
        return ToyBench(config)

    def gather(
        self, config: ToyConfig, units: Sequence[Unit], measured: Mapping[str, Measurement]
    ) -> np.ndarray:
        return np.array([measured[unit.id].rows["mean"][0] for unit in units if unit.kind == "mean"])

    def analyse(self, config: ToyConfig, data: np.ndarray, levels: Sequence[float]) -> Analysis:
        null = Null(description="normal draws", p=0.001, smallest_p=0.001)
        estimate = Estimate.with_intervals(
            data.mean(), mean_interval(data), levels, n=len(data), unit="seeds", method="t", null=null
        )
        if config.trouble == "analysis":
            raise ArithmeticError("no analysis today")
        if config.trouble == "no corpus":
            raise FileNotFoundError("no corpus today")
        finite = ControlResult(
            name="finite", passed=bool(np.isfinite(data).all()), detail=f"{len(data)} means"
        )
        return Analysis(
            {prediction.id: estimate for prediction in self.predictions},
            {"finite": finite},
        )

    def tables(self, config: ToyConfig, data: np.ndarray) -> Tables:
        return {"means": pl.DataFrame({"mean": data})}

    def figures(self, config: ToyConfig, tables: Tables) -> list[Figure]:
        def draw() -> Any:
            from matplotlib.figure import Figure as Picture

            picture = Picture(figsize=(2, 2))
            picture.subplots().plot(tables["means"]["mean"].to_numpy())
            return picture

        return [Figure("means", "Means", "The means of the seeds.", draw)]

    def methods(self, config: ToyConfig, tables: Tables) -> list[str]:
        return [f"{len(tables['means'])} means."]

    def simulate(self, config: ToyConfig, rng: np.random.Generator, planted: bool) -> np.ndarray:
        return rng.normal(1.5 if planted else 0.5, 1 / np.sqrt(config.size), max(8, len(config.seeds)))

    def planted_effects(self, config: ToyConfig) -> dict[str, str]:
        return {"shifted": "a mean of 1.5", "large": "a mean of 1.5, which is not above 3"}


STUDY = Toy()
