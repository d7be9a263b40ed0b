"""Every check of a collection of runs, before anything is computed from it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from microtome.measure.effects import power
from microtome.studies.stability.protocol import RUNS
from microtome.studies.stability.records.agreement import (
    aggregate_mistakes,
    checkpoint_mistakes,
    config_mistakes,
)
from microtome.studies.stability.records.cells import FACTORS, HEALING, by_cell, cell_of
from microtome.studies.stability.records.findings import Finding, defined, names, runs
from microtome.studies.stability.records.read import Collection
from microtome.studies.stability.records.recovery import recoveries
from microtome.studies.stability.records.run import Record
from microtome.studies.stability.records.settings import differing

SHARED = 0.1
"""Share of equal tokens, place by place, beyond which two inputs are not independent; by chance it is below 0.07."""
SAME = 1e-3
"""Relative difference up to which two measurements of one healthy model agree."""


def findings(priority: int, collection: Collection, others: Sequence[Collection] = ()) -> tuple[Finding, ...]:
    """Run every check.

    Args:
        priority: Which comparison the runs are for, 1-4, or 5 for healing.
        collection: Its runs and aggregate files.
        others: Those of the other priorities, in which copies and the same checkpoints are looked for.
    """
    records, elsewhere = collection.records, [r for other in others for r in other.records]
    return (
        *unread(collection),
        *duplicates(records, elsewhere),
        *mixed_models(priority, records),
        *early_stops(records),
        *signs(records),
        *equal_replicates(records),
        *aggregate_mistakes(collection),
        *config_mistakes(records),
        *checkpoint_mistakes(records, elsewhere),
        *confounds(priority, records),
        *shared_tokens(records),
        *recoveries(records),
        *few(records),
    )


def unread(collection: Collection) -> Iterator[Finding]:
    """Find what could not be read: files left out, lines cut, runs without a measurement at both ends."""
    for problem in collection.problems:
        yield Finding("unreadable", (problem.path.name,), f"{problem.what}: {problem.said}")
    for record in collection.records:
        if record.cut:
            lines = f"{record.cut} line{'s' if record.cut > 1 else ''}"
            yield Finding(
                "cut lines", names([record]), f"{lines} of metrics.jsonl cannot be read; the rest is."
            )
        if not defined(record.effect) and not record.healing:
            words = "No rank both before and after the attack: the run takes no part in any comparison."
            yield Finding("incomplete run", names([record]), words)


def duplicates(records: Sequence[Record], elsewhere: Sequence[Record] = ()) -> Iterator[Finding]:
    """Find runs of the same content, timestamps aside, here and in other priorities."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in (*records, *elsewhere):
        groups[record.digest].append(record)
    own = {record.folder for record in records}
    across: list[tuple[Record, Record]] = []
    for group in groups.values():
        here = [record for record in group if record.folder in own]
        away = [record for record in group if record.folder not in own]
        if len(here) > 1:
            words = f"{len(here)} runs of one content, timestamps aside; only the first is counted."
            yield Finding("duplicates", names(here), words)
        if here and away:
            across.append((here[0], away[0]))
    if across:
        folders = ", ".join(sorted({away.folder.parent.parent.name for _, away in across}))
        words = (
            f"{len(across)} of {len(records)} runs are, timestamps aside, runs of another priority ({folders}): the "
            "two are not independent evidence."
        )
        yield Finding("duplicates across priorities", names(here for here, _ in across), words)


def mixed_models(priority: int, records: Sequence[Record]) -> Iterator[Finding]:
    """Find several models where one is compared with itself, and cells whose runs start from different models."""
    sizes = sorted({record.size for record in records})
    if priority != 1 and len(sizes) > 1:
        words = f"Runs of {len(sizes)} models ({', '.join(sizes)}) in a comparison within one model."
        yield Finding("mixed models", names(records), words)
    for cell, its in by_cell(records).items():
        for what in ("rank", "perplexity"):
            values = [v for r in its if (v := getattr(r, f"baseline_{what}")) is not None]
            if values and np.ptp(values) > SAME * abs(np.mean(values)):
                words = (
                    f"{cell}: the {what} before the attack runs from {min(values):.6g} to {max(values):.6g}; one "
                    "healthy model on one text has one."
                )
                yield Finding("mixed models", names(its), words)


