"""The numbers behind the page: what was measured, each comparison run by run, and the original's recovery."""

from dataclasses import fields
from math import exp

import polars as pl

from microtome.lab.claims import Tables
from microtome.studies.stability.config import StabilityConfig
from microtome.studies.stability.data import Data
from microtome.studies.stability.estimates import by_size, contrasts, values_of
from microtome.studies.stability.recovered import recovery

MEANS = ("effect", "rise", "norm", "relative", "first_loss", "last_loss")


def tables(config: StabilityConfig, data: Data) -> Tables:
    """Return the data's tables, with ``comparisons`` (a value for each run), ``sizes``, ``recovery`` and ``means``."""
    own = {one.name: getattr(data, one.name) for one in fields(Data)}
    return own | {
        "comparisons": _comparisons(config, data),
        "sizes": by_size(config, data),
        "recovery": recoveries(data.healing),
        "means": _means(data.arms),
    }


def _comparisons(config: StabilityConfig, data: Data) -> pl.DataFrame:
    rows = [
        {"subject": subject, "prediction": name, "value": value}
        for subject in config.labels
        for name, contrast in contrasts(config).items()
        for value in values_of(data.arms.filter(subject=subject), contrast)
    ]
    return pl.DataFrame(rows, schema={"subject": pl.String, "prediction": pl.String, "value": pl.Float64})


def recoveries(healing: pl.DataFrame) -> pl.DataFrame:
    """Return ``subject``, ``run`` and ``recovery`` in per cent, as the original computes it of ranks.

    Missing where rank was not lowered: there is nothing to recover.
    """
    ends = (
        healing.drop_nulls("effect")
        .sort("step")
        .group_by("subject", "run", maintain_order=True)
        .agg(pl.col("effect").first().alias("damaged"), pl.col("effect").last().alias("healed"))
    )
    shares = [
        recovery(exp(healed), 1.0, exp(damaged)) for damaged, healed in ends["damaged", "healed"].iter_rows()
    ]
    return ends.select("subject", "run").with_columns(recovery=pl.Series(shares, dtype=pl.Float64))


def _means(arms: pl.DataFrame) -> pl.DataFrame:
    """Return mean and standard deviation of every arm's numbers over its runs."""
    keys = ("subject", "tuning", "optimizer", "treatment", "dose")
    return arms.group_by(keys, maintain_order=True).agg(
        pl.len().alias("runs"),
        *(pl.col(name).mean() for name in MEANS),
        *(pl.col(name).std().alias(f"{name}_sd") for name in ("effect", "rise")),
    )
