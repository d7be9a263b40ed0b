"""Engines measure units, in this process or in others; the runner stores what they yield.

Only the runner writes what counts in the store. An engine returns the bytes of each unit's files, packed the same
way everywhere, so the bytes in the store do not depend on the engine.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from microtome.lab.study import Study, Unit


@dataclass(frozen=True)
class Measured:
    """A unit that was measured: its files, its log, and how long it took."""

    unit: str
    files: Mapping[str, bytes | Path]
    """By name, the bytes of each file, or a temporary file in the unit's folder that has them."""
    log: str
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A unit that raised: the error in a line, and the log with the traceback."""

    unit: str
    error: str
    log: str


Result = Measured | Failed


class Engine(Protocol):
    """Measures the units that a run is missing."""

    name: str
    """As users ask for it."""
    threads: int
    """How many threads one unit may use."""
    at_work: str
    """Who measures at the moment, for the progress line; empty where that is this process alone."""

    def measure(
        self, study: Study, config: Any, units: Sequence[Unit], folder: Callable[[str], Path]
    ) -> Generator[Result, None, None]:
        """Yield the result of each unit, each after those it needs; dependants of a failed unit are left out.

        Args:
            study: the study whose bench measures.
            config: its resolved config.
            units: what to measure, in the plan's order; needed units that are not in it are in the store.
            folder: where the store keeps a unit's files. A result that was yielded is there when the
                engine is resumed, and dependants read it from there.

        Raises:
            UserError: what the bench or a unit raised as the user's mistake; the rest is not measured.
            RunFailure: when the bench could not be opened, or no worker can go on.
        """
        ...


class Schedule:
    """Which unit is next: the first in the plan whose needs are all in the store."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._waiting = list(units)
        self._unmet = {unit.id for unit in units}
        self._running: set[str] = set()

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing more can."""
        return not self._running and not any(self._is_ready(unit) for unit in self._waiting)

    def take(self) -> Unit | None:
        """Return the next unit to measure, or None while all that wait need units that are not done."""
        for position, unit in enumerate(self._waiting):
            if self._is_ready(unit):
                self._running.add(unit.id)
                return self._waiting.pop(position)
        return None

    def settle(self, result: Result) -> None:
        """Note that a unit is stored, or that it failed and its dependants can never start."""
        self._running.discard(result.unit)
        if isinstance(result, Measured):
            self._unmet.discard(result.unit)

    def give_back(self, unit: Unit) -> None:
        """Have a unit that was taken wait again, behind all others."""
        self._running.discard(unit.id)
        self._waiting.append(unit)

    def _is_ready(self, unit: Unit) -> bool:
        return self._unmet.isdisjoint(unit.needs)
