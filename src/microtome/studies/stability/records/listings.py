"""The tables of the controlled analysis."""

from collections.abc import Sequence

import polars as pl

from microtome.lab.study import Listing
from microtome.studies.stability.records.cells import HEALING
from microtome.studies.stability.records.contrasts import equivalence, holm
from microtome.studies.stability.records.controlled import Controlled
from microtome.studies.stability.records.recovery import damage_before, recovery

LEVEL = 0.95


def listings(without: Controlled, kept: Controlled) -> list[Listing]:
    """Return the tables of an analysis, and what keeping the early-stopped runs would change."""
    tables = [cells(without)]
    if without.priority == HEALING:
        tables.append(recoveries(without))
    if without.comparisons:
        tables.append(comparisons(without))
    if without.scaling is not None:
        tables.append(scaling(without, kept))
    if without.priority != HEALING and any("early" in one.why for one in without.excluded):
        tables.append(sensitivity(without, kept))
    return tables


def recoveries(found: Controlled) -> Listing:
    """List each healing run's ranks, its recovery as published, and that where rank had been lost."""
    rows = []
    for run in sorted(found.runs, key=lambda run: run.run):
        said = run.summary or {}
        ranks = (said.get("original_rank"), said.get("collapsed_rank"), said.get("final_effective_rank"))
        rows.append((run.run, *ranks, said.get("rank_recovery_pct"), damage_before(run), recovery(run)))
    columns = (
        "run",
        "R original",
        "R damaged",
        "R healed",
        "recovery as published, %",
        "ln damage",
        "recovery, %",
    )
    return Listing(
        title="Recoveries",
        caption="The last column gives a recovery only where rank had been lost, that is where ln damage is below 0.",
        frame=_frame(columns, rows),
    )


def cells(found: Controlled) -> Listing:
    """List the mean of each cell with its interval and tests."""
    rows = []
    for cell in found.cells:
        mean, null = cell.mean, cell.null
        low, high = mean.interval(LEVEL)
        exact = (null.p, null.smallest_p) if null else (None, None)
        rows.append(
            (cell.name, len(cell.values), mean.value, low, high, cell.sd, mean.p, *exact, equivalence(mean))
        )
    columns = (
        "cell",
        "runs",
        "mean y",
        "95 % low",
        "95 % high",
        "sd",
        "p (t)",
        "p (signs)",
        "smallest p",
        "p (within 5 %)",
    )
    return Listing(
        title="Cells",
        caption=(
            "y = ln(R after / R before), signed: 0.05 is 5 % more dimensions, −0.05 is 5 % fewer. “p (signs)” is the "
            "exact permutation of signs and “smallest p” the least it can give with so many runs; “p (within 5 %)” "
            "is that of two one-sided tests: small says that the mean is equivalent to none."
        ),
        frame=_frame(columns, rows),
    )


def comparisons(found: Controlled) -> Listing:
    """List the difference of each pair of cells, its size on the scale of the spread, and the power to find it."""
    differences = [one.difference for one in found.comparisons]
    rows = []
    for one, difference, p in zip(
        found.comparisons, differences, holm([d.p for d in differences]), strict=True
    ):
        null = one.null
        exact = (null.p, null.smallest_p) if null else (None, None)
        rows.append(
            (
                one.name,
                "paired" if one.shared else "Welch",
                one.n,
                difference.value,
                *difference.interval(LEVEL),
                *one.g,
                difference.p,
                p,
                *exact,
                equivalence(difference),
                one.power,
                one.needed,
            )
        )
    columns = (
        "comparison",
        "by",
        "n",
        "difference",
        "95 % low",
        "95 % high",
        "g",
        "g low",
        "g high",
        "p",
        "p (Holm)",
        "p (permuted)",
        "smallest p",
        "p (within 5 %)",
        "power at 1 sd",
        "runs for 5 %",
    )
    return Listing(
        title="Comparisons",
        caption=(
            "Differences of y, paired by seed where the smaller cell's seeds are all in the other, else Welch's. g "
            "is Hedges'. “power at 1 sd” is that of two cells of n runs to find a difference of one standard "
            "deviation; “runs for 5 %” is how many a cell takes to find 5 % of the rank with a power of 80 % at "
            "these spreads."
        ),
        frame=_frame(columns, rows),
    )


def scaling(without: Controlled, kept: Controlled) -> Listing:
    """List the slope of the effect on size, without and with early-stopped runs."""
    rows = []
    for words, found in (("without early stops", without), ("with them", kept)):
        fit = found.scaling
        if fit is not None:
            slope = fit.slope
            rows.append(
                (words, len(fit.models), fit.values.shape[1], slope.value, *slope.interval(LEVEL), slope.p)
            )
    missing = without.scaling.missing if without.scaling else ()
    takes = f" A claim takes {' and '.join(missing)}." if missing else ""
    return Listing(
        title="Slope on size",
        caption=(
            "Change of y per decade of parameters, over the seeds that all models share; below 0: larger models lose "
            f"more.{takes}"
        ),
        frame=_frame(("runs", "models", "seeds", "slope", "95 % low", "95 % high", "p"), rows),
    )


def sensitivity(without: Controlled, kept: Controlled) -> Listing:
    """List each claim's estimate and verdict without and with early-stopped runs."""
    with_them = {verdict.prediction: verdict for verdict in kept.verdicts}
    rows = [
        (
            one.prediction,
            one.estimate.value,
            one.outcome.value,
            with_them[one.prediction].estimate.value,
            with_them[one.prediction].outcome.value,
        )
        for one in without.verdicts
    ]
    columns = ("claim", "without early stops", "verdict", "with them", "verdict with them")
    caption = (
        "A run stops early because of what came of it, so neither column is free of bias: without them the runs on "
        "which the attack worked fastest are missing, with them the doses differ. The verdicts above are those "
        "without."
    )
    return Listing(
        title="Without and with runs that stopped early", caption=caption, frame=_frame(columns, rows)
    )


def _frame(columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=list(columns), orient="row", infer_schema_length=None)
