"""Both analyses of one priority's runs, and its page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtome.base.errors import UserError
from microtome.lab.verdict import Verdict
from microtome.studies.stability.arms import PUBLISHED_PRECISIONS
from microtome.studies.stability.records import published
from microtome.studies.stability.records.cells import FACTORS, HEALING
from microtome.studies.stability.records.controlled import controlled, main_model
from microtome.studies.stability.records.findings import Finding
from microtome.studies.stability.records.hygiene import findings
from microtome.studies.stability.records.page import summary, write
from microtome.studies.stability.records.read import Collection, Problem, read


@dataclass(frozen=True)
class Analysed:
    """What an analysis came to, for the command line."""

    page: Path
    files: tuple[Path, ...]
    """Those of the published analysis."""
    summary: tuple[str, ...]
    """Sentences."""
    findings: tuple[Finding, ...]
    verdicts: tuple[Verdict, ...]
    problems: tuple[Problem, ...]
    """What could not be read."""


def analyse(
    priority: int,
    results: Path,
    output: Path,
    *,
    model: str | None = None,
    names: Sequence[str] | None = None,
    **options: Any,
) -> Analysed:
    """Read a folder of runs, analyse them as published and with controls, and write files and page.

    Args:
        priority: 1 scaling, 2 placebo, 3 mechanism, 4 shield, 5 healing.
        results: The folder of the runs, or the priority's own, which holds it as ``raw_data``.
        output: Where the published files, ``report.html`` and ``figures/`` go.
        model: The model that priorities 2-5 are about; ``None``: that of most runs.
        names: What is compared: models, treatments, optimisers or precisions; ``None``: the original's.
        options: Of :func:`published.scaling`.

    Raises:
        UserError: An unknown priority, a folder without runs that can be read, or none of what is asked for.
    """
    if priority not in FACTORS:
        raise UserError(
            f"Expected a priority from 1 to {HEALING}, got {priority}: 1 scaling, 2 placebo, 3 mechanism, 4 shield, "
            "5 healing."
        )
    collection = read(results)
    records = collection.records
    if not records:
        said = " ".join(problem.said for problem in collection.problems)
        raise UserError(f"Expected runs in {results}, but none can be read. {said}")
    if priority == HEALING and not any(record.summary for record in records):
        raise UserError(
            f"Expected healing runs, with a healing_summary.json, in {results}, but there are none. Check the priority."
        )
    model = model or main_model(records)
    analysis = _published(priority, collection, output, model, names, options)
    found = findings(priority, collection, [*siblings(results)])
    without, kept = (
        controlled(priority, records, early=early, model=model, names=names) for early in (False, True)
    )
    page = write(output, collection, analysis, found, without, kept)
    return Analysed(
        page,
        analysis.files if analysis else (),
        summary(collection, found, without),
        found,
        without.verdicts,
        collection.problems,
    )


def _published(
    priority: int,
    collection: Collection,
    output: Path,
    model: str,
    names: Sequence[str] | None,
    options: dict[str, Any],
) -> published.Analysis | None:
    match priority:
        case 1:
            models = names or FACTORS[1].levels(collection.records)
            return published.scaling(collection, models, output, **options)
        case 2:
            return published.placebo(collection, model, output, names or published.TREATMENTS)
        case 3:
            return published.mechanism(collection, model, output, names or published.OPTIMIZERS)
        case 4:
            return published.shield(collection, model, output, names or PUBLISHED_PRECISIONS)
    return None


def siblings(results: Path) -> Iterator[Collection]:
    """Yield the runs of the other priorities that lie beside these, as the original lays them out.

    A priority's folder begins with ``priority`` and holds ``raw_data``; what cannot be read there is passed over.
    """
    inner = results.resolve()
    own = inner if inner.name.startswith("priority") else inner.parent
    if not own.name.startswith("priority"):
        return
    for other in sorted(own.parent.glob("priority*")):
        if other != own and other.is_dir():
            try:
                yield read(other)
            except UserError:
                continue
