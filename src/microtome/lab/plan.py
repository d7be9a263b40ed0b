"""The plan of a run: its id, its folder, its units, which are done, and how long the rest may take."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

from microtome.lab.identity import run_id
from microtome.lab.record import Damaged
from microtome.lab.store import RunFolder, Store
from microtome.lab.study import Study, StudyConfig, Unit
from microtome.lab.unit_files import check_unit

State = Literal["done", "elsewhere", "damaged", "to do"]


@dataclass(frozen=True)
class Layout:
    """What is to be measured, and where it goes; nothing has been looked up in the store."""

    study: Study
    config: StudyConfig
    store: Store
    fingerprints: Mapping[str, str]
    units: tuple[Unit, ...]
    folder: RunFolder


def lay_out(study: Study, config: StudyConfig, store: Path | str) -> Layout:
    """Return the layout of the run of ``study`` with ``config``.

    Raises:
        UserError: when the config names something that is not there or cannot work.
    """
    fingerprints = study.fingerprints(config)
    units = tuple(study.units(config, fingerprints))
    earlier: set[str] = set()
    for unit in units:
        assert unit.id not in earlier, f"study {study.name} plans unit {unit.id} twice"
        assert earlier.issuperset(unit.needs), f"study {study.name} plans unit {unit.id} before what it needs"
        earlier.add(unit.id)
    identity = run_id(study.name, study.version, config, fingerprints)
    place = Store(store)
    return Layout(study, config, place, fingerprints, units, place.run_folder(study.name, identity))


@dataclass(frozen=True)
class PlannedUnit:
    """A unit and where it stands."""

    unit: Unit
    state: State
    """``elsewhere``: another run has measured it, and this one will take it over."""


@dataclass(frozen=True)
class Plan:
    """What a run would do; nothing has been written."""

    study: str
    run_id: str
    path: Path
    units: tuple[PlannedUnit, ...]
    seconds: float | None
    """Expected time for the units to do; None where the store holds no finished unit to go by."""

    @property
    def to_do(self) -> tuple[Unit, ...]:
        """The units that would be measured."""
        return tuple(planned.unit for planned in self.units if planned.state in ("to do", "damaged"))


def plan(study: Study, config: StudyConfig, store: Path | str = "store", *, workers: int = 1) -> Plan:
    """Return what ``execute`` with the same arguments would do.

    Time is estimated from the seconds per expected cost of finished units of the same kind in the store;
    kinds that have none go by the average of the others.
    """
    layout = lay_out(study, config, store)
    planned = tuple(PlannedUnit(unit, _state(layout, unit)) for unit in layout.units)
    to_do = [one.unit for one in planned if one.state in ("to do", "damaged")]
    seconds = _estimate(layout.store.seconds(study.name), to_do, workers)
    return Plan(study.name, layout.folder.id, layout.folder.path, planned, seconds)


def _state(layout: Layout, unit: Unit) -> State:
    damaged = False
    try:
        if check_unit(layout.folder.unit(unit.id)):
            return "done"
    except Damaged:
        damaged = True
    for other in layout.store.elsewhere(layout.study.name, unit.id, layout.folder):
        try:
            if check_unit(other):
                return "elsewhere"
        except Damaged:
            continue
    return "damaged" if damaged else "to do"


def _estimate(paces: Mapping[str, list[float]], units: list[Unit], workers: int) -> float | None:
    """Return the expected seconds of ``units`` shared among ``workers``."""
    if not units:
        return 0.0
    if not paces:
        return None
    by_kind = {kind: fmean(found) for kind, found in paces.items()}
    typical = fmean(by_kind.values())
    total = sum(unit.cost * by_kind.get(unit.kind, typical) for unit in units)
    return total / min(workers, len(units))
