"""The controlled analysis of a priority: signed effects, intervals, tests corrected together, and verdicts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from microtome.lab.estimate import alphas
from microtome.lab.verdict import Verdict, decide
from microtome.studies.stability.records.cells import FACTORS, HEALING, family, optimizer_of
from microtome.studies.stability.records.claims import Claim, Levels, claims, healing
from microtome.studies.stability.records.contrasts import Cell, Comparison
from microtome.studies.stability.records.findings import defined
from microtome.studies.stability.records.mixed import Scaling
from microtome.studies.stability.records.recovery import damage_before, healing_effect
from microtome.studies.stability.records.run import Record, label, millions


@dataclass(frozen=True)
class Excluded:
    """Runs that take no part."""

    runs: tuple[Record, ...]
    why: str


@dataclass(frozen=True, eq=False)
class Controlled:
    """What a priority's runs come to."""

    priority: int
    runs: tuple[Record, ...]
    """Those that count."""
    excluded: tuple[Excluded, ...]
    cells: tuple[Cell, ...]
    published: Mapping[str, float]
    """Of each cell, the mean of absolute reductions over all its runs, per cent."""
    comparisons: tuple[Comparison, ...]
    scaling: Scaling | None
    """Of priority 1."""
    claims: tuple[Claim, ...]
    verdicts: tuple[Verdict, ...]
    """One for each claim, corrected together."""


def controlled(
    priority: int,
    records: Sequence[Record],
    *,
    early: bool = False,
    model: str | None = None,
    names: Sequence[str] | None = None,
) -> Controlled:
    """Analyse the runs of one priority.

    Copies (by content) are counted once; runs without both ranks, of another model, treatment, optimiser or precision
    than the priority's, and, unless ``early``, those that stopped early are left out.

    Args:
        priority: 1-4, or 5 for healing.
        records: All runs of its folder.
        early: Whether to keep runs that stopped early.
        model: Size or name of the model that priorities 2-5 are about; ``None``: that of most runs.
        names: The levels to compare, such as ``fp16 8bit``, or the models of priority 1; ``None``: all.
    """
    used, excluded = select(priority, records, early, model, names)
    if priority == HEALING:
        cells, found, scaling = *_healing(used), None
        comparisons: tuple[Comparison, ...] = ()
        published: dict[str, float] = {}
    else:
        everything = select(priority, records, True, model, names, copies=True)[0]
        levels = _levels(priority, used, everything)
        cells = tuple(levels.cells.values())
        comparisons = tuple(_comparisons(priority, cells))
        published = {
            name: float(np.abs(x).mean()) for name in levels.cells for x in levels.sizes(name) if len(x)
        }
        scaling = _scaling(levels) if priority == 1 else None
        found = claims(priority, levels, scaling) if cells else []
    predictions = [claim.prediction for claim in found]
    at = alphas(len(predictions))
    controls = {control.name: control for claim in found for control in claim.controls}
    estimates = {claim.prediction.id: claim.estimate(at) for claim in found}
    verdicts = decide(predictions, estimates, controls)
    return Controlled(
        priority,
        tuple(used),
        tuple(excluded),
        cells,
        published,
        comparisons,
        scaling,
        tuple(found),
        verdicts,
    )


def main_model(records: Sequence[Record]) -> str:
    """Return the size of the model that most runs are of."""
    sizes = [record.size for record in records]
    return max(sorted({*sizes}), key=sizes.count)


