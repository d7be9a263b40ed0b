"""A finding: what is wrong with some runs, in words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TypeGuard

from microtome.studies.stability.records.run import Record


@dataclass(frozen=True)
class Finding:
    """One thing that keeps runs from meaning what they are taken to mean."""

    check: str
    """The check that found it, in a few words."""
    where: tuple[str, ...]
    """Names of the folders and files concerned."""
    words: str
    """What was found, with its numbers, and what follows."""


def names(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the names of the runs' folders."""
    return tuple(record.folder.name for record in records)


def runs(records: Sequence[Record]) -> str:
    """Say the numbers of runs: ``run 1``, ``runs 1, 7 and 9``."""
    numbers = [str(record.run) for record in records]
    listed = " and ".join(part for part in (", ".join(numbers[:-1]), numbers[-1]) if part)
    return f"run{'s' if len(numbers) > 1 else ''} {listed}"


def defined(x: float | None) -> TypeGuard[float]:
    """Tell whether a number is there and finite."""
    return x is not None and isfinite(x)
