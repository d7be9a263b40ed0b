"""Cells of a priority: the runs that differ in nothing but their seed, and what the priority compares."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from microtome.studies.stability.records.run import Record, millions

HEALING = 5
"""The priority of the healing runs."""


def optimizer_of(record: Record) -> str:
    """Return the optimiser that a run counts under: placebos, all by SGD, under the attack's, as in the original."""
    return (record.optimizer if record.treatment == "eigen_prion" else None) or "adamw"


@dataclass(frozen=True)
class Factor:
    """What a priority varies."""

    name: str
    level: Callable[[Record], str]
    first: tuple[str, ...]
    """Levels in the original's order; others follow."""

    def levels(self, records: Iterable[Record]) -> list[str]:
        """Return the levels that occur, in the original's order; sizes by their parameters."""
        present = {self.level(record) for record in records}
        ordered = [name for name in self.first if name in present]
        return ordered + sorted(present - {*ordered}, key=lambda name: (millions(name) or 0, name))


FACTORS = {
    1: Factor("model size", lambda record: record.size, ()),
    2: Factor("treatment", lambda record: record.treatment, ("eigen_prion", "gaussian_noise", "random_text")),
    3: Factor("optimizer", optimizer_of, ("adamw", "sgd")),
    4: Factor("precision", lambda record: record.precision, ("fp16", "8bit", "4bit")),
    HEALING: Factor("model size", lambda record: record.size, ()),
}


def cell_of(record: Record) -> str:
    """Return the name of a run's cell: its size and precision, and what else is not the default."""
    parts = [record.size, record.precision]
    if record.treatment != "eigen_prion":
        parts.append(record.treatment)
    if record.optimizer:
        parts.append(record.optimizer)
    return " ".join(parts)


def by_cell(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the runs of each cell, in the order of their numbers."""
    cells: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.run):
        cells.setdefault(cell_of(record), []).append(record)
    return cells


def family(record: Record) -> str:
    """Return the model's name without its size: ``pythia`` of ``pythia-160m``."""
    return re.sub(r"[-_]?\d+(\.\d+)?[kmb]$", "", record.model.lower()) or record.model
