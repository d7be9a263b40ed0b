"""The tables of the published analysis: one row for each cell, and filters of its runs."""

import csv
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, NamedTuple

import numpy as np

from microtome.studies.stability.records.read import COLUMNS, Collection
from microtome.studies.stability.records.run import Name, Record, millions, parse

REDUCTION = "rank_reduction_pct"
PERPLEXITIES = ("baseline_perplexity", "post_attack_perplexity", "perplexity_increase_pct")
STATISTICS = ("mean", "std_dev", "min", "max")
METRICS = ("rank_reduction", "perplexity_increase", "perplexity_post")
"""What runs can be filtered by."""
FEWEST = {"iqr": 4, "zscore": 3}
"""Runs below which a filter keeps all."""


class Run(NamedTuple):
    """A run's numbers, with the columns' names; ``None`` where the run has none."""

    run: int
    baseline_rank: float
    post_attack_rank: float
    rank_reduction_pct: float
    """Signed; negative where the rank has grown."""
    baseline_perplexity: float | None
    post_attack_perplexity: float | None
    perplexity_increase_pct: float | None


@dataclass(frozen=True)
class Cell:
    """The runs of one model, treatment, optimiser and precision."""

    label: str
    """As the user names it."""
    model: str
    runs: tuple[Run, ...]

    def values(self, column: str) -> np.ndarray:
        """Return a column of the runs that have it."""
        found = [getattr(run, column) for run in self.runs]
        return np.array([value for value in found if value is not None], float)


def cells_of(collection: Collection) -> dict[str, tuple[Name, tuple[Run, ...]]]:
    """Return what its name says and the runs of each cell, by its key.

    As in the original, ranks are those of the aggregate where there is one, to its digits, and perplexities those of
    the runs. Runs that could not be read are left out also of the aggregate, and runs without ranks of everything.
    """
    records: dict[str, dict[int, Record]] = {}
    for record in collection.records:
        records.setdefault(record.key, {})[record.run] = record
    lost = {(name.key, name.run) for problem in collection.problems if (name := parse(problem.path.name))}
    cells: dict[str, dict[int, Run]] = {}
    for key, numbered in records.items():
        cells[key] = {number: run for number, record in numbered.items() if (run := _of_record(record))}
    for aggregate in collection.aggregates:
        own = records.get(aggregate.key, {})
        its: dict[int, Run] = {}
        for row in aggregate.rows:
            number = int(row["run"])
            before, after, reduction = (row[column] for column in COLUMNS[1:])
            if (aggregate.key, number) not in lost:
                its[number] = Run(number, before, after, reduction, *_perplexities(own.get(number)))
        if aggregate.rows:
            cells[aggregate.key] = its
    found = {}
    for key, runs in cells.items():
        name = parse(key)
        if name and runs:
            found[key] = name, tuple(runs[number] for number in sorted(runs))
    return found


def _of_record(record: Record) -> Run | None:
    before, after, reduction = record.baseline_rank, record.post_rank, record.reduction
    if before is None or after is None or reduction is None:
        return None
    return Run(record.run, before, after, reduction, *_perplexities(record))


def _perplexities(record: Record | None) -> tuple[float | None, float | None, float | None]:
    if record is None:
        return None, None, None
    return record.baseline_perplexity, record.post_perplexity, record.perplexity_increase


def filtered(
    cell: Cell, method: str, metric: str, multiplier: float, threshold: float
) -> tuple[Cell, dict[str, Any]]:
    """Leave out runs whose signed metric is far out.

    ``iqr`` keeps what is within ``multiplier`` interquartile ranges of the quartiles, of at least four runs; ``zscore``
    what is within ``threshold`` standard deviations (ddof 1) of the mean, of at least three. Without spread all stay.

    Returns:
        The cell, and what was done to it as the original's JSON has it.
    """
    column = {
        "rank_reduction": REDUCTION,
        "perplexity_increase": PERPLEXITIES[2],
        "perplexity_post": PERPLEXITIES[1],
    }
    values, total = cell.values(column[metric]), len(cell.runs)
    if len(values) < total:
        reason = "not every run has this metric"
        return cell, {"filtered": False, "method": None, "num_filtered": 0, "total": total, "reason": reason}
    kept = np.flatnonzero(_near(values, method, multiplier, threshold)).tolist()
    info: dict[str, Any] = {
        "filtered": len(kept) < total,
        "method": method,
        "num_filtered": total - len(kept),
    }
    info["total"] = total
    if info["filtered"]:
        info |= {
            "metric": metric,
            "filtered_indices": kept,
            "removed_indices": sorted({*range(total)} - {*kept}),
        }
    return Cell(cell.label, cell.model, tuple(cell.runs[place] for place in kept)), info


