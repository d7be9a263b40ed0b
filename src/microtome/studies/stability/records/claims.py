"""What each priority claims: predictions with their regions, read both ways from the same runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from microtome.lab.claims import Reading, of
from microtome.lab.estimate import Estimate, Null
from microtome.lab.prediction import Prediction, Region, above, below, between, outside
from microtome.lab.verdict import ControlResult
from microtome.measure.effects import Difference
from microtome.studies.stability.protocol import IMMUNE, RUNS
from microtome.studies.stability.published import COLLAPSE, SIGNIFICANT, damage_words, p_of_difference
from microtome.studies.stability.records.contrasts import Cell, Comparison
from microtome.studies.stability.records.mixed import Scaling
from microtome.studies.stability.records.run import Record
from microtome.studies.stability.records.settings import differing

Y = "y = ln(R after / R before), R the effective rank as published"
SCALE = "log ratio of rank"
LOWER, HIGHER = (below(0.0), above(0.0)), (above(0.0), below(0.0))
SAME = between(-IMMUNE, IMMUNE), outside(-IMMUNE, IMMUNE)


@dataclass(frozen=True)
class Claim:
    """A claim of the original: how it is estimated here, and how the original reads it."""

    prediction: Prediction
    estimate: Callable[[Sequence[float]], Estimate]
    """From Holm's error levels."""
    rule: str
    reading: Reading
    controls: tuple[ControlResult, ...] = ()


@dataclass(frozen=True, eq=False)
class Levels:
    """The runs of each level of what a priority varies."""

    runs: Mapping[str, Sequence[Record]]
    """Those that count here."""
    published: Mapping[str, Sequence[Record]]
    """Those that counted in the original: early stops and copies too."""
    cells: Mapping[str, Cell]

    def sizes(self, *names: str) -> list[np.ndarray]:
        """Return the signed reductions in per cent of some levels, to the digits that the original reads them with."""
        found = (
            [round(r.reduction, 2) for r in self.published.get(name, ()) if r.reduction is not None]
            for name in names
        )
        return [np.array(values) for values in found]


def claims(priority: int, levels: Levels, scaling: Scaling | None) -> list[Claim]:
    """Return the claims of priority 1-4 that the levels present can speak to."""
    present = list(levels.cells)
    source = f"original: Priority {priority}"
    if priority == 1:
        assert scaling is not None
        return [_scaling(levels, scaling), *(_collapse(levels, name, source) for name in present)]
    first, *rest = present
    found = [_collapse(levels, first, source)]
    found += [_compared(levels, priority, first, name, source) for name in rest]
    if priority == 4 and len(rest) > 1:
        found.append(_compared(levels, priority, rest[0], rest[1], source))
    found += [_immune(levels, name, source) for name in (rest[-1:] if priority == 4 else rest)]
    return found


def _prediction(
    id: str, claim: str, estimand: str, regions: tuple[Region, Region], source: str
) -> Prediction:
    return Prediction(
        id=id,
        claim=claim,
        estimand=estimand,
        scale=SCALE,
        supported_if=regions[0],
        falsified_if=regions[1],
        min_units=RUNS,
        source=source,
    )


def estimate_of(
    difference: Difference, null: Null | None, n: int, method: str, levels: Sequence[float]
) -> Estimate:
    """Return a difference as an estimate; missing where there is nothing, or nothing varies."""
    if not n or not np.isfinite(difference.value):
        return Estimate.missing("no run that counts", n=n, unit="runs", method=method)
    return Estimate.with_intervals(
        difference.value, difference.interval, levels, n=n, unit="runs", method=method, null=null
    )


def _mean(cell: Cell, null: bool, levels: Sequence[float]) -> Estimate:
    method = "mean over runs, Student's interval"
    return estimate_of(cell.mean, cell.null if null else None, len(cell.values), method, levels)


def _difference(comparison: Comparison, levels: Sequence[float]) -> Estimate:
    return estimate_of(comparison.difference, comparison.null, comparison.n, comparison.method, levels)


def _collapse(levels: Levels, name: str, source: str) -> Claim:
    claim = f"{name}: the attack lowers the effective rank."
    prediction = _prediction(of("collapse", name), claim, f"{Y}; mean over runs.", LOWER, source)
    rule = f"Mean absolute reduction of rank: from {COLLAPSE:g} % on damage. An increase counts like a reduction."
    (values,) = levels.sizes(name)
    size = float(np.abs(values).mean()) if len(values) else np.nan
    reading = Reading(
        outcome=damage_words(size) + f", {size:.2f} %",
        claims=size >= COLLAPSE,
        numbers={"mean |reduction|, %": size},
    )
    return Claim(prediction, partial(_mean, levels.cells[name], True), rule, reading)


