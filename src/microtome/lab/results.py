"""From stored measurements to verdicts: gather, analyse, decide, and the files that hold it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microtome.base.files import atomic, sha256_file, write_json
from microtome.lab.claims import Tables
from microtome.lab.estimate import alphas
from microtome.lab.packing import Stored
from microtome.lab.plan import Layout
from microtome.lab.record import Registered
from microtome.lab.study import Analysis, Measurement
from microtome.lab.threads import limited
from microtome.lab.verdict import Verdict, decide

if TYPE_CHECKING:
    import polars as pl

ALPHA = 0.05
"""The error level of a run's predictions together."""
ROWS = "rows.parquet"
VERDICTS = "verdicts.json"
TABLES = "tables"
EXPORTS = "exports"
"""Where tables lie that are meant for other programs, as Parquet and as JSON."""


@dataclass(frozen=True)
class Results:
    """What a run came to, by the names of the files that will hold it."""

    frames: "Mapping[str, pl.DataFrame]"
    verdicts: dict[str, Any]
    exports: "Mapping[str, pl.DataFrame]" = field(default_factory=dict)


def conclude(layout: Layout, threads: int, registered: Registered) -> Results:
    """Gather a run's stored measurements, analyse them, and decide; writes nothing."""
    study, config = layout.study, layout.config
    predictions = study.claims(config).predictions
    measured = Stored({unit.id: layout.folder.unit(unit.id) for unit in layout.units})
    with limited(threads):
        data = study.gather(config, layout.units, measured)
        analysis = study.analyse(config, data, alphas(len(predictions), ALPHA))
        tables = study.tables(config, data)
    verdicts = decide(predictions, analysis.estimates, analysis.controls, ALPHA)
    frames = {ROWS: joined_rows(measured)}
    frames |= {f"{TABLES}/{name}.parquet": table for name, table in tables.items()}
    exports = {f"{EXPORTS}/{name}": table for name, table in study.exports(config, tables).items()}
    return Results(frames, _as_json(layout, analysis, tables, verdicts, registered), exports)


def write_results(folder: Path, results: Results) -> dict[str, str]:
    """Write a run's result files and return their checksums by path."""
    parquet = {**results.frames, **{f"{name}.parquet": frame for name, frame in results.exports.items()}}
    for name, frame in parquet.items():
        with atomic(folder / name) as temporary:
            frame.write_parquet(temporary)
    values = {VERDICTS: results.verdicts} | {
        f"{name}.json": x.to_dicts() for name, x in results.exports.items()
    }
    for name, value in values.items():
        write_json(folder / name, value)
    return {name: sha256_file(folder / name) for name in (*parquet, *values)}


def joined_rows(measured: Mapping[str, Measurement]) -> "pl.DataFrame":
    """Return the rows of all units in the plan's order, each with its unit's id; absent columns are null."""
    import polars as pl

    frames = [
        measurement.rows.select(pl.lit(unit_id).alias("unit"), pl.all().exclude("unit"))
        for unit_id, measurement in measured.items()
    ]
    return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()


def _as_json(
    layout: Layout, analysis: Analysis, tables: Tables, verdicts: tuple[Verdict, ...], registered: Registered
) -> dict[str, Any]:
    return {
        "alpha": ALPHA,
        "registered": registered,
        "verdicts": [verdict.model_dump(mode="json") for verdict in verdicts],
        "controls": {name: control.model_dump(mode="json") for name, control in analysis.controls.items()},
        "published": {
            rule.id: {
                "prediction": rule.prediction,
                "rule": rule.rule,
                "reading": rule.read(tables).model_dump(mode="json"),
            }
            for rule in layout.study.claims(layout.config).published
        },
    }
