"""The original's orchestrator: what each priority runs, and its folders of raw results from finished units."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microtome.base.errors import UserError
from microtome.studies.stability.config import StabilityConfig

if TYPE_CHECKING:
    from microtome.lab.study import Study, Unit
    from microtome.studies.stability.records.run import Record

PYTHIA = "EleutherAI/pythia-"
SIZES = ("70m", "160m", "410m", "1b", "1.4b", "2.8b")
MAIN = "eigen_prion/adamw/fp16"


@dataclass(frozen=True)
class Priority:
    """One of the original's questions: on which models, with which arms, how often."""

    name: str
    models: tuple[str, ...]
    cells: tuple[str, ...]
    runs: int = 3


PRIORITIES = {
    1: Priority("scaling_law", ("70m", "160m", "410m", "1b"), (MAIN,), runs=10),
    2: Priority("placebo", ("410m",), (MAIN, "gaussian_noise/adamw/fp16", "random_text/adamw/fp16")),
    3: Priority("mechanism", ("410m",), (MAIN, "eigen_prion/sgd/fp16")),
    4: Priority("shield", ("1b",), (MAIN, "eigen_prion/adamw/8bit", "eigen_prion/adamw/4bit")),
    5: Priority("healing", ("1b",), (MAIN,)),
}


def priority_of(number: int) -> Priority:
    """Return a priority.

    Raises:
        UserError: there is none of this number.
    """
    if number not in PRIORITIES:
        known = ", ".join(f"{n} ({its.name})" for n, its in PRIORITIES.items())
        raise UserError(f"unknown priority {number}. Priorities: {known}")
    return PRIORITIES[number]


def folder_of(number: int, output: Path) -> Path:
    """Return the folder of a priority's raw results."""
    return output / f"priority{number}_{priority_of(number).name}" / "raw_data"


def options(
    model: str, cells: Sequence[str], runs: int, seed: int, steps: int, healing: int = 0
) -> dict[str, Any]:
    """Return the options of the study for one model: the published cells alone."""
    return {
        "models": (PYTHIA + model if model in SIZES else model,),
        "treatments": (),
        "published": tuple(cells),
        "runs": runs,
        "seed": seed,
        "published_steps": steps,
        "published_healing": healing,
    }


def options_of(
    number: int,
    models: Sequence[str] = (),
    runs: int | None = None,
    seed: int = 42,
    steps: int = 100,
    healing_steps: int = 500,
) -> list[dict[str, Any]]:
    """Return the options of a priority's runs of the study, a run for each model.

    Raises:
        UserError: there is no such priority.
    """
    its = priority_of(number)
    healing = healing_steps if number == 5 else 0
    return [
        options(model, its.cells, its.runs if runs is None else runs, seed, steps, healing)
        for model in models or its.models
    ]


def export(study: Study, config: StabilityConfig, store: Path | str, folder: Path) -> list[Path]:
    """Write the original's folder of each finished published unit, and each cell's aggregate; return their paths."""
    from microtome.lab.packing import unpack
    from microtome.lab.plan import lay_out
    from microtome.lab.store import intact_units
    from microtome.studies.stability.records.write import write_aggregate, write_run

    layout = lay_out(study, config, store)
    units = {unit.id: unit for unit in layout.units if unit.kind == "published"}
    done, _ = intact_units(layout.folder, list(units))
    written: dict[str, list[Any]] = {}
    for identity in done:
        place = layout.folder.unit(identity)
        stored = json.loads(unpack(place).rows["record"][0])
        at = datetime.fromtimestamp((place / "unit.json").stat().st_mtime).isoformat()
        stored["lines"] = [{"step": line["step"], "timestamp": at, **line} for line in stored["lines"]]
        record = _record(config, units[identity], stored, folder)
        write_run(folder, record)
        written.setdefault(record.key, []).append(record)
    for records in written.values():
        write_aggregate(folder, records)
    return [record.folder for records in written.values() for record in records]


def _record(config: StabilityConfig, unit: Unit, stored: Mapping[str, Any], folder: Path) -> Record:
    from microtome.studies.stability.records.run import Record, label, parse
    from microtome.studies.stability.records.write import name

    (model,) = config.models
    spec = unit.spec
    number = spec["run"] - config.seed
    treatment, optimizer = (
        None if spec[key] == usual else spec[key]
        for key, usual in (("treatment", "eigen_prion"), ("optimizer", "adamw"))
    )
    own = name(model, spec["precision"], number if config.runs > 1 else None, treatment, optimizer)
    said = parse(own)
    assert said is not None, own
    return Record(
        folder / own,
        model=label(model),
        size=said.size,
        run=number,
        precision=spec["precision"],
        treatment=spec["treatment"],
        optimizer=optimizer,
        config=stored["config"],
        lines=tuple(stored["lines"]),
        summary=stored.get("summary"),
    )
