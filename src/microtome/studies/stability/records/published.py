"""The published analysis of each priority, with its files; its misreadings are kept, undefined numbers are not made 0.

Means are of absolute rank reductions, tests of signed ones, uncorrected. What misleads in that, and what replaces it,
is in the controlled analysis.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from microtome.base.errors import UserError
from microtome.base.files import atomic
from microtome.studies.stability.arms import PUBLISHED_PRECISIONS
from microtome.studies.stability.records import published_plots as plots
from microtome.studies.stability.records import published_tables as tables
from microtome.studies.stability.records.published_statistics import MARKS, anova, pairwise, t_test
from microtome.studies.stability.records.published_tables import REDUCTION, Cell
from microtome.studies.stability.records.read import Collection
from microtome.studies.stability.records.run import label, millions

TREATMENTS = ("eigen_prion", "gaussian_noise", "random_text")
OPTIMIZERS = ("adamw", "sgd")


@dataclass(frozen=True)
class Analysis:
    """What one priority came to."""

    rows: tuple[dict[str, Any], ...]
    """Those of the CSV."""
    document: Any
    """The JSON file's content."""
    files: tuple[Path, ...]
    """CSV, JSON, PNG."""
    notes: tuple[str, ...]
    """What is missing or undefined, each a sentence."""


def scaling(
    collection: Collection,
    models: Sequence[str],
    output: Path,
    *,
    use_absolute: bool = True,
    filter_method: Literal["iqr", "zscore"] | None = None,
    filter_metric: Literal["rank_reduction", "perplexity_increase", "perplexity_post"] = "rank_reduction",
    iqr_multiplier: float = 1.5,
    zscore_threshold: float = 3.0,
) -> Analysis:
    """Do Priority 1: rank reduction against the model's size, in fp16; writes ``scaling_law_{summary,curve}``.

    Args:
        collection: What was read.
        models: Sizes (``70m``) or names (``pythia-70m``, or any label); rows are in the order of their parameters.
        output: The folder of the files.
        use_absolute: Whether statistics are of absolute reductions.
        filter_method: How runs far out are left out, by their signed metric (see ``published_tables.filtered``).
        filter_metric: Of what.
        iqr_multiplier: Interquartile ranges beyond the quartiles.
        zscore_threshold: Standard deviations from the mean.

    Raises:
        UserError: None of the models has runs.
    """
    cells, notes = _chosen(collection, {model: (model, "fp16", "eigen_prion", "adamw") for model in models})
    infos: dict[str, dict[str, Any]] = {
        model: {"filtered": False, "method": None, "num_filtered": 0, "total": 0} for model in models
    }
    if filter_method is not None:
        for place, cell in enumerate(cells):
            cells[place], infos[cell.label] = tables.filtered(
                cell, filter_method, filter_metric, iqr_multiplier, zscore_threshold
            )
    cells.sort(key=lambda cell: millions(cell.model) or np.inf)
    rows = [tables.scaling_row(cell, use_absolute) for cell in cells]
    document: Any = _explained(rows, cells)
    if filter_method is not None:
        applied = any(info["filtered"] for info in infos.values())
        document = {"summary": document, "filtering_info": list(infos.values()), "filtering_applied": applied}
    notes += [
        f"The name {cell.label} tells no size: it is not drawn." for cell in cells if not millions(cell.model)
    ]
    files = _written(output, "scaling_law_summary", rows, document)
    curve = plots.scaling(cells, output / "scaling_law_curve.png", use_absolute)
    return Analysis(tuple(rows), document, (*files, curve), (*notes, *_undefined(cells)))


def placebo(
    collection: Collection, model: str, output: Path, treatments: Sequence[str] = TREATMENTS
) -> Analysis:
    """Do Priority 2: treatments of one model, in fp16; writes ``placebo_{summary,comparison}``.

    Raises:
        UserError: No treatment has runs.
    """
    wanted = {name: (model, "fp16", name, "adamw") for name in treatments}
    cells, notes = _chosen(collection, wanted, spelled=True)
    document = {"statistical_tests": _tests(cells)}
    return _compared("treatment", "placebo_summary", "placebo_comparison", cells, document, output, notes)


def mechanism(
    collection: Collection, model: str, output: Path, optimizers: Sequence[str] = OPTIMIZERS
) -> Analysis:
    """Do Priority 3: optimisers of one model, in fp16; writes ``mechanism_{summary,comparison}``.

    Two are compared by Student's t, any other number by an analysis of variance. Folders that name no optimiser are of
    the one called adamw.

    Raises:
        UserError: No optimiser has runs.
    """
    wanted = {name: (model, "fp16", "eigen_prion", name) for name in optimizers}
    cells, notes = _chosen(collection, wanted)
    groups = [cell.values(REDUCTION) for cell in cells]
    kind, test = ("t-test", t_test(*groups)) if len(groups) == 2 else ("anova", anova(groups))
    if test["error"] is None:
        del test["error"]
    document = {"statistical_test": {"test_type": kind, **test}}
    return _compared("optimizer", "mechanism_summary", "mechanism_comparison", cells, document, output, notes)