def select(
    priority: int,
    records: Sequence[Record],
    early: bool,
    model: str | None = None,
    names: Sequence[str] | None = None,
    copies: bool = False,
) -> tuple[list[Record], list[Excluded]]:
    """Return the runs that count, and those that do not with the reasons."""
    left = list(records)
    excluded: list[Excluded] = []

    def drop(bad: Iterable[Record], why: str) -> None:
        nonlocal left
        if gone := tuple(bad):
            folders = {record.folder for record in gone}
            left = [record for record in left if record.folder not in folders]
            excluded.append(Excluded(gone, why))

    is_healing = priority == HEALING
    if is_healing:
        drop([r for r in left if r.summary is None], "not a healing run, or without its summary")
        drop([r for r in left if not defined(healing_effect(r))], "without the ranks of healing")
    else:
        drop([r for r in left if not defined(r.effect)], "without a rank both before and after")
    if priority != 1 and left:
        chosen = model or main_model(left)
        drop([r for r in left if not is_of(r, chosen)], f"of another model than {chosen}")
    elif priority == 1 and names is not None:
        drop([r for r in left if not any(is_of(r, name) for name in names)], "of a model not asked for")
    for name, value, usual in (
        ("treatment", lambda r: r.treatment, "eigen_prion"),
        ("optimizer", optimizer_of, "adamw"),
        ("precision", lambda r: r.precision, "fp16"),
    ):
        if FACTORS[priority].name != name and not is_healing:
            drop([r for r in left if value(r) != usual], f"of another {name} than {usual}")
    factor = FACTORS[priority]
    if names is not None and 1 < priority < HEALING:
        drop([r for r in left if factor.level(r) not in names], f"of a {factor.name} not asked for")
    if not copies:
        drop(_copies(left), "a copy of a run that is counted, timestamps aside")
    if not early and not is_healing:
        drop([r for r in left if r.stopped_early], "stopped early")
    return left, excluded


def is_of(record: Record, model: str) -> bool:
    """Tell whether a run is of a model, given by its size or name."""
    return bool({model, label(model)} & {record.size, record.model})


def _copies(records: Iterable[Record]) -> Iterator[Record]:
    seen: set[str] = set()
    for record in records:
        if record.digest in seen:
            yield record
        seen.add(record.digest)


def _levels(priority: int, used: Sequence[Record], published: Sequence[Record]) -> Levels:
    factor = FACTORS[priority]
    order = factor.levels(published)
    by_level = {name: [r for r in used if factor.level(r) == name] for name in order}
    counted = {name: [r for r in published if factor.level(r) == name] for name in order}
    return Levels(by_level, counted, {name: _cell(name, its) for name, its in by_level.items()})


def _cell(name: str, records: Sequence[Record]) -> Cell:
    ordered = sorted(records, key=lambda record: record.run)
    values = [record.effect for record in ordered]
    return Cell(name, tuple(record.seed for record in ordered), np.array(values, float))


def _comparisons(priority: int, cells: Sequence[Cell]) -> Iterator[Comparison]:
    """Yield every pair, as the priority asks: larger less smaller, shielded less bare, suspect less the rest."""
    for first, second in combinations(cells, 2):
        yield Comparison(second, first) if priority in (1, 4) else Comparison(first, second)


def _scaling(levels: Levels) -> Scaling:
    sized = {name: millions(runs[0].model) for name, runs in levels.runs.items() if runs}
    names = tuple(name for name, size in sized.items() if size)
    cells = [levels.cells[name] for name in names]
    shared = sorted(set.intersection(*({*cell.seeds} for cell in cells))) if cells else []
    values = [[dict(zip(cell.seeds, cell.values, strict=True))[seed] for seed in shared] for cell in cells]
    return Scaling(
        names,
        tuple(family(levels.runs[name][0]) for name in names),
        np.log10([1e6 * (sized[name] or np.nan) for name in names]),
        np.array(values, float).reshape(len(names), len(shared)),
    )


def _healing(runs: Sequence[Record]) -> tuple[tuple[Cell, ...], list[Claim]]:
    """Return the cells of damage, and of healing where there was damage and where there was none."""
    ordered = sorted(runs, key=lambda record: record.run)
    damaged = [r for r in ordered if (y := damage_before(r)) is not None and y < 0]
    spared = [r for r in ordered if r not in damaged]
    cells = (
        _healed("damage", ordered, damage_before),
        _healed("healing of lost rank", damaged, healing_effect),
        _healed("healing, none lost", spared, healing_effect),
    )
    said = [x for r in ordered if (x := (r.summary or {}).get("rank_recovery_pct")) is not None]
    return cells, [healing(ordered, cells[1], said)] if ordered else []


def _healed(name: str, runs: Sequence[Record], value: Callable[[Record], float | None]) -> Cell:
    return Cell(name, tuple(r.seed for r in runs), np.array([value(r) for r in runs], float))
