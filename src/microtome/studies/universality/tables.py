"""The numbers behind the figures, the printed tables and the published rules, one table each."""

from typing import Any

import numpy as np
import polars as pl

from microtome.lab.seeds import stream
from microtome.measure.discovery import adjusted_p
from microtome.measure.frequency import septiles
from microtome.measure.overlap import hypergeometric_p, stratified_overlap_test
from microtome.studies.universality.candidates import candidates
from microtome.studies.universality.config import UniversalityConfig
from microtome.studies.universality.controls import false_alarms, found_copies
from microtome.studies.universality.data import Data, Matched, Published
from microtome.studies.universality.effects import SCHEMA
from microtome.studies.universality.estimates import spectral_pairs, strata_of_layer
from microtome.studies.universality.plan import CONDITIONS, Role
from microtome.studies.universality.thresholds import KINDS, action_quanta, basic_quanta, limit

BINS = np.linspace(-0.2, 1.0, 61)
ABSOLUTE = (0.3, 0.5, 0.7, 0.9)
"""Held-out correlations above which neurons are counted."""
LOW_BANDS = 3
RESIDUAL = 0.5
"""Correlation above which a match counts as held out, in the table of comparisons."""


def tables(config: UniversalityConfig, data: Data) -> dict[str, pl.DataFrame]:
    """Return all tables of a run."""
    published = pl.concat([_layers(config, *key, one) for key, one in data.published.items()])
    return {
        "published_layers": published,
        "published_summary": _summary(config, data, published),
        "overlap": _overlap(config, data),
        "comparisons": pl.concat(
            [_comparison(config, data, role, one) for role, one in data.matched.items()]
        ),
        "held_out_counts": pl.concat([_counts(role, one.frame) for role, one in data.matched.items()]),
        "neurons": pl.concat(
            [one.frame.select(pl.lit(role).alias("role"), pl.all()) for role, one in data.matched.items()]
        ),
        "histograms": pl.concat([_histograms(role, one) for role, one in data.matched.items()]),
        "layer_map": _layer_map(data),
        "spectra": _spectra(config, data),
        "effects": _effects(data),
        "examples": _or_empty(data.examples, {"example": pl.Int64, "side": pl.String, "rank": pl.Int64}),
        "noise": pl.DataFrame([data.noise] if data.noise else [], schema=NOISE),
        "aq_candidates": candidates(config, data),
    }


NOISE = {"rows": pl.Int64, "neurons": pl.Int64} | dict.fromkeys(
    ("in_sample", "held_out", "held_out_r2"), pl.Float64
)


def _or_empty(frame: pl.DataFrame | None, schema: dict) -> pl.DataFrame:
    return pl.DataFrame(schema=schema) if frame is None else frame


