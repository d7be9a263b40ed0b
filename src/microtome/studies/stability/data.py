"""A run's measurements in the shape that the analysis reads; simulated data have it too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import polars as pl

from microtome.lab.study import Measurement, Unit
from microtome.studies.stability.arms import parts
from microtome.studies.stability.config import StabilityConfig

TEXT, INT, REAL = pl.String, pl.Int64, pl.Float64
ARM = {"subject": TEXT, "run": INT, "treatment": TEXT, "optimizer": TEXT, "tuning": TEXT}
ARMS = ARM | {
    "dose": TEXT, "effect": REAL, "low": REAL, "high": REAL, "rise": REAL, "nonfinite": INT, "norm": REAL,
    "relative": REAL, "mismatch": REAL, "first_loss": REAL, "last_loss": REAL, "note": TEXT,
}  # fmt: skip
BASELINES = {
    "subject": TEXT, "precision": TEXT, "family": TEXT, "parameters": INT, "rank": REAL, "nats": REAL, "nonfinite": INT,
    "tokens": INT, "massive": INT,
}  # fmt: skip
INPUTS = {
    "subject": TEXT, "run": INT, "treatment": TEXT, "share": REAL, "decades": REAL, "loss": REAL,
    "changed": REAL, "swaps": INT, "certified": INT,
}  # fmt: skip
LAYERS = ARM | {
    "dose": TEXT, "layer": INT, "selection": TEXT, "centred": pl.Boolean, "measure": TEXT, "effect": REAL,
}  # fmt: skip
HEALING = {"subject": TEXT, "run": INT, "step": INT, "effect": REAL, "rise": REAL}
PUBLISHED = {
    "subject": TEXT, "run": INT, "treatment": TEXT, "optimizer": TEXT, "precision": TEXT,
    "baseline_rank": REAL, "post_rank": REAL, "baseline_perplexity": REAL, "post_perplexity": REAL,
    "reduction": REAL, "steps": INT, "stopped": pl.Boolean,
}  # fmt: skip
PLANTED = {"subject": TEXT, "effect": REAL}
SCHEMAS = {
    "arms": ARMS, "baselines": BASELINES, "inputs": INPUTS, "layers": LAYERS, "healing": HEALING,
    "published": PUBLISHED, "planted": PLANTED,
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """One table for each kind of unit, by subject; undefined numbers are missing."""

    arms: pl.DataFrame
    """A row for each arm, run and dose: ``effect`` is ln(R after / R before) with its interval over documents,
    ``rise`` that of the held-out loss, ``norm`` the size of the whole update, ``relative`` in the weights' own size,
    ``mismatch`` the largest relative distance of a layer's |dW| from the one it is matched to."""
    baselines: pl.DataFrame
    """A row for each precision of a model, untuned."""
    inputs: pl.DataFrame
    """A row for each input and run: the ``share`` of its gradient outside the top directions, in ``decades``
    -log10(1 - share), and what of its start is ``changed``."""
    layers: pl.DataFrame
    """The effect at every layer, by every measure, of rows selected and centred in every way."""
    healing: pl.DataFrame
    """Effect and rise along healing, against the healthy model."""
    published: pl.DataFrame
    """A row for each published run; ``reduction`` is signed, in per cent."""
    planted: pl.DataFrame
    """The effect of the planted collapse."""


def frame(name: str, rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """Return rows as one of ``Data``'s tables; what a row lacks is missing, and so is nan."""
    schema = SCHEMAS[name]
    complete = [{column: row.get(column) for column in schema} for row in rows]
    reals = [column for column, kind in schema.items() if kind == REAL]
    return pl.DataFrame(complete, schema=schema, orient="row").with_columns(pl.col(reals).fill_nan(None))


def rows(found: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return a unit's rows, of several tables, as one frame; each names its table."""
    return pl.DataFrame(found, infer_schema_length=None)


def gather(config: StabilityConfig, units: Sequence[Unit], measured: Mapping[str, Measurement]) -> Data:
    """Join the units of a run; each unit's rows name the table that they belong to."""
    from microtome.models import fingerprint

    labels = dict(zip(map(fingerprint, config.models), config.labels, strict=True))
    tables: dict[str, list[dict[str, object]]] = {name: [] for name in SCHEMAS}
    for unit in units:
        spec = unit.spec
        keys = {"subject": labels[spec["model"]]}
        keys |= {
            name: spec[name]
            for name in ("run", "treatment", "optimizer", "tuning", "precision")
            if name in spec
        }
        for row in measured[unit.id].rows.filter(pl.col("table").is_in(SCHEMAS)).to_dicts():
            tables[row.pop("table")].append({**row, **{k: v for k, v in keys.items() if row.get(k) is None}})
    return Data(*(frame(one.name, tables[one.name]) for one in fields(Data)))


def shared_baseline(config: StabilityConfig, data: Data) -> pl.DataFrame:
    """Return ``subject``, ``rank`` and ``nats`` of each model in the first tuning's precision."""
    precision = parts(config.tunings[0])[1]
    return data.baselines.filter(precision=precision).select("subject", "rank", "nats")