def _near(values: np.ndarray, method: str, multiplier: float, threshold: float) -> np.ndarray:
    if len(values) < FEWEST[method] or not np.isfinite(values).all() or np.ptp(values) == 0:
        return np.ones(len(values), bool)
    if method == "zscore":
        return np.abs(values - values.mean()) <= threshold * values.std(ddof=1)
    low, high = np.percentile(values, [25, 75])
    reach = multiplier * (high - low)
    return (values >= low - reach) & (values <= high + reach) | (low == high)


def summary(cell: Cell, absolute: bool) -> dict[str, float | None]:
    """Return mean, standard deviation (ddof 1), least and largest rank reduction in per cent."""
    values = cell.values(REDUCTION)
    return statistics_of(np.abs(values) if absolute else values, REDUCTION)


def statistics_of(values: np.ndarray, column: str) -> dict[str, float | None]:
    """Return four statistics, named after their column; what is undefined is ``None``, not 0 as in the original.

    They are exact sums rounded once, as the original's are: equal values have no deviation at all.
    """
    found: dict[str, float | None] = dict.fromkeys((f"{kind}_{column}" for kind in STATISTICS), None)
    if not len(values) or not np.isfinite(values).all():
        return found
    numbers = values.tolist()
    found[f"mean_{column}"] = statistics.mean(numbers)
    if len(numbers) > 1:
        found[f"std_dev_{column}"] = statistics.stdev(numbers)
    return {**found, f"min_{column}": min(numbers), f"max_{column}": max(numbers)}


def perplexity_columns(cell: Cell) -> dict[str, float | None]:
    """Return the twelve columns about perplexity."""
    return {
        name: value
        for column in PERPLEXITIES
        for name, value in statistics_of(cell.values(column), column).items()
    }


def scaling_row(cell: Cell, absolute: bool) -> dict[str, Any]:
    """Return a model's row of Priority 1; its size is ``None`` if its name tells none."""
    size = millions(cell.model)
    means = {
        f"mean_{column}": statistics_of(cell.values(column), column)[f"mean_{column}"]
        for column in ("baseline_rank", "post_attack_rank")
    }
    return {
        "model_name": cell.label,
        "model_size": None if size is None else size * 1e6,
        "model_size_millions": size,
        "num_runs": len(cell.runs),
        **summary(cell, absolute),
        **means,
        **perplexity_columns(cell),
    }


def comparison_row(column: str, cell: Cell) -> dict[str, Any]:
    """Return a cell's row of Priorities 2 to 4; ``column`` is ``treatment``, ``optimizer`` or ``precision``."""
    return {
        column: cell.label,
        **summary(cell, absolute=True),
        "num_runs": len(cell.runs),
        **perplexity_columns(cell),
    }


def why_undefined(cell: Cell) -> str | None:
    """Return why statistics of a cell are missing; ``None`` if none is."""
    reasons = []
    if len(cell.runs) == 1:
        reasons.append("one run has no standard deviation")
    for column in (REDUCTION, *PERPLEXITIES):
        values = cell.values(column)
        if not len(values):
            reasons.append(f"no run has a {column}")
        elif not np.isfinite(values).all():
            reasons.append(f"a {column} is not finite")
    return "; ".join(reasons) or None


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV, numbers to four digits; what is ``None`` is empty."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_printed(value) for value in row.values()] for row in rows)
    return out.getvalue()


def _printed(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
