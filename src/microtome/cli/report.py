"""``microtome report RUN``: the page of a run."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def report(
    run: str,
    /,
    *,
    store: Annotated[Path, Parameter(help="Folder of all runs.")] = Path("store"),
    anew: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Write the page again although it is there.")
    ] = False,
) -> None:
    """Write the page of a finished run if it is not there, and print the verdicts and its path.

    Args:
        run: The run's id, the first digits of it, or its folder.
    """
    from microtome import face
    from microtome.cli.printing import print_run
    from microtome.lab.run import open_run

    print_run(face.report(open_run(run, store), anew=anew))
