"""What the engines add to a unit: 200 units that take almost no time, in this process, in workers and on Ray."""

import logging
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import ray

from benchmarks.report import Report, about, markdown
from microtome.lab.engines import Engine, Measured
from microtome.lab.engines.local import LocalEngine
from microtome.lab.engines.ray import RayEngine
from microtome.lab.resources import Resources
from microtome.lab.study import Bench, Measurement, Unit
from microtome.lab.unit_files import Provider, write_unit

UNITS = 200
WORKERS = 2
AT_MOST = 5
"""Repetitions: each starts processes anew, which takes seconds."""
HERE, LOCAL = "in this process", f"local, {WORKERS} workers"
RAY, SHARED = f"Ray, {WORKERS} workers", f"Ray, {WORKERS} workers, shared store"


class Idle(Bench):
    """A bench whose measurement is drawn in microseconds."""

    def measure(self, unit: Unit, needed: Mapping[str, Measurement]) -> Measurement:
        """Return a row, and an array of 8 kB."""
        draws = np.random.default_rng(unit.spec["seed"]).normal(size=1000)
        return Measurement(pl.DataFrame({"mean": [float(draws.mean())]}), {"draws": draws})


class Cheap:
    """As much of a study as an engine uses."""

    name = "cheap"

    def resources(self, config: Any) -> Resources:
        """Return what a worker reserves."""
        return Resources()

    def open(self, config: Any) -> Bench:
        """Return the bench."""
        return Idle()


class Pass(NamedTuple):
    """How long an engine took for all units."""

    start: float
    """Seconds until the first unit was stored: connecting, starting workers, importing."""
    each: float
    """Seconds for each further unit, stored like those of a run."""


def measured(engine: Engine, store: Path) -> Pass:
    """Have an engine measure the units and store each as the runner does."""
    study: Any = Cheap()
    units = [
        Unit(study="cheap", version=1, kind="idle", label=str(seed), spec={"seed": seed})
        for seed in range(UNITS)
    ]
    by_id = {unit.id: unit for unit in units}
    provider = Provider("bench", "none", engine.threads)
    times = [time.perf_counter()]
    for result in engine.measure(study, None, units, lambda unit_id: store / "units" / unit_id):
        assert isinstance(result, Measured), result
        place = store / "units" / result.unit
        write_unit(place, by_id[result.unit], result.files, result.log, result.seconds, provider)
        times.append(time.perf_counter())
    assert len(times) == UNITS + 1
    return Pass(times[1] - times[0], (times[-1] - times[1]) / (UNITS - 1))


def run(repetitions: int) -> Report:
    """Measure all engines in turn, on one Ray cluster of this machine."""
    turns = min(repetitions, AT_MOST)
    started = time.perf_counter()
    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, logging_level=logging.ERROR)
    cluster = time.perf_counter() - started
    engines: dict[str, Engine] = {
        HERE: LocalEngine(1, threads=1),
        LOCAL: LocalEngine(WORKERS, threads=1),
        RAY: RayEngine(workers=WORKERS),
        SHARED: RayEngine(workers=WORKERS, shared_store=True),
    }
    passes: dict[str, list[Pass]] = {name: [] for name in engines}
    try:
        for turn in range(turns):
            print(f"measuring {UNITS} units with each engine, {turn + 1} of {turns} ...", flush=True)
            for name, engine in engines.items():
                with tempfile.TemporaryDirectory() as store:
                    (Path(store) / "units").mkdir()
                    passes[name].append(measured(engine, Path(store)))
    finally:
        ray.shutdown()
    rows = [
        {
            "engine": name,
            "start_s": median(one.start for one in own),
            "unit_s": median(one.each for one in own),
            "unit_ratio": median(a.each / b.each for a, b in zip(own, passes[LOCAL], strict=True)),
        }
        for name, own in passes.items()
    ]
    lines = markdown(
        ["", "until the first unit", "each further unit", f"/ {LOCAL}"],
        [
            [
                row["engine"],
                f"{row['start_s']:.2f} s",
                f"{row['unit_s'] * 1e3:.2f} ms",
                f"{row['unit_ratio']:.2f}",
            ]
            for row in rows
        ],
    )
    described = about(
        f"medians of {turns} turns in which each engine measures {UNITS} units; ratios are medians of turns'",
        unit="a row and 8 kB drawn at random, stored with checksums as in a run: nearly all of the time is overhead",
        cluster=f"Ray {ray.__version__} on this machine, started once in {cluster:.1f} s, which is in no figure",
    )
    return Report("Engines", described, lines, {"rows": rows, "cluster_s": cluster})
