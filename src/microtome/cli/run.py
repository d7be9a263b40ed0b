"""``microtome run STUDY``: measure, decide, write the page."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from microtome.cli.options import Asked, study_app

HELP = "Run a study; the same command again goes on, or shows the finished run."


def run(
    asked: Asked,
    *,
    config: Annotated[Path | None, Parameter(help="TOML file with options; those typed win over it.")] = None,
    store: Annotated[Path, Parameter(help="Folder of all runs.")] = Path("store"),
    workers: Annotated[int, Parameter(help="Worker processes.")] = 1,
    threads: Annotated[
        int | None, Parameter(help="Threads per unit [default: the processors, shared].")
    ] = None,
    dry_run: Annotated[
        bool,
        Parameter(negative=(), show_default=False, help="Only print the units and the time they may take."),
    ] = False,
) -> None:
    """Run a study, or with ``dry_run`` say what a run would do."""
    from microtome import face
    from microtome.cli.printing import print_plan, print_run

    study, given = asked.study.name, asked.given
    if dry_run:
        print_plan(face.plan(study, config_file=config, store=store, workers=workers, **given))
        return
    print_run(
        face.run(
            study,
            config_file=config,
            store=store,
            workers=workers,
            threads=threads,
            command=asked.typed,
            **given,
        )
    )


app = study_app("run", HELP, run)