def early_stops(records: Sequence[Record]) -> Iterator[Finding]:
    """Find runs that stopped early beside those that ran to the end."""
    for cell, its in by_cell(records).items():
        early = [record for record in its if record.stopped_early]
        if early:
            done = ", ".join(str(record.iterations) for record in early)
            words = (
                f"{cell}: {runs(early)} of {len(its)} stopped early (steps made: {done}) and "
                f"{'is' if len(early) == 1 else 'are'} averaged with runs of full length. Doses differ, and a run "
                "stops because of what came of it: results are given without and with such runs."
            )
            yield Finding("early stops", names(early), words)


def signs(records: Sequence[Record]) -> Iterator[Finding]:
    """Find cells whose increases of rank are counted as damage by an absolute value."""
    for cell, its in by_cell(records).items():
        reductions = np.array([round(record.reduction, 2) for record in its if defined(record.reduction)])
        negative = [record for record in its if defined(record.reduction) and record.reduction < 0]
        if negative:
            words = (
                f"{cell}: in {len(negative)} of {len(reductions)} runs ({len(negative) / len(reductions):.0%}) the "
                "rank rose. Absolute values count that as damage: their mean says a reduction of "
                f"{np.abs(reductions).mean():.2f} %, the signed mean one of {reductions.mean():.2f} %."
            )
            yield Finding("wrong sign", names(negative), words)


def equal_replicates(records: Sequence[Record]) -> Iterator[Finding]:
    """Find runs of different seeds that came out equal to the last digit."""
    for cell, its in by_cell(records).items():
        for what in ("rank", "perplexity"):
            groups: dict[float, list[Record]] = defaultdict(list)
            for record in its:
                if (value := getattr(record, f"post_{what}")) is not None:
                    groups[value].append(record)
            for value, group in groups.items():
                if len(group) > 1:
                    words = (
                        f"{cell}: {runs(group)} have the same {what} after the attack, {value:.10g}, to the last "
                        "digit. Replicates without variance are one run."
                    )
                    yield Finding("equal replicates", names(group), words)


def confounds(priority: int, records: Sequence[Record]) -> Iterator[Finding]:
    """Find settings that differ between the levels that a priority compares."""
    factor = FACTORS[priority]
    if priority == HEALING:
        return
    levels: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        levels[factor.level(record)].append(record)
    for said, each in differing(levels):
        words = (
            f"The {said} differs within the comparison ({each}): its effect and that of the {factor.name} cannot be "
            "told apart."
        )
        yield Finding(f"different {said}", names(records), words)


def shared_tokens(records: Sequence[Record]) -> Iterator[Finding]:
    """Find cells whose inputs for the same run have many of the same tokens in the same places."""
    found: dict[tuple[str, str], list[tuple[int, int, Record]]] = defaultdict(list)
    for first, second in combinations(sorted(records, key=lambda record: record.run), 2):
        a, b = first.tokens, second.tokens
        if first.run != second.run or cell_of(first) == cell_of(second) or not a or not b:
            continue
        equal = sum(x == y for x, y in zip(a, b, strict=False))
        if equal > SHARED * min(len(a), len(b)):
            low, high = sorted((cell_of(first), cell_of(second)))
            found[low, high].append((equal, min(len(a), len(b)), first))
    for (first_cell, second_cell), its in found.items():
        counts = sorted(equal for equal, _, _ in its)
        span = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]}-{counts[-1]}"
        words = (
            f"{first_cell} and {second_cell} have {span} of {its[0][1]} tokens in common, place by place, in "
            f"{len(its)} pairs of runs of one seed: the search left the input close to its random start, which the "
            "models share."
        )
        yield Finding("shared tokens", names(record for _, _, record in its), words)


def few(records: Sequence[Record]) -> Iterator[Finding]:
    """Find cells too small for a claim."""
    for cell, its in by_cell(records).items():
        n = len(its)
        if n < RUNS:
            found = (
                f"{n} runs find a difference of one standard deviation with a power of {power(1.0, n):.0%}"
                if n > 1
                else "one run has no spread"
            )
            words = f"{cell}: {found}. A claim about a cell takes {RUNS}."
            yield Finding("too few runs", names(its), words)
