"""What the originals' own scripts do, under their options' names: the stability experiments and their analysis."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from microtome import face
from microtome.lab import registry


def stability_experiment(
    model: str,
    cell: str,
    output: Path | str,
    *,
    runs: int = 1,
    seed: int = 42,
    steps: int = 100,
    **how: Any,
) -> list[Path]:
    """Run one published arm of the study ``stability``, and write its runs as the original's folders.

    Args:
        model: a size of Pythia such as ``70m``, or any model reference.
        cell: ``TREATMENT/OPTIMISER/PRECISION``, such as ``eigen_prion/adamw/fp16``.
        output: the folder for the runs' folders.
        runs: how many; run n has the seed ``seed + n``.
        seed: the base seed.
        steps: updates of a run.
        how: ``store``, ``workers`` and ``threads`` of ``run``.

    Returns:
        The folders of the runs that finished.

    Raises:
        UserError: as of ``run``.
        RunFailure: when runs failed; the others' folders are written.
    """
    study: Any = registry.load("stability")
    return _published(
        study, [study.experiment(model, cell, runs=runs, seed=seed, steps=steps)], Path(output), how
    )


def stability_priority(
    number: int,
    output: Path | str,
    *,
    models: Sequence[str] = (),
    runs: int | None = None,
    seed: int = 42,
    steps: int = 100,
    healing_steps: int = 500,
    **how: Any,
) -> list[Path]:
    """Run all published arms of a priority, and write them to ``output/priorityN_NAME/raw_data``.

    Args:
        number: 1 scaling law, 2 placebo, 3 mechanism, 4 shield, 5 healing.
        output: the folder in which the priority's is made.
        models: instead of the priority's own; see ``stability_experiment`` for these and the rest.
        runs: of each arm; 10 for priority 1, else 3.
        seed: the base seed.
        steps: updates of a run.
        healing_steps: updates on text afterwards, for priority 5.
        how: ``store``, ``workers`` and ``threads`` of ``run``.
    """
    study: Any = registry.load("stability")
    settings = {"models": models, "runs": runs, "seed": seed, "steps": steps, "healing_steps": healing_steps}
    return _published(study, study.priority(number, **settings), study.folder(number, Path(output)), how)


def _published(
    study: Any, wanted: Sequence[Mapping[str, Any]], folder: Path, how: dict[str, Any]
) -> list[Path]:
    """Run a model after another; what finished is written, and a failure is told after all were tried."""
    from microtome.lab.config import build_config
    from microtome.lab.failures import RunFailure

    written: list[Path] = []
    failures: list[str] = []
    for options in wanted:
        try:
            face.run(study.name, **how, **options)
        except RunFailure as failure:
            failures.append(str(failure))
        written += study.export(build_config(study, dict(options)), how.get("store", "store"), folder)
    if failures:
        raise RunFailure("\n".join([*failures, f"{len(written)} finished runs are in {folder}"]))
    return written


def analyse_stability(priority: int, results: Path | str, output: Path | str, **options: Any) -> Any:
    """Analyse folders of published stability runs, as published and controlled, and write tables, plots and a page.

    Args:
        priority: 1 scaling law, 2 placebo, 3 mechanism, 4 shield, 5 healing.
        results: the folder of the runs.
        output: the folder to write to.
        options: those of ``microtome stability analyze``.

    Raises:
        UserError: no such priority, a folder without runs, a model that is not among them.
    """
    study: Any = registry.load("stability")
    return study.analyse_records(priority, Path(results), Path(output), **options)