def _immune(levels: Levels, name: str, source: str) -> Claim:
    claim = f"{name}: the attack leaves the rank as it is, within 5 %."
    estimand = f"{Y}; mean over runs. Supported is what two one-sided tests call equivalent."
    prediction = _prediction(of("immune", name), claim, estimand, SAME, source)
    (values,) = levels.sizes(name)
    size = float(np.abs(values).mean()) if len(values) else np.nan
    reading = Reading(
        outcome=f"{damage_words(size)}, {size:.2f} %", claims=None, numbers={"mean |reduction|, %": size}
    )
    rule = "Mean absolute reduction of rank, without a bound for immunity."
    return Claim(prediction, partial(_mean, levels.cells[name], False), rule, reading)


def _compared(levels: Levels, priority: int, first: str, second: str, source: str) -> Claim:
    """Claim that the first level loses more rank than the second."""
    shield = priority == 4
    claim = f"{second} loses less rank than {first}." if shield else f"{first} loses more rank than {second}."
    one, other = (second, first) if shield else (first, second)
    comparison = Comparison(levels.cells[one], levels.cells[other])
    prediction = _prediction(
        f"{one}-less-{other}",
        claim,
        f"{Y}; {one} less {other}, {comparison.method.split(',')[0]}.",
        HIGHER if shield else LOWER,
        source,
    )
    control = only_level_differs(f"only {one}/{other}", {name: levels.runs[name] for name in (first, second)})
    groups = levels.sizes(first, second)
    sizes = [float(np.abs(group).mean()) if len(group) else np.nan for group in groups]
    p = p_of_difference(groups)
    numbers: dict[str, float | None] = {
        f"{name}: mean |reduction|, %": size for name, size in zip((first, second), sizes, strict=True)
    }
    numbers["p, uncorrected"] = p
    if p is None:
        reading = Reading(outcome="no test with these runs", claims=None, numbers=numbers)
    else:
        found = sizes[0] > sizes[1] and p < SIGNIFICANT
        outcome = f"{sizes[0]:.2f} % against {sizes[1]:.2f} %, p = {p:.2g}"
        reading = Reading(outcome=outcome, claims=found, numbers=numbers)
    return Claim(
        prediction.model_copy(update={"controls": (control.name,)}),
        partial(_difference, comparison),
        f"Means of absolute reductions, and Student's t of the signed ones, p < {SIGNIFICANT:g} uncorrected.",
        reading,
        (control,),
    )


def only_level_differs(name: str, levels: Mapping[str, Sequence[Record]]) -> ControlResult:
    """Return the control that nothing but what is compared differs between levels."""
    found = [f"{words} ({each})" for words, each in differing(levels)]
    detail = "; ".join(f"the {words} differs too" for words in found) or "all other settings are one"
    return ControlResult(name=name, passed=not found, detail=detail)


def _scaling(levels: Levels, scaling: Scaling) -> Claim:
    control = only_level_differs("one setting for all sizes", levels.runs)
    prediction = Prediction(
        id="scaling",
        claim="Larger models lose more rank.",
        estimand=f"b1 in y = b0 + b1 log10 N + seed + model, {Y}.",
        scale=f"{SCALE} per decade of parameters",
        supported_if=LOWER[0],
        falsified_if=LOWER[1],
        controls=(control.name,),
        source="original: Priority 1",
    )
    sizes = [float(np.abs(x).mean()) for x in levels.sizes(*levels.published) if len(x)]
    rises = all(a < b for a, b in pairwise(sizes))
    words = " → ".join(f"{size:.2f} %" for size in sizes)
    reading = Reading(
        outcome=("inverse scaling law, " if rises else "no monotone rise, ") + words,
        claims=rises if len(sizes) > 1 else None,
    )
    rule = "Mean absolute reduction of rank rises from each size to the next."
    return Claim(prediction, scaling.estimate, rule, reading, (control,))


def healing(runs: Sequence[Record], damaged: Cell, said: Sequence[float]) -> Claim:
    """Return the claim of priority 5, over the runs that had lost rank.

    Args:
        runs: All healing runs.
        damaged: ``ln(R after healing / R damaged)`` of those that had lost rank.
        said: The recoveries that the runs' summaries give, per cent.
    """
    estimand = "ln(R after healing / R damaged), R as published; mean over the runs that had lost rank."
    claim = "Fine-tuning the damaged model on ordinary text raises its rank again."
    prediction = _prediction("healing", claim, estimand, HIGHER, "original: Healing")
    mean = float(np.mean(said)) if len(said) else np.nan
    reading = Reading(
        outcome=f"mean recovery {mean:.2f} %" if len(said) else "no recovery given",
        claims=mean > 0 if len(said) else None,
        numbers={"mean recovery, %": mean},
    )

    def estimate(levels: Sequence[float]) -> Estimate:
        if not len(damaged.values):
            why = f"none of {len(runs)} runs had lost rank: there is nothing to heal"
            return Estimate.missing(why, n=0, unit="damaged runs", method="mean over damaged runs")
        found = _mean(damaged, True, levels)
        return found.model_copy(
            update={"unit": "damaged runs", "method": "mean over damaged runs, Student's interval"}
        )

    return Claim(prediction, estimate, "Mean of the recoveries above 0, in runs without damage too.", reading)
