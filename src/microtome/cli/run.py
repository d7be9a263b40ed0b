"""``microtome run STUDY``: measure, decide, write the page."""

from pathlib import Path
from typing import Literal

from microtome.cli.options import Asked, subject_app
from microtome.cli.parameters import STORE, Switch

HELP = "Run a study; the same command again goes on, or shows the finished run."


def run(
    asked: Asked,
    *,
    config: Path | None = None,
    store: Path = STORE,
    workers: int | None = None,
    threads: int | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    shared_store: Switch = False,
    retries: int | None = None,
    again: Switch = False,
    dry_run: Switch = False,
) -> None:
    """Run a study, or say what a run would do.

    Args:
        asked: The study and its options.
        config: TOML file with options; those typed win over it.
        store: Folder of all runs.
        workers: Worker processes; by default 1, and on a cluster as many as it has room for.
        threads: Threads for each unit; by default the processors are shared among the workers, and on a cluster it
            is what the study reserves for a unit.
        engine: Where units are measured: on this machine, or on a Ray cluster.
        address: The cluster's head, HOST:PORT; by default the one that runs here, else one is started for this run.
        shared_store: The cluster's workers read and write the store themselves; every node has it under this path.
        retries: How often a cluster tries a unit again that raised or lost its worker; by default 2.
        again: Analyse and decide anew from the stored units, although the run is finished.
        dry_run: Only print the units and the time they may take.
    """
    from microtome import face
    from microtome.cli.printing import print_plan, print_run

    study, options = asked.name, {"config_file": config, "store": store, **asked.given}
    if dry_run:
        print_plan(face.plan(study, workers=workers or 1, **options))
        return
    finished = face.run(
        study,
        workers=workers,
        threads=threads,
        engine=engine,
        address=address,
        shared_store=shared_store,
        retries=retries,
        again=again,
        command=asked.typed,
        **options,
    )
    print_run(finished)


app = subject_app("run", HELP, run)
