"""``microtome run STUDY``: measure, decide, write the page."""

from pathlib import Path

from microtome.cli.options import Asked, subject_app
from microtome.cli.parameters import STORE, Switch

HELP = "Run a study; the same command again goes on, or shows the finished run."


def run(
    asked: Asked,
    *,
    config: Path | None = None,
    store: Path = STORE,
    workers: int = 1,
    threads: int | None = None,
    again: Switch = False,
    dry_run: Switch = False,
) -> None:
    """Run a study, or say what a run would do.

    Args:
        asked: The study and its options.
        config: TOML file with options; those typed win over it.
        store: Folder of all runs.
        workers: Worker processes.
        threads: Threads for each unit; by default the processors are shared among the workers.
        again: Analyse and decide anew from the stored units, although the run is finished.
        dry_run: Only print the units and the time they may take.
    """
    from microtome import face
    from microtome.cli.printing import print_plan, print_run

    study, options = (
        asked.name,
        {"config_file": config, "store": store, "workers": workers, **asked.given},
    )
    if dry_run:
        print_plan(face.plan(study, **options))
    else:
        print_run(face.run(study, threads=threads, again=again, command=asked.typed, **options))


app = subject_app("run", HELP, run)
