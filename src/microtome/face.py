"""What Python users call, and what the command line calls: runs, their reports and plans, power, training.

Everything heavy is imported when it is used.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microtome.lab import registry

if TYPE_CHECKING:
    import polars as pl

    from microtome.lab.plan import Plan
    from microtome.lab.run import Run
    from microtome.train.config import TrainConfig
    from microtome.train.loop import Trained
    from microtome.train.plan import TrainingPlan


def studies() -> tuple[str, ...]:
    """Return the names of the installed studies."""
    return registry.names()


def run(
    study: str,
    *,
    store: Path | str = "store",
    workers: int | None = None,
    threads: int | None = None,
    engine: str = "local",
    address: str | None = None,
    shared_store: bool = False,
    retries: int | None = None,
    config_file: Path | str | None = None,
    again: bool = False,
    command: str | None = None,
    **options: Any,
) -> "Run":
    """Run a study, write its report, and return the run; a finished run with its report is returned as it is.

    Example:
        >>> run = microtome.run("task-vectors", model="embedded:smollm2-135m")  # doctest: +SKIP

    Args:
        study: the study's name, one of ``microtome.studies()``.
        store: the folder of all runs.
        workers: worker processes; by default 1, which measures in this process, and on a cluster as many as fit.
        threads: threads for each unit; by default the processors shared among the workers, and on a cluster what the
            study reserves for a unit.
        engine: ``local``, or ``ray`` for a Ray cluster.
        address: the cluster's head, ``HOST:PORT``; by default the one that runs here, else one started for this run.
        shared_store: the cluster's workers read and write the store themselves: every node has it under this path.
        retries: how often a cluster tries a unit again that raised or lost its worker; by default 2.
        config_file: a TOML file with options; those given here win over it.
        again: analyse and decide anew although the run is finished.
        command: the exact command, for the record; by default this call.
        options: the fields of the study's config.

    Raises:
        UserError: an unknown study or option, a wrong value, a store that cannot be written.
        RunFailure: when units failed or the disk is full; what is finished is kept.
    """
    from microtome.lab.config import build_config
    from microtome.lab.engines.choice import choose
    from microtome.lab.runner import execute

    found = registry.load(study)
    config = build_config(found, options, Path(config_file) if config_file else None)
    finished = execute(
        found,
        config,
        store=store,
        engine=choose(
            engine,
            found,
            config,
            workers=workers,
            threads=threads,
            address=address,
            shared_store=shared_store,
            retries=retries,
            tell=_to_stderr,
        ),
        command=command or _as_call(study, store, config_file, options),
        again=again,
    )
    return report(finished)


def report(run: "Run", *, anew: bool = False) -> "Run":
    """Write the run's report and figures unless they are there and whole; return the run.

    Args:
        run: a finished run.
        anew: write them in any case.
    """
    from microtome.lab.verify import publish, report_is_whole

    if report_is_whole(run) and not anew:
        return run
    from microtome.report import write_report

    return publish(run, write_report)


def view(store: Path | str = "store", *, port: int = 0, browser: bool = True) -> None:
    """Serve a window on a store to this machine until Ctrl-C: its runs, each run, two compared, a prediction's history.

    Args:
        store: the folder of all runs.
        port: port on 127.0.0.1; 0 takes one that is free.
        browser: whether to open it in the user's browser.

    Raises:
        UserError: when there is no such store, or the port is taken.
    """
    from microtome.report.window import serve

    serve(store, port=port, browser=browser)


def export_view(store: Path | str, folder: Path | str) -> Path:
    """Write the same window as files into ``folder``, and return the path of its first page.

    Raises:
        UserError: when there is no such store, or the folder cannot be written.
    """
    from microtome.report.window import export

    return export(store, folder)


def plan(
    study: str,
    *,
    store: Path | str = "store",
    workers: int = 1,
    config_file: Path | str | None = None,
    **options: Any,
) -> "Plan":
    """Return what ``run`` with the same arguments would measure, and how long it may take; writes nothing."""
    from microtome.lab import plan as planning
    from microtome.lab.config import build_config

    found = registry.load(study)
    config = build_config(found, options, Path(config_file) if config_file else None)
    return planning.plan(found, config, store, workers=workers)


def power(
    study: str,
    *,
    draws: int = 400,
    root_seed: int = 0,
    alpha: float = 0.05,
    config_file: Path | str | None = None,
    **options: Any,
) -> "pl.DataFrame":
    """Return how often the study's predictions are supported under the null and under its planted effect.

    See ``microtome.lab.power.power`` for the columns.
    """
    from microtome.lab import power as simulation
    from microtome.lab.config import build_config

    found = registry.load(study)
    config = build_config(found, options, Path(config_file) if config_file else None)
    return simulation.power(found, config, draws, root_seed, alpha)


def extract_spectra(model: str, out: Path | str, **options: Any) -> Path:
    """Write the singular values and attention entropies of a model's heads to a JSON file, and return its path.

    The file is what the study ``head-spectra`` takes as ``input``, and what its original reads.

    Args:
        model: a model reference.
        out: the file to write.
        options: fields of the config of ``head-spectra`` that say what is folded in, and on which text.

    Raises:
        UserError: the model, the text or an option does not fit, or the file cannot be written.
    """
    from microtome.lab.config import build_config

    study: Any = registry.load("head-spectra")
    study.extract(build_config(study, {"model": (model,), **options}), Path(out))
    return Path(out)


def train(
    model: str,
    output: Path | str,
    *,
    preset: str | None = None,
    config_file: Path | str | None = None,
    **options: Any,
) -> "Trained":
    """Train a model into a folder and return what came of it; a finished folder is returned as it is.

    Example:
        >>> trained = microtome.train("band", "models/band", preset="small_band")  # doctest: +SKIP

    Args:
        model: ``standard`` or ``band``.
        output: the folder; training that was cut short there goes on.
        preset: a full configuration to start from, one of ``microtome.train.presets.PRESETS``.
        config_file: a TOML or YAML file; its options win over the preset.
        options: the fields of ``microtome.train.config.TrainConfig``; they win over both.

    Raises:
        UserError: an unknown preset or option, a wrong value, a text that is too short, or a folder that was begun
            with other options.
        Diverged: when the loss is no longer a finite number; the curves are kept.
    """
    from microtome.train.loop import train

    return train(_train_config(model, preset, config_file, options), Path(output), tell=_to_stderr)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def training(
    model: str,
    *,
    preset: str | None = None,
    config_file: Path | str | None = None,
    **options: Any,
) -> "TrainingPlan":
    """Return what ``train`` with the same arguments would train, and on how much; trains and writes nothing."""
    from microtome.train.plan import plan

    return plan(_train_config(model, preset, config_file, options))


def _train_config(
    model: str, preset: str | None, file: Path | str | None, options: dict[str, Any]
) -> "TrainConfig":
    """Return the preset's config, changed by the file and then by the options."""
    from microtome.base.errors import UserError, did_you_mean
    from microtome.lab.config import build
    from microtome.train.config import TrainConfig
    from microtome.train.presets import PRESETS

    if preset is not None and preset not in PRESETS:
        raise UserError(
            f"unknown preset '{preset}'.{did_you_mean(preset, PRESETS)} Presets: {', '.join(PRESETS)}"
        )
    base = {"model": model, **(PRESETS[preset]().model_dump() if preset else {})}
    config = build(TrainConfig, options, Path(file) if file else None, subject=f"model {model}", base=base)
    if config.model != model:
        raise UserError(
            f"expected options of a model '{model}', but the preset or file is one of a model '{config.model}'. "
            f"Did you mean `microtome train {config.model}`?"
        )
    return config


def _as_call(study: str, store: Path | str, config_file: Path | str | None, options: dict[str, Any]) -> str:
    """Return the Python call that makes the run."""
    arguments = {"store": str(store), **({"config_file": str(config_file)} if config_file else {}), **options}
    written = "".join(f", {name}={value!r}" for name, value in arguments.items())
    return f"microtome.run({study!r}{written})"
