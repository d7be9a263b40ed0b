"""From stored measurements to verdicts: gather, analyse, decide, and the files that hold it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from microtome.base.files import atomic, sha256_file, write_json
from microtome.lab.estimate import alphas
from microtome.lab.packing import unpack
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


def conclude(layout: Layout, threads: int, registered: Registered) -> dict[str, str]:
    """Analyse a run's stored measurements, write its result files, and return their checksums by path."""
    study, config, folder = layout.study, layout.config, layout.folder.path
    measured = {unit.id: unpack(layout.folder.unit(unit.id)) for unit in layout.units}
    with limited(threads):
        data = study.gather(config, layout.units, measured)
        analysis = study.analyse(config, data, alphas(len(study.predictions), ALPHA))
    verdicts = decide(study.predictions, analysis.estimates, analysis.controls, ALPHA)
    frames = {ROWS: joined_rows(layout, measured)}
    frames |= {f"{TABLES}/{name}.parquet": table for name, table in analysis.tables.items()}
    for name, frame in frames.items():
        with atomic(folder / name) as temporary:
            frame.write_parquet(temporary)
    write_json(folder / VERDICTS, _as_json(layout, analysis, verdicts, registered))
    return {name: sha256_file(folder / name) for name in (*frames, VERDICTS)}


def joined_rows(layout: Layout, measured: Mapping[str, Measurement]) -> "pl.DataFrame":
    """Return the rows of all units in the plan's order, each with its unit's id; absent columns are null."""
    import polars as pl

    frames = [
        measured[unit.id].rows.select(pl.lit(unit.id).alias("unit"), pl.all().exclude("unit"))
        for unit in layout.units
    ]
    return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()


def _as_json(
    layout: Layout, analysis: Analysis, verdicts: tuple[Verdict, ...], registered: Registered
) -> dict[str, Any]:
    readings = {rule.id: rule.read(analysis.tables) for rule in layout.study.published}
    return {
        "alpha": ALPHA,
        "registered": registered,
        "verdicts": [verdict.model_dump(mode="json") for verdict in verdicts],
        "controls": {name: control.model_dump(mode="json") for name, control in analysis.controls.items()},
        "published": {
            rule.id: {
                "prediction": rule.prediction,
                "rule": rule.rule,
                "reading": readings[rule.id].model_dump(mode="json"),
            }
            for rule in layout.study.published
        },
    }
