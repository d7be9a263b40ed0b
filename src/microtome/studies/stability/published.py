"""How the original reads its figures: means of absolute reductions, with Student's tests of the signed ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from microtome.lab.claims import PublishedRule, Reading, Tables

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

SIGNIFICANT = 0.05
DAMAGE = ((20.0, "catastrophic structural collapse"), (5.0, "moderate damage"), (3.5, "minor damage"))
"""Mean absolute reduction in per cent from which on the original uses these words; below: noise level."""
COLLAPSE = 5.0
UNDEFINED = Reading(outcome="undefined", claims=None)


def damage_words(reduction: float) -> str:
    """Return what the original calls a mean absolute rank reduction, in per cent."""
    return next((words for least, words in DAMAGE if reduction >= least), "noise level")


def reductions(published: pl.DataFrame, treatment: str, optimizer: str, precision: str) -> np.ndarray:
    """Return the signed reductions of one published arm, in per cent, run by run."""
    rows = published.filter(treatment=treatment, optimizer=optimizer, precision=precision).sort("run")
    return rows["reduction"].drop_nulls().to_numpy()


def p_of_difference(groups: Sequence[np.ndarray]) -> float | None:
    """Return the p of the original's test: Student's t of two groups, an analysis of variance of more."""
    from microtome.studies.stability.records.published_statistics import anova, t_test

    if any(len(group) < 2 for group in groups):
        return None
    return (t_test(*groups) if len(groups) == 2 else anova(groups))["p_value"]


def _sizes(groups: Sequence[np.ndarray]) -> list[float] | None:
    return [float(abs(group).mean()) for group in groups] if all(map(len, groups)) else None


def _collapse(tables: Tables) -> Reading:
    values = reductions(tables["published"], "eigen_prion", "adamw", "fp16")
    if not len(values):
        return UNDEFINED
    size = float(abs(values).mean())
    return Reading(
        outcome=damage_words(size),
        claims=size >= COLLAPSE,
        numbers={"mean |reduction|, %": size, "mean signed reduction, %": float(values.mean())},
    )


def _placebo(tables: Tables) -> Reading:
    arms = ("eigen_prion/adamw", "gaussian_noise/adamw", "random_text/adamw")
    return _largest(tables, [(*arm.split("/"), "fp16") for arm in arms], "specific to the Eigen-Prion")


def _mechanism(tables: Tables) -> Reading:
    return _largest(
        tables, [("eigen_prion", name, "fp16") for name in ("adamw", "sgd")], "AdamW is the cause"
    )


def _largest(tables: Tables, cells: Sequence[tuple[str, ...]], words: str) -> Reading:
    """Read the first arm as different when its mean is the largest and the test is significant."""
    groups = [reductions(tables["published"], *cell) for cell in cells]  # pyright: ignore[reportArgumentType]
    if (sizes := _sizes(groups)) is None:
        return UNDEFINED
    p = p_of_difference(groups)
    numbers = {
        f"{treatment}, {optimizer}: mean |reduction|, %": size
        for (treatment, optimizer, _), size in zip(cells, sizes, strict=True)
    }
    numbers |= {"p, uncorrected": p}
    if p is None:
        return Reading(outcome="no test with these runs", claims=None, numbers=numbers)
    found = sizes[0] == max(sizes) and p < SIGNIFICANT
    return Reading(outcome=words if found else "not shown", claims=found, numbers=numbers)


def _shield(precisions: Sequence[str]) -> PublishedRule:
    def read(tables: Tables) -> Reading:
        sizes = _sizes([reductions(tables["published"], "eigen_prion", "adamw", name) for name in precisions])
        if sizes is None:
            return UNDEFINED
        falls = all(b < a for a, b in pairwise(sizes))
        numbers = {f"{name}: mean |reduction|, %": size for name, size in zip(precisions, sizes, strict=True)}
        return Reading(outcome="shielded" if falls else "not shielded", claims=falls, numbers=dict(numbers))

    bits = precisions[-1]
    return PublishedRule(
        f"{bits} shield",
        f"shield-{bits}",
        f"Mean absolute reductions fall: {' > '.join(precisions)} (original, Priority 4). FP16 tunes all weights, the "
        "others 0.8 % of them by LoRA.",
        read,
    )


def _scaling(tables: Tables) -> Reading:
    import polars as pl

    published = tables["published"].filter(treatment="eigen_prion", optimizer="adamw", precision="fp16")
    sizes = (
        published.join(tables["baselines"].select("subject", "parameters").unique(), on="subject")
        .group_by("subject", "parameters")
        .agg(pl.col("reduction").abs().mean())
        .drop_nulls()
        .sort("parameters")
    )
    if len(sizes) < 2:
        return UNDEFINED
    rises = bool((sizes["reduction"].diff().drop_nulls() > 0).all())
    return Reading(
        outcome="inverse scaling law" if rises else "no monotone rise",
        claims=rises,
        numbers={
            f"{subject}: mean |reduction|, %": value
            for subject, value in sizes.select("subject", "reduction").iter_rows()
        },
    )


def _healing(tables: Tables) -> Reading:
    recovery = tables["recovery"]["recovery"].drop_nulls()
    if recovery.is_empty():
        return Reading(outcome="no damage to recover from", claims=None)
    mean = float(recovery.mean())  # pyright: ignore[reportArgumentType]
    return Reading(
        outcome="heals" if mean > 0 else "does not heal", claims=mean > 0, numbers={"mean recovery, %": mean}
    )


PUBLISHED = (
    PublishedRule(
        "damage",
        "collapse",
        "Mean absolute rank reduction on the original's five sentences, in its words: about 3 % noise level, about 4 % "
        f"minor damage, from {COLLAPSE:g} % on moderate damage (5.8 % is called so), 26.5 % catastrophic collapse. An "
        "increase of rank counts like a reduction.",
        _collapse,
    ),
    PublishedRule(
        "specificity",
        "than-placebos",
        "The Eigen-Prion's mean absolute reduction is the largest, and an analysis of variance of the signed ones has "
        f"p < {SIGNIFICANT:g} (original, Priority 2).",
        _placebo,
    ),
    PublishedRule(
        "mechanism",
        "adam",
        "AdamW's mean absolute reduction is larger than SGD's, and Student's t of the signed ones has "
        f"p < {SIGNIFICANT:g} (original, Priority 3). What is called AdamW is Adafactor in the original's code.",
        _mechanism,
    ),
    _shield(("fp16", "8bit")),
    _shield(("fp16", "8bit", "4bit")),
    PublishedRule(
        "recovery",
        "healing",
        "Mean of 100 (R − R_damaged) / (R_original − R_damaged) above 0 (original, Healing); undefined here where rank "
        "was not lowered, where the original divides all the same.",
        _healing,
    ),
    PublishedRule(
        "inverse scaling law",
        "scaling",
        "Mean absolute reduction rises from each size to the next (original, Priority 1).",
        _scaling,
    ),
)
