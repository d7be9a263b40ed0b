"""The ranks of a spectrum as rows of a table, and how they vary when groups of text are drawn again."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from microtome.measure import rank
from microtome.studies.stability.moments import Moment, combined

MEASURES = ("entropy_rank", "energy_rank", "participation_ratio", "stable_rank", "spectral_gap")
"""The functions of ``measure.rank`` that every spectrum is summed up by."""
DRAWN = ("entropy_rank", "energy_rank")
"""Those whose logarithm is bootstrapped."""
ENOUGH = 5
"""Rows for each dimension below which a spectrum is marked as one of few rows."""


def drawn(moments: Sequence[Moment], weights: Int[np.ndarray, "B G"]) -> dict[str, np.ndarray]:
    """Return ln of the centred ranks of each draw; nan where it is undefined, and if one group leaves no spread."""
    found = np.full((len(DRAWN), len(weights)), np.nan)
    for i, weight in enumerate(weights if len(moments) > 1 else []):
        s = combined(moments, weight).spectrum(centred=True)
        if np.isfinite(s).all():
            found[:, i] = [np.log(getattr(rank, measure)(s)) for measure in DRAWN]
    return {f"draws.{measure}": values for measure, values in zip(DRAWN, found, strict=True)}


def summaries(s: Float[np.ndarray, "d"], n: int, measures: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each measure of a spectrum of ``n`` rows."""
    note = ""
    if not n:
        note = "no rows"
    elif not np.isfinite(s).all():
        note = "a row is not finite"
    elif not s.any():
        note = "all rows are equal"
    found = []
    for measure in measures:
        value = np.nan if note else float(getattr(rank, measure)(s))
        why = note or ("the second singular value is zero" if np.isnan(value) else "")
        found.append({"measure": measure, "value": value, "n": n, "few": n < ENOUGH * len(s), "note": why})
    return found