def shield(
    collection: Collection, model: str, output: Path, precisions: Sequence[str] = PUBLISHED_PRECISIONS
) -> Analysis:
    """Do Priority 4: precisions of one model; writes ``shield_summary`` and ``shield_matrix``.

    Raises:
        UserError: No precision has runs.
    """
    wanted = {name: (model, name, "eigen_prion", "adamw") for name in precisions}
    cells, notes = _chosen(collection, wanted)
    document = {"statistical_tests": _tests(cells)}
    return _compared("precision", "shield_summary", "shield_matrix", cells, document, output, notes)


def _chosen(
    collection: Collection, wanted: Mapping[str, tuple[str, str, str, str]], spelled: bool = False
) -> tuple[list[Cell], list[str]]:
    """Return the cells that are there, by the user's names for them, and a sentence for each that is not.

    Where two folders' names mean one cell, such as ``_fp16`` and ``_fp16_eigen_prion``, the longer one is taken if
    ``spelled``.
    """
    everything = tables.cells_of(collection)
    cells: list[Cell] = []
    for text, (model, precision, treatment, optimizer) in wanted.items():
        keys = [
            key
            for key, (name, _) in everything.items()
            if label(model) in (name.size, name.model)
            and (name.precision, name.treatment) == (precision, treatment)
            and (treatment != "eigen_prion" or (name.optimizer or "adamw") == optimizer)
        ]
        if keys:
            name, runs = everything[sorted(keys, key=len, reverse=spelled)[0]]
            cells.append(Cell(text, name.model, runs))
    present = {cell.label for cell in cells}
    missing = [
        text if parts[0] == text else f"{parts[0]} {text}"
        for text, parts in wanted.items()
        if text not in present
    ]
    if not cells:
        raise UserError(
            f"Expected runs of {' or '.join(missing)}, but there are only {', '.join(sorted(everything)) or 'none'} "
            "with a rank before and after. Check the model's name and --results-dir."
        )
    return cells, [f"There are no runs of {text}." for text in missing]


def _tests(cells: Sequence[Cell]) -> dict[str, Any]:
    groups = {cell.label: cell.values(REDUCTION) for cell in cells}
    return {"anova": anova(list(groups.values())), "pairwise": pairwise(groups)}


def _compared(
    column: str,
    stem: str,
    picture: str,
    cells: Sequence[Cell],
    tests: Mapping[str, Any],
    output: Path,
    notes: Sequence[str],
) -> Analysis:
    rows = [tables.comparison_row(column, cell) for cell in cells]
    markers = {sign: f"p < {limit:g}" for sign, limit in MARKS.items()} | {"ns": f"p >= {MARKS['*']:g}"}
    metadata = {
        "significance_markers": markers,
        "note": "The figure marks each p in this way; none is corrected.",
    }
    document = {"summary": _explained(rows, cells), **tests, "metadata": metadata}
    files = _written(output, stem, rows, document)
    drawn = plots.comparison(column, cells, tests, output / f"{picture}.png")
    return Analysis(tuple(rows), document, (*files, drawn), (*notes, *_undefined(cells), *_untested(tests)))


def _explained(rows: Iterable[Mapping[str, Any]], cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Add to a row whose statistics are not all defined why."""
    found = []
    for row, cell in zip(rows, cells, strict=True):
        reason = tables.why_undefined(cell)
        found.append({**row, "undefined": reason} if reason else dict(row))
    return found


def _undefined(cells: Iterable[Cell]) -> list[str]:
    return [f"{cell.label}: {reason}." for cell in cells if (reason := tables.why_undefined(cell))]


def _untested(tests: Mapping[str, Any]) -> list[str]:
    test = tests.get("statistical_test") or tests["statistical_tests"]["anova"]
    return [f"The groups are not tested: {test['error']}."] if test.get("error") else []


def _written(output: Path, stem: str, rows: Sequence[Mapping[str, Any]], document: Any) -> tuple[Path, Path]:
    table, summary = output / f"{stem}.csv", output / f"{stem}.json"
    with atomic(table) as temporary:
        temporary.write_text(tables.csv_text(rows), "utf-8", newline="\n")
    with atomic(summary) as temporary:
        temporary.write_text(json.dumps(document, indent=2, allow_nan=False), "utf-8", newline="\n")
    return table, summary
