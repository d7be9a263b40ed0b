"""The tables of the page: what the original prints, every arm's numbers, the inputs, the untuned models."""

from collections.abc import Iterator

import polars as pl

from microtome.lab.claims import Tables
from microtome.lab.study import Listing
from microtome.studies.stability.arms import DESCRIPTIONS
from microtome.studies.stability.config import StabilityConfig

CELL = ("treatment", "optimizer", "precision")


def listings(config: StabilityConfig, tables: Tables) -> Iterator[Listing]:
    """Yield the tables of each model that have rows."""
    for label in config.labels:
        about = "" if len(config.labels) == 1 else f" ({label})"
        own = {
            name: table.filter(subject=label).drop("subject") if "subject" in table.columns else table
            for name, table in tables.items()
        }
        yield from (listing for listing in _of_model(own, about) if not listing.frame.is_empty())


def _of_model(own: Tables, about: str) -> Iterator[Listing]:
    yield Listing(
        f"As published: every cell{about}",
        "Means over runs, in per cent. The original reports the absolute ones. A run that stopped early had reached "
        "half of its rank on the trained input itself.",
        own["published"]
        .group_by(CELL, maintain_order=True)
        .agg(
            pl.len().alias("runs"),
            pl.col("reduction").abs().mean().alias("mean |reduction|"),
            pl.col("reduction").mean().alias("mean signed reduction"),
            pl.col("reduction").std().alias("sd"),
            (pl.col("reduction") < 0).sum().alias("rank rose in"),
            pl.col("baseline_perplexity").mean().alias("perplexity before"),
            pl.col("post_perplexity").mean().alias("perplexity after"),
            pl.col("stopped").sum().alias("stopped early"),
        ),
        decimals=2,
    )
    yield Listing(
        f"Controlled: every arm{about}",
        "Means over runs. Effect: ln(R after / R before), R the entropy rank of kept rows of the middle block; rise: "
        "nats per token of held-out text; |dW| of the whole update, and as a share of the weights.",
        own["means"].select(
            "tuning", "optimizer", "treatment", "dose", "runs", "effect",
            pl.col("effect_sd").alias("sd of effect"), "rise", pl.col("rise_sd").alias("sd of rise"),
            pl.col("norm").alias("|dW|"), pl.col("relative").alias("|dW| / |W|"),
            pl.col("first_loss").alias("first loss"), pl.col("last_loss").alias("last loss"),
        ),
    )  # fmt: skip
    yield Listing(
        f"Controlled: the inputs{about}",
        "Means over runs: the share of each input's gradient outside the top directions, that as decades, the "
        "input's loss, and how much of its start the search changed.",
        own["inputs"]
        .group_by("treatment", maintain_order=True)
        .agg(
            pl.len().alias("runs"), pl.col("share", "decades", "loss", "changed", "swaps", "certified").mean()
        )
        .with_columns(what=pl.col("treatment").replace_strict(DESCRIPTIONS, default="")),
        decimals=6,
    )
    yield Listing(
        f"Controlled: the untuned models{about}",
        "What quantising alone does: rank and loss of the same model in each precision, before any tuning. Massive: "
        "rows beyond ten times the median norm, which would decide the rank by themselves.",
        own["baselines"],
    )
    notes = own["arms"].drop_nulls("note").select("tuning", "optimizer", "treatment", "run", "dose", "note")
    yield Listing(f"Notes{about}", "What happened while arms were measured.", notes)