def _layers(config: UniversalityConfig, role: str, condition: str, one: Published) -> pl.DataFrame:
    """Return the original's numbers for each layer."""
    rows = []
    for i, layer in enumerate(one.layers):
        own = one.neurons.filter(layer=layer)
        r = own["aligned"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        row = {"role": role, "condition": condition, "layer": layer, "neurons": len(own)}
        row |= {"aq_basic": int(basic_quanta(config, own).sum())}
        row |= {"mean_excess": own["excess"].mean(), "max_excess": own["excess"].max()}
        row |= {f"aq_{kind}": int(action_quanta(config, own, kind).sum()) for kind in KINDS}
        row |= {f"limit_{kind}": limit(config, r, kind) for kind in KINDS}
        rows.append(row | {name: float(values[i]) for name, values in one.numbers.items()})
    return pl.DataFrame(rows).with_columns(pl.col(pl.Float64).fill_nan(None))


def _summary(config: UniversalityConfig, data: Data, layers: pl.DataFrame) -> pl.DataFrame:
    """Return what the original prints for each comparison; ``main`` marks the pair of models."""
    rows = []
    for role in data.matched:
        numbers: dict[str, Any] = {}
        for condition in CONDITIONS:
            own = layers.filter(role=role, condition=condition)
            if own.is_empty():
                continue
            n = int(own["neurons"].sum())
            numbers |= {
                f"AQ %, basic, {condition}": 100 * int(own["aq_basic"].sum()) / n,
                f"mean excess, {condition}": own["mean_excess"].mean(),
                f"max excess, {condition}": own["max_excess"].max(),
                f"CKA, {condition}": own["cka"].mean(),
                f"AQ %, aligned, {condition}": 100 * int(own[f"aq_{config.threshold}"].sum()) / n,
            }
        if numbers:
            numbers |= _sets(config, data, role) | _centroids(config, data, role)
        rows += [
            {"main": role == "pair", "role": role, "quantity": k, "value": v} for k, v in numbers.items()
        ]
    schema = {"main": pl.Boolean, "role": pl.String, "quantity": pl.String, "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col("value").fill_nan(None))


def _sets(config: UniversalityConfig, data: Data, role: Role) -> dict[str, float | None]:
    structural, semantic = (action_quanta(config, one.neurons, config.threshold) for one in data.both(role))
    counts = {"structural": structural, "semantic": semantic, "universal": structural & semantic}
    return {f"AQ, {name}": float(members.sum()) for name, members in counts.items()}


def _centroids(config: UniversalityConfig, data: Data, role: Role) -> dict[str, float | None]:
    """Return mean centroids as the original takes them: of A's neurons, at the indices found for B's.

    Beside them the shares in its low bands, the first three of the seven with equal numbers of neurons.
    """
    random, _ = data.both(role)
    found = action_quanta(config, random.neurons, config.threshold)
    centroid = (
        random.neurons["centroid_a"].fill_null(0.0).to_numpy()
    )  # as the original counts a neuron without power
    low = septiles(centroid) < LOW_BANDS
    classes = {"AQ": found, "others": ~found}
    means = {f"centroid of {name}": _mean(centroid[own]) for name, own in classes.items()}
    return means | {f"% of {name} in low bands": _mean(100.0 * low[own]) for name, own in classes.items()}


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _overlap(config: UniversalityConfig, data: Data) -> pl.DataFrame:
    """Return how many of the original's structural and semantic neurons coincide, beside what chance gives."""
    rows = []
    roles: dict[Role, None] = dict.fromkeys(role for role, _ in data.published)
    for role in roles:
        random, text = data.both(role)
        a, b = (action_quanta(config, one.neurons, config.threshold) for one in (random, text))
        n, sizes = len(a), (int(a.sum()), int(b.sum()))
        rng = stream(config.seed, "overlap", role)
        test = stratified_overlap_test(a, b, strata_of_layer(random.neurons), rng)
        rows.append(
            {
                "role": role,
                "structural": sizes[0],
                "semantic": sizes[1],
                "both": test.observed,
                "expected": sizes[0] * sizes[1] / n,
                "hypergeometric_p": hypergeometric_p(test.observed, *sizes, n),
                "expected_stratified": test.expected,
                "stratified_p": test.p,
                "jaccard": test.jaccard,
            }
        )
    return pl.DataFrame(rows).with_columns(pl.col(pl.Float64).fill_nan(None))


def _comparison(config: UniversalityConfig, data: Data, role: str, one: Matched) -> pl.DataFrame:
    frame, alive = one.frame, one.frame.filter(~pl.col("dead"))
    reliability = alive.select(pl.corr("r_select", "r"))["r_select"][0] if len(alive) > 1 else None
    row = {
        "role": role,
        "label": (data.labels or {}).get(role, role),  # type: ignore[call-overload]
        "neurons": len(frame),
        "layers_a": frame["layer"].n_unique(),
        "dead_a": int(frame["dead"].sum()),
        "dead_b": int((~(one.selected.sd_b > 0)).sum()),
        "groups": len(one.scores.rows),
        "rows": int(one.scores.rows.sum()),
        "matched": int(frame["matched"].sum()),
        "universal": int(frame["universal"].sum()),
        "mutual": int((frame["universal"] & frame["mutual"]).sum()),
        "mean_r": frame["r"].mean(),
        "mean_rotated": frame["rotated"].mean(),
        "mean_excess": frame["excess"].mean(),
        "above_half": int((frame["r"] > RESIDUAL).sum()),
        "residual_above_half": int((frame["r_residual"] > RESIDUAL).sum()),
        "mean_residual": frame["r_residual"].mean(),
        "one_to_one": frame["r_one_to_one"].abs().mean(),
        "reliability": reliability,
        "false_alarms": int((false_alarms(config, one) > 0).sum()),
        "shifts": len(one.scores.null),
        "copies": None if one.selected.planted is None else found_copies(one),
    }
    schema = {"copies": pl.Float64, "reliability": pl.Float64}
    return pl.DataFrame([row], schema_overrides=schema).with_columns(pl.col(pl.Float64).fill_nan(None))


def _counts(role: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Return how many neurons have a held-out correlation above each of a few values, plain and of residuals."""
    return pl.DataFrame(
        {
            "role": [role] * len(ABSOLUTE),
            "above": ABSOLUTE,
            "neurons": [int((frame["r"] > x).sum()) for x in ABSOLUTE],
            "residuals": [int((frame["r_residual"] > x).sum()) for x in ABSOLUTE],
            "of": [len(frame)] * len(ABSOLUTE),
        }
    )


def _histograms(role: str, one: Matched) -> pl.DataFrame:
    """Return densities of the best matches' correlations, of those after rotation and after exchanging documents."""
    values = {
        "held out": one.frame["r"].drop_nulls().to_numpy(),
        "rotated": one.scores.rotated.ravel(),
        "exchanged": one.scores.null.ravel(),
    }
    frames = []
    for quantity, x in values.items():
        known = x[np.isfinite(x)]
        counts, _ = np.histogram(known.clip(BINS[0], BINS[-1]), BINS)
        density = counts / max(len(known), 1) / np.diff(BINS)
        frames.append(
            pl.DataFrame({"low": BINS[:-1], "high": BINS[1:], "density": density, "quantity": quantity})
        )
    return pl.concat(frames).select(pl.lit(role).alias("role"), "quantity", "low", "high", "density")


def _layer_map(data: Data) -> pl.DataFrame:
    """Return a row for each pair of layers: best correlations less rotations', and debiased CKA."""
    one = data.matched.get("pair", data.matched["planted"])
    tiles = one.tiles.with_columns(excess=pl.col("best") - pl.col("rotated"))
    if data.similarity is None:
        return tiles.with_columns(raw=pl.lit(None, pl.Float64), standardised=pl.lit(None, pl.Float64))
    both = data.similarity.rows.join(tiles, on=["layer_a", "layer_b"], how="left", maintain_order="left")
    return both.select("layer_a", "layer_b", "best", "rotated", "excess", "raw", "standardised")


def _spectra(config: UniversalityConfig, data: Data) -> pl.DataFrame:
    """Return mean centroids by class of neuron and layer: universal, its controls, matched only, and the rest."""
    one = data.matched.get("pair", data.matched["planted"])
    pairs = spectral_pairs(one.frame, config.seed).group_by("layer").agg(pl.col("control").mean(), pl.len())
    kind = (
        pl.when("universal")
        .then(pl.lit("universal"))
        .when("matched")
        .then(pl.lit("matched"))
        .otherwise(pl.lit("others"))
    )
    frame = one.frame.with_columns(kind=kind)
    means = frame.group_by("layer", "kind").agg(
        pl.col("centroid", "dc_share", "low_share").mean(), pl.len().alias("neurons")
    )
    controls = pairs.select(
        "layer",
        pl.lit("control").alias("kind"),
        pl.col("control").alias("centroid"),
        pl.lit(None, pl.Float64).alias("dc_share"),
        pl.lit(None, pl.Float64).alias("low_share"),
        pl.col("len").alias("neurons"),
    )
    return pl.concat([means, controls]).sort("kind", "layer")


def _effects(data: Data) -> pl.DataFrame:
    """Return the effects with p values corrected over neurons, for each task apart (Benjamini and Hochberg)."""
    frame = _or_empty(data.effects, SCHEMA)
    adjusted = np.full(len(frame), np.nan)
    for task in set(frame["task"]):
        own = ((frame["task"] == task) & frame["p"].is_not_null()).to_numpy()
        adjusted[own] = adjusted_p(frame["p"].to_numpy()[own])
    return frame.with_columns(adjusted_p=pl.Series(adjusted, dtype=pl.Float64).fill_nan(None))
