"""A model's damage against itself untuned: what is kept of a baseline, and the rows of a comparison with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from microtome.lab.study import Measurement
from microtome.studies.stability.damage import Damage

MEASURE = "entropy_rank"
"""What decides."""
KEYS = ("layer", "selection", "centred", "measure")


def kept(damage: Damage) -> dict[str, np.ndarray]:
    """Return what later units need of an untuned model's damage, as arrays."""
    return {
        "layers": np.array(list(damage.limits)),
        "limits": np.array(list(damage.limits.values())),
        "nats": np.array(damage.nats),
        "draws.rank": damage.arrays[f"draws.{MEASURE}"],
        "draws.nats": damage.arrays["draws.nats"],
    }


def limits(baseline: Measurement) -> dict[int, float]:
    """Return the norms up to which rows of each layer are kept."""
    return dict(zip(baseline.arrays["layers"].tolist(), baseline.arrays["limits"].tolist(), strict=True))


def comparison(after: Damage, baseline: Measurement) -> dict[str, Any]:
    """Return ``effect`` with its bootstrap interval over documents, ``rise`` and ``nonfinite``; nan where undefined."""
    before = baseline.arrays
    draws = after.arrays[f"draws.{MEASURE}"] - before["draws.rank"]
    known = draws[np.isfinite(draws)]
    low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (np.nan, np.nan)
    middle = {"layer": after.middle, "selection": "kept", "centred": True, "measure": MEASURE}
    (effect,) = (row["effect"] for row in by_layer(after, baseline) if middle.items() <= row.items())
    return {
        "effect": effect,
        "low": float(low),
        "high": float(high),
        "rise": after.nats - float(before["nats"]),
        "nonfinite": after.nonfinite,
    }


def by_layer(after: Damage, baseline: Measurement) -> Iterator[dict[str, Any]]:
    """Yield ``effect``, ln(after / before), for each layer, selection, centring and measure that ``after`` has."""
    rows = baseline.rows.filter(table="levels").drop("table")
    before = _values(rows.iter_rows(named=True))
    for row in after.rows:
        ratio = row["value"] / before[tuple(row[key] for key in KEYS)]
        yield {key: row[key] for key in KEYS} | {"effect": float(np.log(ratio)) if ratio > 0 else np.nan}


def _values(rows: Any) -> Mapping[tuple[Any, ...], float]:
    return {tuple(row[key] for key in KEYS): row["value"] for row in rows}
