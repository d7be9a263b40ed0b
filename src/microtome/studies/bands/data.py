"""A run's measurements in the shape that the analysis reads; simulated data have it too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from microtome.lab.study import Measurement, Unit
from microtome.studies.bands.config import BandsConfig

KEYS = ("arm", "seed", "scale")


@dataclass(frozen=True)
class Data:
    """Three long tables, each with the columns ``arm``, ``seed`` and ``scale``."""

    curves: pl.DataFrame
    """``table``, ``step``, ``band``, ``name``, ``value``: what each model's training showed."""
    features: pl.DataFrame
    """A row for each neuron of a model beside the next model of its arm; see ``features.py``."""
    reference: pl.DataFrame
    """A row for each neuron beside the reference model's layer; empty without one."""

    @cached_property
    def losses(self) -> pl.DataFrame:
        """``held_out`` and ``train`` of every model after its last step, nats per token, and whether it ``diverged``.

        One that did has no losses, and the ``step`` at which it stopped.
        """
        last = self.curves.filter(table="evaluations").filter(pl.col("step") == pl.col("step").max())
        stops = self.curves.filter((pl.col("table") == "status") & (pl.col("name") == "diverged"))
        diverged = pl.col("step").is_not_null()
        return (
            self.curves.select(KEYS)
            .unique(maintain_order=True)
            .join(last.pivot("name", index=KEYS, values="value"), on=KEYS, how="left")
            .join(stops.select(*KEYS, "step"), on=KEYS, how="left")
            .with_columns(diverged.alias("diverged"))
            .with_columns(pl.when(~diverged).then(pl.col(name)).alias(name) for name in ("held_out", "train"))
            .sort(KEYS)
        )

    @cached_property
    def chosen(self) -> dict[str, float]:
        """For each arm the scale of the rates with the lowest mean held-out loss; one that diverged is passed over."""
        scales = {
            str(arm): best_scale(its) for (arm,), its in self.losses.group_by("arm", maintain_order=True)
        }
        return {arm: scale for arm, scale in scales.items() if scale is not None}

    def at_chosen(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of each arm at its chosen scale."""
        chosen = pl.DataFrame(
            {"arm": list(self.chosen), "scale": list(self.chosen.values())},
            schema={"arm": pl.String, "scale": pl.Float64},
        )
        return table.join(chosen, on=("arm", "scale"), how="semi")


def best_scale(losses: pl.DataFrame) -> float | None:
    """Return the scale with the lowest mean loss over its models; None if a model diverged at every scale."""
    means = (
        losses.group_by("scale")
        .agg(pl.col("held_out").mean(), pl.col("diverged").any())
        .filter(~pl.col("diverged") & pl.col("held_out").is_not_null())
        .sort("held_out", "scale")
    )
    return None if means.is_empty() else float(means["scale"][0])


def gather(config: BandsConfig, units: Sequence[Unit], measured: Mapping[str, Measurement]) -> Data:
    """Join the units of a run."""
    frames: dict[str, list[pl.DataFrame]] = {"train": [], "pair": [], "reference": []}
    for unit in units:
        spec, rows = unit.spec, measured[unit.id].rows
        if rows.is_empty():
            continue
        seed = spec["seed"] if unit.kind == "train" else spec["model"]
        keys = (
            pl.lit(v).alias(k) for k, v in zip(KEYS, (spec["arm"], seed, float(spec["scale"])), strict=True)
        )
        frames[unit.kind].append(rows.with_columns(*keys))
    return Data(
        *(pl.concat(one, how="vertical_relaxed") if one else pl.DataFrame() for one in frames.values())
    )
