"""The numbers behind the figures, the printed tables and the published rules, one table each.

Every table has the columns ``subject`` and ``role``.
"""

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl

from microtome.lab.estimate import alphas
from microtome.measure.rescale import (
    correlation,
    cosines_over_heads,
    cosines_over_layers,
    fit_to_layer,
    mean_of_pairs,
)
from microtome.studies.head_spectra.config import HeadSpectraConfig
from microtome.studies.head_spectra.data import Data, Role, Subject
from microtome.studies.head_spectra.estimates import estimates_of, outcomes
from microtome.studies.head_spectra.measure import by_head
from microtome.studies.head_spectra.protocol import PREDICTIONS

PER_HEAD = (
    "match",
    "residual_same",
    "residual",
    "random_residual",
    "aligned_residual",
    "random_aligned_residual",
)
RANKS = ("rank", "own_rank")


def tables(config: HeadSpectraConfig, data: Data) -> dict[str, pl.DataFrame]:
    """Return all tables of a run."""
    verdicts = [_verdicts(config, subject, role) for subject in data for role in subject.roles]
    return {
        "summary": _of_roles(data, _summary),
        "heads": _of_roles(data, _heads),
        "layers": _of_roles(data, _layers),
        "shape_cosines": _of_roles(data, _shape_cosines),
        "shape_by_head": _of_roles(data, _shape_by_head),
        "corrections": _of_roles(data, _corrections),
        "null": pl.concat([_null(subject) for subject in data]),
        "verdicts": pl.concat(verdicts),
    }


def _of_roles(data: Data, table: Callable[[Role], pl.DataFrame]) -> pl.DataFrame:
    """Return one table of all roles of all subjects; undefined numbers are missing."""

    def parts() -> Iterator[pl.DataFrame]:
        for subject in data:
            for name, role in subject.roles.items():
                labels = (pl.lit(subject.label).alias("subject"), pl.lit(name).alias("role"))
                yield table(role).select(*labels, pl.all())

    joined = pl.concat(parts(), how="diagonal_relaxed")
    return joined.with_columns(pl.col(pl.Float64).fill_nan(None))


def _summary(role: Role) -> pl.DataFrame:
    """Return what the original prints, and beside it what it leaves out."""
    fit = fit_to_layer(role.spectra, role.anchor)
    shapes = mean_of_pairs(cosines_over_layers(role.spectra))
    entropy = role.attention.get("entropy")
    nothing = float("nan")
    numbers = {
        "anchor layer": float(role.anchor),
        "mean cosine of shapes over layers": shapes.mean(),
        "deviation of that cosine over heads": shapes.std(),
        "least cosine of a head": shapes.min(),
        "largest cosine of a head": shapes.max(),
        "mean residual": fit.residual.mean(),
        "max residual": fit.residual.max(),
        "share below .10": (fit.residual < 0.10).mean(),
        "share below .20": (fit.residual < 0.20).mean(),
        "correlation of T with entropy": nothing if entropy is None else correlation(fit.scale, entropy),
        "correlation of operator norm with entropy": (
            nothing if entropy is None else correlation(role.spectra.max(-1), entropy)
        ),
        "mean residual without the anchor": role.others(fit.residual).mean(),
    }
    values = [float(value) for value in numbers.values()]
    return pl.DataFrame({"quantity": list(numbers), "value": values}, schema_overrides={"value": pl.Float64})


def _heads(role: Role) -> pl.DataFrame:
    fit = fit_to_layer(role.spectra, role.anchor)
    columns = {
        "T": fit.scale,
        "spectral_residual": fit.residual,
        "operator_norm": role.spectra.max(-1),
        **role.attention,
        **({} if role.error_bound is None else {"error_bound": role.error_bound}),
    }
    frame = by_head(fit.scale.shape).with_columns(**{name: x.ravel() for name, x in columns.items()})
    return frame if role.operators is None else frame.hstack(role.operators.select(*PER_HEAD, *RANKS))


def _layers(role: Role) -> pl.DataFrame:
    """Return the original's table, its third experiment, and the means of what was measured for each head."""
    heads = _heads(role)
    means = pl.col(name for name in (*PER_HEAD[1:], *RANKS, *role.attention) if name in heads.columns).mean()
    frame = heads.group_by("layer", maintain_order=True).agg(
        pl.col("spectral_residual").mean().alias("mean_residual"),
        pl.col("spectral_residual").max().alias("max_residual"),
        pl.col("T").mean().alias("mean_T"),
        means,
    )
    return frame.with_columns(
        cosine_across_heads=mean_of_pairs(cosines_over_heads(role.spectra)),
        is_anchor=pl.col("layer") == role.anchor,
    )


def _shape_cosines(role: Role) -> pl.DataFrame:
    cosines = cosines_over_layers(role.spectra).mean(0)
    i, j = np.indices(cosines.shape)
    return pl.DataFrame({"layer_i": i.ravel(), "layer_j": j.ravel(), "cosine": cosines.ravel()})


def _shape_by_head(role: Role) -> pl.DataFrame:
    cosines = mean_of_pairs(cosines_over_layers(role.spectra))
    return pl.DataFrame({"head": range(len(cosines)), "cosine": cosines})


def _corrections(role: Role) -> pl.DataFrame:
    """Return the mean residual over heads and layers without the anchor, by rank of the correction."""
    if role.curve is None or role.own_curve is None:
        return pl.DataFrame(schema={"rank": pl.Int64, "residual": pl.Float64, "own_residual": pl.Float64})
    with_anchor, alone = (role.others(curve).mean((0, 1)) for curve in (role.curve, role.own_curve))
    return pl.DataFrame({"rank": range(len(with_anchor)), "residual": with_anchor, "own_residual": alone})


def _null(subject: Subject) -> pl.DataFrame:
    residuals = [] if subject.gaussian is None else subject.gaussian.residuals.tolist()
    frame = pl.DataFrame({"residual": residuals}, schema={"residual": pl.Float64})
    return frame.select(
        pl.lit(subject.label).alias("subject"), pl.lit("Gaussian products").alias("role"), "residual"
    )


def _verdicts(config: HeadSpectraConfig, subject: Subject, role: str) -> pl.DataFrame:
    """Return what one role comes to by itself, with the interval at the strictest level of one model's claims."""
    level = alphas(len(PREDICTIONS))[0]
    estimates = estimates_of(config, subject, role, [level])
    found = outcomes(estimates, level)
    intervals = {claim: estimate.at(level) for claim, estimate in estimates.items()}
    return pl.DataFrame(
        [
            {
                "subject": subject.label,
                "role": role,
                "prediction": claim,
                "value": estimate.value,
                "low": None if (interval := intervals[claim]) is None else interval.low,
                "high": None if interval is None else interval.high,
                "outcome": found[claim],
            }
            for claim, estimate in estimates.items()
        ],
        schema_overrides={"value": pl.Float64, "low": pl.Float64, "high": pl.Float64},
    )
