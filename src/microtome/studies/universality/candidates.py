"""The neurons found, as a list for further analysis: those of the controlled answer, and the original's sets."""

import polars as pl

from microtome.base.references import short
from microtome.studies.universality.config import UniversalityConfig
from microtome.studies.universality.data import Data
from microtome.studies.universality.estimates import ablation_pairs
from microtome.studies.universality.thresholds import action_quanta, basic_quanta

HIGHEST_FREQUENCY = 0.5
"""Cycles per row; the original's S_max."""


def candidates(config: UniversalityConfig, data: Data) -> pl.DataFrame:
    """Return the neurons found, for further analysis: those of the controlled answer, and the original's sets.

    ``kind``: ``universal`` and ``matched`` are neurons of A, with their partner in B; ``basic`` is an index that stands
    for a neuron in both models; ``structural`` and ``semantic`` are neurons of B, as the aligned version finds them.
    ``score`` is the number that decided: excess, or correlation after Procrustes.
    """
    parts = []
    a, b = short(config.model_a), short(config.model_b or config.model_a)
    if "pair" in data.matched:
        frame = data.matched["pair"].frame.filter("matched")
        kind = pl.when("universal").then(pl.lit("universal")).otherwise(pl.lit("matched"))
        shared = frame.select(
            pl.lit(a).alias("model"), "layer", "neuron", kind.alias("kind"), pl.col("excess").alias("score"),
            pl.lit(b).alias("partner_model"), pl.col("layer_b").alias("partner_layer"),
            pl.col("neuron_b").alias("partner_neuron"), "r", "rotated", "r_residual", "p", "centroid",
        )  # fmt: skip
        parts.append(
            shared.join(_composite(data, frame), on=["layer", "neuron"], how="left", maintain_order="left")
        )
        random, text = data.both("pair")
        sets = {
            "basic": (random.neurons.filter(pl.Series(basic_quanta(config, random.neurons))), "excess", a),
            "structural": (
                random.neurons.filter(pl.Series(action_quanta(config, random.neurons, config.threshold))),
                "aligned",
                b,
            ),
            "semantic": (
                text.neurons.filter(pl.Series(action_quanta(config, text.neurons, config.threshold))),
                "aligned",
                b,
            ),
        }
        for name, (rows, score, model) in sets.items():
            parts.append(
                rows.select(
                    pl.lit(model).alias("model"),
                    "layer",
                    "neuron",
                    pl.lit(name).alias("kind"),
                    pl.col(score).alias("score"),
                )
            )
    schema = {
        "model": pl.String,
        "layer": pl.Int64,
        "neuron": pl.Int64,
        "kind": pl.String,
        "score": pl.Float64,
    }
    return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame(schema=schema)


def _composite(data: Data, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the original's composite score T I A (1 - S / S_max) of the neurons that were ablated.

    T: held-out correlation; I: divergence with the best replacement over that without the neuron; A: mean loss over
    tasks, in nats per token; S: centroid, in cycles per row.
    """
    schema = {"layer": pl.Int64, "neuron": pl.Int64} | dict.fromkeys(
        ("irreducibility", "actionability", "composite"), pl.Float64
    )
    effects = data.effects
    if effects is None or effects.is_empty():
        return pl.DataFrame(schema=schema)
    own = effects.filter(group="universal")
    text = own.filter(task="text").pivot("edit", index=["layer", "neuron", "pair"], values="kl")
    tasks = ablation_pairs(effects, None).select("pair", pl.col("universal").alias("actionability"))
    joined = text.join(tasks, on="pair").join(
        frame.select("layer", "neuron", "r", "centroid"), on=["layer", "neuron"]
    )
    joined = joined.with_columns(irreducibility=pl.col("replacement") / pl.col("ablation"))
    slowness = 1 - pl.col("centroid") / HIGHEST_FREQUENCY
    score = pl.col("r") * pl.col("irreducibility") * pl.col("actionability") * slowness
    return joined.with_columns(composite=score).select(*schema)
